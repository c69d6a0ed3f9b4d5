"""`nestor families`: the families of models there are; `nestor families NAME`: one of them, with its search space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import flags
from flows.screen.printing import show_json, show_rows, show_text

if TYPE_CHECKING:
    from models.fitting.family import Family

EXAMPLES = ("nestor families", "nestor families lightgbm", "nestor families --json")

_SHOWN = ("suits", "cost", "available")
_Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="One family: all that it declares, and its space.", show_default=False),
]


def families(name: _Name = None, as_json: flags.AsJson = False) -> None:
    """List the families of models, cheapest first: what they suit, what they cost, whether they are installed.

    Cost is the order of magnitude of a default fit, in core-seconds for a million cells (rows times columns)."""
    from models.analysis.cards import describe_family
    from models.families import load_families, load_family

    if name is not None:
        return _show_family(load_family(name), as_json)
    rows = [
        {"name": f.name, **describe_family(f), "available": _describe_availability(f)} for f in load_families().values()
    ]
    if as_json:
        return show_json(rows)
    columns = ("name", *_SHOWN)
    return show_rows(columns, [tuple(row[c] for c in columns) for row in rows], False, len(columns))


def _describe_availability(family: Family) -> str:
    return "yes" if family.available else f"no: {family.lack if family.installed else family.install}"


def _show_family(family: Family, as_json: bool) -> None:
    from flows.screen.tables import make_rows_table
    from models.analysis.cards import describe_family, list_hyperparameters

    space = list(list_hyperparameters(family))
    facts = {**describe_family(family), "available": _describe_availability(family)}
    if as_json:
        columns = ("name", "range", "default")
        return show_json(
            {"name": family.name, **facts, "space": [dict(zip(columns, row, strict=True)) for row in space]}
        )
    show_text(make_rows_table((family.name, ""), [(k, v) for k, v in facts.items() if v]))
    return show_text(
        make_rows_table(("hyperparameter", "range", "default"), space) if space else "There is nothing to search."
    )
