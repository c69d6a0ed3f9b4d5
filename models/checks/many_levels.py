"""Do categories come again?"""

from __future__ import annotations

from collections.abc import Iterator

from models.checks import take_first_names
from models.data.table import Finding, Table
from models.errors import join_names

SHARE, LEAST = 0.5, 100
PASSED = "Categories come again often enough."


def form(table: Table) -> Iterator[Finding]:
    """A warning that names category columns in which most values stand once or twice."""
    many = {}
    for name in (c for c, kind in table.kinds.items() if kind == "category"):
        levels = table.features[name].nunique()
        if levels > LEAST and levels > SHARE * table.rows:
            many[name] = levels
    if many:
        named = join_names(f"{name} ({levels:,})" for name, levels in many.items())
        said = f"Categories with nearly as many levels as rows: {named}. If they only name rows, drop them."
        yield Finding("many_levels", "warn", said, take_first_names(many))
