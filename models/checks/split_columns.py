"""Can the rows be divided by the group and time columns that were given?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.data.table import Finding, Table

FEW_GROUPS = 10
PASSED = "The rows are of more than one group and time, as far as these were given."


def form(table: Table) -> Iterator[Finding]:
    """A stop at one group or one time; a warning at few groups, and at groups of one row each."""
    if table.group is not None:
        yield from _check_groups(len(np.unique(table.group)), table.rows)
    if table.time is not None and table.rows and len(np.unique(table.time)) == 1:
        yield Finding("split_columns", "stop", "All rows have the same time, so none come before others.")


def _check_groups(groups: int, rows: int) -> Iterator[Finding]:
    if groups < 2:
        yield Finding("split_columns", "stop", "All rows are of one group, so they can't be divided by groups.")
    elif groups < FEW_GROUPS:
        yield Finding("split_columns", "warn", f"There are only {groups} groups, so scores over groups are uncertain.")
    elif groups == rows:
        yield Finding("split_columns", "warn", "Every row is a group of its own: the group column divides nothing.")
