"""`nestor searches`: the search strategies there are; `nestor searches NAME`: one of them; with `--suggest NAME`
narrower spaces from a model's runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import flags
from flows.screen.printing import measure_width, show_json, show_text
from models.errors import InputError, make_unknown_error

if TYPE_CHECKING:
    from models.tuning.strategy import Strategy
    from tasks.reporting.suggest import Suggestion

EXAMPLES = (
    "nestor searches",
    "nestor searches pbt",
    "nestor searches --suggest loans > narrower.yaml",
    "nestor searches --suggest loans --out importance.html",
)

_WIDE = 140
"""Characters of a line from which on there is room for the following; one strategy alone always shows them."""
_ROOMY = ("what", "source")

_Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="One search: all that is said of it.", show_default=False),
]
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


def searches(name: _Name = None, suggest: _Suggest = None, out: _Out = None, as_json: flags.AsJson = False) -> None:
    """List the ways hyperparameters are searched, or suggest narrower spaces from a model's runs."""
    if suggest is not None:
        if name is not None:
            raise InputError(f"--suggest {suggest}: is about a model's runs; give it without the search {name}.")
        return _show_suggestion(suggest, out, as_json)
    if out is not None:
        raise InputError("--out: a page goes with --suggest NAME.")
    from flows.screen.tables import make_rows_table
    from models.search import load_strategies as known

    if name is not None:
        return _show_strategy(name, as_json)
    rows = [_summarize_strategy(s) for s in known().values()]
    if as_json:
        return show_json(rows)
    columns = [c for c in rows[0] if measure_width() >= _WIDE or c not in _ROOMY]
    return show_text(make_rows_table(columns, [[row[c] for c in columns] for row in rows]))


def _show_strategy(name: str, as_json: bool) -> None:
    from flows.screen.tables import make_rows_table
    from models.search import load_strategies

    strategy = load_strategies().get(name)
    if strategy is None:
        raise make_unknown_error("search strategy", name, load_strategies())
    facts = _summarize_strategy(strategy)
    return show_json(facts) if as_json else show_text(make_rows_table((name, ""), list(facts.items())[1:]))


def _summarize_strategy(strategy: Strategy) -> dict[str, str]:
    from models.analysis.cards import describe_strategy

    return {
        "name": strategy.name,
        "what": describe_strategy(strategy),
        "suits": strategy.suits,
        "cost": strategy.cost,
        "objectives": "several" if strategy.several else "one",
        "available": _describe_availability(strategy),
        "source": strategy.source,
    }


def _describe_availability(strategy: Strategy) -> str:
    return "yes" if strategy.available else f"no: {strategy.install}"


def _show_suggestion(name: str, path: Path | None, as_json: bool) -> None:
    from flows.screen.suggestion import as_values, as_yaml
    from tasks.reporting.suggest import suggest_spaces

    suggestion = suggest_spaces(name)
    if path is not None:
        _write_page(suggestion, path)
    if as_json:
        show_json(as_values(suggestion))
    else:
        print(as_yaml(suggestion))


def _write_page(suggestion: Suggestion, path: Path) -> None:
    from tasks.reporting.suggest import render_suggestion

    try:
        path.write_text(render_suggestion(suggestion), "utf-8")
    except OSError as error:
        raise InputError(f"--out: {path} can't be written: {error.strerror}.") from None
