"""Are there more rows than columns?"""

from __future__ import annotations

from collections.abc import Iterator

from models.checks import format_count
from models.data.table import Finding, Table

PASSED = "There are more rows than columns."


def form(table: Table) -> Iterator[Finding]:
    """A warning where columns outnumber rows: then some column fits the target by chance."""
    columns = table.features.shape[1]
    if columns > table.rows:
        sentence = (
            f"{columns:,} columns for {format_count(table.rows, 'row')}: some fit by chance; trust nested scores only."
        )
        yield Finding("wide_table", "warn", sentence)
