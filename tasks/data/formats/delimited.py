"""Delimited text as columns of text: the separator, the header line, and records that all have the header's length."""

from __future__ import annotations

import csv
import io
import operator
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv

from models.data.table import Finding
from models.errors import InputError

SEPARATORS = (",", ";", "\t", "|")
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
SAMPLE_RECORDS = 200
BATCH = 20_000
MOST_PREAMBLE = 20
LARGEST = 2**26
"""Characters that a field may have: a quote that is never closed would take the rest of the file into memory."""
HEAD = 2_000_000
"""Characters at the beginning of a text that tell the separator and the header."""


@dataclass(frozen=True)
class Dialect:
    """How fields are divided and quotes escaped."""

    separator: str
    escape: str | None = None
    spaced: bool = False
    """Whether blanks stand between a separator and a quote."""


@dataclass(frozen=True)
class TextMarks:
    """What a whole text holds that decides how it is read."""

    quotes: bool = False
    spaced: bool = False
    """Blanks between a separator and a quote."""
    escaped: bool = False
    """A backslash before a quote inside of a field."""
    doubled: bool = False
    """Two quotes side by side."""
    commas: bool = False
    """Digits around a comma."""

    def __or__(self, other: TextMarks) -> TextMarks:
        """What either holds."""
        return TextMarks(*map(operator.or_, astuple(self), astuple(other)))


@dataclass(frozen=True)
class TextLayout:
    """How a text is laid out."""

    dialect: Dialect
    names: list[str]
    line: int
    """The lines down to and with the header."""
    quick: bool
    """Whether no quote can confuse Arrow's parser."""
    findings: tuple[Finding, ...]


def find_marks(text: str) -> TextMarks:
    """The marks in a text, or in some whole lines of one."""
    quotes = '"' in text
    return TextMarks(
        quotes=quotes,
        spaced=quotes and bool(re.search(r'[,;\t|] +"', text)),
        escaped=quotes and '\\"' in text and bool(re.search(r'\\"[^,;\t|\r\n]', text)),
        doubled=quotes and '""' in text,
        commas=bool(re.search("[0-9],[0-9]", text)),
    )


def match_excel_line(text: str) -> re.Match[str] | None:
    """Excel's own first line, which names the separator."""
    return re.match(r"sep=(.)\r?\n", text)


def find_layout(head: str, separator: str | None, marks: TextMarks, path: Path) -> TextLayout:
    """The layout of the text that begins so; `separator`: the one that it names itself."""
    csv.field_size_limit(LARGEST)
    escape = "\\" if marks.escaped and not marks.doubled else None
    dialect = Dialect(separator or _choose_separator(head), escape, marks.spaced)
    names, line, findings = _find_header(head, dialect, path)
    if separator is None and dialect.separator not in _find_usual_separator(path):
        findings += [
            _make_finding("separator", f"{path.name}: the columns are separated by {NAMES[dialect.separator]}s.")
        ]
    return TextLayout(dialect, names, line, not marks.quotes and escape is None, tuple(findings))


def read_batches(blocks: Iterable[str], layout: TextLayout, before: int, path: Path) -> Iterator[list[pa.Array]]:
    """The columns of some rows at a time, from blocks of whole lines beneath the header; `before`: the lines above."""
    blocks, line, first = iter(blocks), before + 1, True
    for block in blocks:
        columns = _parse_quickly(block, layout)
        if columns is None:  # the careful parser goes on from here, and names the line that is wrong
            lines = chain(_split_lines(block), chain.from_iterable(map(_split_lines, blocks)))
            yield from _parse_carefully(_read_records(lines, layout.dialect, line), len(layout.names), 0, path, first)
            return
        yield columns
        line, first = line + (block.count("\n") or block.count("\r")), False


def _find_usual_separator(path: Path) -> str:
    return "\t" if ".tsv" in path.name or ".tab" in path.name else ","


def _make_finding(check: str, message: str, verdict: str = "pass") -> Finding:
    return Finding(check, "warn" if verdict == "warn" else "pass", message)


def _split_lines(text: str) -> Iterable[str]:
    """The lines with their ends, whatever those are."""
    return io.StringIO(text, newline="")


def _read_records(lines: Iterable[str], dialect: Dialect, line: int = 1) -> Iterator[tuple[int, list[str]]]:
    """(first line, fields) of every record that is not blank; `line`: the number of the first."""
    reader = csv.reader(
        lines,
        delimiter=dialect.separator,
        escapechar=dialect.escape,
        skipinitialspace=dialect.spaced,
        strict=True,
    )
    begin = line
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _UnpairedQuoteError(line, str(error)) from error
        if fields:
            yield line, fields
        line = begin + reader.line_num


class _UnpairedQuoteError(Exception):
    """A record, from this line on, whose quotes don't pair."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason

    def make_error(self, path: Path, before: int = 0) -> InputError:
        fault = "is closed before its field ends"
        if "end of data" in self.reason:
            fault = "is never closed"
        elif "field limit" in self.reason:
            fault = f"is not closed within {LARGEST / 1e6:.0f} million characters"
        return InputError(
            f'{path}, line {self.line + before}: a quote (") that is opened in this record {fault}. '
            f'Close it, or double it ("") where it is part of the text.'
        )


def _sample_records(text: str, dialect: Dialect) -> list[tuple[int, list[str]]]:
    """The first records, as far as the quotes pair."""
    records: list[tuple[int, list[str]]] = []
    try:
        for record in islice(_read_records(_split_lines(text[:HEAD]), dialect), SAMPLE_RECORDS):
            records.append(record)
    except _UnpairedQuoteError:
        pass
    return records


def _choose_separator(text: str) -> str:
    """The separator under which most of the first records have one and the same number of fields above 1."""
    best, best_rank = SEPARATORS[0], (0.0, 1)
    for separator in SEPARATORS:
        widths = [len(fields) for _, fields in _sample_records(text, Dialect(separator))]
        usual, times = Counter(w for w in widths if w > 1).most_common(1)[0] if any(w > 1 for w in widths) else (1, 0)
        rank = (round(times / max(len(widths), 1), 2), usual)
        if usual > 1 and rank > best_rank:
            best, best_rank = separator, rank
    return best


def _find_header(text: str, dialect: Dialect, path: Path) -> tuple[list[str], int, list[Finding]]:
    """The names, the lines down to and with them, and what was passed over before them."""
    records = _sample_records(text, dialect)
    if not records:
        quote = _find_quote(text, dialect)
        raise quote.make_error(path) if quote else InputError(f"{path} is empty: it holds no records.")
    widths = Counter(len(fields) for _, fields in records)
    usual = max(widths, key=lambda w: (widths[w], w))
    start = _find_header_place(records, usual)
    line, names = records[start]
    if start + 1 == len(records) and (quote := _find_quote(text, dialect)) and "end of data" not in quote.reason:
        raise quote.make_error(path)  # one that is never closed here may be closed in what follows
    last = records[start + 1][0] - 1 if start + 1 < len(records) else None
    end = last if last is not None else text.count("\n") + 1
    skipped = [number for number, _ in records[:start]]
    sentence = f"{path.name}: {len(skipped)} lines before the header (line {line}) were passed over."
    return names, end, [_make_finding("header", sentence, "warn")] if skipped else []


def _find_quote(text: str, dialect: Dialect) -> _UnpairedQuoteError | None:
    """The first quote among the first records that does not pair."""
    try:
        deque(islice(_read_records(_split_lines(text), dialect), SAMPLE_RECORDS), maxlen=0)
    except _UnpairedQuoteError as quote:
        return quote
    return None


def _find_header_place(records: list[tuple[int, list[str]]], usual: int) -> int:
    """The header's place: the first record but for titles of one field and lines of comment."""
    for place, (_, fields) in enumerate(records[: MOST_PREAMBLE + 1]):
        filled = sum(bool(f.strip()) for f in fields)
        comment = fields[0].lstrip().startswith(("#", "%", "//")) and len(fields) != usual
        if not comment and (filled > 1 or usual == 1 or len(fields) == usual):
            return place
    return 0


def _parse_quickly(text: str, layout: TextLayout) -> list[pa.ChunkedArray] | None:
    """The columns by Arrow's parser; None where the careful one has to look."""
    if not layout.quick:
        return None
    keys = [str(i) for i in range(len(layout.names))]
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(text.encode("utf-8", "surrogatepass")),
            read_options=arrow_csv.ReadOptions(column_names=keys, block_size=2**25),
            parse_options=arrow_csv.ParseOptions(delimiter=layout.dialect.separator, quote_char=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(keys, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, UnicodeError):
        return None
    return table.columns


def _parse_carefully(
    records: Iterator[tuple[int, list[str]]], field_count: int, before: int, path: Path, first: bool = True
) -> Iterator[list[pa.Array]]:
    """The columns of some records at a time; a batch that is the `first` decides whether lines end in a separator."""
    width = field_count
    try:
        while batch := list(islice(records, BATCH)):
            if first and all(len(f) == width + 1 and not f[-1].strip() for _, f in batch):
                width += 1
            first = False
            _refuse_ragged(batch, width, field_count, before, path)
            yield [pa.array(column, pa.string()) for column in zip(*(f for _, f in batch), strict=True)]
    except _UnpairedQuoteError as quote:
        raise quote.make_error(path, before) from quote


def _refuse_ragged(batch: list[tuple[int, list[str]]], width: int, field_count: int, before: int, path: Path) -> None:
    extra = width > field_count
    faults = [(line + before, len(f)) for line, f in batch if len(f) != width or (extra and f[-1].strip())]
    if faults:
        hint = f" ({len(faults)} such lines at least)" if len(faults) > 1 else ""
        raise InputError(
            f"{path}, line {faults[0][0]}: {faults[0][1]} fields, but the header has {field_count}{hint}. "
            f"{_advise_on_fields(batch, field_count)}"
        )


def _advise_on_fields(batch: list[tuple[int, list[str]]], field_count: int) -> str:
    if all(len(fields) == field_count + 1 for _, fields in batch):
        return "Every line has one more: if the first column names the rows, give it a name in the header too."
    return 'Put quotes (") around fields that hold the separator, or repair the line.'
