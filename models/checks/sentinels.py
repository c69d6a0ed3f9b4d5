"""Do numbers such as -999 stand for missing values?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.checks import take_first_names
from models.data.table import Finding, Table
from models.errors import join_names

MARKS = (-9.0, -99.0, -999.0, -9999.0, -99999.0, 999.0, 9999.0, 99999.0, 999999.0, 9999999.0, -999999.0)
FEWEST = 3
PASSED = "No number looks like a mark for a missing value."


def form(table: Table) -> Iterator[Finding]:
    """A warning that names columns in which such a number stands alone, far from all others; the numbers are kept."""
    marks = {}
    for name in (c for c, kind in table.kinds.items() if kind == "number"):
        mark = _find_mark(table.features[name].to_numpy(np.float64))
        if mark is not None:
            marks[name] = mark
    if marks:
        names = join_names(f"{name} ({mark:g})" for name, mark in marks.items())
        sentence = (
            f"Numbers that look like marks for missing values were kept: {names}. If they are, empty those cells."
        )
        yield Finding("sentinels", "warn", sentence, take_first_names(marks))


def _find_mark(values: np.ndarray) -> float | None:
    """The least or greatest value, where it is a known mark, repeated, and further off than the others are wide."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    for end in (values.min(), values.max()):
        others = values[values != end]
        sentinel = end in MARKS and len(values) - len(others) >= FEWEST and len(others) > 0
        if sentinel and np.abs(others - end).min() > max(np.ptp(others), 1.0):
            return float(end)
    return None
