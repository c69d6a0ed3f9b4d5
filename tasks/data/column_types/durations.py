"""Text as durations: `1 day 02:03:04`, `02:03:04`, `2:03` (hours and minutes), `P1DT2H` (ISO 8601), as seconds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.data.column_types.words import DistinctWords

CLOCK = r"\d{1,4}:[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
DAYS = rf"^[+-]?(?:\d+ ?(?:d|days?)(?:,? ?[+-]?{CLOCK})?|{CLOCK})$"
ISO = r"^[+-]?P(?:\d+(?:\.\d+)?D)?(?:T(?:\d+(?:\.\d+)?H)?(?:\d+(?:\.\d+)?M)?(?:\d+(?:\.\d+)?S)?)?$"


def parse_durations(words: DistinctWords, skip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(seconds, which values are durations) of the distinct words."""
    looks = (words.find_matching(DAYS) | words.find_matching(ISO)) & ~skip & (words.counts > 0)
    values = np.full(len(looks), np.nan)
    if looks.any():
        text = pd.Series(words.values.to_pylist(), dtype="str")[looks]
        # pandas wants seconds too: 2:03 is 2:03:00.
        text = text.str.replace(r"((?:^|[^:\d])\d{1,4}:\d{2})$", r"\1:00", regex=True)
        seconds = pd.to_timedelta(text, errors="coerce").dt.total_seconds()
        values[looks] = seconds.to_numpy(np.float64, na_value=np.nan)
    return values, ~np.isnan(values)
