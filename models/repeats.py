"""What is divided as one: a row, a point (all rows with equal features) or a group; decided once, from the whole table.

Rows of a point are separate observations where the world has few states or values are rounded: new rows will repeat
too. They are copies where a table was put together badly: new rows will not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from models.config import Run
from models.seal import keys
from models.table import Table

Unit = Literal["row", "point", "group"]


@dataclass(frozen=True)
class Repeats:
    """What the rows of a table are divided by, and why."""

    unit: Unit
    reason: str
    """A sentence without its full stop."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the decision rests on."""
    cut: tuple[int, ...] = ()
    """Keys of points that are too large to stay on one side: their rows are divided one by one."""


def points(table: Table) -> np.ndarray:
    """A uint64 key per row: equal for rows with equal features, whatever their targets."""
    return keys(table.features)


def decide_unit(table: Table, run: Run) -> Repeats:
    """What the rows of the table are divided by: its groups, else by the setting, else by the evidence."""
    if table.group is not None:
        return Repeats("group", "groups are named")
    setting = run.split.copies
    if setting == "apart":
        return Repeats("row", "the setting says so")
    if setting == "auto" and table.ids is not None:
        return Repeats("row", "id columns name each row")
    if setting == "together":
        return Repeats("point", "the setting says so")
    distinct = len(np.unique(points(table)))
    if distinct * 2 < table.rows:
        why = f"only {distinct:,} of {table.rows:,} rows of features differ, so equal ones arise by chance"
        return Repeats("row", why)
    return Repeats("point", "equal rows would hardly arise by chance")


def codes(row_points: np.ndarray, repeats: Repeats) -> np.ndarray:
    """Codes of the units: those of points, or one for each row, or of points but for the rows of those that are cut."""
    alone = np.arange(len(row_points))
    if repeats.unit == "row":
        return alone
    joined = pd.factorize(row_points)[0].astype(np.int64)
    if not repeats.cut:
        return joined
    large = np.isin(row_points, np.array(repeats.cut, np.uint64))
    return np.where(large, len(alone) + alone, joined)
