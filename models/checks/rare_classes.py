"""Has every class enough rows to be on both sides of a split?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.checks import format_count, take_data_rows
from models.data.table import Finding, Table
from models.errors import join_names
from models.text.safe import shorten

FEWEST, MANY = 4, 100
PASSED = f"Every class has {FEWEST} rows or more."


def form(table: Table) -> Iterator[Finding]:
    """A warning that names classes of under 4 rows, and one for very many classes."""
    if table.task == "regression" or len(table.classes) < 2:
        return
    counts = np.bincount(table.target.astype(np.int64), minlength=len(table.classes))
    codes = np.flatnonzero(counts < FEWEST)
    if len(codes):
        rows = np.flatnonzero(np.isin(table.target, codes))
        names = join_names((_describe_class(table, int(c), int(counts[c])) for c in codes), 4, 90)
        sentence = f"Too rare to be judged, so their rows only train: {names}."
        yield Finding("rare_classes", "warn", sentence, rows=take_data_rows(table, rows))
    if len(table.classes) > MANY:
        sentence = (
            f"The target has {len(table.classes):,} classes: training is slow and most classes are judged on few rows."
        )
        yield Finding("rare_classes", "warn", sentence)
    if (counts >= FEWEST).sum() < 2:
        count = int((counts >= FEWEST).sum())
        sentence = f"{count} of {len(counts)} classes have {FEWEST} rows or more; at least two such classes are needed."
        yield Finding("rare_classes", "stop", sentence)


def _describe_class(table: Table, code: int, count: int) -> str:
    rows = take_data_rows(table, np.flatnonzero(table.target == code))
    label = shorten(table.classes[code], 24)
    return f"class {label!r} has {format_count(count, 'row')} (data row{'s' if count > 1 else ''} {join_names(rows)})"
