"""A text file of any size as blocks of whole lines: decompressed, decoded and laid out as reading it at once would.

The file is gone through twice. What the whole of it decides (is it utf-8, is there a quote) is seen first."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import pyarrow as pa

from models.data.table import Finding
from models.errors import InputError
from tasks.data.formats import encoding
from tasks.data.formats.delimited import (
    HEAD,
    TextLayout,
    TextMarks,
    find_layout,
    find_marks,
    match_excel_line,
    read_batches,
)
from tasks.data.headers import refuse_wide
from tasks.data.room import MemoryRoom
from tasks.data.sources.files import detect_compression, read_file_state, read_pieces, refuse_changed, refuse_markup

PIECE = 2**22
"""Bytes at once: what reading needs, whatever the file's size."""
LONGEST = 2**26
"""Characters that a line may have: it is read as a whole."""


@dataclass(frozen=True)
class TextEncoding:
    """How the bytes become text."""

    name: str
    codec: str
    errors: str = "strict"
    mended: bool = False
    """Whether stray bytes in utf-8 are read as cp1252."""
    said: Finding | None = None

    def decode_pieces(self, path: Path, room: MemoryRoom | None = None) -> Iterator[str]:
        """The text, piece by piece; stops where it is more than there is `room` for."""
        decoder, size = codecs.getincrementaldecoder(self.codec)(self.errors), 0
        for piece in read_pieces(path, PIECE):
            size += len(piece)
            if room:
                room.hold_text(size, path, whole=False)
            text = decoder.decode(piece)
            yield encoding.mend_text(text) if self.mended else text
        yield decoder.decode(b"", final=True)


@dataclass(frozen=True)
class TextFile:
    """A text file, looked through."""

    path: Path
    coded: TextEncoding
    marks: TextMarks
    head: str
    """Its beginning, which tells the separator and the header."""
    size: int
    """Its characters."""
    lines: int
    state: tuple[int, ...]
    """What the file was when it was looked through."""

    @cached_property
    def layout(self) -> TextLayout:
        """Separator, header, quotes."""
        excel_line = match_excel_line(self.head)
        return find_layout(
            self.head[excel_line.end() :] if excel_line else self.head,
            excel_line and excel_line[1],
            self.marks,
            self.path,
        )

    def tables(self) -> Iterator[pa.Table]:
        """The columns as text under the names "0", "1", ..., some rows at a time; one more than the header has where
        lines end in a separator."""
        lines_above = self.layout.line + (match_excel_line(self.head) is not None)
        blocks = _skip_lines(_cut_at_lines(self.coded.decode_pieces(self.path), self.path), lines_above)
        try:
            for columns in read_batches(blocks, self.layout, lines_above, self.path):
                yield pa.table(columns, names=[str(i) for i in range(len(columns))])
        except InputError:
            refuse_changed(self.path, self.state)
            raise
        refuse_changed(self.path, self.state)


def inspect_text(path: Path, room: MemoryRoom | None = None) -> TextFile:
    """The text file, once nothing in its bytes speaks against it, nor that there is `room` for the whole of it."""
    state = read_file_state(path)
    if room and not detect_compression(path):
        room.hold_text(state[1], path)
    coded = _find_encoding(path, room)
    marks, head, size, lines, has_text = TextMarks(), [], 0, 0, False
    for block in _cut_at_lines(coded.decode_pieces(path), path):
        marks |= find_marks(block)
        has_text = has_text or bool(block.strip())
        if size < HEAD:
            head.append(block)
        size, lines = size + len(block), lines + (block.count("\n") or block.count("\r"))
    if not has_text:
        raise InputError(f"{path} is empty: it holds no text.")
    text = TextFile(path, coded, marks, "".join(head), size, lines, state)
    refuse_markup(text.head, path)
    refuse_wide(text.layout.names, path)
    if room:
        room.hold_text(size, path, lines * len(text.layout.names))
    return text


def _find_encoding(path: Path, room: MemoryRoom | None) -> TextEncoding:
    """The encoding, by the rules of encoding.py."""
    name, finding = encoding.detect_encoding(next(read_pieces(path, 2000), b""), path)
    coded = TextEncoding(name or "utf-8", name or "utf-8", said=finding)
    line = 1
    try:
        for text in coded.decode_pieces(path, room):
            if "\0" in text:
                raise encoding.make_nul_error(path, line + text.count("\n", 0, text.index("\0")))
            line += text.count("\n")
    except UnicodeDecodeError as error:
        line += bytes(error.object[: error.start]).decode(coded.codec, "ignore").count("\n")
        if name:
            raise encoding.make_mismatch_error(name, line, error, path) from error
        return _find_other_encoding(path, line)
    return coded


def _find_other_encoding(path: Path, line: int) -> TextEncoding:
    """The encoding of what is not utf-8."""
    stray = letters = 0
    for text in TextEncoding("", "utf-8", "surrogateescape").decode_pieces(path):
        if "\0" in text:
            raise encoding.make_nul_error(path, line)
        counts = encoding.count_stray_bytes(text)
        stray, letters = stray + counts[0], letters + counts[1]
    name, finding = encoding.choose_other_encoding(stray, letters, _read_head(path, 20 * encoding.SAMPLE), line, path)
    if name == "utf-8+cp1252":
        return TextEncoding(name, "utf-8", "surrogateescape", mended=True, said=finding)
    if name != "cp1252":
        return TextEncoding(name, name, "replace", said=finding)
    open_bytes = any(re.search(b"[\x81\x8d\x8f\x90\x9d]", piece) for piece in read_pieces(path, PIECE))
    return TextEncoding(name, "latin-1" if open_bytes else "cp1252", said=finding)


def _read_head(path: Path, size: int) -> bytes:
    head = b""
    for piece in read_pieces(path, size):
        head += piece
        if len(head) >= size:
            break
    return head[:size]


def _cut_at_lines(texts: Iterable[str], path: Path) -> Iterator[str]:
    """The same text, cut where lines end."""
    pieces: list[str] = []
    line = 1
    for text in texts:
        # A carriage return that stands last may be half of a line's end.
        cut = text.rfind("\n") + 1 or text.rfind("\r", 0, len(text) - 1) + 1
        if not cut:
            pieces.append(text)
            if sum(map(len, pieces)) > LONGEST:
                raise InputError(
                    f"{path}, line {line}: it is longer than {LONGEST / 1e6:.0f} million characters, which no row of a "
                    "table is. Is it another kind of file, or do its lines end in another sign?"
                )
            continue
        line += text.count("\n", 0, cut)
        yield "".join((*pieces, text[:cut]))
        pieces = [text[cut:]]
    if rest := "".join(pieces):
        yield rest


def _skip_lines(blocks: Iterator[str], lines: int) -> Iterator[str]:
    """The blocks without so many lines at their beginning."""
    for block in blocks:
        reader = io.StringIO(block, newline="")
        while lines and reader.readline():
            lines -= 1
        if rest := reader.read():
            yield from chain([rest], blocks)
