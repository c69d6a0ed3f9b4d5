"""Which rows are sealed: drawn by a hash of what a row *is*, so that next week's table seals the same rows.

A row's key is its id columns, or its group, or its features in canonical form; never the target, since labels get
corrected. The hash is our own (blake2b of each distinct text, splitmix64 of numbers: Steele, Lea & Flood 2014), so
neither pandas' nor Python's versions, sessions, row order, column order or dtype move a row.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any

import numpy as np
import pandas as pd

_MISSING = 0x9E6D_5A1C_33B7_F04D
"""The one mark for a missing value, of whatever kind."""


def mix(values: np.ndarray) -> np.ndarray:
    """Each uint64 scrambled so that every bit depends on every bit (splitmix64's finaliser)."""
    x = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def digest(*parts: object) -> int:
    """A stable 64-bit number of plain values."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def keys(frame: pd.DataFrame) -> np.ndarray:
    """A uint64 key per row: equal for rows whose columns hold equal values, in whatever order the columns stand.

    Numbers count as float64 (-0.0 is 0.0, 1 is 1.0), text as NFC without blanks around it, dates as UTC instants.
    """
    total = np.zeros(len(frame), np.uint64)
    for place, name in enumerate(frame.columns):
        column = np.full(len(frame), digest("column", str(name)), np.uint64)
        total += mix(column ^ _hashed(frame.iloc[:, place]))
    return mix(total)


def _hashed(column: pd.Series) -> np.ndarray:
    dtype = column.dtype
    if isinstance(dtype, pd.DatetimeTZDtype) or np.dtype("M8[ns]").kind == getattr(dtype, "kind", ""):
        return _dates(column)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return _numbers(column.to_numpy(np.float64, na_value=np.nan))
    codes, distinct = pd.factorize(column)
    marks = np.array([_value(value) for value in distinct] + [_MISSING], np.uint64)
    return marks[codes]


def _numbers(values: np.ndarray) -> np.ndarray:
    bits = mix((values + 0.0).view(np.uint64))
    return np.where(np.isnan(values), np.uint64(_MISSING), bits)


def _dates(column: pd.Series) -> np.ndarray:
    instants = pd.to_datetime(column, utc=True).dt.tz_localize(None)
    ticks = instants.to_numpy("datetime64[us]").astype(np.int64)
    return np.where(instants.isna(), np.uint64(_MISSING), mix(ticks.view(np.uint64) ^ np.uint64(digest("date"))))


def _value(value: Any) -> int:
    """The hash of one distinct value: a number as a number, anything else by its text."""
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        return int(_numbers(np.array([float(value)]))[0])
    return digest("text", unicodedata.normalize("NFC", str(value).strip()))
