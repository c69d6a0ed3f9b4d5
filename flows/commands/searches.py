"""`nestor searches`: the search strategies there are; with `--suggest NAME` narrower spaces from a model's runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import options as o
from flows.printing import show_json, show_rows
from models.errors import InputError

if TYPE_CHECKING:
    from models.search import Strategy
    from tasks.suggest import Suggestion

EXAMPLES = (
    "nestor searches",
    "nestor searches --suggest loans > narrower.yaml",
    "nestor searches --suggest loans --out importance.html",
)

_Suggest = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A model's name: what mattered in the searches of all its runs, and narrower spaces, as yaml.",
        show_default=False,
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="With --suggest: a page with the figures.", show_default=False),
]


def searches(suggest: _Suggest = None, out: _Out = None, as_json: o.AsJson = False) -> None:
    """List the ways hyperparameters are searched, or suggest narrower spaces from a model's runs."""
    if suggest is not None:
        return _suggest(suggest, out, as_json)
    if out is not None:
        raise InputError("--out: a page goes with --suggest NAME.")
    from models.search import strategies as known

    rows = [
        (s.name, s.suits, s.cost, "several" if s.several else "one", _available(s), s.source) for s in known().values()
    ]
    return show_rows(("name", "suits", "cost", "objectives", "available", "source"), rows, as_json, shown=5)


def _available(known: Strategy) -> str:
    return "yes" if known.available else f"no: {known.install}"


def _suggest(name: str, out: Path | None, as_json: bool) -> None:
    from flows.suggestion import as_values, as_yaml
    from tasks.suggest import suggested

    found = suggested(name)
    if out is not None:
        _write(found, out)
    if as_json:
        show_json(as_values(found))
    else:
        print(as_yaml(found))


def _write(found: Suggestion, out: Path) -> None:
    from tasks.suggest import suggestion_html

    try:
        out.write_text(suggestion_html(found), "utf-8")
    except OSError as error:
        raise InputError(f"--out: {out} can't be written: {error.strerror}.") from None
