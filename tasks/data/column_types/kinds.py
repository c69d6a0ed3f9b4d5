"""What a column is, seen from its values alone (never from the target): kind, parser, and what had to be decided."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from models.errors import InputError, listed, shortened
from tasks.data.column_types.arrow import pc
from tasks.data.column_types.columns import canonical, plain, positions, textual
from tasks.data.column_types.dates import MOST, ORDERS, Dates, compact, dates, mixed
from tasks.data.column_types.durations import durations
from tasks.data.column_types.numeric import CODE_DIGITS, Numbers, numbers, unread
from tasks.data.column_types.words import MARKS, NUMBER_MARKS, Words, spread, words
from tasks.data.notes import Note, at_rows

# A column of which less are numbers is one of words; so are levels among fewer distinct numbers.
HALF = 0.5
FEW_NUMBERS = 10
# Below this many values, unique ones say nothing about what the column is.
ENOUGH = 20
MOST_MARKS, LONGEST_MARK = 50, 60
WORDS, BITS = {"true", "false"}, {"1", "0", "1.0", "0.0"}
PLAIN_VALUES = (str, bytes, bool, int, float, np.generic, Decimal, date, time, timedelta, pd.Period, pd.Interval)
ID_NAME = re.compile(
    r"(?i:(^|[_\W])(id|ids|uuid|guid|idx|index|key|rownames?|row|rowid)$|^id[_\W]|^column 1$|^unnamed: 0)|[a-z](Id|ID)$"
)


@dataclass(frozen=True)
class Inferred:
    """What a column was taken for."""

    kind: str
    parser: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    words: Words | None = None
    """The words that were looked at, for whoever reads on."""
    writes_na: bool = False
    """Whether a column of numbers or dates writes NA for missing, as R does: then words may too."""


def infer(
    raw: pd.Series, decimal: str | None, asked: str | None = None, order: Sequence[str] | None = None
) -> Inferred:
    """The column's kind; `asked` overrules what the values say, and so does an `order` of its levels. decimal: the mark
    that the table uses elsewhere."""
    name = str(raw.name)
    if asked == "drop":
        return Inferred("drop")
    if asked == "ordered" or (order and asked is None) or (asked is None and _ranked(raw)):
        return ordered(raw, order)
    if _nested(raw):
        return Inferred("drop", notes=(Note("unreadable_columns", name, "lists, structs or objects"),))
    if isinstance(raw.dtype, pd.CategoricalDtype) and asked in (None, "category"):
        return Inferred("category")
    if textual(raw):
        found = words(raw)
        told = _as_asked(found, name, decimal, asked) if asked else _text(found, name, decimal)
        return replace(told, words=found)
    return _typed(raw, name, asked)


def _ranked(raw: pd.Series) -> bool:
    return isinstance(raw.dtype, pd.CategoricalDtype) and bool(raw.dtype.ordered)


def ordered(raw: pd.Series, order: Sequence[str] | None) -> Inferred:
    """An ordered category: in the order given, in that of its type, or by the number that each level holds; InputError
    where there is none of these, or the order holds none of the column's levels."""
    levels = _levels(pd.Series(order or (raw.cat.categories if _ranked(raw) else raw.dropna().unique()), name=raw.name))
    if order or _ranked(raw):
        there = canonical(raw, "ordered", {}).values.dropna().unique()
        odd = sorted(set(there) - set(levels))
        if odd and len(odd) == len(there):
            raise InputError(
                f"The order of {shortened(raw.name)!r}, {listed(levels, 5, 24)}, holds none of the column's levels: "
                f"{listed(odd, 5, 24)}. Write the levels as the table does, lowest first: "
                f"--order '{shortened(raw.name)}={','.join(odd[:3])}', or order: in the config."
            )
        notes = (Note("unordered_levels", str(raw.name), listed(odd, 3, 24)),) if odd else ()
        return Inferred("ordered", {"order": levels}, notes)
    numbered = {level: re.search(r"-?\d+(?:\.\d+)?", level) for level in levels}
    values = {level: float(found[0]) for level, found in numbered.items() if found}
    if len(values) < len(levels) or len(set(values.values())) < len(levels):
        raise InputError(
            f"In which order are the levels of {shortened(raw.name)!r}, {listed(levels, 5, 24)}? Say it, lowest first: "
            f"--order '{shortened(raw.name)}={','.join(levels[:3])}', or order: in the config."
        )
    return Inferred("ordered", {"order": sorted(levels, key=values.__getitem__)})


def _levels(values: pd.Series) -> list[str]:
    """Levels as the canonical form writes them, each once."""
    return list(dict.fromkeys(canonical(values, "category", {}).values.dropna().tolist()))


def _nested(raw: pd.Series) -> bool:
    """Whether the values are lists, structs or other objects."""
    if pd.api.types.is_complex_dtype(raw.dtype):
        return True
    if raw.dtype != object:
        return False
    some = raw.dropna().head(100)
    return any(not isinstance(v, PLAIN_VALUES) for v in some)


def _typed(raw: pd.Series, name: str, asked: str | None) -> Inferred:
    """The kind of a column whose type the source already knows."""
    if pd.api.types.is_timedelta64_dtype(raw.dtype) and asked in (None, "duration", "number"):
        return Inferred("number", {"duration": True}, (Note("durations", name),))
    if asked:
        return Inferred({"duration": "number", **dict.fromkeys(ORDERS, "date")}.get(asked, asked))
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        return Inferred("date")
    if pd.api.types.is_bool_dtype(raw.dtype):
        return Inferred("boolean")
    values = plain(raw)
    if pd.api.types.is_integer_dtype(raw.dtype) and _counts_rows(raw.dropna().astype("object").tolist(), name):
        return Inferred("id", notes=(Note("id_columns", name, "counts the rows"),))
    if pd.api.types.is_integer_dtype(raw.dtype) and len(values) and np.nanmax(np.abs(values), initial=0) > 2**53:
        return Inferred("category", notes=(Note("codes", name, f"such as {raw.dropna().iloc[0]}"),))
    whole = values[~np.isnan(values)]
    if _whole(whole) and len(whole) == len(values) and pd.api.types.is_float_dtype(raw.dtype):
        counter = _counts_rows([int(v) for v in whole], name)
        if counter:
            return Inferred("id", notes=(Note("id_columns", name, "counts the rows"),))
    return _key(name) if _names_things(whole, name) else Inferred("number")


def _names_things(values: np.ndarray, name: str) -> bool:
    """Whether whole numbers are names, such as those of customers: their column is called so, and they come again."""
    if len(values) < ENOUGH or not ID_NAME.search(name) or not _whole(values) or values.min() < 0:
        return False
    return 2 < len(np.unique(values)) <= len(values) / 2


def _key(name: str, parser: dict[str, Any] | None = None) -> Inferred:
    return Inferred("key", parser or {}, (Note("keys", name),))


def _whole(values: np.ndarray) -> bool:
    return bool(len(values) and np.isfinite(values).all() and (np.mod(values, 1) == 0).all())


def _counts_rows(values: list[int], name: str) -> bool:
    """Whether these are 0, 1, 2, ... in some order, or are unique under the name of an identifier.

    Years count too, so a run of whole numbers has to begin at 0 or 1, or above 9,999, or be named as an id.
    """
    size = len(values)
    if size < ENOUGH or len(set(values)) != size:
        return False
    named = bool(ID_NAME.search(name))
    low, high = min(values), max(values)
    return named or (high - low + 1 == size and (low in (0, 1) or low > 9_999))


def _text(found: Words, name: str, decimal: str | None) -> Inferred:
    """The kind of a column of text, from its distinct values."""
    skip = ~found.plain if found.plain.all() else found.marked(NUMBER_MARKS)
    some = int(found.counts @ ~skip)
    if not some:
        empty = not len(found.values) or found.marked(MARKS).all()
        return _empty(name) if empty else Inferred("category")
    lasting = None if found.plain.all() else _duration(found, skip, name)
    if lasting:
        return lasting
    truth = None if found.plain.all() else _boolean(found, skip)
    if truth:
        return truth
    if not found.plain.all() and found.counts @ found.matching(r"\d|(?i:inf)|∞") < HALF * some:
        return _label(found, name)
    return _number(found, skip, some, name, decimal) or _date(found, skip, name) or _no_number(found, skip, name)


def _empty(name: str) -> Inferred:
    return Inferred("drop", notes=(Note("empty_columns", name),))


def _date(found: Words, skip: np.ndarray, name: str) -> Inferred | None:
    """A column of dates, or of what looks like them and can't be read; None where the words are something else."""
    when = dates(found, skip)
    if when is None and mixed(found, skip):
        return Inferred("category", notes=(Note("mixed_dates", name, listed(found.some(~skip, 2))),))
    when = when or dates(found, skip, HALF)
    # Versions such as 1.2.10 look like days of years of two digits, in part.
    if when is None or (when.odd and "first" in when.parser):
        return None
    bad = ~(when.good | skip)
    if when.odd and _come_again(found, name):
        return Inferred("category", notes=(Note("mixed_values", name, _in_part(found, when.good, skip, "dates")),))
    notes = (*_date_notes(found, when, skip, name), *_marks(found, skip, name))
    parser = {**when.parser, **_own_marks(found, bad)}
    return Inferred("date", parser, notes, writes_na=bool(found.marked(("na",)).any()))


def _no_number(found: Words, skip: np.ndarray, name: str) -> Inferred:
    """Words, in which there may be numbers that can't be read; those are no names of rows."""
    label = _label(found, name)
    if label.kind == "category" or not unread(found, skip):
        return label
    return Inferred("text", notes=(Note("unread_numbers", name, f"such as {listed(found.some(~skip, 2), 2, 24)}"),))


def _duration(found: Words, skip: np.ndarray, name: str, least: float = MOST) -> Inferred | None:
    """A column of durations, as seconds; None where fewer than that share of the values are some."""
    _, good = durations(found, skip)
    some = int(found.counts @ ~skip)
    if not good.any() or found.counts @ good < least * some:
        return None
    bad = ~(good | skip)
    notes = (Note("durations", name), *_unreadable(found, good, skip, name, "durations"))
    return Inferred("number", {"duration": True, **_own_marks(found, bad)}, notes)


def _boolean(found: Words, skip: np.ndarray) -> Inferred | None:
    """true and false, also with 1 and 0 among them; yes and no stay words, since such columns meet a third word sooner
    or later."""
    if int((~skip).sum()) > 8:
        return None
    said = {v for v, s in zip(found.lower.to_pylist(), skip, strict=True) if not s}
    if {"t", "f"} == said - BITS:
        return Inferred("boolean", {"true": ["t"], "false": ["f"]})
    if not said & WORDS or said - WORDS - BITS:
        return None
    return Inferred("boolean", {"true": ["true"], "false": ["false"]})


def _number(found: Words, skip: np.ndarray, some: int, name: str, decimal: str | None) -> Inferred | None:
    """A number column, its ids and its codes; None where the words are something else."""
    read = numbers(found, skip, decimal)
    bad = ~(read.good | skip)
    good = int(found.counts @ read.good)
    distinct = int(read.good.sum())
    if not good:
        return None
    whole = _whole(read.values[read.good])
    coded = _codes(found, read, name) if whole and not bad.any() else None
    if coded:
        return coded
    if compact(found, read.good) and dates(found, skip) is not None:
        return None
    if whole and not bad.any() and _names_things(spread(read.values, found.codes, np.nan)[found.rows(read.good)], name):
        return _key(name, _number_parser(found, read, bad))
    few_words = int(bad.sum()) <= 3 and good >= HALF * some and distinct > 2 * FEW_NUMBERS
    if bad.any() and not ((good >= MOST * some or few_words) and distinct > FEW_NUMBERS):
        if good < HALF * some:
            return None
        if distinct <= FEW_NUMBERS:
            return _label(found, name)
        if _come_again(found, name):
            return Inferred("category", notes=(Note("mixed_values", name, _in_part(found, read.good, skip)),))
    notes = (*_number_notes(found, read, skip, name), *_marks(found, skip, name))
    return Inferred("number", _number_parser(found, read, bad), notes, writes_na=bool(found.marked(("na",)).any()))


def _come_again(found: Words, name: str) -> bool:
    """Whether these are levels: no names of rows, no text, and most in more than one row."""
    real = ~found.marked(MARKS)
    return _label(found, name).kind == "category" and 2 * int(real.sum()) <= int(found.counts @ real)


def _in_part(found: Words, good: np.ndarray, skip: np.ndarray, what: str = "numbers") -> str:
    """`96 of 120 values are numbers; others such as '<0.5'`"""
    bad = ~(good | skip)
    odd = listed(map(repr, found.some(bad, 2)), 2, 24)
    return f"{found.counts @ good:,} of {found.counts @ ~skip:,} values are {what}; others such as {odd}"


def _codes(found: Words, read: Numbers, name: str) -> Inferred | None:
    """Row counters, and digits that are names: 00123, or more of them than a number keeps."""
    texts = found.values
    long = found.matching(CODE_DIGITS)
    padded = found.matching(r"^0\d+$")
    unique = len(texts) == int((found.codes >= 0).sum())
    if unique and found.matching(r"^-?\d+(\.0)?$").all():
        counter = _counts_rows([int(t.removesuffix(".0")) for t in texts.to_pylist()], name)
        if counter:
            return Inferred("id", notes=(Note("id_columns", name, "counts the rows"),))
    if long.any() and found.matching(r"^-?\d+$")[read.good].all():
        if unique and len(texts) >= ENOUGH:
            return Inferred("id", notes=(Note("id_columns", name, "long unique digits"),))
        return Inferred("category", notes=(Note("codes", name, f"such as {found.some(long, 1)[0]}"),))
    same_length = len(pc.unique(pc.utf8_length(texts.filter(~found.marked(NUMBER_MARKS))))) == 1
    if padded.any() and same_length and found.matching(r"^\d+$")[read.good].all():
        return Inferred("category", notes=(Note("codes", name, f"such as {found.some(padded, 1)[0]}"),))
    return None


def _number_parser(found: Words, read: Numbers, bad: np.ndarray) -> dict[str, Any]:
    return read.style.parser | _own_marks(found, bad, shaped=True)


def _own_marks(found: Words, bad: np.ndarray, shaped: bool = False) -> dict[str, Any]:
    """The words that this column was read with as missing, or their shapes; where the next table holds them, they are
    so again."""
    if not bad.any():
        return {}
    written = (found.shapes if shaped else found.lower).to_pylist()
    some = sorted(np.flatnonzero(bad), key=lambda i: -found.counts[i])
    marks = dict.fromkeys(written[i] for i in some if len(written[i]) <= LONGEST_MARK)
    return {"missing": list(marks)[:MOST_MARKS]}


def _number_notes(found: Words, read: Numbers, skip: np.ndarray, name: str) -> list[Note]:
    notes = _unreadable(found, read.good, skip, name, "numbers")
    plain = found.plain[read.good & np.isfinite(read.values)].all()
    return notes if plain else [*notes, Note("number_format", name, _formatted(found, read))]


def _unreadable(found: Words, good: np.ndarray, skip: np.ndarray, name: str, what: str) -> list[Note]:
    """What is neither of the column's kind nor missing, where there is such: with rows, or with figures if much."""
    bad = ~(good | skip)
    if not bad.any():
        return []
    rows = found.rows(bad)
    text = f"{listed(map(repr, found.some(bad, 4)), 3, 24)} in {at_rows(positions(rows), int(rows.sum()))}"
    many = rows.sum() > (1 - MOST) * (found.counts @ ~skip)
    return [Note("unreadable_values", name, _in_part(found, good, skip, what) if many else text, positions(rows))]


def _marks(found: Words, skip: np.ndarray, name: str) -> list[Note]:
    """What stood for missing, besides nothing at all."""
    marks = skip & (found.counts > 0) & ~found.matching("^$")
    said = [f"{found.values[int(i)].as_py()!r} in {found.counts[i]:,}" for i in np.flatnonzero(marks)[:4]]
    said += [f"blanks in {found.blanks:,}"] if found.blanks else []
    return [Note("missing_marks", name, f"{listed(said)} rows")] if said else []


def _formatted(found: Words, read: Numbers) -> str:
    """`$250,000 is 250000`, and a word of care where signs are mixed."""
    odd = read.good & np.isfinite(read.values) & ~found.matching(r"^[+-]?\d*\.?\d*$")
    lengths = pc.utf8_length(found.values).to_numpy()
    place = int(np.argmax(np.where(odd if odd.any() else read.good, lengths, -1)))
    text = f"{shortened(found.values[place].as_py(), 24)} is {read.values[place]:.15g}"
    currencies = [s for s in read.style.signs or () if s != "%"]
    if len(currencies) > 1:
        text += f"; currencies are mixed: {listed(currencies)}"
    bare = read.bare & read.good
    if bare.any() and not bare[read.good].all():
        text += f"; {int(found.counts @ bare)} values have no {read.style.unit or '%'}"
    return text


def _date_notes(found: Words, when: Dates, skip: np.ndarray, name: str) -> list[Note]:
    decided = [Note("date_format", name, when.note)] if when.note else []
    return decided + _unreadable(found, when.good, skip, name, "dates")


def _label(found: Words, name: str) -> Inferred:
    """id, free text or category: from how often values come again and how many words they have."""
    real = ~found.marked(MARKS)
    distinct, rows = int(real.sum()), int(found.counts @ real)
    if not distinct:
        return _empty(name)
    texts = found.values.filter(real)
    lengths = pc.utf8_length(texts).to_numpy()
    spaces = pc.count_substring_regex(texts, r"\s+").to_numpy()
    wordy = float(spaces.mean()) >= 3 or float(lengths.mean()) > 60
    if wordy and distinct > 0.5 * rows and distinct >= ENOUGH:
        return Inferred("text", notes=(Note("free_text", name),))
    if rows >= ENOUGH and distinct >= 0.98 * rows:
        if (spaces > 0).mean() <= 0.1:
            return Inferred("id", notes=(Note("id_columns", name, _unique(found, real)),))
        return Inferred("text", notes=(Note("free_text", name),))
    return Inferred("category", notes=_case(found, real, name))


def _unique(found: Words, real: np.ndarray) -> str:
    distinct, rows = int(real.sum()), int(found.counts @ real)
    return f"{distinct:,} different values in {rows:,} rows, such as {shortened(found.some(real, 1)[0], 24)!r}"


def _case(found: Words, real: np.ndarray, name: str) -> tuple[Note, ...]:
    lower = [v for v, r in zip(found.lower.to_pylist(), real, strict=True) if r] if real.sum() <= 1000 else []
    twice = sorted({v for v in lower if lower.count(v) > 1}) if len(set(lower)) < len(lower) else []
    return (Note("case_variants", name, listed(twice, 3, 20)),) if twice else ()


def _as_asked(found: Words, name: str, decimal: str | None, asked: str) -> Inferred:
    """The parser of a column of text whose kind the user gave; InputError where not one value is of that kind."""
    skip = found.marked(NUMBER_MARKS)
    if asked == "duration":
        return _duration(found, skip, name, least=0.0) or Inferred("number", {"duration": True})
    if asked in ("number", "key"):
        read = numbers(found, skip, decimal)
        bad = ~(read.good | skip)
        if asked == "key" and bad.any():
            return Inferred("category")  # words name things as well
        return Inferred(asked, _number_parser(found, read, bad), tuple(_number_notes(found, read, skip, name)))
    if asked in ("date", *ORDERS):
        when = dates(found, skip, least=0.0, asked=asked)
        if when is None:
            return Inferred("date", {"format": "ISO8601"})
        bad = ~(when.good | skip)
        return Inferred("date", {**when.parser, **_own_marks(found, bad)}, tuple(_date_notes(found, when, skip, name)))
    if asked == "boolean":
        parser = _truth(found, skip)
        good = found.marked((*parser["true"], *parser["false"], *BITS))
        bad = ~(good | skip)
        return Inferred(asked, {**parser, **_own_marks(found, bad)}, tuple(_unreadable(found, good, skip, name, asked)))
    return Inferred(asked)


def _truth(found: Words, skip: np.ndarray) -> dict[str, Any]:
    known = {"true": ["true", "t", "yes", "y", "1", "on"], "false": ["false", "f", "no", "n", "0", "off"]}
    said = sorted({v for v, s in zip(found.lower.to_pylist(), skip, strict=True) if not s})
    if len(said) == 2 and not set(said) <= {*known["true"], *known["false"]}:
        return {"true": [said[1]], "false": [said[0]]}
    return known
