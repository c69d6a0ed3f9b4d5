"""Does every column vary?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from models.checks import first, plural
from models.data.table import Finding, Table
from models.errors import listed

PASSED = "Every column varies."


def constant(features: pd.DataFrame) -> list[str]:
    """The columns that hold one value, or nothing at all."""
    return [str(name) for name, column in features.items() if _same(column)]


def unused(table: Table) -> list[str]:
    """The constant columns to leave out. Those whose kind or place a person gave stay: a champion may need them, and
    the next table may vary in them."""
    return [name for name in constant(table.features) if name not in table.reading.pinned]


def _same(column: pd.Series) -> bool:
    """Whether all values are one, or none is there."""
    if len(column) < 2:
        return True
    missing = column.isna().to_numpy()
    if missing.any():
        return bool(missing.all())
    # In the column's own type: an array of text would be made of a Python object for every row first.
    return bool(column.iloc[0] == column.iloc[-1] and (column == column.iloc[0]).all())


def form(table: Table) -> Iterator[Finding]:
    """A warning that names constant columns, which are then not used; a stop where no other is left."""
    same = constant(table.features)
    if not table.features.shape[1]:
        yield Finding("constant_columns", "stop", "There is no feature left to learn from beside the target.")
    elif len(same) == table.features.shape[1]:
        said = f"No feature varies: all of {plural(len(same), 'column')} are constant ({listed(same)})."
        yield Finding("constant_columns", "stop", said, first(same))
    else:
        pinned = [name for name in same if name in table.reading.pinned]
        yield from _told([name for name in same if name not in pinned], "not used")
        yield from _told(pinned, "kept, as was asked")


def _told(same: list[str], end: str) -> Iterator[Finding]:
    if same:
        verb = "is" if len(same) == 1 else "are"
        said = f"{plural(len(same), 'column')} {verb} constant or empty and {end}: {listed(same)}."
        yield Finding("constant_columns", "warn", said, first(same))
