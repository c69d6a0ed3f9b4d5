"""Do the columns hold values?"""

from __future__ import annotations

from collections.abc import Iterator

from models.checks import format_count, take_first_names
from models.data.table import Finding, Table
from models.errors import join_names

MOST = 0.95
PASSED = "No column is mostly missing."


def form(table: Table) -> Iterator[Finding]:
    """A warning that names columns of which over 95 % is missing; they are kept, since a gap may tell something."""
    missing = table.features.isna().mean()
    mostly = missing[(missing > MOST) & (missing < 1)].sort_values(ascending=False)
    if len(mostly):
        named = join_names(f"{name} ({100 * share:.1f} %)" for name, share in mostly.items())
        count = format_count(len(mostly), "column")
        said = f"{count} with over {100 * MOST:.0f} % of values missing: {named}. They are used all the same."
        yield Finding("missing_values", "warn", said, take_first_names(mostly.index))
