"""Which rows are sealed: drawn by a hash of what a row *is*, so that next week's table seals the same rows.

A row's key is its id columns, or its group, or its features in canonical form; never the target, since labels get
corrected. Where the unit is the row, rows with equal features are counted in the order of the file. The hash is our own
(blake2b of each distinct text, splitmix64 of numbers: Steele, Lea & Flood 2014), so neither pandas' nor Python's
versions, sessions, column order or dtype move a row.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from models.data.table import Reading

Kind = Literal["random", "group", "time", "group_time"]
"""By what rows are divided."""
Unit = Literal["row", "point", "group"]
"""What is divided as one."""
SALTS = 100
LEAST_ROWS = 30
LEAST_GROUPS = 5
"""A smaller sealed set would say nothing; then there is none."""
COUNTED = "counted:"
"""Among what keys are made of: rows with equal features are told apart by their order."""
PLAIN = "word"
"""What text is to keys in which whole numbers count as such."""
_WHOLE = re.compile(r"^([+-]?)0*(\d+)(?:\.0+)?$")
_MISSING = 0x9E6D_5A1C_33B7_F04D
"""The one mark for a missing value, of whatever kind."""


def mix_bits(values: np.ndarray) -> np.ndarray:
    """Each uint64 scrambled so that every bit depends on every bit (splitmix64's finaliser). The shape stays."""
    x = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def digest_values(*parts: object) -> int:
    """A stable 64-bit number of plain values."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def make_row_keys(frame: pd.DataFrame, plain: bool = False) -> np.ndarray:
    """A uint64 key per row: equal for rows whose columns hold equal values, in whatever order the columns stand.

    Numbers count as float64 (-0.0 is 0.0, 1 is 1.0), text as NFC without blanks around it, dates as UTC instants.
    `plain`: a whole number in text, 00501 or 501.0, counts as 501, which is what other programs make of it.
    """
    total = np.zeros(len(frame), np.uint64)
    for place, name in enumerate(frame.columns):
        column = np.full(len(frame), digest_values("column", str(name)), np.uint64)
        total += mix_bits(column ^ _hash_column(frame.iloc[:, place], plain))
    return mix_bits(total)


def number_repeats(points: np.ndarray) -> np.ndarray:
    """The uint64 keys (rows,), those that occur again each with how-manieth of its kind it is; the first of a kind
    stays as it is."""
    codes, _ = pd.factorize(points)
    order = np.argsort(codes, kind="stable")
    begins = np.flatnonzero(np.diff(codes[order], prepend=-1))
    nth = np.empty(len(codes), np.int64)
    nth[order] = np.arange(len(codes)) - np.repeat(begins, np.diff(begins, append=len(codes)))
    return np.where(nth == 0, points, mix_bits(points ^ mix_bits(nth.astype(np.uint64))))


def to_key_form(kind: str) -> str:
    """What values of a kind are to a key: text, dates or numbers; names of rows or of groups are text too."""
    texts = {"category": "text", "ordered": "text", "text": "text", "id": "id", "group": "group"}
    return texts.get(kind, "date" if kind == "date" else "number")


def _hash_column(column: pd.Series, plain: bool) -> np.ndarray:
    dtype = column.dtype
    if isinstance(dtype, pd.DatetimeTZDtype) or np.dtype("M8[ns]").kind == getattr(dtype, "kind", ""):
        return _hash_dates(column)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return _hash_numbers(column.to_numpy(np.float64, na_value=np.nan))
    codes, distinct = pd.factorize(column)
    marks = np.array([_hash_value(value, plain) for value in distinct] + [_MISSING], np.uint64)
    return marks[codes]


def _hash_numbers(values: np.ndarray) -> np.ndarray:
    bits = mix_bits((values + 0.0).view(np.uint64))
    return np.where(np.isnan(values), np.uint64(_MISSING), bits)


def _hash_dates(column: pd.Series) -> np.ndarray:
    instants = pd.to_datetime(column, utc=True).dt.tz_localize(None)
    ticks = instants.to_numpy("datetime64[us]").astype(np.int64)
    return np.where(
        instants.isna(), np.uint64(_MISSING), mix_bits(ticks.view(np.uint64) ^ np.uint64(digest_values("date")))
    )


def _hash_value(value: Any, plain: bool) -> int:
    """The hash of one distinct value: a number as a number, anything else by its text."""
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        return int(_hash_numbers(np.array([float(value)]))[0])
    text = unicodedata.normalize("NFC", str(value).strip())
    return digest_values("text", _WHOLE.sub(r"\1\2", text) if plain else text)


# --- The seal --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seal:
    """What a name's first run fixes and later runs keep: enough to say of any row whether it is sealed."""

    kind: Kind
    columns: tuple[str, ...]
    """The columns that a row's key is made of."""
    fraction: float
    salt: int
    cut: float | int | None = None
    """Time plans: rows from this instant on are sealed. It only ever moves forward."""
    unit: Unit = "point"
    """What is sealed whole. With `row`, rows with equal features are told apart by their order."""
    apart: tuple[int, ...] = ()
    """With `point`: the keys of points that are too large for that; their rows are told apart by their order."""
    reading: Reading | None = None
    """How the key's columns were read; kinds `id` and `group` are names. None in a seal that an earlier version drew:
    its columns are read as each table has them."""
    time: str | None = None
    """The column by which a time plan seals; None where that was not written down."""
    number: int = 1
    """How manieth seal of its name it is."""
    plain: bool = False
    """Whether a whole number in text counts as that, however it is written; not in a seal that an earlier version
    drew, and not in names."""

    @property
    def by_name(self) -> bool:
        """Whether rows are known by names of rows or of groups."""
        return self.reading is not None and self.reading.by_name

    def make_keys(self, points: np.ndarray) -> np.ndarray:
        """The uint64 keys (rows,) of rows whose key columns have these hashes (rows,), in the order of the file."""
        if self.by_name:
            return points
        if self.unit == "row":
            return number_repeats(points)
        if not self.apart:
            return points
        return np.where(np.isin(points, np.array(self.apart, np.uint64)), number_repeats(points), points)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        reading = None if self.reading is None else {name: getattr(self.reading, name) for name in _READ}
        return {**asdict(self), "reading": reading}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Seal:
        """The seal that `as_json` made the value of, or an earlier version wrote down."""
        settings = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        if settings.get("reading") is not None:
            reading = {**settings["reading"], "missing": tuple(settings["reading"]["missing"])}
            settings["reading"] = Reading(source="", format="frame", **reading)
        unit = settings.get("unit") or ("group" if "group" in settings["kind"] else "point")
        return cls(
            **{
                **settings,
                "columns": tuple(settings["columns"]),
                "unit": unit,
                "apart": tuple(settings.get("apart", ())),
            }
        )


_READ = ("decimal", "missing", "kinds", "parsers")
"""What of a reading is needed to read columns the same way."""


def make_key_reading(reading: Reading, kinds: Mapping[str, str]) -> Reading:
    """How these columns are read, as kinds and as a table's reading say; without the order of levels, which is no part
    of a value."""
    parsers = {name: {k: v for k, v in reading.parsers.get(name, {}).items() if k != "order"} for name in kinds}
    return Reading(
        source="", format="frame", decimal=reading.decimal, missing=reading.missing, kinds=dict(kinds),
        parsers={name: parser for name, parser in parsers.items() if parser},
    )  # fmt: skip


def choose_sealed_fraction(rows: int) -> float:
    """The share to seal: 20 % of up to 10,000 rows, 10 % of up to 100,000, beyond that what gives 20,000."""
    return 0.2 if rows <= 10_000 else 0.1 if rows <= 100_000 else 20_000 / rows


def choose_seal(
    keys: np.ndarray,
    strata: np.ndarray | None,
    kind: Kind = "random",
    columns: tuple[str, ...] = (),
    share: float | None = None,
    time: np.ndarray | None = None,
    salt: int | None = None,
    used: Collection[int] = (),
) -> tuple[Seal | None, str]:
    """A first run's seal, and a sentence: what was drawn, or why there is none.

    Of a hundred salts but those that are `used` (or the one that is asked for), that one whose sealed rows are 0.75 to
    1.25 of the share and have class shares nearest to the table's (by chi-square; fifths of a numeric target). Time
    plans seal the latest window instead. `keys`, `strata` and `time` are (rows,); `share` is between 0 and 1.
    """
    rows = len(keys)
    fraction = choose_sealed_fraction(rows) if share is None else share
    if fraction == 0:
        return None, "No rows are sealed: the setting says so."
    template = Seal(kind, columns, fraction, 0)
    if kind in ("time", "group_time"):
        cut = None if time is None else _find_cut(time, fraction)
        if cut is None:
            return None, "No rows are sealed: all rows have the same time."
        template = replace(template, cut=cut)
    salts = [n for n in range(SALTS) if n not in used] if salt is None else [salt]
    seals = [template] if kind == "time" else [replace(template, salt=salt) for salt in salts]
    codes = np.zeros(rows, np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    shares = np.bincount(codes) / max(1, rows)
    best = min(
        (
            (distance, seal)
            for seal in seals
            if (distance := _measure_distance(seal, keys, time, codes, shares)) is not None
        ),
        key=lambda pair: (pair[0], pair[1].salt),
        default=None,
    )
    if best is None:
        minimum = f"{LEAST_ROWS} rows" + (f" of {LEAST_GROUPS} groups" if "group" in kind else "")
        reason = f"a seal needs {minimum}, and {100 * fraction:g} % of {rows:,} rows do not give them"
        return None, f"No rows are sealed: {reason}."
    size = int(mark_sealed_rows(best[1], keys, time).sum())
    return best[1], f"{size} of {rows} rows are sealed."


def _measure_distance(
    seal: Seal, keys: np.ndarray, time: np.ndarray | None, codes: np.ndarray, shares: np.ndarray
) -> float | None:
    """How far the sealed rows' class shares are from the table's; None if the draw is not allowed."""
    sealed = mark_sealed_rows(seal, keys, time)
    size = int(sealed.sum())
    expected = seal.fraction * len(keys)
    if seal.cut is None and not 0.75 * expected <= size <= 1.25 * expected:
        return None
    if size < LEAST_ROWS or ("group" in seal.kind and len(np.unique(keys[sealed])) < LEAST_GROUPS):
        return None
    sealed_shares = np.bincount(codes[sealed], minlength=len(shares)) / size
    return float(((sealed_shares - shares) ** 2 / shares).sum())


def _find_cut(time: np.ndarray, fraction: float) -> float | int | None:
    """The instant nearest to the wanted place, so that a tie in time is never cut in two."""
    times = np.sort(time)
    begins = np.flatnonzero(np.diff(times)) + 1
    if not len(begins):
        return None
    return times[begins[np.abs(begins - len(times) * (1 - fraction)).argmin()]].item()


def renew_seal(seal: Seal, time: np.ndarray | None) -> Seal:
    """The seal for a later table: the window of a time plan moves on to the latest rows, and never back. `time` is
    (rows,), in the unit of the seal's cut."""
    cut = None if time is None or seal.cut is None else _find_cut(time, seal.fraction)
    return seal if cut is None or seal.cut is None else replace(seal, cut=max(seal.cut, cut))


def mark_sealed_rows(seal: Seal, keys: np.ndarray, time: np.ndarray | None = None) -> np.ndarray:
    """True where a row is sealed. A random or grouped seal asks of a row nothing but its key. All arrays are (rows,).

    In a grouped and time-ordered plan, of the latest window all groups that are new in it and a drawn quarter of the
    others: were all sealed, groups that are there throughout would leave no rows to work with.
    """
    hashes = mix_bits(keys ^ mix_bits(np.full(1, digest_values("seal", seal.salt), np.uint64)))
    if seal.cut is None or time is None:
        return hashes < np.uint64(min(seal.fraction, 1 - 2**-53) * 2.0**64)
    window = time >= seal.cut
    if seal.kind == "time":
        return window
    return window & ((hashes < np.uint64(2**62)) | ~np.isin(keys, keys[~window]))


def mark_work_rows(
    sealed: np.ndarray,
    codes: np.ndarray,
    time: np.ndarray | None = None,
    gap: int = 0,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """True where a row may be worked with: not sealed, no group or copy (the plan's `keys`) in common with a sealed
    row, and in time plans earlier than all sealed rows, `gap` rows left out, and no later than what is `known` when the
    first of them is forecast. All arrays are (rows,)."""
    work = ~sealed & ~np.isin(codes, codes[sealed])
    if time is None or not sealed.any():
        return work
    work &= time < time[sealed].min()
    work &= True if known is None else time <= known[sealed].min()
    earlier = np.sort(time[time < time[sealed].min()])
    if gap and len(earlier):
        work &= time < earlier[max(0, len(earlier) - gap)]
    return work
