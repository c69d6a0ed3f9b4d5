"""Rows of a text file that are no data: header lines that came again, a line of totals at the end."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.errors import shortened
from models.table import Finding

TOTALS = ("total", "totals", "grand total", "subtotal", "sum", "sums", "total:", "sum:", "gesamt", "summe")
FEWEST = 10


def without_strays(frame: pd.DataFrame, renamed: dict[str, str]) -> tuple[pd.DataFrame, list[Finding]]:
    """The frame without such rows, and what is to be said."""
    findings = []
    again = _headers(frame, renamed)
    if again.any():
        rows = tuple(int(i) + 1 for i in np.flatnonzero(again)[:8])
        said = f"The header stands in the data again ({again.sum()} times, first as data row {rows[0]}); left out."
        findings.append(Finding("repeated_header", "warn", said, rows=rows))
        frame = frame[~again]
    total = _total(frame)
    if total:
        said = f"The last row ({shortened(total)!r}) looks like a line of totals and was left out."
        findings.append(Finding("totals_row", "warn", said, rows=(len(frame),)))
        frame = frame.iloc[:-1]
    return frame.reset_index(drop=True), findings


def _headers(frame: pd.DataFrame, renamed: dict[str, str]) -> np.ndarray:
    """Which rows hold the names of their own columns, as where csv files were joined end to end."""
    again = np.full(len(frame), frame.shape[1] > 1)
    for name in frame.columns[:20]:
        if not again.any():
            break
        again = again & (frame[name] == renamed.get(name, name)).fillna(False).to_numpy(bool)
    return again


def _total(frame: pd.DataFrame) -> str | None:
    """The word by which the last row calls itself a total, where no other row uses it."""
    if len(frame) < FEWEST:
        return None
    last = [(name, str(value).strip()) for name, value in frame.iloc[-1].items() if isinstance(value, str)]
    for name, value in last:
        if value.casefold() in TOTALS and int((frame[str(name)].str.strip() == value).sum()) == 1:
            return value
    return None
