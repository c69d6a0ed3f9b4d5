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
from models.errors import InputError, listed, shortened
from tasks.data.column_types.columns import canonical, positions, textual
from tasks.data.column_types.numeric import comma_votes, commas_win
from tasks.data.column_types.words import NUMBER_MARKS, words
from tasks.data.headers import near, refuse_twice, twice
from tasks.data.rows import SURVEY, Rows, TextRows, opened
from tasks.data.spelled import Speller

__all__ = ["Chunk", "Rows", "chunks", "misfit", "opened", "refuse_lacking", "used"]


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table."""

    features: pd.DataFrame
    """As `read_like` gives them."""
    kept: pa.Table
    """The columns that were asked for, as they came."""


def chunks(
    reading: Reading, table: Rows, rows: int, keep: Sequence[str] = (), speller: Speller | None = None
) -> Iterator[Chunk]:
    """The rows of a later table, at most `rows` at a time, in their order; at least one chunk, be it empty. InputError
    before the first where a column is missing, at the first value that does not fit its column's kind, and after the
    last where the speller has never seen most values of a column."""
    speller = speller or Speller({})
    wanted = used(reading)
    refuse_lacking(reading, table.names, table.source, table.renamed)
    if lacking := [c for c in keep if c not in table.names]:
        raise InputError(f"No column {lacking[0]!r} to keep in {table.source}.{near(lacking[0], table.names)}")
    like = _surveyed(reading, table, wanted)
    columns = [c for c in table.names if c in {*wanted, *keep}]
    first = 0
    for frame in table.frames(rows, columns):
        read = {c: speller.read(like.read(frame[c], first)) for c in wanted}
        yield Chunk(pd.DataFrame(read, index=pd.RangeIndex(len(frame))), _kept(frame, keep))
        first += len(frame)
    speller.refuse(table.source)


def used(reading: Reading) -> list[str]:
    """The columns that are used, in the order of training."""
    return [c for c, kind in reading.kinds.items() if kind not in ("id", "drop")]


def refuse_lacking(reading: Reading, names: Sequence[str], source: str, renamed: Mapping[str, str]) -> None:
    """Stops where a column that is used is not there, or stands twice where it stood once; `renamed`: what columns that
    were renamed are called in the source."""
    known = [*reading.kinds, *reading.others]
    again = [c for c in used(reading) if twice(c, names, renamed) not in ([], twice(c, known, reading.renamed))]
    refuse_twice([(c, "a column that the model looks at") for c in again], names, renamed, source)
    lacking = [c for c in used(reading) if c not in names]
    if lacking:
        spare = [c for c in names if c not in reading.kinds]
        hint = near(lacking[0], spare) if len(lacking) == 1 else ""
        hint = hint if "Did you mean" in hint else ""
        told = listed((f"{c!r} ({reading.kinds[c]})" for c in lacking), width=60)
        raise InputError(
            f"{source} lacks the column{'s'[: len(lacking) > 1]} {told}.{hint} Every column that was trained on has to "
            "be there; single values may be empty."
        )


def misfit(source: str, column: pd.Series, kind: str, bad: np.ndarray, first: int = 0) -> InputError:
    """For values that are not of their column's kind; `first`: the rows above."""
    row = positions(bad, 1)[0]
    what = {
        "number": "is no number", "key": "is no number", "date": "is no date of the known form",
        "boolean": "is neither true nor false",
    }  # fmt: skip
    more = f" ({int(bad.sum())} such values)" if bad.sum() > 1 else ""
    return InputError(
        f"{source}, column {shortened(column.name)!r}, data row {row + first}: {shortened(column.iloc[row - 1])!r} "
        f"{what.get(kind, 'does not fit')}{more}. The column was a {kind} in training: correct it, or leave it empty."
    )


# ---------------------------------------------------------------- values


@dataclass(frozen=True)
class _Like:
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
        read = canonical(self._words(column), kind, self.parser(name), self.reading.missing)
        if read.bad.any():
            raise misfit(self.source, column, kind, read.bad, first)
        return read.values.reset_index(drop=True)

    def parser(self, name: str) -> dict[str, Any]:
        """How the column's text becomes its kind."""
        parser = self.reading.parsers.get(name, {})
        return {**parser, "decimal": ",", "thousands": "."} if name in self.by_comma else parser

    def _words(self, column: pd.Series) -> pd.Series:
        if (whole := self.whole.get(str(column.name))) is None:
            return column
        floats = _floats(column)
        return (floats.astype("Int64") if whole else floats).astype("str").where(floats.notna())


def _surveyed(reading: Reading, table: Rows, wanted: Sequence[str]) -> _Like:
    """How the table is read. The whole of it is looked over only where it may matter."""
    if isinstance(table, TextRows):
        return _Like(reading, table.source, _by_comma(reading, table, wanted))
    mixed = [c for c in wanted if reading.kinds[c] in ("category", "ordered", "text", "date")]
    return _Like(reading, table.source, whole=_whole(table, mixed))


def _by_comma(reading: Reading, table: TextRows, wanted: Sequence[str]) -> frozenset[str]:
    """The columns of numbers that are read with decimal commas: where some column of the file can only be read so,
    those that can't be read otherwise."""
    if not table.commas:
        return frozenset()
    votes, bad = dict.fromkeys(table.names, np.zeros(4)), dict.fromkeys(wanted, False)
    numbers = [c for c in wanted if reading.kinds[c] in ("number", "key")]
    for frame in table.frames(SURVEY, table.names):
        for name in table.names:
            found = words(frame[name])
            votes[name] = votes[name] + comma_votes(found, found.marked(NUMBER_MARKS))
        for name in numbers:
            bad[name] |= bool(
                canonical(frame[name], "number", reading.parsers.get(name, {}), reading.missing).bad.any()
            )
    return frozenset(c for c in numbers if bad[c]) if any(map(commas_win, votes.values())) else frozenset()


def _whole(table: Rows, columns: Sequence[str]) -> dict[str, bool]:
    """Which of these columns hold floats, and whether those are whole numbers throughout."""
    found: dict[str, bool] = {}
    some: set[str] = set()
    for frame in table.frames(SURVEY, columns) if columns else ():
        for name in columns:
            if (floats := _floats(frame[name])) is None:
                continue
            values = floats.dropna().to_numpy(np.float64)
            fine = bool((np.mod(values, 1) == 0).all() and (not len(values) or np.abs(values).max() < 2**53))
            found[name] = found.get(name, True) and fine
            some |= {name} if len(values) else set()
    return {name: fine and name in some for name, fine in found.items()}


def _floats(column: pd.Series) -> Any:
    """The column's floats, also where they are the levels of a categorical; None where it holds others."""
    dtype = column.cat.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    return column.astype(dtype) if pd.api.types.is_float_dtype(dtype) else None


def _kept(frame: pd.DataFrame, keep: Sequence[str]) -> pa.Table:
    """The columns as they came, each of one type in all chunks."""
    return pa.table({name: _typed(frame[name]) for name in keep})


def _typed(column: pd.Series) -> Any:
    if isinstance(column.dtype, pd.CategoricalDtype) or (textual(column) and column.dtype == object):
        return pa.array([None if pd.isna(v) else str(v) for v in column.astype(object)], pa.large_string())
    return pa.array(column, from_pandas=True)
