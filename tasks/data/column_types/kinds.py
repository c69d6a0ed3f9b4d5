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

from models.errors import InputError, join_names
from models.text.safe import shorten
from tasks.data.column_types.arrow import pc
from tasks.data.column_types.columns import is_textual, list_data_rows, to_canonical, to_floats
from tasks.data.column_types.dates import MOST, ORDERS, ParsedDates, has_compact_dates, has_mixed_dates, parse_dates
from tasks.data.column_types.durations import parse_durations
from tasks.data.column_types.numeric import CODE_DIGITS, ParsedNumbers, has_unread_numbers, parse_numbers
from tasks.data.column_types.words import MARKS, NUMBER_MARKS, DistinctWords, spread_to_rows, to_distinct_words
from tasks.data.notes import ColumnNote, describe_rows

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
class InferredKind:
    """What a column was taken for."""

    kind: str
    parser: dict[str, Any] = field(default_factory=dict)
    notes: tuple[ColumnNote, ...] = ()
    words: DistinctWords | None = None
    """The words that were looked at, for whoever reads on."""
    writes_na: bool = False
    """Whether a column of numbers or dates writes NA for missing, as R does: then words may too."""


def infer_kind(
    raw: pd.Series, decimal: str | None, asked: str | None = None, order: Sequence[str] | None = None
) -> InferredKind:
    """The column's kind; `asked` overrules what the values say, and so does an `order` of its levels. decimal: the mark
    that the table uses elsewhere."""
    name = str(raw.name)
    if asked == "drop":
        return InferredKind("drop")
    if asked == "ordered" or (order and asked is None) or (asked is None and _has_order(raw)):
        return infer_order(raw, order)
    if _is_nested(raw):
        return InferredKind("drop", notes=(ColumnNote("unreadable_columns", name, "lists, structs or objects"),))
    if isinstance(raw.dtype, pd.CategoricalDtype) and asked in (None, "category"):
        return InferredKind("category")
    if is_textual(raw):
        found = to_distinct_words(raw)
        told = _infer_as_asked(found, name, decimal, asked) if asked else _infer_text(found, name, decimal)
        return replace(told, words=found)
    return _infer_typed(raw, name, asked)


def _has_order(raw: pd.Series) -> bool:
    return isinstance(raw.dtype, pd.CategoricalDtype) and bool(raw.dtype.ordered)


def infer_order(raw: pd.Series, order: Sequence[str] | None) -> InferredKind:
    """An ordered category: in the order given, in that of its type, or by the number that each level holds; InputError
    where there is none of these, or the order holds none of the column's levels."""
    levels = _list_levels(
        pd.Series(order or (raw.cat.categories if _has_order(raw) else raw.dropna().unique()), name=raw.name)
    )
    if order or _has_order(raw):
        there = to_canonical(raw, "ordered", {}).values.dropna().unique()
        odd = sorted(set(there) - set(levels))
        if odd and len(odd) == len(there):
            raise InputError(
                f"The order of {shorten(raw.name)!r}, {join_names(levels, 5, 24)}, holds none of the column's levels: "
                f"{join_names(odd, 5, 24)}. Write the levels as the table does, lowest first: "
                f"--order '{shorten(raw.name)}={','.join(odd[:3])}', or order: in the config."
            )
        notes = (ColumnNote("unordered_levels", str(raw.name), join_names(odd, 3, 24)),) if odd else ()
        return InferredKind("ordered", {"order": levels}, notes)
    numbered = {level: re.search(r"-?\d+(?:\.\d+)?", level) for level in levels}
    values = {level: float(found[0]) for level, found in numbered.items() if found}
    if len(values) < len(levels) or len(set(values.values())) < len(levels):
        raise InputError(
            f"In which order are the levels of {shorten(raw.name)!r}, {join_names(levels, 5, 24)}? Say it, lowest "
            "first: "
            f"--order '{shorten(raw.name)}={','.join(levels[:3])}', or order: in the config."
        )
    return InferredKind("ordered", {"order": sorted(levels, key=values.__getitem__)})


def _list_levels(values: pd.Series) -> list[str]:
    """Levels as the canonical form writes them, each once."""
    return list(dict.fromkeys(to_canonical(values, "category", {}).values.dropna().tolist()))


def _is_nested(raw: pd.Series) -> bool:
    """Whether the values are lists, structs or other objects."""
    if pd.api.types.is_complex_dtype(raw.dtype):
        return True
    if raw.dtype != object:
        return False
    some = raw.dropna().head(100)
    return any(not isinstance(v, PLAIN_VALUES) for v in some)


def _infer_typed(raw: pd.Series, name: str, asked: str | None) -> InferredKind:
    """The kind of a column whose type the source already knows."""
    if pd.api.types.is_timedelta64_dtype(raw.dtype) and asked in (None, "duration", "number"):
        return InferredKind("number", {"duration": True}, (ColumnNote("durations", name),))
    if asked:
        return InferredKind({"duration": "number", **dict.fromkeys(ORDERS, "date")}.get(asked, asked))
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        return InferredKind("date")
    if pd.api.types.is_bool_dtype(raw.dtype):
        return InferredKind("boolean")
    values = to_floats(raw)
    if pd.api.types.is_integer_dtype(raw.dtype) and _counts_rows(raw.dropna().astype("object").tolist(), name):
        return InferredKind("id", notes=(ColumnNote("id_columns", name, "counts the rows"),))
    if pd.api.types.is_integer_dtype(raw.dtype) and len(values) and np.nanmax(np.abs(values), initial=0) > 2**53:
        return InferredKind("category", notes=(ColumnNote("codes", name, f"such as {raw.dropna().iloc[0]}"),))
    whole = values[~np.isnan(values)]
    if _is_whole(whole) and len(whole) == len(values) and pd.api.types.is_float_dtype(raw.dtype):
        counter = _counts_rows([int(v) for v in whole], name)
        if counter:
            return InferredKind("id", notes=(ColumnNote("id_columns", name, "counts the rows"),))
    return _make_key(name) if _names_things(whole, name) else InferredKind("number")


def _names_things(values: np.ndarray, name: str) -> bool:
    """Whether whole numbers are names, such as those of customers: their column is called so, and they come again."""
    if len(values) < ENOUGH or not ID_NAME.search(name) or not _is_whole(values) or values.min() < 0:
        return False
    return 2 < len(np.unique(values)) <= len(values) / 2


def _make_key(name: str, parser: dict[str, Any] | None = None) -> InferredKind:
    return InferredKind("key", parser or {}, (ColumnNote("keys", name),))


def _is_whole(values: np.ndarray) -> bool:
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


def _infer_text(found: DistinctWords, name: str, decimal: str | None) -> InferredKind:
    """The kind of a column of text, from its distinct values."""
    skip = ~found.plain if found.plain.all() else found.marked(NUMBER_MARKS)
    some = int(found.counts @ ~skip)
    if not some:
        empty = not len(found.values) or found.marked(MARKS).all()
        return _make_empty(name) if empty else InferredKind("category")
    lasting = None if found.plain.all() else _infer_duration(found, skip, name)
    if lasting:
        return lasting
    truth = None if found.plain.all() else _infer_boolean(found, skip)
    if truth:
        return truth
    if not found.plain.all() and found.counts @ found.matching(r"\d|(?i:inf)|∞") < HALF * some:
        return _infer_label(found, name)
    return (
        _infer_number(found, skip, some, name, decimal)
        or _infer_date(found, skip, name)
        or _infer_unread_text(found, skip, name)
    )


def _make_empty(name: str) -> InferredKind:
    return InferredKind("drop", notes=(ColumnNote("empty_columns", name),))


def _infer_date(found: DistinctWords, skip: np.ndarray, name: str) -> InferredKind | None:
    """A column of dates, or of what looks like them and can't be read; None where the words are something else."""
    when = parse_dates(found, skip)
    if when is None and has_mixed_dates(found, skip):
        return InferredKind("category", notes=(ColumnNote("mixed_dates", name, join_names(found.some(~skip, 2))),))
    when = when or parse_dates(found, skip, HALF)
    # Versions such as 1.2.10 look like days of years of two digits, in part.
    if when is None or (when.odd and "first" in when.parser):
        return None
    bad = ~(when.good | skip)
    if when.odd and _has_repeated_levels(found, name):
        return InferredKind(
            "category", notes=(ColumnNote("mixed_values", name, _describe_part(found, when.good, skip, "dates")),)
        )
    notes = (*_find_date_notes(found, when, skip, name), *_find_missing_marks(found, skip, name))
    parser = {**when.parser, **_collect_marks(found, bad)}
    return InferredKind("date", parser, notes, writes_na=bool(found.marked(("na",)).any()))


def _infer_unread_text(found: DistinctWords, skip: np.ndarray, name: str) -> InferredKind:
    """Words, in which there may be numbers that can't be read; those are no names of rows."""
    label = _infer_label(found, name)
    if label.kind == "category" or not has_unread_numbers(found, skip):
        return label
    return InferredKind(
        "text", notes=(ColumnNote("unread_numbers", name, f"such as {join_names(found.some(~skip, 2), 2, 24)}"),)
    )


def _infer_duration(found: DistinctWords, skip: np.ndarray, name: str, least: float = MOST) -> InferredKind | None:
    """A column of durations, as seconds; None where fewer than that share of the values are some."""
    _, good = parse_durations(found, skip)
    some = int(found.counts @ ~skip)
    if not good.any() or found.counts @ good < least * some:
        return None
    bad = ~(good | skip)
    notes = (ColumnNote("durations", name), *_find_unreadable(found, good, skip, name, "durations"))
    return InferredKind("number", {"duration": True, **_collect_marks(found, bad)}, notes)


def _infer_boolean(found: DistinctWords, skip: np.ndarray) -> InferredKind | None:
    """true and false, also with 1 and 0 among them; yes and no stay words, since such columns meet a third word sooner
    or later."""
    if int((~skip).sum()) > 8:
        return None
    said = {v for v, s in zip(found.lower.to_pylist(), skip, strict=True) if not s}
    if {"t", "f"} == said - BITS:
        return InferredKind("boolean", {"true": ["t"], "false": ["f"]})
    if not said & WORDS or said - WORDS - BITS:
        return None
    return InferredKind("boolean", {"true": ["true"], "false": ["false"]})


def _infer_number(
    found: DistinctWords, skip: np.ndarray, some: int, name: str, decimal: str | None
) -> InferredKind | None:
    """A number column, its ids and its codes; None where the words are something else."""
    read = parse_numbers(found, skip, decimal)
    bad = ~(read.good | skip)
    good = int(found.counts @ read.good)
    distinct = int(read.good.sum())
    if not good:
        return None
    whole = _is_whole(read.values[read.good])
    coded = _infer_codes(found, read, name) if whole and not bad.any() else None
    if coded:
        return coded
    if has_compact_dates(found, read.good) and parse_dates(found, skip) is not None:
        return None
    if (
        whole
        and not bad.any()
        and _names_things(spread_to_rows(read.values, found.codes, np.nan)[found.rows(read.good)], name)
    ):
        return _make_key(name, _make_number_parser(found, read, bad))
    few_words = int(bad.sum()) <= 3 and good >= HALF * some and distinct > 2 * FEW_NUMBERS
    if bad.any() and not ((good >= MOST * some or few_words) and distinct > FEW_NUMBERS):
        if good < HALF * some:
            return None
        if distinct <= FEW_NUMBERS:
            return _infer_label(found, name)
        if _has_repeated_levels(found, name):
            return InferredKind(
                "category", notes=(ColumnNote("mixed_values", name, _describe_part(found, read.good, skip)),)
            )
    notes = (*_find_number_notes(found, read, skip, name), *_find_missing_marks(found, skip, name))
    return InferredKind(
        "number", _make_number_parser(found, read, bad), notes, writes_na=bool(found.marked(("na",)).any())
    )


def _has_repeated_levels(found: DistinctWords, name: str) -> bool:
    """Whether these are levels: no names of rows, no text, and most in more than one row."""
    real = ~found.marked(MARKS)
    return _infer_label(found, name).kind == "category" and 2 * int(real.sum()) <= int(found.counts @ real)


def _describe_part(found: DistinctWords, good: np.ndarray, skip: np.ndarray, what: str = "numbers") -> str:
    """`96 of 120 values are numbers; others such as '<0.5'`"""
    bad = ~(good | skip)
    odd = join_names(map(repr, found.some(bad, 2)), 2, 24)
    return f"{found.counts @ good:,} of {found.counts @ ~skip:,} values are {what}; others such as {odd}"


def _infer_codes(found: DistinctWords, read: ParsedNumbers, name: str) -> InferredKind | None:
    """Row counters, and digits that are names: 00123, or more of them than a number keeps."""
    texts = found.values
    long = found.matching(CODE_DIGITS)
    padded = found.matching(r"^0\d+$")
    unique = len(texts) == int((found.codes >= 0).sum())
    if unique and found.matching(r"^-?\d+(\.0)?$").all():
        counter = _counts_rows([int(t.removesuffix(".0")) for t in texts.to_pylist()], name)
        if counter:
            return InferredKind("id", notes=(ColumnNote("id_columns", name, "counts the rows"),))
    if long.any() and found.matching(r"^-?\d+$")[read.good].all():
        if unique and len(texts) >= ENOUGH:
            return InferredKind("id", notes=(ColumnNote("id_columns", name, "long unique digits"),))
        return InferredKind("category", notes=(ColumnNote("codes", name, f"such as {found.some(long, 1)[0]}"),))
    same_length = len(pc.unique(pc.utf8_length(texts.filter(~found.marked(NUMBER_MARKS))))) == 1
    if padded.any() and same_length and found.matching(r"^\d+$")[read.good].all():
        return InferredKind("category", notes=(ColumnNote("codes", name, f"such as {found.some(padded, 1)[0]}"),))
    return None


def _make_number_parser(found: DistinctWords, read: ParsedNumbers, bad: np.ndarray) -> dict[str, Any]:
    return read.style.parser | _collect_marks(found, bad, shaped=True)


def _collect_marks(found: DistinctWords, bad: np.ndarray, shaped: bool = False) -> dict[str, Any]:
    """The words that this column was read with as missing, or their shapes; where the next table holds them, they are
    so again."""
    if not bad.any():
        return {}
    written = (found.shapes if shaped else found.lower).to_pylist()
    some = sorted(np.flatnonzero(bad), key=lambda i: -found.counts[i])
    marks = dict.fromkeys(written[i] for i in some if len(written[i]) <= LONGEST_MARK)
    return {"missing": list(marks)[:MOST_MARKS]}


def _find_number_notes(found: DistinctWords, read: ParsedNumbers, skip: np.ndarray, name: str) -> list[ColumnNote]:
    notes = _find_unreadable(found, read.good, skip, name, "numbers")
    plain = found.plain[read.good & np.isfinite(read.values)].all()
    return notes if plain else [*notes, ColumnNote("number_format", name, _describe_format(found, read))]


def _find_unreadable(
    found: DistinctWords, good: np.ndarray, skip: np.ndarray, name: str, what: str
) -> list[ColumnNote]:
    """What is neither of the column's kind nor missing, where there is such: with rows, or with figures if much."""
    bad = ~(good | skip)
    if not bad.any():
        return []
    rows = found.rows(bad)
    text = (
        f"{join_names(map(repr, found.some(bad, 4)), 3, 24)} in {describe_rows(list_data_rows(rows), int(rows.sum()))}"
    )
    many = rows.sum() > (1 - MOST) * (found.counts @ ~skip)
    return [
        ColumnNote(
            "unreadable_values", name, _describe_part(found, good, skip, what) if many else text, list_data_rows(rows)
        )
    ]


def _find_missing_marks(found: DistinctWords, skip: np.ndarray, name: str) -> list[ColumnNote]:
    """What stood for missing, besides nothing at all."""
    marks = skip & (found.counts > 0) & ~found.matching("^$")
    said = [f"{found.values[int(i)].as_py()!r} in {found.counts[i]:,}" for i in np.flatnonzero(marks)[:4]]
    said += [f"blanks in {found.blanks:,}"] if found.blanks else []
    return [ColumnNote("missing_marks", name, f"{join_names(said)} rows")] if said else []


def _describe_format(found: DistinctWords, read: ParsedNumbers) -> str:
    """`$250,000 is 250000`, and a word of care where signs are mixed."""
    odd = read.good & np.isfinite(read.values) & ~found.matching(r"^[+-]?\d*\.?\d*$")
    lengths = pc.utf8_length(found.values).to_numpy()
    place = int(np.argmax(np.where(odd if odd.any() else read.good, lengths, -1)))
    text = f"{shorten(found.values[place].as_py(), 24)} is {read.values[place]:.15g}"
    currencies = [s for s in read.style.signs or () if s != "%"]
    if len(currencies) > 1:
        text += f"; currencies are mixed: {join_names(currencies)}"
    bare = read.bare & read.good
    if bare.any() and not bare[read.good].all():
        text += f"; {int(found.counts @ bare)} values have no {read.style.unit or '%'}"
    return text


def _find_date_notes(found: DistinctWords, when: ParsedDates, skip: np.ndarray, name: str) -> list[ColumnNote]:
    decided = [ColumnNote("date_format", name, when.note)] if when.note else []
    return decided + _find_unreadable(found, when.good, skip, name, "dates")


def _infer_label(found: DistinctWords, name: str) -> InferredKind:
    """id, free text or category: from how often values come again and how many words they have."""
    real = ~found.marked(MARKS)
    distinct, rows = int(real.sum()), int(found.counts @ real)
    if not distinct:
        return _make_empty(name)
    texts = found.values.filter(real)
    lengths = pc.utf8_length(texts).to_numpy()
    spaces = pc.count_substring_regex(texts, r"\s+").to_numpy()
    wordy = float(spaces.mean()) >= 3 or float(lengths.mean()) > 60
    if wordy and distinct > 0.5 * rows and distinct >= ENOUGH:
        return InferredKind("text", notes=(ColumnNote("free_text", name),))
    if rows >= ENOUGH and distinct >= 0.98 * rows:
        if (spaces > 0).mean() <= 0.1:
            return InferredKind("id", notes=(ColumnNote("id_columns", name, _describe_unique(found, real)),))
        return InferredKind("text", notes=(ColumnNote("free_text", name),))
    return InferredKind("category", notes=_find_case_variants(found, real, name))


def _describe_unique(found: DistinctWords, real: np.ndarray) -> str:
    distinct, rows = int(real.sum()), int(found.counts @ real)
    return f"{distinct:,} different values in {rows:,} rows, such as {shorten(found.some(real, 1)[0], 24)!r}"


def _find_case_variants(found: DistinctWords, real: np.ndarray, name: str) -> tuple[ColumnNote, ...]:
    lower = [v for v, r in zip(found.lower.to_pylist(), real, strict=True) if r] if real.sum() <= 1000 else []
    twice = sorted({v for v in lower if lower.count(v) > 1}) if len(set(lower)) < len(lower) else []
    return (ColumnNote("case_variants", name, join_names(twice, 3, 20)),) if twice else ()


def _infer_as_asked(found: DistinctWords, name: str, decimal: str | None, asked: str) -> InferredKind:
    """The parser of a column of text whose kind the user gave; InputError where not one value is of that kind."""
    skip = found.marked(NUMBER_MARKS)
    if asked == "duration":
        return _infer_duration(found, skip, name, least=0.0) or InferredKind("number", {"duration": True})
    if asked in ("number", "key"):
        read = parse_numbers(found, skip, decimal)
        bad = ~(read.good | skip)
        if asked == "key" and bad.any():
            return InferredKind("category")  # words name things as well
        return InferredKind(
            asked, _make_number_parser(found, read, bad), tuple(_find_number_notes(found, read, skip, name))
        )
    if asked in ("date", *ORDERS):
        when = parse_dates(found, skip, least=0.0, asked=asked)
        if when is None:
            return InferredKind("date", {"format": "ISO8601"})
        bad = ~(when.good | skip)
        return InferredKind(
            "date", {**when.parser, **_collect_marks(found, bad)}, tuple(_find_date_notes(found, when, skip, name))
        )
    if asked == "boolean":
        parser = _make_truth_parser(found, skip)
        good = found.marked((*parser["true"], *parser["false"], *BITS))
        bad = ~(good | skip)
        return InferredKind(
            asked, {**parser, **_collect_marks(found, bad)}, tuple(_find_unreadable(found, good, skip, name, asked))
        )
    return InferredKind(asked)


def _make_truth_parser(found: DistinctWords, skip: np.ndarray) -> dict[str, Any]:
    known = {"true": ["true", "t", "yes", "y", "1", "on"], "false": ["false", "f", "no", "n", "0", "off"]}
    said = sorted({v for v, s in zip(found.lower.to_pylist(), skip, strict=True) if not s})
    if len(said) == 2 and not set(said) <= {*known["true"], *known["false"]}:
        return {"true": [said[1]], "false": [said[0]]}
    return known
