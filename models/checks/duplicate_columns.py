"""Do two columns hold the same values?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from models.checks import format_count, take_first_names
from models.checks.constant_columns import find_constant_columns
from models.data import hashes
from models.data.table import Finding, Table
from models.errors import join_names

PASSED = "No two columns hold the same values."


def form(table: Table) -> Iterator[Finding]:
    """A warning that names columns which repeat an earlier one; they are kept, since trees don't mind."""
    constants = {*find_constant_columns(table.features)}
    twins = _find_twins(table.features, [c for c in table.features.columns if c not in constants])
    if twins:
        names = join_names((f"{later} (as {earlier})" for later, earlier in twins), width=90)
        sentence = (
            f"{format_count(len(twins), 'column')} with the same values as another: {names}. One of each pair is "
            "enough."
        )
        yield Finding("duplicate_columns", "warn", sentence, take_first_names(later for later, _ in twins))


def _find_twins(features: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, str]]:
    """(later, earlier) for each of the columns that repeats an earlier one."""
    originals: dict[int, str] = {}
    twins = []
    for name in names:
        column = features[name]
        mark = hash(hashes.hash_values(column).tobytes())
        if mark in originals and column.reset_index(drop=True).equals(features[originals[mark]].reset_index(drop=True)):
            twins.append((str(name), originals[mark]))
        originals.setdefault(mark, str(name))
    return twins
