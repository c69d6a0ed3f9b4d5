"""Do two columns hold the same values?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from models.checks import first, plural
from models.checks.constant_columns import constant
from models.data import hashes
from models.data.table import Finding, Table
from models.errors import listed

PASSED = "No two columns hold the same values."


def form(table: Table) -> Iterator[Finding]:
    """A warning that names columns which repeat an earlier one; they are kept, since trees don't mind."""
    same = {*constant(table.features)}
    twins = _twins(table.features, [c for c in table.features.columns if c not in same])
    if twins:
        named = listed((f"{later} (as {earlier})" for later, earlier in twins), width=90)
        said = f"{plural(len(twins), 'column')} with the same values as another: {named}. One of each pair is enough."
        yield Finding("duplicate_columns", "warn", said, first(later for later, _ in twins))


def _twins(features: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, str]]:
    """(later, earlier) for each of the columns that repeats an earlier one."""
    seen: dict[int, str] = {}
    twins = []
    for name in names:
        column = features[name]
        mark = hash(hashes.of_values(column).tobytes())
        if mark in seen and column.reset_index(drop=True).equals(features[seen[mark]].reset_index(drop=True)):
            twins.append((str(name), seen[mark]))
        seen.setdefault(mark, str(name))
    return twins
