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
        words = to_distinct_words(raw)
        inference = _infer_as_asked(words, name, decimal, asked) if asked else _infer_text(words, name, decimal)
        return replace(inference, words=words)
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
        column_levels = to_canonical(raw, "ordered", {}).values.dropna().unique()
        unknown_levels = sorted(set(column_levels) - set(levels))
        if unknown_levels and len(unknown_levels) == len(column_levels):
            raise InputError(
                f"The order of {shorten(raw.name)!r}, {join_names(levels, 5, 24)}, holds none of the column's levels: "
                f"{join_names(unknown_levels, 5, 24)}. Write the levels as the table does, lowest first: "
                f"--order '{shorten(raw.name)}={','.join(unknown_levels[:3])}', or order: in the config."
            )
        notes = (
            (ColumnNote("unordered_levels", str(raw.name), join_names(unknown_levels, 3, 24)),)
            if unknown_levels
            else ()
        )
        return InferredKind("ordered", {"order": levels}, notes)
    numbered = {level: re.search(r"-?\d+(?:\.\d+)?", level) for level in levels}
    values = {level: float(match[0]) for level, match in numbered.items() if match}
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
    sample = raw.dropna().head(100)
    return any(not isinstance(v, PLAIN_VALUES) for v in sample)


def _infer_typed(raw: pd.Series, name: str, kind: str | None) -> InferredKind:
    """The kind of a column whose type the source already knows."""
    if pd.api.types.is_timedelta64_dtype(raw.dtype) and kind in (None, "duration", "number"):
        return InferredKind("number", {"duration": True}, (ColumnNote("durations", name),))
    if kind:
        return InferredKind({"duration": "number", **dict.fromkeys(ORDERS, "date")}.get(kind, kind))
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        return InferredKind("date")
    if pd.api.types.is_bool_dtype(raw.dtype):
        return InferredKind("boolean")
    values = to_floats(raw)
    if pd.api.types.is_integer_dtype(raw.dtype) and _counts_rows(raw.dropna().astype("object").tolist(), name):
        return InferredKind("id", notes=(ColumnNote("id_columns", name, "counts the rows"),))
    if pd.api.types.is_integer_dtype(raw.dtype) and len(values) and np.nanmax(np.abs(values), initial=0) > 2**53:
        return InferredKind("category", notes=(ColumnNote("codes", name, f"such as {raw.dropna().iloc[0]}"),))
    present = values[~np.isnan(values)]
    if _is_whole(present) and len(present) == len(values) and pd.api.types.is_float_dtype(raw.dtype):
        counter = _counts_rows([int(v) for v in present], name)
        if counter:
            return InferredKind("id", notes=(ColumnNote("id_columns", name, "counts the rows"),))
    return _make_key(name) if _names_things(present, name) else InferredKind("number")


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


def _infer_text(words: DistinctWords, name: str, decimal: str | None) -> InferredKind:
    """The kind of a column of text, from its distinct values."""
    skip = ~words.plain if words.plain.all() else words.find_missing(NUMBER_MARKS)
    count = int(words.counts @ ~skip)
    if not count:
        empty = not len(words.values) or words.find_missing(MARKS).all()
        return _make_empty(name) if empty else InferredKind("category")
    duration = None if words.plain.all() else _infer_duration(words, skip, name)
    if duration:
        return duration
    boolean = None if words.plain.all() else _infer_boolean(words, skip)
    if boolean:
        return boolean
    if not words.plain.all() and words.counts @ words.find_matching(r"\d|(?i:inf)|∞") < HALF * count:
        return _infer_label(words, name)
    return (
        _infer_number(words, skip, count, name, decimal)
        or _infer_date(words, skip, name)
        or _infer_unread_text(words, skip, name)
    )


def _make_empty(name: str) -> InferredKind:
    return InferredKind("drop", notes=(ColumnNote("empty_columns", name),))


def _infer_date(words: DistinctWords, skip: np.ndarray, name: str) -> InferredKind | None:
    """A column of dates, or of what looks like them and can't be read; None where the words are something else."""
    dates = parse_dates(words, skip)
    if dates is None and has_mixed_dates(words, skip):
        return InferredKind(
            "category", notes=(ColumnNote("mixed_dates", name, join_names(words.list_examples(~skip, 2))),)
        )
    dates = dates or parse_dates(words, skip, HALF)
    # Versions such as 1.2.10 look like days of years of two digits, in part.
    if dates is None or (dates.odd and "first" in dates.parser):
        return None
    bad = ~(dates.good | skip)
    if dates.odd and _has_repeated_levels(words, name):
        return InferredKind(
            "category", notes=(ColumnNote("mixed_values", name, _describe_part(words, dates.good, skip, "dates")),)
        )
    notes = (*_find_date_notes(words, dates, skip, name), *_find_missing_marks(words, skip, name))
    parser = {**dates.parser, **_collect_marks(words, bad)}
    return InferredKind("date", parser, notes, writes_na=bool(words.find_missing(("na",)).any()))


def _infer_unread_text(words: DistinctWords, skip: np.ndarray, name: str) -> InferredKind:
    """Words, in which there may be numbers that can't be read; those are no names of rows."""
    label = _infer_label(words, name)
    if label.kind == "category" or not has_unread_numbers(words, skip):
        return label
    return InferredKind(
        "text",
        notes=(ColumnNote("unread_numbers", name, f"such as {join_names(words.list_examples(~skip, 2), 2, 24)}"),),
    )


def _infer_duration(words: DistinctWords, skip: np.ndarray, name: str, least: float = MOST) -> InferredKind | None:
    """A column of durations, as seconds; None where fewer than that share of the values are some."""
    _, good = parse_durations(words, skip)
    count = int(words.counts @ ~skip)
    if not good.any() or words.counts @ good < least * count:
        return None
    bad = ~(good | skip)
    notes = (ColumnNote("durations", name), *_find_unreadable(words, good, skip, name, "durations"))
    return InferredKind("number", {"duration": True, **_collect_marks(words, bad)}, notes)


def _infer_boolean(words: DistinctWords, skip: np.ndarray) -> InferredKind | None:
    """true and false, also with 1 and 0 among them; yes and no stay words, since such columns meet a third word sooner
    or later."""
    if int((~skip).sum()) > 8:
        return None
    values = {v for v, s in zip(words.lower.to_pylist(), skip, strict=True) if not s}
    if {"t", "f"} == values - BITS:
        return InferredKind("boolean", {"true": ["t"], "false": ["f"]})
    if not values & WORDS or values - WORDS - BITS:
        return None
    return InferredKind("boolean", {"true": ["true"], "false": ["false"]})


def _infer_number(
    words: DistinctWords, skip: np.ndarray, count: int, name: str, decimal: str | None
) -> InferredKind | None:
    """A number column, its ids and its codes; None where the words are something else."""
    numbers = parse_numbers(words, skip, decimal)
    bad = ~(numbers.good | skip)
    good = int(words.counts @ numbers.good)
    distinct = int(numbers.good.sum())
    if not good:
        return None
    is_whole = _is_whole(numbers.values[numbers.good])
    codes = _infer_codes(words, numbers, name) if is_whole and not bad.any() else None
    if codes:
        return codes
    if has_compact_dates(words, numbers.good) and parse_dates(words, skip) is not None:
        return None
    if (
        is_whole
        and not bad.any()
        and _names_things(spread_to_rows(numbers.values, words.codes, np.nan)[words.find_rows(numbers.good)], name)
    ):
        return _make_key(name, _make_number_parser(words, numbers, bad))
    few_words = int(bad.sum()) <= 3 and good >= HALF * count and distinct > 2 * FEW_NUMBERS
    if bad.any() and not ((good >= MOST * count or few_words) and distinct > FEW_NUMBERS):
        if good < HALF * count:
            return None
        if distinct <= FEW_NUMBERS:
            return _infer_label(words, name)
        if _has_repeated_levels(words, name):
            return InferredKind(
                "category", notes=(ColumnNote("mixed_values", name, _describe_part(words, numbers.good, skip)),)
            )
    notes = (*_find_number_notes(words, numbers, skip, name), *_find_missing_marks(words, skip, name))
    return InferredKind(
        "number", _make_number_parser(words, numbers, bad), notes, writes_na=bool(words.find_missing(("na",)).any())
    )


def _has_repeated_levels(words: DistinctWords, name: str) -> bool:
    """Whether these are levels: no names of rows, no text, and most in more than one row."""
    real = ~words.find_missing(MARKS)
    return _infer_label(words, name).kind == "category" and 2 * int(real.sum()) <= int(words.counts @ real)


def _describe_part(words: DistinctWords, good: np.ndarray, skip: np.ndarray, noun: str = "numbers") -> str:
    """`96 of 120 values are numbers; others such as '<0.5'`"""
    bad = ~(good | skip)
    examples = join_names(map(repr, words.list_examples(bad, 2)), 2, 24)
    return f"{words.counts @ good:,} of {words.counts @ ~skip:,} values are {noun}; others such as {examples}"


def _infer_codes(words: DistinctWords, numbers: ParsedNumbers, name: str) -> InferredKind | None:
    """Row counters, and digits that are names: 00123, or more of them than a number keeps."""
    texts = words.values
    long = words.find_matching(CODE_DIGITS)
    padded = words.find_matching(r"^0\d+$")
    unique = len(texts) == int((words.codes >= 0).sum())
    if unique and words.find_matching(r"^-?\d+(\.0)?$").all():
        counter = _counts_rows([int(t.removesuffix(".0")) for t in texts.to_pylist()], name)
        if counter:
            return InferredKind("id", notes=(ColumnNote("id_columns", name, "counts the rows"),))
    if long.any() and words.find_matching(r"^-?\d+$")[numbers.good].all():
        if unique and len(texts) >= ENOUGH:
            return InferredKind("id", notes=(ColumnNote("id_columns", name, "long unique digits"),))
        return InferredKind(
            "category", notes=(ColumnNote("codes", name, f"such as {words.list_examples(long, 1)[0]}"),)
        )
    same_length = len(pc.unique(pc.utf8_length(texts.filter(~words.find_missing(NUMBER_MARKS))))) == 1
    if padded.any() and same_length and words.find_matching(r"^\d+$")[numbers.good].all():
        return InferredKind(
            "category", notes=(ColumnNote("codes", name, f"such as {words.list_examples(padded, 1)[0]}"),)
        )
    return None


def _make_number_parser(words: DistinctWords, numbers: ParsedNumbers, bad: np.ndarray) -> dict[str, Any]:
    return numbers.style.parser | _collect_marks(words, bad, shaped=True)


def _collect_marks(words: DistinctWords, bad: np.ndarray, shaped: bool = False) -> dict[str, Any]:
    """The words that this column was read with as missing, or their shapes; where the next table holds them, they are
    so again."""
    if not bad.any():
        return {}
    written = (words.shapes if shaped else words.lower).to_pylist()
    places = sorted(np.flatnonzero(bad), key=lambda i: -words.counts[i])
    marks = dict.fromkeys(written[i] for i in places if len(written[i]) <= LONGEST_MARK)
    return {"missing": list(marks)[:MOST_MARKS]}


def _find_number_notes(words: DistinctWords, numbers: ParsedNumbers, skip: np.ndarray, name: str) -> list[ColumnNote]:
    notes = _find_unreadable(words, numbers.good, skip, name, "numbers")
    plain = words.plain[numbers.good & np.isfinite(numbers.values)].all()
    return notes if plain else [*notes, ColumnNote("number_format", name, _describe_format(words, numbers))]


def _find_unreadable(
    words: DistinctWords, good: np.ndarray, skip: np.ndarray, name: str, noun: str
) -> list[ColumnNote]:
    """What is neither of the column's kind nor missing, where there is such: with rows, or with figures if much."""
    bad = ~(good | skip)
    if not bad.any():
        return []
    rows = words.find_rows(bad)
    text = (
        f"{join_names(map(repr, words.list_examples(bad, 4)), 3, 24)} in "
        f"{describe_rows(list_data_rows(rows), int(rows.sum()))}"
    )
    many = rows.sum() > (1 - MOST) * (words.counts @ ~skip)
    return [
        ColumnNote(
            "unreadable_values", name, _describe_part(words, good, skip, noun) if many else text, list_data_rows(rows)
        )
    ]


def _find_missing_marks(words: DistinctWords, skip: np.ndarray, name: str) -> list[ColumnNote]:
    """What stood for missing, besides nothing at all."""
    marks = skip & (words.counts > 0) & ~words.find_matching("^$")
    items = [f"{words.values[int(i)].as_py()!r} in {words.counts[i]:,}" for i in np.flatnonzero(marks)[:4]]
    items += [f"blanks in {words.blanks:,}"] if words.blanks else []
    return [ColumnNote("missing_marks", name, f"{join_names(items)} rows")] if items else []


def _describe_format(words: DistinctWords, numbers: ParsedNumbers) -> str:
    """`$250,000 is 250000`, and a word of care where signs are mixed."""
    unusual = numbers.good & np.isfinite(numbers.values) & ~words.find_matching(r"^[+-]?\d*\.?\d*$")
    lengths = pc.utf8_length(words.values).to_numpy()
    place = int(np.argmax(np.where(unusual if unusual.any() else numbers.good, lengths, -1)))
    text = f"{shorten(words.values[place].as_py(), 24)} is {numbers.values[place]:.15g}"
    currencies = [s for s in numbers.style.signs or () if s != "%"]
    if len(currencies) > 1:
        text += f"; currencies are mixed: {join_names(currencies)}"
    bare = numbers.bare & numbers.good
    if bare.any() and not bare[numbers.good].all():
        text += f"; {int(words.counts @ bare)} values have no {numbers.style.unit or '%'}"
    return text


def _find_date_notes(words: DistinctWords, dates: ParsedDates, skip: np.ndarray, name: str) -> list[ColumnNote]:
    decided = [ColumnNote("date_format", name, dates.note)] if dates.note else []
    return decided + _find_unreadable(words, dates.good, skip, name, "dates")


def _infer_label(words: DistinctWords, name: str) -> InferredKind:
    """id, free text or category: from how often values come again and how many words they have."""
    real = ~words.find_missing(MARKS)
    distinct, rows = int(real.sum()), int(words.counts @ real)
    if not distinct:
        return _make_empty(name)
    texts = words.values.filter(real)
    lengths = pc.utf8_length(texts).to_numpy()
    spaces = pc.count_substring_regex(texts, r"\s+").to_numpy()
    wordy = float(spaces.mean()) >= 3 or float(lengths.mean()) > 60
    if wordy and distinct > 0.5 * rows and distinct >= ENOUGH:
        return InferredKind("text", notes=(ColumnNote("free_text", name),))
    if rows >= ENOUGH and distinct >= 0.98 * rows:
        if (spaces > 0).mean() <= 0.1:
            return InferredKind("id", notes=(ColumnNote("id_columns", name, _describe_unique(words, real)),))
        return InferredKind("text", notes=(ColumnNote("free_text", name),))
    return InferredKind("category", notes=_find_case_variants(words, real, name))


def _describe_unique(words: DistinctWords, real: np.ndarray) -> str:
    distinct, rows = int(real.sum()), int(words.counts @ real)
    return f"{distinct:,} different values in {rows:,} rows, such as {shorten(words.list_examples(real, 1)[0], 24)!r}"


def _find_case_variants(words: DistinctWords, real: np.ndarray, name: str) -> tuple[ColumnNote, ...]:
    lower = [v for v, r in zip(words.lower.to_pylist(), real, strict=True) if r] if real.sum() <= 1000 else []
    twice = sorted({v for v in lower if lower.count(v) > 1}) if len(set(lower)) < len(lower) else []
    return (ColumnNote("case_variants", name, join_names(twice, 3, 20)),) if twice else ()


def _infer_as_asked(words: DistinctWords, name: str, decimal: str | None, kind: str) -> InferredKind:
    """The parser of a column of text whose kind the user gave; InputError where not one value is of that kind."""
    skip = words.find_missing(NUMBER_MARKS)
    if kind == "duration":
        return _infer_duration(words, skip, name, least=0.0) or InferredKind("number", {"duration": True})
    if kind in ("number", "key"):
        numbers = parse_numbers(words, skip, decimal)
        bad = ~(numbers.good | skip)
        if kind == "key" and bad.any():
            return InferredKind("category")  # words name things as well
        return InferredKind(
            kind, _make_number_parser(words, numbers, bad), tuple(_find_number_notes(words, numbers, skip, name))
        )
    if kind in ("date", *ORDERS):
        dates = parse_dates(words, skip, least=0.0, asked=kind)
        if dates is None:
            return InferredKind("date", {"format": "ISO8601"})
        bad = ~(dates.good | skip)
        return InferredKind(
            "date", {**dates.parser, **_collect_marks(words, bad)}, tuple(_find_date_notes(words, dates, skip, name))
        )
    if kind == "boolean":
        parser = _make_truth_parser(words, skip)
        good = words.find_missing((*parser["true"], *parser["false"], *BITS))
        bad = ~(good | skip)
        return InferredKind(
            kind, {**parser, **_collect_marks(words, bad)}, tuple(_find_unreadable(words, good, skip, name, kind))
        )
    return InferredKind(kind)


def _make_truth_parser(words: DistinctWords, skip: np.ndarray) -> dict[str, Any]:
    truths = {"true": ["true", "t", "yes", "y", "1", "on"], "false": ["false", "f", "no", "n", "0", "off"]}
    values = sorted({v for v, s in zip(words.lower.to_pylist(), skip, strict=True) if not s})
    if len(values) == 2 and not set(values) <= {*truths["true"], *truths["false"]}:
        return {"true": [values[1]], "false": [values[0]]}
    return truths
