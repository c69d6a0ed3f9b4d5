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
    shares = table.features.isna().mean()
    gaps = shares[(shares > MOST) & (shares < 1)].sort_values(ascending=False)
    if len(gaps):
        names = join_names(f"{name} ({100 * share:.1f} %)" for name, share in gaps.items())
        count = format_count(len(gaps), "column")
        sentence = f"{count} with over {100 * MOST:.0f} % of values missing: {names}. They are used all the same."
        yield Finding("missing_values", "warn", sentence, take_first_names(gaps.index))
