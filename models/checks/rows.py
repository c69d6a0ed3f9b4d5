"""Are there enough rows to train and to judge?"""

from __future__ import annotations

from collections.abc import Iterator

from models.checks import format_count
from models.data.table import Finding, Table

FEWEST, FEW = 10, 100
PASSED = f"There are {FEW} rows or more."


def form(table: Table) -> Iterator[Finding]:
    """A stop under 10 rows, a warning under 100."""
    if table.rows < FEWEST:
        size = format_count(table.rows, "row")
        sentence = f"The table has {size} with a target: not enough to train and judge; at least {FEWEST} are needed."
        yield Finding("rows", "stop", sentence)
    elif table.rows < FEW:
        yield Finding("rows", "warn", f"{table.rows} rows are few: every score is uncertain; look at the intervals.")
