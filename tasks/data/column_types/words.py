"""A text column as its distinct values, so that every later question is asked once per value and not once per row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.data.column_types.arrow import pc

# Never a level, in any column.
MARKS = ("", "?", "n/a", "#n/a", "nan", "<na>", "null", "\\n", "(null)", "#null!")
# No number or date either, but in a column of words perhaps a level: no alley, Namibia.
NUMBER_MARKS = (
    *MARKS, "na", "none", "-", "--", "---", ".", "..", "...", "n.a.", "n.a", "nat", "nil",
    "*", "\u2013", "\u2014", "missing", "unknown", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "not available",
)  # fmt: skip
PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True, eq=False)
class DistinctWords:
    """A column of text: `values` distinct and trimmed; `codes` their place for each row, -1 where there is none."""

    values: pa.Array
    codes: np.ndarray
    blanks: int = 0
    """How many rows hold nothing but blanks, which looks like a value and is none."""

    @cached_property
    def counts(self) -> np.ndarray:
        """How many rows hold each value."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    @cached_property
    def lower(self) -> pa.Array:
        """The values in lower case."""
        return pc.utf8_lower(self.values)

    @cached_property
    def plain(self) -> np.ndarray:
        """Which values are plain numbers: digits, a point, an exponent."""
        return self.find_matching(PLAIN)

    def find_missing(self, marks: tuple[str, ...]) -> np.ndarray:
        """Which values stand for a missing one."""
        return to_mask(pc.is_in(self.lower, value_set=_make_value_set(marks)))

    @cached_property
    def shapes(self) -> pa.Array:
        """The values in lower case, `#` for each number among other signs: `<#` for `<0.5`, but `1.2.3`."""
        shapes = pc.replace_substring_regex(self.lower, r"\d[\d.,]*", "#")
        return pc.if_else(pc.equal(shapes, "#"), self.lower, shapes)

    def find_shaped(self, shapes: Iterable[str]) -> np.ndarray:
        """Which values have one of these shapes."""
        return to_mask(pc.is_in(self.shapes, value_set=_make_value_set(tuple(shapes))))

    def find_matching(self, pattern: str) -> np.ndarray:
        """Which values match the pattern."""
        return to_mask(pc.match_substring_regex(self.values, pattern))

    def find_rows(self, mask: np.ndarray) -> np.ndarray:
        """Which rows hold one of the chosen values."""
        return spread_to_rows(mask, self.codes, False)

    def list_examples(self, mask: np.ndarray, most: int = 3) -> list[str]:
        """A few of the chosen values, most frequent first."""
        places = np.flatnonzero(mask)
        order = places[np.argsort(-self.counts[places], kind="stable")][:most]
        return [self.values[int(i)].as_py() for i in order]


@cache
def _make_value_set(marks: tuple[str, ...]) -> pa.Array:
    return pa.array(marks, pa.large_string())


def to_mask(array: pa.Array) -> np.ndarray:
    """An Arrow array of truth as numpy's."""
    return array.to_numpy(zero_copy_only=False).astype(bool)


def spread_to_rows(per_value: np.ndarray, codes: np.ndarray, missing: object) -> np.ndarray:
    """What is known per value, for every row."""
    if not len(per_value):
        return np.full(len(codes), missing, dtype=per_value.dtype)
    values = per_value[codes]
    values[codes < 0] = missing
    return values


def to_distinct_words(column: pd.Series) -> DistinctWords:
    """The words of a text column; values of other types as their text."""
    texts = _to_arrow_text(column)
    array = pc.utf8_trim_whitespace(texts)
    if not pc.all(pc.string_is_ascii(array)).as_py():
        array = pc.utf8_normalize(array, form="NFC")
    coded = array.dictionary_encode()
    indices = coded.indices.fill_null(-1) if coded.null_count else coded.indices
    words = DistinctWords(coded.dictionary, indices.to_numpy())
    return (
        replace(words, blanks=pc.sum(pc.match_substring_regex(texts, r"^\s+$")).as_py()) if _has_empty(words) else words
    )


def _has_empty(words: DistinctWords) -> bool:
    return bool(pc.any(pc.equal(words.values, "")).as_py())


def _to_arrow_text(column: pd.Series) -> pa.Array:
    try:
        array = pa.array(column, pa.large_string(), from_pandas=True)
    except (pa.ArrowException, TypeError):
        array = pa.array([None if _is_null(v) else _to_word(v) for v in column], pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _to_word(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_null(value: object) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and value != value)
