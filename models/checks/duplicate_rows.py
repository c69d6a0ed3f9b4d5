"""Do rows repeat?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from models.checks import format_percent, take_data_rows
from models.data import hashes
from models.data.table import Finding, Table

SOME = 0.01
PASSED = "No row repeats another one, target included."


def form(table: Table) -> Iterator[Finding]:
    """How many rows repeat an earlier one, target included; a warning from 1 % on."""
    if not table.features.shape[1]:
        return
    rows = pd.DataFrame({"features": hashes.hash_rows(table.features), "target": table.target})
    repeats = rows.duplicated().to_numpy()
    if not repeats.any():
        return
    count = int(repeats.sum())
    share = f"{count:,} of {table.rows:,} rows ({format_percent(count, table.rows)})"
    sentence = f"{share} are duplicates of earlier rows, target included."
    verdict = "warn" if count >= SOME * table.rows else "pass"
    yield Finding("duplicate_rows", verdict, sentence, rows=take_data_rows(table, np.flatnonzero(repeats)))
