"""Tables that can be gone through again and again, some raw rows at a time, with nothing but those in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd
import pyarrow as pa

from models.data.table import Finding
from models.text.safe import shorten
from tasks.data.formats.parquet import ParquetReader
from tasks.data.formats.pieces import read_source
from tasks.data.formats.stray import FEWEST, count_uses, find_total_words, mark_repeated_headers
from tasks.data.formats.stream import inspect_text
from tasks.data.headers import clean_names
from tasks.data.room import measure_room
from tasks.data.sources.files import is_parquet, locate_file
from tasks.data.sources.source import load_raw_table, to_frame

SURVEY = 50_000
"""Rows at once where the whole table is looked over."""


class TableRows(Protocol):
    """A table that can be gone through again and again; nothing of it but one part is in memory."""

    source: str
    """As messages name it."""
    names: list[str]
    renamed: dict[str, str]
    """Name -> name in the source, where they differ."""

    @property
    def rows(self) -> int | None:
        """How many; None where only reading tells."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be said, as far as the table has been read."""
        ...

    def frames(self, rows: int, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """These columns, raw: at most so many rows at a time."""
        ...


class FrameRows:
    """A table that is in memory."""

    def __init__(self, data: object):
        """Stops where there is no such table."""
        raw = load_raw_table(data)
        self._frame, self.source, self.findings = raw.frame, raw.source, raw.findings
        self.names, self.renamed, self.rows = list(raw.frame.columns), raw.renamed, len(raw.frame)

    def frames(self, rows: int, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """These columns, at most so many rows at a time."""
        for first in range(0, max(self.rows, 1), rows):
            yield self._frame[list(columns)].iloc[first : first + rows]


class ParquetRows:
    """A parquet file."""

    def __init__(self, path: Path):
        """Stops where the file is no whole one."""
        self._file = ParquetReader(path, measure_room())
        schema = self._file.schema
        self.source, self.rows = read_source(schema) or str(path), self._file.rows
        self.names, self.renamed, findings = clean_names(schema.names)
        self.findings = tuple(findings)

    def frames(self, rows: int, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """These columns, at most so many rows at a time."""
        for table in self._file.tables(rows, [self.names.index(c) for c in columns]):
            yield to_frame(table).set_axis(pd.Index(list(columns), dtype=object), axis=1)


class TextRows:
    """A text file."""

    rows = None

    def __init__(self, path: Path):
        """Stops where the file is no table."""
        self._text, self.source = inspect_text(path), str(path)
        layout, coded, marks = self._text.layout, self._text.coded, self._text.marks
        self.names, self.renamed, findings = clean_names(list(layout.names))
        self._said = {
            str(n): f for n, f in enumerate((*([coded.said] if coded.said else []), *layout.findings, *findings))
        }
        # Between commas a field with a comma needs quotes.
        self.commas = marks.commas and (layout.dialect.separator != "," or marks.quotes)
        """Whether a field may hold digits around a comma."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be said, as far as the file has been read."""
        return tuple(self._said.values())

    def frames(self, rows: int, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """These columns, at most so many rows at a time, without lines that are no data (stray.py)."""
        count, last = 0, pd.DataFrame(columns=self.names, dtype="str")
        for frame in self._drop_headers(rows):
            if count:
                yield last[list(columns)]
            count, last = count + len(frame), frame
        yield self._drop_total(last, count)[list(columns)]

    def _drop_headers(self, rows: int) -> Iterator[pd.DataFrame]:
        """The rows, but for header lines that came again."""
        first = 0
        for table in _rechunk_tables(self._text.tables(), rows):
            table = table.select(range(len(self.names)))  # without the empty one where lines end in a separator
            frame = table.to_pandas().set_axis(pd.Index(self.names, dtype=object), axis=1)
            repeats = mark_repeated_headers(frame, self.renamed)
            if repeats.any():
                row = first + int(repeats.argmax()) + 1
                sentence = f"The header stands in the data again (first as data row {row}); such lines are left out."
                self._said.setdefault("again", Finding("repeated_header", "warn", sentence, rows=(row,)))
                frame = frame[~repeats].reset_index(drop=True)
            first += len(frame)
            if len(frame):
                yield frame

    def _drop_total(self, last: pd.DataFrame, count: int) -> pd.DataFrame:
        """The last rows without a line of totals: a word that no other row of the file uses."""
        for name, word in find_total_words(last.iloc[-1]) if count >= FEWEST else []:
            if sum(count_uses(frame, name, word) for frame in self._drop_headers(SURVEY)) == 1:
                sentence = f"The last row ({shorten(word)!r}) looks like a line of totals and was left out."
                self._said["total"] = Finding("totals_row", "warn", sentence, rows=(count,))
                return last.iloc[:-1]
        return last


def open_table(data: object) -> TableRows:
    """The table behind a path, `sklearn:NAME` or a DataFrame; stops where there is none."""
    if not isinstance(data, (str, Path)) or str(data).startswith("sklearn:"):
        return FrameRows(data)
    path = locate_file(data)
    return ParquetRows(path) if is_parquet(path) else TextRows(path)


def _rechunk_tables(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows, so many at a time."""
    parts: list[pa.Table] = []
    count = 0
    for table in tables:
        while count + len(table) >= rows:
            cut = rows - count
            yield pa.concat_tables([*parts, table.slice(0, cut)])
            parts, count, table = [], 0, table.slice(cut)
        if len(table):
            parts.append(table)
            count += len(table)
    if parts:
        yield pa.concat_tables(parts)
