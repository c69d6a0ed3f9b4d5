"""Rows of a text file that are no data: header lines that came again, a line of totals at the end."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.data.table import Finding
from models.text.safe import shorten

TOTALS = ("total", "totals", "grand total", "subtotal", "sum", "sums", "total:", "sum:", "gesamt", "summe")
FEWEST = 10


def drop_stray_rows(frame: pd.DataFrame, renamed: dict[str, str]) -> tuple[pd.DataFrame, list[Finding]]:
    """The frame without such rows, and what is to be said."""
    findings = []
    repeats = mark_repeated_headers(frame, renamed)
    if repeats.any():
        rows = tuple(int(i) + 1 for i in np.flatnonzero(repeats)[:8])
        sentence = (
            f"The header stands in the data again ({repeats.sum()} times, first as data row {rows[0]}); left out."
        )
        findings.append(Finding("repeated_header", "warn", sentence, rows=rows))
        frame = frame[~repeats]
    total = _find_total(frame) if len(frame) >= FEWEST else None
    if total:
        sentence = f"The last row ({shorten(total)!r}) looks like a line of totals and was left out."
        findings.append(Finding("totals_row", "warn", sentence, rows=(len(frame),)))
        frame = frame.iloc[:-1]
    return frame.reset_index(drop=True), findings


def mark_repeated_headers(frame: pd.DataFrame, renamed: dict[str, str]) -> np.ndarray:
    """Which rows hold the names of their own columns, as where csv files were joined end to end."""
    repeats = np.full(len(frame), frame.shape[1] > 1)
    for name in frame.columns[:20]:
        if not repeats.any():
            break
        repeats = repeats & (frame[name] == renamed.get(name, name)).fillna(False).to_numpy(bool)
    return repeats


def _find_total(frame: pd.DataFrame) -> str | None:
    """The word by which the last row calls itself a total, where no other row uses it."""
    totals = find_total_words(frame.iloc[-1])
    return next((word for name, word in totals if count_uses(frame, name, word) == 1), None)


def find_total_words(row: pd.Series) -> list[tuple[str, str]]:
    """(column, word) for the words by which the row may call itself a total."""
    words = [(str(name), str(value).strip()) for name, value in row.items() if isinstance(value, str)]
    return [(name, word) for name, word in words if word.casefold() in TOTALS]


def count_uses(frame: pd.DataFrame, name: str, word: str) -> int:
    """How many rows of the column hold that word."""
    return int((frame[name].str.strip() == word).sum())
