"""A path as the bytes that it holds, decompressed, and what those bytes are: seen from the bytes, not from the name."""

from __future__ import annotations

import bz2
import difflib
import gzip
import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from models.errors import InputError, join_names
from models.text.safe import shorten

# First bytes -> what the file is and what to do about it. Each was once saved under a name that ends in csv.
FOREIGN = {
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as csv",
    b"%PDF": "a PDF document; give a csv or parquet file",
    b"\x89HDF": "an HDF5 file; write the table as parquet",
    b"SQLite format 3": "an SQLite database; write the table as csv or parquet",
    b"ARROW1": "an Arrow (Feather) file; write the table as parquet",
    b"FEA1": "a Feather file; write the table as parquet",
    b"ORC": "an ORC file; write the table as parquet",
    b"\x89PNG": "a picture; give a csv or parquet file",
    b"\xff\xd8\xff": "a picture; give a csv or parquet file",
    b"\x7fELF": "a program; give a csv or parquet file",
    b"$FL2": "an SPSS file; write the table as csv or parquet",
    b"\x80\x04\x95": "a Python pickle; write the table as parquet",
    b"\x80\x05\x95": "a Python pickle; write the table as parquet",
}
TEXTUAL = (
    (r"<(!doctype html|html|head|body)\b", "html, not csv: a web page was saved in place of the table"),
    (r"<\?xml|<[a-z]+[^<>,;]*>\s*<", "xml, not csv; write the table as csv or parquet"),
    (r"\{\s*[\"}\r\n]|\[\s*[\[{]", "json, not csv; write the table as csv or parquet"),
    (r"@relation\b", "an ARFF file, not csv; write the table as csv or parquet"),
    (r"version https://git-lfs", "a Git LFS pointer, not the table itself; run `git lfs pull`"),
)
ZIP = b"PK\x03\x04"
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException)


def locate_file(path: str | Path) -> Path:
    """The path of a file that is there; stops with the nearest names where it is not."""
    file = Path(path).expanduser()
    try:
        if file.is_dir():
            names = sorted(p.name for p in file.iterdir() if p.is_file())
            raise InputError(
                f"{file} is a folder; give one file. " + (f"It holds {join_names(names)}." if names else "It is empty.")
            )
        if file.is_symlink() and not file.exists():
            raise InputError(f"The link {file} leads to {file.readlink()}, which is not there.")
        if not file.exists():
            raise InputError(f"No file {file}.{_suggest_neighbours(file)}")
        _refuse_endless(file)
    except OSError as error:
        raise InputError(f"{shorten(file, 200)} can't be read: {error.strerror or error}.") from error
    return file


def _refuse_endless(path: Path) -> None:
    """Stops where the path is no file with an end: reading it might wait for ever."""
    mode = path.stat().st_mode
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{path} is {kinds.get(stat.S_IFMT(mode), 'no file')}, not a file. It is read more than once: write what "
            "comes out of it to a file, and give that."
        )


def _suggest_neighbours(path: Path) -> str:
    """` Near it: ...`, the files whose names are close, or that of the nearest folder that exists."""
    if not path.parent.is_dir():
        return f" There is no folder {path.parent} either."
    names = sorted(p.name for p in path.parent.iterdir())
    near = difflib.get_close_matches(path.name, names, 3, 0.6) or [n for n in names if n.split(".")[0] == path.stem][:3]
    return f" Did you mean {join_names(near)}?" if near else ""


def refuse_foreign(data: bytes, path: Path) -> None:
    """Stops where the bytes, or the first of them, are no table."""
    for start, content in FOREIGN.items():
        if data.startswith(start):
            raise InputError(f"{path} is {content}.")
    if data.startswith(ZIP):
        raise InputError(f"{path} is an Excel workbook; save the sheet as csv.")
    if inner := _match_compression(data):
        raise InputError(f"{path} is compressed twice: there is {inner} in it. Unpack it once.")


def detect_compression(path: Path) -> str | None:
    """How the file is compressed: gzip, bz2, xz, zstd, zip or not."""
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}.") from error
    return "zip" if start.startswith(ZIP) else _match_compression(start)


def _match_compression(start: bytes) -> str | None:
    return next((kind for signature, kind in COMPRESSED.items() if start.startswith(signature)), None)


def read_pieces(path: Path, size: int) -> Iterator[bytes]:
    """The bytes in the file, decompressed, at most so many at a time; stops where they are no table."""
    kind, first = detect_compression(path), True
    try:
        with _open_stream(path, kind) as stream:
            while piece := stream.read(size):
                if first:
                    refuse_foreign(piece, path)
                first = False
                yield piece
    except BROKEN as error:
        raise _make_broken_error(path, kind, error) from error
    if first:
        raise InputError(f"{path} is empty: it holds 0 bytes.")


def is_parquet(path: Path) -> bool:
    """Whether the file, decompressed, is a parquet file."""
    return next(read_pieces(path, 4000)).startswith(b"PAR1")


def read_file_state(path: Path) -> tuple[int, ...]:
    """What is another where somebody has written to the file."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def refuse_changed(path: Path, before: tuple[int, ...]) -> None:
    """Stops where the file is not what it was `before`: what one look at it told does not hold for the next."""
    if read_file_state(path) != before:
        raise InputError(f"{path} changed while it was read. Wait until it is written, or give a copy.")


@contextmanager
def _open_stream(path: Path, kind: str | None) -> Iterator[Any]:
    """The file open for reading, decompressed."""
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            member = _find_member(archive, path)
            with path.open("rb") if member is None else archive.open(member) as stream:
                yield stream
    elif kind == "zstd":
        with path.open("rb") as file, pa.CompressedInputStream(file, "zstd") as stream:
            yield stream
    else:
        opened: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
        with opened[kind](path, "rb") if kind else path.open("rb") as stream:
            yield stream


def _make_broken_error(path: Path, kind: str | None, error: Exception) -> InputError:
    if kind is None:
        return InputError(f"{path} can't be read: {shorten(error, 80)}.")
    return InputError(f"{path} is a broken or cut-off {kind} file ({shorten(error, 80)}); copy or make it again.")


def _find_member(archive: zipfile.ZipFile, path: Path) -> str | None:
    """The name of the archive's one file; None in an Excel workbook."""
    names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX")]
    if "[Content_Types].xml" in names:
        return None
    if len(names) != 1:
        raise InputError(f"{path} is a zip archive of {len(names)} files ({join_names(names)}); give one file.")
    return names[0]


def refuse_markup(text: str, path: Path) -> None:
    """Stops where the text is html, xml, json, ... in place of csv."""
    start = text[:4000].lstrip().lower()
    for pattern, content in TEXTUAL:
        if re.match(pattern, start):
            raise InputError(f"{path} is {content}.")
