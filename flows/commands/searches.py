"""`nestor searches`: the search strategies there are."""

from __future__ import annotations

from flows import options as o
from flows.printing import show_rows

EXAMPLES = ("nestor searches",)


def searches(as_json: o.AsJson = False) -> None:
    """List the ways hyperparameters are searched."""
    from models.search import strategies as known

    rows = [(s.name, s.suits, s.source) for s in known().values()]
    show_rows(("name", "suits", "source"), rows, as_json, shown=2)
