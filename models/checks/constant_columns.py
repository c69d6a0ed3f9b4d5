"""Does every column vary?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from models.checks import format_count, take_first_names
from models.data.table import Finding, Table
from models.errors import join_names

PASSED = "Every column varies."


def find_constant_columns(features: pd.DataFrame) -> list[str]:
    """The columns that hold one value, or nothing at all."""
    return [str(name) for name, column in features.items() if _is_constant(column)]


def find_unused_columns(table: Table) -> list[str]:
    """The constant columns to leave out. Those whose kind or place a person gave stay: a champion may need them, and
    the next table may vary in them."""
    return [name for name in find_constant_columns(table.features) if name not in table.reading.pinned]


def _is_constant(column: pd.Series) -> bool:
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
    names = find_constant_columns(table.features)
    if not table.features.shape[1]:
        yield Finding("constant_columns", "stop", "There is no feature left to learn from beside the target.")
    elif len(names) == table.features.shape[1]:
        sentence = f"No feature varies: all of {format_count(len(names), 'column')} are constant ({join_names(names)})."
        yield Finding("constant_columns", "stop", sentence, take_first_names(names))
    else:
        pinned = [name for name in names if name in table.reading.pinned]
        yield from _warn_of_constant([name for name in names if name not in pinned], "not used")
        yield from _warn_of_constant(pinned, "kept, as was asked")


def _warn_of_constant(names: list[str], end: str) -> Iterator[Finding]:
    if names:
        verb = "is" if len(names) == 1 else "are"
        sentence = f"{format_count(len(names), 'column')} {verb} constant or empty and {end}: {join_names(names)}."
        yield Finding("constant_columns", "warn", sentence, take_first_names(names))
