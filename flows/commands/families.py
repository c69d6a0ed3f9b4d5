"""`nestor families`: the families of models there are."""

from __future__ import annotations

from flows import options as o
from flows.printing import show_rows

EXAMPLES = ("nestor families",)


def families(as_json: o.AsJson = False) -> None:
    """List the families of models, cheapest first, and what they suit."""
    from models.families import families as known

    rows = [(f.name, ", ".join(f.tasks), f.suits, f"{f.cost:g}", f.source) for f in known().values()]
    show_rows(("name", "tasks", "suits", "cost", "source"), rows, as_json, shown=3)
