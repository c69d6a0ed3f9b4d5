"""What reading has to say, gathered over columns so that three thousand columns make one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from models.data.table import Finding
from models.errors import join_names
from models.text.safe import shorten

# check -> (verdict, the sentence that the columns stand in).
SENTENCES: dict[str, tuple[Literal["pass", "warn"], str]] = {
    "id_columns": ("warn", "Columns that only name rows are not used: {}. To use one, give its type."),
    "unreadable_columns": ("warn", "Columns that hold no plain values are not used: {}."),
    "empty_columns": ("warn", "Columns that hold nothing are not used: {}."),
    "out_of_range": ("warn", "Infinite or too large values count as missing: {}."),
    "far_dates": ("warn", "Dates before 1678 or after 2261 count as missing: {}."),
    "unreadable_values": (
        "warn", "Values that don't fit their column count as missing: {}. The type category keeps them."
    ),
    "mixed_values": ("warn", "Columns that mix numbers or dates with words are read as categories: {}."),
    "unread_numbers": (
        "warn",
        "Numbers in more than one unit, or with signs such as <, are read as text; write plain numbers: {}.",
    ),
    "number_format": ("warn", "Numbers were read through signs, units or separators: {}."),
    "date_format": ("warn", "Dates were read from text: {}."),
    "mixed_dates": (
        "warn",
        "Dates in more than one format, or in an unknown one, are read as categories; write them as 2024-01-31: {}.",
    ),
    "codes": ("warn", "Long or zero-padded digits are read as categories, not as numbers: {}."),
    "durations": ("pass", "Durations became seconds: {}."),
    "keys": ("pass", "Whole numbers that are names, each in many rows: {}."),
    "unordered_levels": ("warn", "Levels that the given order lacks count as missing: {}."),
    "missing_marks": ("warn", "Words and blanks among numbers or dates were read as missing: {}."),
    "case_variants": ("warn", "Levels that differ by upper and lower case only are kept apart: {}."),
    "free_text": ("pass", "Read as free text: {}."),
}  # fmt: skip


@dataclass(frozen=True)
class ColumnNote:
    """What was seen in one column."""

    check: str
    column: str
    text: str = ""
    rows: tuple[int, ...] = ()


def gather_findings(notes: Iterable[ColumnNote]) -> list[Finding]:
    """One finding per check, with at most eight columns in words."""
    by_check: dict[str, list[ColumnNote]] = {}
    for note in notes:
        by_check.setdefault(note.check, []).append(note)
    return [_make_finding(check, column_notes) for check, column_notes in by_check.items()]


def _make_finding(check: str, notes: list[ColumnNote]) -> Finding:
    verdict, sentence = SENTENCES[check]
    items = join_names((f"{shorten(n.column)} ({n.text})" if n.text else n.column for n in notes), width=160)
    columns = tuple(n.column for n in notes[:8])
    return Finding(check, verdict, sentence.format(items), columns, tuple(r for n in notes[:8] for r in n.rows)[:8])


def describe_rows(rows: tuple[int, ...], count: int | None = None) -> str:
    """`data row 7` or `data rows 7, 8 and 3 more`."""
    count = len(rows) if count is None else count
    listing = ", ".join(map(str, rows[:5]))
    rest = count - len(rows[:5])
    return f"data row{'s' if count > 1 else ''} {listing}" + (f" and {rest} more" if rest > 0 else "")
