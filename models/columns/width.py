"""How wide prepared columns are, counted from the table alone: what a fit costs is foretold before any is prepared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from models.columns.given import MOST_CODES
from models.fitting.family import Needs

LOOKED_AT = 20_000
"""Rows, spread over the table, in which levels are counted."""

_DATE = {True: 10, False: 6}
"""Columns of a date, as cycles or as they are."""

_TEXT = 30
"""Components of a text: 20 of characters, up to 100 of words."""


def estimate_width(features: pd.DataFrame, kinds: Mapping[str, str], needs: Needs, classes: int = 0) -> int:
    """About how many columns the preparation for a family with these needs has, at least 1. `classes`: how many, 0 in
    regression."""
    sample = features.iloc[np.unique(np.linspace(0, len(features) - 1, LOOKED_AT).astype(int))]
    return max(1, sum(_count_columns(sample[name], kinds[name], needs, classes) for name in features.columns))


def _count_columns(column: pd.Series, kind: str, needs: Needs, classes: int) -> int:
    if kind == "drop":
        return 0
    if kind == "date":
        return _DATE[needs.scaled]
    if kind == "text":
        return _TEXT
    if kind not in ("category", "key", "ordered") or needs.categories == "levels":
        return 1
    levels = column.nunique()
    if kind != "ordered" and levels > MOST_CODES:
        return (classes if classes > 2 else 1) + (kind == "key" and needs.categories == "codes")
    shown = (1 if levels <= 2 else levels) if needs.categories == "onehot" else 0
    return shown if kind != "ordered" and needs.categories == "onehot" else 1 + shown
