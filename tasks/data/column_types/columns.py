"""One column in canonical form: its kind and parser are known here; what did not fit is told, not hidden."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.data.column_types.arrow import pc
from tasks.data.column_types.dates import apply_date_parser, mark_far_dates
from tasks.data.column_types.durations import parse_durations
from tasks.data.column_types.numeric import NumberStyle, drop_out_of_range, parse_numbers
from tasks.data.column_types.words import MARKS, NUMBER_MARKS, DistinctWords, spread_to_rows, to_distinct_words

FLOATED = r"^([+-]?\d+)\.0+$"


@dataclass(frozen=True)
class CanonicalColumn:
    """A column in canonical form; rows where `bad` did not fit the kind, where `far` lay out of range: both missing."""

    values: pd.Series
    bad: np.ndarray
    far: np.ndarray


def to_canonical(
    raw: pd.Series,
    kind: str,
    parser: dict[str, Any],
    marks: tuple[str, ...] = MARKS,
    found: DistinctWords | None = None,
) -> CanonicalColumn:
    """The column as its kind asks. marks: what stands for missing in words (lower case); found: its words if known."""
    if found is None and (is_textual(raw) or kind in ("category", "ordered", "text")):
        found = to_distinct_words(_as_text(raw))
    if kind in ("number", "key"):
        return _read_numbers(raw, parser, found)
    if kind == "boolean":
        return _read_booleans(raw, parser, found)
    if kind == "date":
        return _read_dates(raw, parser, found)
    found = found or to_distinct_words(_as_text(raw))
    return _read_words(raw, marks, drop_zero_decimals(found) if parser.get("whole") else found)


def make_whole_parser(raw: pd.Series, words: DistinctWords | None = None) -> dict[str, Any]:
    """How words that are whole numbers written 3.0, as pandas writes them where one is missing, become the word 3, as
    they are read from a column of floats; nothing for others."""
    words = to_distinct_words(raw) if words is None and is_textual(raw) else words
    if words is None or not words.find_matching(FLOATED).any():
        return {}
    return {"whole": True} if (words.find_matching(r"^[+-]?\d+(\.0+)?$") | words.find_missing(MARKS)).all() else {}


def drop_zero_decimals(words: DistinctWords) -> DistinctWords:
    """The words with 3 in place of 3.0."""
    return replace(words, values=pc.replace_substring_regex(words.values, FLOATED, r"\1"))


def is_textual(raw: pd.Series) -> bool:
    """Whether the column's values are text (or a mixture that has to be read as text)."""
    return not (
        pd.api.types.is_numeric_dtype(raw.dtype)
        or pd.api.types.is_datetime64_any_dtype(raw.dtype)
        or pd.api.types.is_timedelta64_dtype(raw.dtype)
    )


def to_floats(raw: pd.Series) -> np.ndarray:
    """A column of numbers, booleans or durations as float64 with NaN."""
    if pd.api.types.is_timedelta64_dtype(raw.dtype):
        return raw.dt.total_seconds().to_numpy(np.float64, na_value=np.nan)
    if pd.api.types.is_complex_dtype(raw.dtype):
        return raw.to_numpy().real.astype(np.float64)
    return raw.to_numpy(np.float64, na_value=np.nan)


def mark_missing_numbers(words: DistinctWords, parser: dict[str, Any]) -> np.ndarray:
    """Which words stand for a missing number or date."""
    if words.plain.all() and not parser.get("missing"):
        return ~words.plain
    return words.find_missing((*NUMBER_MARKS, *parser.get("missing", ())))


def _mark_none(raw: pd.Series) -> np.ndarray:
    return np.zeros(len(raw), bool)


def _read_numbers(raw: pd.Series, parser: dict[str, Any], words: DistinctWords | None) -> CanonicalColumn:
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        return CanonicalColumn(
            pd.Series(np.full(len(raw), np.nan), name=raw.name), raw.notna().to_numpy(), _mark_none(raw)
        )
    if words is None:
        values, out = drop_out_of_range(to_floats(raw))
        return CanonicalColumn(pd.Series(values, name=raw.name), _mark_none(raw), out)
    skip = mark_missing_numbers(words, parser)
    if parser.get("duration"):
        seconds, good = parse_durations(words, skip)
        good = good | skip
        if not good.all():  # seconds are written as numbers too; 5 min are not 5 of them
            numbers = parse_numbers(words, good, style=NumberStyle.of({}))
            seconds, good = np.where(numbers.good, numbers.values, seconds), good | numbers.good
        return CanonicalColumn(
            pd.Series(spread_to_rows(seconds, words.codes, np.nan), name=raw.name),
            words.find_rows(~good),
            _mark_none(raw),
        )
    numbers = parse_numbers(words, skip, style=NumberStyle.of(parser))
    values, out = drop_out_of_range(spread_to_rows(numbers.values, words.codes, np.nan))
    bad = ~(numbers.good | skip)
    if bad.any() and parser.get("missing"):
        bad &= ~words.find_shaped(parser["missing"])
    return CanonicalColumn(pd.Series(values, name=raw.name), words.find_rows(bad), out)


def _read_booleans(raw: pd.Series, parser: dict[str, Any], words: DistinctWords | None) -> CanonicalColumn:
    if words is None:
        values = to_floats(raw)
        bad = ~np.isnan(values) & (values != 0) & (values != 1)
        return CanonicalColumn(pd.Series(np.where(bad, np.nan, values), name=raw.name), bad, _mark_none(raw))
    yes = words.find_missing((*parser.get("true", ("true",)), "true", "1", "1.0"))
    no = words.find_missing((*parser.get("false", ("false",)), "false", "0", "0.0"))
    per_value = np.where(yes, 1.0, np.where(no, 0.0, np.nan))
    bad = ~(yes | no | mark_missing_numbers(words, parser))
    return CanonicalColumn(
        pd.Series(spread_to_rows(per_value, words.codes, np.nan), name=raw.name), words.find_rows(bad), _mark_none(raw)
    )


def _read_dates(raw: pd.Series, parser: dict[str, Any], words: DistinctWords | None) -> CanonicalColumn:
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        aware = raw.dt.tz_convert("UTC").dt.tz_localize(None) if raw.dt.tz is not None else raw
        values, bad = aware.to_numpy("datetime64[us]"), _mark_none(raw)
    else:
        words = words or to_distinct_words(_as_text(raw))
        stamps, good = apply_date_parser(words, parser if "format" in parser else {"format": "ISO8601"})
        values = spread_to_rows(stamps, words.codes, np.datetime64("NaT"))
        bad = words.find_rows(~(good | mark_missing_numbers(words, parser)))
    out = mark_far_dates(values)
    values = np.where(out, np.datetime64("NaT", "us"), values)
    return CanonicalColumn(pd.Series(values, name=raw.name), bad, out)


def _read_words(raw: pd.Series, marks: tuple[str, ...], words: DistinctWords) -> CanonicalColumn:
    codes = np.where(words.find_rows(words.find_missing(marks)), -1, words.codes)
    indices = pa.array(codes, mask=codes < 0)
    text = pc.take(words.values, indices) if len(words.values) else pa.nulls(len(raw), pa.large_string())
    return CanonicalColumn(pd.Series(text, dtype="str", name=raw.name), _mark_none(raw), _mark_none(raw))


def _as_text(raw: pd.Series) -> pd.Series:
    """The column as text, in which a whole number is written alike whether it came as 3 or as 3.0."""
    if isinstance(raw.dtype, pd.CategoricalDtype):
        raw = raw.astype(raw.cat.categories.dtype if raw.cat.categories.dtype.kind in "fOU" else "object")
    if pd.api.types.is_bool_dtype(raw.dtype):
        return raw.astype("object").map({True: "True", False: "False"}).astype("str")
    if pd.api.types.is_float_dtype(raw.dtype):
        values = raw.dropna()
        if len(values) and (np.mod(values.to_numpy(np.float64), 1) == 0).all() and values.abs().max() < 2**53:
            return raw.astype("Int64").astype("str").where(raw.notna())
    if not is_textual(raw):
        return raw.astype("str").where(raw.notna())
    return raw


def list_data_rows(where: np.ndarray, most: int = 8) -> tuple[int, ...]:
    """Data rows, counted from 1; bounded."""
    return tuple(int(i) + 1 for i in np.flatnonzero(where)[:most])
