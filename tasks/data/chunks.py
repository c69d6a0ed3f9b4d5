"""A later table of any size, some rows at a time: each value as `read_like` gives it, whatever the size of a chunk.

What the whole table decides is seen before the first chunk: whether a text file writes decimal commas, whether a
column of numbers that are names (a zip code) holds whole ones only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from models.data.table import Reading
from models.errors import InputError, join_names
from models.text.safe import shorten
from tasks.data.column_types.columns import is_textual, list_data_rows, to_canonical
from tasks.data.column_types.numeric import count_comma_votes, has_comma_majority
from tasks.data.column_types.words import NUMBER_MARKS, to_distinct_words
from tasks.data.headers import list_same_names, refuse_same_names, suggest_near_names
from tasks.data.rows import SURVEY, TableRows, TextRows, open_table
from tasks.data.spelled import Speller

__all__ = [
    "Chunk",
    "TableRows",
    "list_used_columns",
    "make_misfit_error",
    "open_table",
    "read_chunks",
    "refuse_lacking",
]


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table."""

    features: pd.DataFrame
    """As `read_like` gives them."""
    kept: pa.Table
    """The columns that were asked for, as they came."""


def read_chunks(
    reading: Reading, table: TableRows, rows: int, keep: Sequence[str] = (), speller: Speller | None = None
) -> Iterator[Chunk]:
    """The rows of a later table, at most `rows` at a time, in their order; at least one chunk, be it empty. InputError
    before the first where a column is missing, at the first value that does not fit its column's kind, and after the
    last where the speller has never seen most values of a column."""
    speller = speller or Speller({})
    names = list_used_columns(reading)
    refuse_lacking(reading, table.names, table.source, table.renamed)
    if missing := [c for c in keep if c not in table.names]:
        raise InputError(
            f"No column {missing[0]!r} to keep in {table.source}.{suggest_near_names(missing[0], table.names)}"
        )
    plan = _survey_table(reading, table, names)
    columns = [c for c in table.names if c in {*names, *keep}]
    first = 0
    for frame in table.frames(rows, columns):
        values = {c: speller.read(plan.read(frame[c], first)) for c in names}
        yield Chunk(pd.DataFrame(values, index=pd.RangeIndex(len(frame))), _keep_columns(frame, keep))
        first += len(frame)
    speller.refuse(table.source)


def list_used_columns(reading: Reading) -> list[str]:
    """The columns that are used, in the order of training."""
    return [c for c, kind in reading.kinds.items() if kind not in ("id", "drop")]


def refuse_lacking(reading: Reading, names: Sequence[str], source: str, renamed: Mapping[str, str]) -> None:
    """Stops where a column that is used is not there, or stands twice where it stood once; `match_renamed_columns`:
    what columns that were renamed are called in the source."""
    columns = [*reading.kinds, *reading.others]
    duplicates = [
        c
        for c in list_used_columns(reading)
        if list_same_names(c, names, renamed) not in ([], list_same_names(c, columns, reading.renamed))
    ]
    refuse_same_names([(c, "a column that the model looks at") for c in duplicates], names, renamed, source)
    absent = [c for c in list_used_columns(reading) if c not in names]
    if absent:
        spare = [c for c in names if c not in reading.kinds]
        hint = suggest_near_names(absent[0], spare) if len(absent) == 1 else ""
        hint = hint if "Did you mean" in hint else ""
        items = join_names((f"{c!r} ({reading.kinds[c]})" for c in absent), width=60)
        raise InputError(
            f"{source} lacks the column{'s'[: len(absent) > 1]} {items}.{hint} Every column that was trained on has to "
            "be there; single values may be empty."
        )


def make_misfit_error(source: str, column: pd.Series, kind: str, bad: np.ndarray, first: int = 0) -> InputError:
    """For values that are not of their column's kind; `first`: the rows above."""
    row = list_data_rows(bad, 1)[0]
    words = {
        "number": "is no number", "key": "is no number", "date": "is no date of the known form",
        "boolean": "is neither true nor false",
    }  # fmt: skip
    tail = f" ({int(bad.sum())} such values)" if bad.sum() > 1 else ""
    return InputError(
        f"{source}, column {shorten(column.name)!r}, data row {row + first}: {shorten(column.iloc[row - 1])!r} "
        f"{words.get(kind, 'does not fit')}{tail}. The column was a {kind} in training: correct it, or leave it empty."
    )


# ---------------------------------------------------------------- values


@dataclass(frozen=True)
class _ReadingPlan:
    """How the columns of a later table are read, once the whole of it was looked over."""

    reading: Reading
    source: str
    by_comma: frozenset[str] = frozenset()
    """Columns of numbers that this file writes with decimal commas, whatever the first one did."""
    whole: dict[str, bool] = field(default_factory=dict)
    """Columns of floats that are read as words -> whether all are whole numbers, so that 3.0 is the word `3`."""

    def read(self, column: pd.Series, first: int = 0) -> pd.Series:
        """The column in canonical form; stops at the first value that does not fit its kind."""
        name = str(column.name)
        kind = self.reading.kinds[name]
        canonical = to_canonical(self._read_words(column), kind, self.make_parser(name), self.reading.missing)
        if canonical.bad.any():
            raise make_misfit_error(self.source, column, kind, canonical.bad, first)
        return canonical.values.reset_index(drop=True)

    def make_parser(self, name: str) -> dict[str, Any]:
        """How the column's text becomes its kind."""
        parser = self.reading.parsers.get(name, {})
        return {**parser, "decimal": ",", "thousands": "."} if name in self.by_comma else parser

    def _read_words(self, column: pd.Series) -> pd.Series:
        if (whole := self.whole.get(str(column.name))) is None:
            return column
        floats = _to_floats(column)
        return (floats.astype("Int64") if whole else floats).astype("str").where(floats.notna())


def _survey_table(reading: Reading, table: TableRows, names: Sequence[str]) -> _ReadingPlan:
    """How the table is read. The whole of it is looked over only where it may matter."""
    if isinstance(table, TextRows):
        return _ReadingPlan(reading, table.source, _find_comma_columns(reading, table, names))
    mixed = [c for c in names if reading.kinds[c] in ("category", "ordered", "text", "date")]
    return _ReadingPlan(reading, table.source, whole=_find_whole_columns(table, mixed))


def _find_comma_columns(reading: Reading, table: TextRows, names: Sequence[str]) -> frozenset[str]:
    """The columns of numbers that are read with decimal commas: where some column of the file can only be read so,
    those that can't be read otherwise."""
    if not table.commas:
        return frozenset()
    votes, bad = dict.fromkeys(table.names, np.zeros(4)), dict.fromkeys(names, False)
    numbers = [c for c in names if reading.kinds[c] in ("number", "key")]
    for frame in table.frames(SURVEY, table.names):
        for name in table.names:
            words = to_distinct_words(frame[name])
            votes[name] = votes[name] + count_comma_votes(words, words.find_missing(NUMBER_MARKS))
        for name in numbers:
            bad[name] |= bool(
                to_canonical(frame[name], "number", reading.parsers.get(name, {}), reading.missing).bad.any()
            )
    return frozenset(c for c in numbers if bad[c]) if any(map(has_comma_majority, votes.values())) else frozenset()


def _find_whole_columns(table: TableRows, columns: Sequence[str]) -> dict[str, bool]:
    """Which of these columns hold floats, and whether those are whole numbers throughout."""
    by_column: dict[str, bool] = {}
    filled: set[str] = set()
    for frame in table.frames(SURVEY, columns) if columns else ():
        for name in columns:
            if (floats := _to_floats(frame[name])) is None:
                continue
            values = floats.dropna().to_numpy(np.float64)
            fine = bool((np.mod(values, 1) == 0).all() and (not len(values) or np.abs(values).max() < 2**53))
            by_column[name] = by_column.get(name, True) and fine
            filled |= {name} if len(values) else set()
    return {name: fine and name in filled for name, fine in by_column.items()}


def _to_floats(column: pd.Series) -> Any:
    """The column's floats, also where they are the levels of a categorical; None where it holds others."""
    dtype = column.cat.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    return column.astype(dtype) if pd.api.types.is_float_dtype(dtype) else None


def _keep_columns(frame: pd.DataFrame, keep: Sequence[str]) -> pa.Table:
    """The columns as they came, each of one type in all chunks."""
    return pa.table({name: _to_arrow_array(frame[name]) for name in keep})


def _to_arrow_array(column: pd.Series) -> Any:
    if isinstance(column.dtype, pd.CategoricalDtype) or (is_textual(column) and column.dtype == object):
        return pa.array([None if pd.isna(v) else str(v) for v in column.astype(object)], pa.large_string())
    return pa.array(column, from_pandas=True)
