"""Are rows copies of each other?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from models.checks import counted, percent
from models.table import Finding, Table

SOME = 0.01
PASSED = "No rows are copies of each other."


def form(table: Table) -> Iterator[Finding]:
    """How many rows repeat an earlier one, target included; a warning from 1 % on."""
    if not table.features.shape[1]:
        return
    hashes = pd.util.hash_pandas_object(table.features, index=False).to_numpy()
    rows = pd.DataFrame({"features": hashes, "target": table.target})
    again = rows.duplicated().to_numpy()
    if not again.any():
        return
    if table.test is not None:
        yield from _tested(rows, table.test)
    count = int(again.sum())
    share = f"{count:,} of {table.rows:,} rows ({percent(count, table.rows)})"
    said = f"{share} are duplicates: copies of earlier rows, target included."
    verdict = "warn" if count >= SOME * table.rows else "pass"
    yield Finding("duplicate_rows", verdict, said, rows=counted(table, np.flatnonzero(again)))


def _tested(rows: pd.DataFrame, test: np.ndarray) -> Iterator[Finding]:
    """A warning where rows of the given test set stand among the training rows too."""
    known = rows[test].merge(rows[~test].drop_duplicates(), how="inner")
    if len(known):
        share = f"{len(known):,} of {int(test.sum()):,} test rows"
        said = f"{share} are copies of training rows, so the test score looks too good."
        yield Finding("duplicate_rows", "warn", said)
