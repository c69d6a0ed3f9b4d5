"""Bytes as text: the byte order mark, else utf-8, else what the bytes look like."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from models.data.table import Finding
from models.errors import InputError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Western letters, and of cp1252's signs those that texts hold: euro, quotes, dashes, degrees and the like.
WESTERN = re.compile(
    "[\u00a0-\u00a3\u00a5\u00a7\u00a9-\u00ab\u00ae-\u00ff\u0152-\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)
# Western text is mostly ASCII with a letter here and there; Cyrillic or Greek bytes would be most of a word.
WESTERN_SHARE = 0.3
SAMPLE = 100_000


def detect_encoding(head: bytes, path: Path) -> tuple[str | None, Finding | None]:
    """The encoding that the first bytes give away, and what is to be said; None for both where they don't."""
    for mark, name in MARKS:
        if head.startswith(mark):
            return name, None
    silent = _detect_utf16(head)
    return silent, _make_finding(f"{path.name} holds utf-16 without a byte order mark") if silent else None


def make_mismatch_error(name: str, line: int, error: UnicodeDecodeError, path: Path) -> InputError:
    """For text that is not what its first bytes promise."""
    return InputError(f"{path} begins as {name} but line {line} can't be read so ({error.reason}); save it as utf-8.")


def _detect_utf16(data: bytes) -> str | None:
    """`utf-16-le` or `utf-16-be` where every second byte of the first lines is NUL."""
    head = data[:2000]
    half = len(head) // 2
    if half < 4 or head.count(0) < 0.8 * half:
        return None
    return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"


def make_nul_error(path: Path, line: int) -> InputError:
    """For a NUL byte in a text."""
    return InputError(
        f"{path}, line {line}: a NUL byte, which no text holds. The file is damaged or no csv; write it again."
    )


def count_stray_bytes(patched: str) -> tuple[int, int]:
    """How many bytes are no utf-8, and how many letters beyond ASCII are: of text decoded with surrogateescape."""
    return len(re.findall("[\udc80-\udcff]", patched)), len(re.findall(r"[^\x00-\x7f\udc80-\udcff]", patched))


def mend_text(patched: str) -> str:
    """The text with its stray bytes read as cp1252."""
    return re.sub("[\udc80-\udcff]", lambda m: _decode_western(bytes([ord(m[0]) - 0xDC00])), patched)


def choose_other_encoding(stray: int, letters: int, head: bytes, line: int, path: Path) -> tuple[str, Finding]:
    """The encoding of a text that is not utf-8 from its first bytes, and what is to be said."""
    if letters > 3 * stray:
        sentence = f"{path.name} is utf-8 but for {stray} byte{'s'[: stray > 1]} (line {line}), read as cp1252"
        return "utf-8+cp1252", _make_finding(sentence)
    name = _guess_encoding(head)
    note = " (latin-1)" if name == "cp1252" else ""
    return name, _make_finding(f"{path.name} is not utf-8 (line {line}); it was read with encoding {name}{note}")


def _decode_western(data: bytes) -> str:
    """cp1252, with latin-1 for the five bytes that cp1252 leaves open."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _guess_encoding(data: bytes) -> str:
    """The encoding's name: cp1252 where its letters look Western, else charset-normalizer's guess."""
    sample = b"\n".join(line for line in data[: 20 * SAMPLE].splitlines() if not line.isascii())[:SAMPLE]
    high = [c for c in _decode_western(sample) if ord(c) > 127]
    letters = sum(c.isalpha() for c in _decode_western(sample))
    western = sum(bool(WESTERN.match(c)) for c in high)
    if western >= 0.9 * len(high) and len(high) <= WESTERN_SHARE * letters:
        return "cp1252"
    # Slow to import and seldom needed.
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return best.encoding if best is not None and not best.encoding.startswith("utf") else "cp1252"


def _make_finding(text: str) -> Finding:
    return Finding("encoding", "warn", f"{text}. If letters look wrong, save the file as utf-8.")
