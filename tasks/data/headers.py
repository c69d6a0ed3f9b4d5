"""Column names as Nestor uses them: text, trimmed, each once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from models.data.table import Finding
from models.errors import InputError, join_names, suggest_names
from models.text.safe import shorten

MOST = 100_000
"""Columns that a table may have: each is looked at alone, which takes milliseconds."""


def refuse_wide(names: Sequence[str], path: Path) -> None:
    """Stops where there are more columns than can be looked at."""
    if len(names) > MOST:
        raise InputError(
            f"{path} has {len(names):,} columns or more; {MOST:,} are allowed. Take those that matter, or turn the "
            "table if its rows stand as columns."
        )


def clean_names(columns: Sequence[object]) -> tuple[list[str], dict[str, str], list[Finding]]:
    """The names, {name: name in the source} where they differ, and what is to be said."""
    source = [".".join(str(p) for p in g if str(p)) if isinstance(g, tuple) else str(g) for g in columns]
    names = [_clean_name(name, place) for place, name in enumerate(source, 1)]
    unique = _number_duplicates(names)
    renamed = {new: old for new, old in zip(unique, source, strict=True) if new != old}
    return unique, renamed, _find_name_problems(source, names, unique)


def _clean_name(name: str, place: int) -> str:
    """The name in NFC without blanks around it, so that equal-looking names are equal; `column 3` for none."""
    return unicodedata.normalize("NFC", " ".join(name.replace("\ufeff", "").split())) or f"column {place}"


def _number_duplicates(names: list[str]) -> list[str]:
    """The names with `.2`, `.3` behind those that stood before."""
    taken, unique = set(names), []
    seen: set[str] = set()
    for name in names:
        new, number = name, 2
        while new in seen or (new != name and new in taken):
            new, number = f"{name}.{number}", number + 1
        seen.add(new)
        unique.append(new)
    return unique


def list_same_names(name: str, names: Iterable[str], renamed: Mapping[str, str]) -> list[str]:
    """The names of all columns that the header calls `name`, where that are two or more."""
    matches = [n for n in names if n == name or _clean_name(renamed.get(n, n), 0) == name]
    return matches if name in matches and len(matches) > 1 else []


def refuse_same_names(
    columns: Iterable[tuple[str, str]], names: Sequence[str], renamed: Mapping[str, str], source: str
) -> None:
    """Stops at the first of the (name, what it is) that stands more than once in the header: nothing tells which is
    meant."""
    for name, role in columns:
        if copies := list_same_names(name, names, renamed):
            places = join_names(names.index(n) + 1 for n in copies)
            raise InputError(
                f"The header of {source} holds {shorten(name, 60)!r} {len(copies)} times (columns {places}), and it is "
                f"{role}: which one is meant? Give each column a name of its own."
            )


def _find_name_problems(source: list[str], names: list[str], unique: list[str]) -> list[Finding]:
    findings = []
    duplicates = [(p, u) for p, u in zip(names, unique, strict=True) if p != u]
    if duplicates:
        pairs = join_names((f"{p} (now {u})" for p, u in duplicates), width=80)
        findings.append(
            Finding("column_names", "warn", f"Column names that stand more than once were numbered: {pairs}.",
                    tuple(u for _, u in duplicates[:8]))
        )  # fmt: skip
    empty = [u for s, u in zip(source, unique, strict=True) if not s.strip()]
    if empty:
        findings.append(
            Finding(
                "column_names", "warn", f"Columns without a name were named: {join_names(empty)}.", tuple(empty[:8])
            )
        )
    trimmed = [u for s, u in zip(source, names, strict=True) if s != u and s.strip()]
    if trimmed:
        findings.append(Finding("column_names", "pass", f"Blanks in column names were trimmed: {join_names(trimmed)}."))
    values = sum(_is_number(s) for s in source)
    if 2 * values >= len(source) and not _has_rising_numbers(source):
        findings.append(
            Finding(
                "column_names",
                "warn",
                f"Many column names are numbers ({join_names(source, 4)}): is the header line missing?",
            )
        )
    return findings


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _has_rising_numbers(source: list[str]) -> bool:
    """Whether the names are whole numbers that rise, as in a table of pixels or years."""
    numbers = [int(s) for s in source if s.strip().isdigit()]
    return len(numbers) >= sum(map(_is_number, source)) and numbers == sorted(set(numbers))


def find_column(name: str, names: Iterable[str], role: str, where: str) -> str:
    """The column's name as the table has it; stops with the near ones where it has none."""
    columns = list(names)
    for candidate in (name, _clean_name(name, 0)):
        if candidate in columns:
            return candidate
    raise InputError(f"No column {shorten(name, 60)!r} in {where} ({role}).{suggest_near_names(name, columns)}")


def suggest_near_names(name: str, names: Sequence[str]) -> str:
    """` Did you mean ...?` for the likely names; else the names there are."""
    return suggest_names(name, names, "Its columns", 8)
