"""Are the row weights usable?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.checks import take_data_rows
from models.data.table import Finding, Table
from models.errors import join_names

PASSED = "There are no row weights, or all of them are 0 or more."


def form(table: Table) -> Iterator[Finding]:
    """A stop at negative, missing or infinite weights, or where all are zero."""
    weight = table.weight
    if weight is None:
        return
    places = np.flatnonzero(~np.isfinite(weight) | (weight < 0))
    if len(places):
        sentence = (
            f"Row weights must be numbers from 0 up; {len(places):,} are not, such as {weight[places[0]]:.6g} "
            f"(data rows {join_names(take_data_rows(table, places), 5)})."
        )
        yield Finding("row_weights", "stop", sentence, rows=take_data_rows(table, places))
    elif not weight.any():
        yield Finding("row_weights", "stop", "All row weights are 0, so no row would count.")
    elif np.mean(weight == 0) > 0.5:
        sentence = f"{100 * np.mean(weight == 0):.0f} % of the row weights are 0: those rows don't count."
        yield Finding("row_weights", "warn", sentence)
