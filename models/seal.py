"""Which rows are sealed: drawn by a hash of what a row *is*, so that next week's table seals the same rows.

A row's key is its id columns, or its group, or its features in canonical form; never the target, since labels get
corrected. The hash is our own (blake2b of each distinct text, splitmix64 of numbers: Steele, Lea & Flood 2014), so
neither pandas' nor Python's versions, sessions, row order, column order or dtype move a row.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

LEAST_ROWS = 30
LEAST_GROUPS = 5
"""A smaller sealed set would say nothing; then there is none."""
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


def form(kind: str) -> str:
    """What values of a kind are to a key: text, dates or numbers."""
    return {"category": "text", "ordered": "text", "text": "text", "date": "date"}.get(kind, "number")


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


# --- The seal --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seal:
    """What a name's first run fixes and later runs keep: enough to say of any row whether it is sealed."""

    kind: Literal["random", "group", "time", "group_time"]
    columns: tuple[str, ...]
    """The columns that a row's key is made of."""
    fraction: float
    salt: int
    cut: float | int | None = None
    """Time plans: rows from this instant on are sealed. It only ever moves forward."""


def fraction_for(rows: int) -> float:
    """The share to seal: 20 % of up to 10,000 rows, 10 % of up to 100,000, beyond that what gives 20,000."""
    return 0.2 if rows <= 10_000 else 0.1 if rows <= 100_000 else 20_000 / rows


def choose_seal(
    keys: np.ndarray,
    strata: np.ndarray | None,
    kind: Literal["random", "group", "time", "group_time"] = "random",
    columns: tuple[str, ...] = (),
    share: float | None = None,
    time: np.ndarray | None = None,
    salt: int | None = None,
) -> tuple[Seal | None, str]:
    """A first run's seal, and a sentence: what was drawn, or why there is none.

    Of a hundred salts (or the one that is asked for), that one whose sealed rows are 0.75 to 1.25 of the share and have
    class shares nearest to the table's (by chi-square; fifths of a numeric target). Time plans seal the latest window
    instead.
    """
    rows = len(keys)
    fraction = fraction_for(rows) if share is None else share
    if fraction == 0:
        return None, "No rows are sealed: the setting says so."
    first = Seal(kind, columns, fraction, 0)
    if kind in ("time", "group_time"):
        cut = None if time is None else _cut(time, fraction)
        if cut is None:
            return None, "No rows are sealed: all rows have the same time."
        first = replace(first, cut=cut)
    salts = range(100) if salt is None else (salt,)
    seals = [first] if kind == "time" else [replace(first, salt=one) for one in salts]
    codes = np.zeros(rows, np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    shares = np.bincount(codes) / max(1, rows)
    best = min(
        ((distance, seal) for seal in seals if (distance := _distance(seal, keys, time, codes, shares)) is not None),
        key=lambda pair: (pair[0], pair[1].salt),
        default=None,
    )
    if best is None:
        least = f"{LEAST_ROWS} rows" + (f" of {LEAST_GROUPS} groups" if "group" in kind else "")
        why = f"a seal needs {least}, and {100 * fraction:g} % of {rows:,} rows do not give them"
        return None, f"No rows are sealed: {why}."
    size = int(sealed_rows(best[1], keys, time).sum())
    return best[1], f"{size} of {rows} rows are sealed."


def _distance(
    seal: Seal, keys: np.ndarray, time: np.ndarray | None, codes: np.ndarray, shares: np.ndarray
) -> float | None:
    """How far the sealed rows' class shares are from the table's; None if the draw is not allowed."""
    sealed = sealed_rows(seal, keys, time)
    size = int(sealed.sum())
    expected = seal.fraction * len(keys)
    if seal.cut is None and not 0.75 * expected <= size <= 1.25 * expected:
        return None
    if size < LEAST_ROWS or ("group" in seal.kind and len(np.unique(keys[sealed])) < LEAST_GROUPS):
        return None
    own = np.bincount(codes[sealed], minlength=len(shares)) / size
    return float(((own - shares) ** 2 / shares).sum())


def _cut(time: np.ndarray, fraction: float) -> float | int | None:
    """The instant nearest to the wanted place, so that a tie in time is never cut in two."""
    times = np.sort(time)
    begins = np.flatnonzero(np.diff(times)) + 1
    if not len(begins):
        return None
    return times[begins[np.abs(begins - len(times) * (1 - fraction)).argmin()]].item()


def renewed(seal: Seal, time: np.ndarray | None) -> Seal:
    """The seal for a later table: the window of a time plan moves on to the latest rows, and never back."""
    cut = None if time is None or seal.cut is None else _cut(time, seal.fraction)
    return seal if cut is None or seal.cut is None else replace(seal, cut=max(seal.cut, cut))


def sealed_rows(seal: Seal, keys: np.ndarray, time: np.ndarray | None = None) -> np.ndarray:
    """True where a row is sealed. A random or grouped seal asks of a row nothing but its key.

    In a grouped and time-ordered plan, of the latest window all groups that are new in it and a drawn quarter of the
    others: were all sealed, groups that are there throughout would leave no rows to work with.
    """
    drawn = mix(keys ^ mix(np.full(1, digest("seal", seal.salt), np.uint64)))
    if seal.cut is None or time is None:
        return drawn < np.uint64(min(seal.fraction, 1 - 2**-53) * 2.0**64)
    window = time >= seal.cut
    if seal.kind == "time":
        return window
    return window & ((drawn < np.uint64(2**62)) | ~np.isin(keys, keys[~window]))


def work_rows(
    sealed: np.ndarray,
    codes: np.ndarray,
    time: np.ndarray | None = None,
    gap: int = 0,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """True where a row may be worked with: not sealed, no group or copy (the plan's `keys`) in common with a sealed
    row, and in time plans earlier than all sealed rows, `gap` rows left out, and no later than what is `known` when the
    first of them is forecast."""
    work = ~sealed & ~np.isin(codes, codes[sealed])
    if time is None or not sealed.any():
        return work
    work &= time < time[sealed].min()
    work &= True if known is None else time <= known[sealed].min()
    before = np.sort(time[time < time[sealed].min()])
    if gap and len(before):
        work &= time < before[max(0, len(before) - gap)]
    return work
