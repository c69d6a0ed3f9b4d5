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
    columns = {}
    for name in (c for c, kind in table.kinds.items() if kind == "category"):
        levels = table.features[name].nunique()
        if levels > LEAST and levels > SHARE * table.rows:
            columns[name] = levels
    if columns:
        names = join_names(f"{name} ({levels:,})" for name, levels in columns.items())
        sentence = f"Categories with nearly as many levels as rows: {names}. If they only name rows, drop them."
        yield Finding("many_levels", "warn", sentence, take_first_names(columns))
