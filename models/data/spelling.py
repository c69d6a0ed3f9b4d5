"""Levels that are written otherwise than in training: `501` for `00501`, `2.0` for `2`, `paris` for `Paris`.

A version carries this file too (tasks/registry/served.py): it needs nothing but Python's own library."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property

MOST = 0.5
"""From this share of never seen values on, a column is read wrongly rather than new in some rows."""
FEW = 20
"""Of fewer rows a single new level says nothing: it may be new indeed."""

_GUARDS = re.compile(r'\s*(?:="(.*)"|\'(.*))\s*', re.S)
"""What spreadsheets put around text that they would take for a number."""
_WHOLE = re.compile(r"([+-]?)(\d+|\d{1,3}(?:,\d{3})+)(?:\.0*)?")
_TRUE, _FALSE = ("true", "t", "yes", "y", "1", "on"), ("false", "f", "no", "n", "0", "off")
_DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%Y%m%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y")


def parse_whole(text: str) -> int | None:
    """The whole number that the text stands for, be it with zeros before, `.0` or a spreadsheet's guards; else None."""
    match = _WHOLE.fullmatch(_strip_guards(text))
    return int(match[1] + match[2].replace(",", "")) if match and len(match[2]) < 40 else None


def _strip_guards(text: str) -> str:
    match = _GUARDS.fullmatch(text)
    return (match[1] if match[1] is not None else match[2]) if match else text.strip()


@dataclass(frozen=True)
class Spelling:
    """How a column's levels were written in training."""

    levels: Mapping[str, int]
    """Level -> rows in training."""

    def find_level(self, text: str) -> str | None:
        """The level that the text is, or that the same whole number was in training; None for one never seen."""
        if text in self.levels:
            return text
        number = parse_whole(text)
        return None if number is None else self._numbers.get(number)

    def suggest_level(self, text: str) -> str | None:
        """A level that may be meant: alike but for case, blanks, accents or signs, or the same number, truth or day."""
        for form, levels in self._forms:
            key = form(text)
            if key is not None and key in levels:
                return levels[key]
        return None

    @cached_property
    def usual(self) -> float:
        """The share of rows whose level is likely to be new, by how many levels came once (Good 1953)."""
        return sum(rows == 1 for rows in self.levels.values()) / max(1, sum(self.levels.values()))

    @cached_property
    def known(self) -> list[str]:
        """The most frequent levels, in order."""
        top = sorted(self.levels, key=lambda level: (-self.levels[level], level))[:3]
        return sorted(top)

    @cached_property
    def _numbers(self) -> dict[int, str]:
        """Whole number -> its level, where there is one only."""
        numbers = {level: parse_whole(level) for level in self.levels}
        counts = Counter(numbers.values())
        return {number: level for level, number in numbers.items() if number is not None and counts[number] == 1}

    @cached_property
    def _forms(self) -> list[tuple]:
        """Each way in which two spellings may be one, and what the levels are by it, the most frequent for each."""
        levels = sorted(self.levels, key=self.levels.__getitem__)
        tables = [
            (form, {form(level): level for level in levels})
            for form in (_fold_text, _parse_number, _parse_truth, _parse_day)
        ]
        return [(form, {k: v for k, v in table.items() if k is not None}) for form, table in tables]


def _fold_text(text: str) -> str | None:
    with suppress(UnicodeError):  # utf-8 that was read as cp1252
        text = text.encode("cp1252").decode("utf-8")
    plain = unicodedata.normalize("NFKD", _strip_guards(text)).casefold()
    return "".join(c for c in plain if c.isalnum()) or None


def _parse_number(text: str) -> float | None:
    number = parse_whole(text)
    if number is not None:
        return float(number)
    with suppress(ValueError):
        return float(_strip_guards(text).replace(",", "."))
    return None


def _parse_truth(text: str) -> bool | None:
    plain = _strip_guards(text).casefold().removesuffix(".0")
    return plain in _TRUE if plain in (*_TRUE, *_FALSE) else None


def _parse_day(text: str) -> date | None:
    plain = re.sub(r"[T ]\d\d?:\d\d.*", "", _strip_guards(text))
    for form in _DAYS:
        with suppress(ValueError):
            return datetime.strptime(plain, form).date()
    return None


@dataclass
class Tally:
    """What a column of later rows has held so far."""

    name: str
    spelling: Spelling
    rows: int = 0
    """Rows with a value."""
    new: Counter[str] = field(default_factory=Counter)
    """Level never seen -> rows."""
    alike: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How it is written, and the level that it is -> rows."""

    def add(self, counts: Mapping[str, int]) -> dict[str, str]:
        """Counts these values; what is to be written otherwise, and how."""
        level = {text: self.spelling.find_level(text) for text in counts}
        changes = {text: match for text, match in level.items() if match not in (None, text)}
        self.count({text: rows for text, rows in counts.items() if text not in changes})
        self.rows += sum(counts[text] for text in changes)
        self.alike.update({(text, match): counts[text] for text, match in changes.items()})
        return changes

    def count(self, counts: Mapping[str, int]) -> None:
        """Counts these values as they are written."""
        self.rows += sum(counts.values())
        self.new.update({text: rows for text, rows in counts.items() if text not in self.spelling.levels})

    @property
    def misspelt(self) -> bool:
        """Whether most values were never seen, and one of them is a known one written otherwise."""
        return self._mostly_new and self._meant is not None

    @property
    def strange(self) -> bool:
        """Whether most values were never seen, and more than chance or a single new level explains."""
        enough = len(self.new) > 1 or self.rows >= FEW
        return self.misspelt or (self._mostly_new and enough and self.unusual)

    @property
    def unusual(self) -> bool:
        """Whether more is new than in a column where ever new levels come."""
        return self._share > 2 * self.spelling.usual

    @property
    def _share(self) -> float:
        return self.new.total() / max(1, self.rows)

    @property
    def _mostly_new(self) -> bool:
        return bool(self.spelling.levels) and self._share > MOST

    @property
    def _meant(self) -> tuple[str, str] | None:
        """A frequent new level and the known one that it may be."""
        pairs = ((text, self.spelling.suggest_level(text)) for text, _ in self.new.most_common(50))
        return next(((text, match) for text, match in pairs if match is not None), None)

    @property
    def refusal(self) -> str:
        """What is to be said where the column is strange."""
        text, match = self._meant or (self.new.most_common(1)[0][0], None)
        sentence = (
            f"{self.new.total():,} of {self.rows:,} values of {_shorten(self.name)!r} were never seen in training, "
            "such "
            f"as {_shorten(text)!r}; it knew {', '.join(repr(_shorten(level)) for level in self.spelling.known)}"
            f"{', ...' if len(self.spelling.levels) > len(self.spelling.known) else ''}."
        )
        if match is not None:
            return (
                f"{sentence} Perhaps {_shorten(text)!r} is {_shorten(match)!r} there: write the values as in training."
            )
        return f"{sentence} Write them as in training. Are they new indeed? Train with such rows, or leave them empty."

    @property
    def notes(self) -> list[str]:
        """What is to be said where the column is not strange."""
        notes = []
        if self.alike:
            (text, level), _ = self.alike.most_common(1)[0]
            notes.append(
                f"{_shorten(self.name)!r}: {self.alike.total():,} of {self.rows:,} values are written otherwise than "
                "in "
                f"training and read alike, such as {_shorten(text)!r} for {level!r}."
            )
        if self.unusual:
            examples = ", ".join(f"{_shorten(t)!r} in {n:,}" for t, n in self.new.most_common(3))
            notes.append(
                f"{_shorten(self.name)!r}: {self.new.total():,} of {self.rows:,} values were never seen in training "
                f"({examples}{' and others' if len(self.new) > 3 else ''}).{self._hint}"
            )
        return notes

    @property
    def _hint(self) -> str:
        return "" if self._meant is None else f" Perhaps {_shorten(self._meant[0])!r} is {self._meant[1]!r} there."


def make_tallies(levels: Mapping[str, Mapping[str, int]]) -> dict[str, Tally]:
    """For each column with these levels nothing counted yet."""
    return {name: Tally(name, Spelling(counts)) for name, counts in levels.items()}


def describe_refusals(tallies: Iterable[Tally], certain: bool = False) -> str:
    """What is to be said of the columns that are strange, or with `certain` misspelt beyond doubt; else empty."""
    return " ".join(tally.refusal for tally in tallies if (tally.misspelt if certain else tally.strange))


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
