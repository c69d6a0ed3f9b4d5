"""Categories of later rows as a version spells their levels, and what is to be said of those that it never saw."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from models.data.spelling import describe_refusals, make_tallies
from models.errors import InputError
from models.monitoring.table_profile import count_values

Levels = Mapping[str, Mapping[str, int]]
"""Category -> its levels in training, and their rows."""


class Speller:
    """Reads columns one part after another, and counts what it met."""

    def __init__(self, levels: Levels):
        """Columns that are not among these stay as they are."""
        self._tallies = make_tallies(levels)

    def read(self, column: pd.Series) -> pd.Series:
        """A column in canonical form with each level as the version spells it."""
        tally = self._tallies.get(str(column.name))
        spellings = tally.add(count_values(column)) if tally else {}
        return column.where(~column.isin(list(spellings)), column.map(spellings)) if spellings else column

    def refuse(self, source: str, certain: bool = False) -> None:
        """InputError where most values of a column were never seen; `certain`: only where they are known ones that are
        written otherwise."""
        if refusal := describe_refusals(self._tallies.values(), certain):
            raise InputError(f"{source}: {refusal}")

    @property
    def notes(self) -> list[str]:
        """What was read otherwise than it was written, and what was never seen."""
        return [note for tally in self._tallies.values() for note in tally.notes]
