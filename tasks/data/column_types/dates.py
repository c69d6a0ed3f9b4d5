"""Text as dates, in UTC without a zone: the format that the values themselves decide, kept so that the next table is
read by it too.

A format is that of a day in strptime's letters, with `%q` for a quarter; a weekday before it, a clock and a zone after
it are read with each value as they are there. ISO8601 stands for all that begins with the year and means one day."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.data.column_types.arrow import pc
from tasks.data.column_types.words import DistinctWords, to_mask

# Nanoseconds, in which many a library counts, end in these years; tables write 0001 and 9999 for "never".
FIRST_YEAR, LAST_YEAR = 1678, 2261
MOST = 0.95
"""A column is one of dates when this share of its values are."""
SAMPLE = 1000
"""Distinct values by which a format is thought of; all of them have to confirm it."""

ORDERS = {"day-first": "dm", "month-first": "md"}
"""What a person may say of days and months in digits -> their order in a format."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = (
    "(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t|tember)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?)"
)
# Hours west of Greenwich by RFC 2822, which alone says what such letters mean.
WEST = {"edt": 4, "est": 5, "cdt": 5, "cst": 6, "mdt": 6, "mst": 7, "pdt": 7, "pst": 8}

FIELDS = {
    "Y": r"(?P<year>\d{4})", "y": r"(?P<year>\d{4}|\d{2})", "m": r"(?P<month>\d{1,2})", "d": r"(?P<day>\d{1,2})",
    "b": f"(?P<name>{MONTH})", "B": f"(?P<name>{MONTH})", "q": r"(?P<quarter>[1-4])",
    "G": r"(?P<year>\d{4})", "V": r"(?P<week>\d{1,2})", "u": r"(?P<weekday>[1-7])",
}  # fmt: skip
GAP = r"[ ,./'-]*"
WEEKDAY = r"(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? +)?"
CLOCK = (
    r"(?P<hour>\d{1,2})(?:[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,:](?P<part>\d{1,9}))?)?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
DENSE_CLOCK = r"(?P<hour>\d{2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,]?(?P<part>\d{1,9}))?)?(?P<half>)"
PLACE = r"(?:\[[\w/+-]+\])?"
ZONE = (
    rf"(?: ?(?P<zone>Z|z|UTC|GMT|UT|{'|'.join(WEST).upper()}){PLACE})?"
    r"(?: ?(?P<ahead>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2})(?::?(?P<seconds>\d{2}))?)?"
    rf"(?:{PLACE}| [A-Z]{{2,5}}))?(?: ?\([^()]*\))?"
)
SHORT_ZONE = r":\d{2}.* ?[+-]\d{3}$"
"""+130 is an hour and a half, which pandas takes for thirteen hours."""
# What ISO8601 stands for beside what pandas reads as that.
ISO = ("%Y-%m-%d", "%Y-%m-%d-%X", "%GW%V%u", "%Y-%m")
# Tried in this order; days with the month in digits at its end are looked at by themselves.
FORMS = (
    "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d %b %Y", "%b %d %Y", "%b %d %X %Y", "%Y %b %d", "%d %b %y", "%b %Y", "%Y %b",
    "%b-%y", "%m/%Y", "%m-%Y", "%m.%Y", "%YM%m", "%Y Q%q", "Q%q %Y", "%qQ %Y", "Q%q %y", "%qQ %y",
    "%GW%V", "W%V %G",
)  # fmt: skip
DAY_MONTH = r"^(?P<one>\d{1,2})(?P<mark>[/.-])(?P<two>\d{1,2})[/.-](?P<three>\d{4}|\d{2})(?:\D.*)?$"
COMPACT = r"^(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])[0-5]\d([0-5]\d)?)?$"
MONTH_POINT = r"^(0[1-9]|1[0-2])\.(19|20)\d{2}$"
# What looks like dates and is read by none of the formats: no year, a zone of letters, another language.
UNREAD = (
    rf"^{WEEKDAY}(?:\d{{1,2}}[ .-]+{MONTH}|{MONTH}\.?[ -]+\d{{1,2}})(?:\W.{{0,60}})?$",
    r"^\d{1,2}(?:\.|er|º)? (?:de )?\pL{3,12}\.? (?:de )?(?:19|20)\d{2}(?:\D.{0,20})?$",
    r"^\d{4} ?年 ?\d{1,2} ?月.{0,20}$",
    r"^(?:19|20)\d{2}[\W_]{1,3}\d{1,2}[\W_]{1,3}\d{1,2}(?:\D.{0,60})?$",
    r"^\d{1,2}[\W_]{1,3}\d{1,2}[\W_]{1,3}(?:19|20)\d{2}(?:\D.{0,60})?$",
    r"^(?:19|20)\d{2}[ -]?[HST][1-4]$|^[HST][1-4][ -]?(?:19|20)\d{2}$",
)

DATED = rf"(?s)\d.*[\W_]\d|\d{{8}}|[QWMHST]{GAP}\d|\d{GAP}Q|年|{MONTH}"
"""What all of these have: one look that spares a column of codes the many."""


@dataclass(frozen=True)
class ParsedDates:
    """Text values read as dates: NaT where `good` is false."""

    values: np.ndarray
    good: np.ndarray
    parser: dict[str, Any]
    note: str = ""
    """What had to be decided, for the user."""
    odd: bool = False
    """Whether more values than a few are no dates."""


def parse_dates(words: DistinctWords, skip: np.ndarray, least: float = MOST, asked: str = "date") -> ParsedDates | None:
    """The distinct values as dates; None where fewer than that share of them are some. `asked`: `day-first` or
    `month-first`, where a person has said so."""
    weights = words.counts * ~skip
    parser, note = _infer_parser(words, weights, least, ORDERS.get(asked))
    if parser is None:
        return None
    values, good = apply_date_parser(words, parser)
    good = good & ~skip
    if weights @ good < least * weights.sum() or not good.any():
        return None
    if "first" in parser:
        note = "; ".join(filter(None, (note, _describe_years(values[good], parser["first"]))))
    return ParsedDates(values, good, parser, note, bool(weights @ good < MOST * weights.sum()))


def apply_date_parser(words: DistinctWords, parser: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(datetime64[us], which could be read) by a parser that is known."""
    form, first = parser["format"], parser.get("first", 1969)
    if form != "ISO8601":
        stamps = _to_stamps(words.values, form, first)
        return stamps, ~np.isnat(stamps)
    text = pd.Series(words.values.to_pylist(), dtype="str")
    times = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    stamps = times.dt.tz_localize(None).astype("datetime64[us]").to_numpy().copy()
    stamps[words.find_matching(SHORT_ZONE)] = np.datetime64("NaT")
    for form in ISO:
        if not (unread := np.isnat(stamps)).any():
            break
        stamps[unread] = _to_stamps(words.values.filter(pa.array(unread)), form, first)
    return stamps, ~np.isnat(stamps)


def find_day_order(parser: Mapping[str, Any]) -> str | None:
    """`day-first` or `month-first`, where dates are written so, both in digits."""
    first = "".join(re.findall("%(.)", parser.get("format", ""))[:2])
    return next((name for name, order in ORDERS.items() if order == first), None)


def has_mixed_dates(words: DistinctWords, skip: np.ndarray) -> bool:
    """Whether nearly all values look like dates, though no one format reads them."""
    sample, weights = _sample_values(words, words.counts * ~skip)
    if weights @ _match_values(sample, DATED) < MOST * weights.sum():
        return False
    looks = np.zeros(len(sample), bool)
    heads = (_make_expression(form, r"(?:\D.{0,60})?") for form in (*ISO, *FORMS))
    for pattern in (*heads, DAY_MONTH, *UNREAD):
        looks |= _match_values(sample, pattern)
    return bool(weights @ looks >= MOST * weights.sum() > 0)


def has_compact_dates(words: DistinctWords, good: np.ndarray) -> bool:
    """Whether plain numbers are rather dates such as 20240131 or 01.2024."""
    if good.sum() < 5:
        return False
    return bool(words.find_matching(COMPACT)[good].mean() >= MOST or words.find_matching(MONTH_POINT)[good].all())


# ---------------------------------------------------------------- by a known format


def _make_expression(form: str, tail: str | None = None) -> str:
    """The format as a regular expression. Where the month has a name, or there is a quarter or a week, it does not
    matter what stands between the parts."""
    loose = bool(re.search("%[bBqV]", form)) and form != "%b-%y"
    packed = form == "%Y%m%d" or "%u" in form
    text = ""
    for part in re.findall(r"%.|[^%]+", form):
        if part == "%X":
            text += f"{CLOCK}{ZONE}"
        elif part.startswith("%"):
            gap = GAP if loose and text else ""
            text += gap + (FIELDS[part[1]].replace("{1,2}", "{2}") if packed else FIELDS[part[1]])
        else:
            literal = part.strip(" -") if loose else part
            text += GAP + re.escape(literal) if loose else re.escape(literal)
    return rf"^{WEEKDAY}{text}{_make_tail(form) if tail is None else tail}$"


def _make_tail(form: str) -> str:
    """What may follow the day: nothing behind a month or a week, which has no clock."""
    if "%X" in form or not re.search("%[du]", form):
        return r"(?:/\d{4}-\d{2}-\d{2})?"
    dense = form == "%Y%m%d"
    return rf"(?:(?:,? +(?:at )?|[Tt:]{'?' if dense else ''}){DENSE_CLOCK if dense else CLOCK})?{ZONE}(?:/\d{{4}}-.*)?"


@dataclass(frozen=True)
class _FormatParts:
    """What the groups of a format found in each value."""

    found: Any
    """Arrow's struct of texts, null where the format does not fit."""

    def read_text(self, name: str) -> Any:
        """The group's text, empty where there is none."""
        if not any(field.name == name for field in self.found.type):
            return pa.array([""] * len(self.found), pa.large_string())
        return pc.fill_null(pc.struct_field(self.found, name), "")

    def read_digits(self, name: str, missing: int = 0) -> np.ndarray:
        """The group's digits as int64."""
        return _to_integers(self.read_text(name), missing)

    def is_given(self, name: str) -> np.ndarray:
        """Where the group holds something."""
        return to_mask(pc.not_equal(self.read_text(name), ""))

    def find_place(self, name: str, known: Sequence[str]) -> np.ndarray:
        """The place of the group's first three letters among those that are known, -1 where they are not."""
        letters = pc.utf8_lower(pc.utf8_slice_codeunits(self.read_text(name), 0, 3))
        return pc.fill_null(pc.index_in(letters, value_set=pa.array(known, letters.type)), -1).to_numpy()

    @property
    def fits(self) -> np.ndarray:
        """Where the format does."""
        return to_mask(pc.is_valid(self.found))


def _to_integers(text: Any, missing: int = 0) -> np.ndarray:
    digits = pc.if_else(pc.not_equal(text, ""), text, pa.scalar(None, text.type))
    return pc.fill_null(pc.cast(digits, pa.int64()), missing).to_numpy(zero_copy_only=False)


def _to_stamps(text: pa.Array, form: str, first: int) -> np.ndarray:
    """datetime64[us], NaT where the format does not fit; `first`: the first of the hundred years that two digits of a
    year mean."""
    parts = _FormatParts(pc.extract_regex(text, pattern=_make_expression(form)))
    days, dated = _to_days(parts, first)
    clock, timed = _to_microseconds(parts)
    offsets, placed = _to_offsets(parts)
    stamps = days.astype("datetime64[us]") + (clock - offsets).astype("timedelta64[us]")
    return np.where(parts.fits & dated & timed & placed, stamps, np.datetime64("NaT", "us"))


def _to_days(parts: _FormatParts, first: int) -> tuple[np.ndarray, np.ndarray]:
    """(datetime64[D], which are days of the calendar)."""
    year, month, quarter = parts.read_digits("year", 1970), parts.read_digits("month", 1), parts.read_digits("quarter")
    year = np.where(to_mask(pc.equal(pc.utf8_length(parts.read_text("year")), 2)), first + (year - first) % 100, year)
    month = np.where(parts.is_given("name"), parts.find_place("name", MONTHS) + 1, month)
    month = np.where(quarter > 0, 3 * quarter - 2, month)
    starts = (year - 1970).astype("datetime64[Y]")
    if parts.is_given("week").any():
        # The fourth of January lies in the first week, whose days are those of the year that its Thursday is in.
        fourth = starts.astype("datetime64[D]") + 3
        monday = fourth - (fourth.astype(np.int64) + 3) % 7 + 7 * (parts.read_digits("week") - 1)
        return monday + parts.read_digits("weekday", 1) - 1, (monday + 3).astype("datetime64[Y]") == starts
    months = starts.astype("datetime64[M]") + (month - 1)
    days = months.astype("datetime64[D]") + parts.read_digits("day", 1) - 1
    return days, (month >= 1) & (month <= 12) & (days.astype("datetime64[M]") == months)


def _to_microseconds(parts: _FormatParts) -> tuple[np.ndarray, np.ndarray]:
    """(microseconds since midnight, which are times of a day)."""
    hour, minute, second = (parts.read_digits(name) for name in ("hour", "minute", "second"))
    twelve = parts.is_given("half")
    late = to_mask(pc.equal(pc.utf8_lower(parts.read_text("half")), "p"))
    fine = np.where(twelve, (hour >= 1) & (hour <= 12), hour < 24) & (minute < 60) & (second < 60)
    hour = np.where(twelve, hour % 12 + 12 * late, hour)
    part = pc.utf8_slice_codeunits(pc.utf8_rpad(parts.read_text("part"), width=6, padding="0"), 0, 6)
    return (hour * 3600 + minute * 60 + second) * 1_000_000 + _to_integers(part), fine


def _to_offsets(parts: _FormatParts) -> tuple[np.ndarray, np.ndarray]:
    """(microseconds ahead of UTC, which are offsets that some place has)."""
    hours, minutes, seconds = (parts.read_digits(name) for name in ("hours", "minutes", "seconds"))
    sign = np.where(to_mask(pc.equal(parts.read_text("ahead"), "-")), -1, 1)
    west = np.array([*WEST.values(), 0])[parts.find_place("zone", list(WEST))]
    offsets = np.where(parts.is_given("ahead"), sign * (hours * 3600 + minutes * 60 + seconds), -3600 * west)
    return offsets * 1_000_000, (hours < 16) & (minutes < 60) & (seconds < 60)


# ---------------------------------------------------------------- the format that values have


def _sample_values(words: DistinctWords, weights: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """Some of the distinct values that count, spread evenly over them, and how many rows hold each."""
    places = np.flatnonzero(weights)
    sample = places[np.unique(np.linspace(0, len(places) - 1, min(SAMPLE, len(places))).astype(np.int64))]
    return words.values.take(pa.array(sample)), weights[sample]


def _match_values(values: pa.Array, pattern: str) -> np.ndarray:
    return to_mask(pc.match_substring_regex(values, pattern))


def _infer_parser(
    words: DistinctWords, weights: np.ndarray, least: float, preset: str | None
) -> tuple[dict[str, Any] | None, str]:
    """How the values write dates, and what had to be decided."""
    sample, rows = _sample_values(words, weights)
    form = _choose_format(sample, rows, least)
    if form == DAY_MONTH:
        return _infer_day_month(words, weights, preset)
    if form is None or form in ISO:
        return form and {"format": "ISO8601"}, ""
    note = "eight digits, read as year, month, day" if form == "%Y%m%d" else ""
    return {"format": form, **_infer_century(words, weights, form)}, note


def _choose_format(sample: pa.Array, rows: np.ndarray, least: float) -> str | None:
    """The format that most rows have, None where that are fewer than this share of them: the first that nearly all
    have."""
    best, most = None, max(1.0, least * rows.sum())
    if rows @ _match_values(sample, DATED) < most:
        return None
    for form in (*ISO, DAY_MONTH, *FORMS):
        fits = rows @ _match_values(sample, form if form == DAY_MONTH else _make_expression(form))
        if fits >= MOST * rows.sum():
            return form
        if fits >= most and (best is None or fits > most):
            best, most = form, fits
    return best


def _infer_day_month(
    words: DistinctWords, weights: np.ndarray, preset: str | None
) -> tuple[dict[str, Any] | None, str]:
    """Day before month or the reverse: as asked, else whichever a value above 12 decides; `mixed` text is left as
    text."""
    parts = _FormatParts(pc.extract_regex(words.values.filter(pa.array(weights > 0)), pattern=DAY_MONTH))
    parts = _FormatParts(parts.found.filter(pa.array(parts.fits)))
    first, second, third = (parts.read_digits(name) for name in ("one", "two", "three"))
    long = to_mask(pc.equal(pc.utf8_length(parts.read_text("three")), 4))
    mark = str(parts.read_text("mark")[0])
    if not preset and not long.any() and _is_year_first(first, second, third):
        form, note = f"%y{mark}%m{mark}%d", "read as year, month, day"
    else:
        order, note = (preset, "") if preset else _infer_order(first, second, mark)
        if order is None:
            return None, ""
        form = f"%{order[0]}{mark}%{order[1]}{mark}{'%Y' if long.all() else '%y'}"
    return {"format": form, **_infer_century(words, weights, form)}, note


def _is_year_first(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> bool:
    """Whether it is the first of three pairs of digits that holds the year: the last never passes 31, and years come
    again more often than days."""
    if (third > 31).any() or (third < 1).any() or (second > 12).any() or (second < 1).any():
        return False
    return bool((first > 31).any() or len(np.unique(first)) < len(np.unique(third)))


def _infer_order(first: np.ndarray, second: np.ndarray, mark: str) -> tuple[str | None, str]:
    """`dm` or `md`, None where values contradict each other, and how it was decided."""
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first and month_first:
        return None, ""
    if day_first or month_first:
        which = "day" if day_first else "month"
        return ("dm" if day_first else "md"), f"read as {which} first, since a value above 12 decides it"
    day_first = mark == "."
    note = f"no value above 12 tells day from month; read as {'day.month' if day_first else 'month/day'}; "
    note += f"if that is wrong, give the type {'month' if day_first else 'day'}-first"
    return ("dm" if day_first else "md"), note


def _infer_century(words: DistinctWords, weights: np.ndarray, form: str) -> dict[str, int]:
    """The first of the hundred years that years of two digits mean: 1950, unless that would tear years apart which
    belong together, as those of birth from 1930 to 2008."""
    if "%y" not in form:
        return {}
    parts = _FormatParts(pc.extract_regex(words.values.filter(pa.array(weights > 0)), pattern=_make_expression(form)))
    years = np.unique(parts.read_digits("year")[to_mask(pc.equal(pc.utf8_length(parts.read_text("year")), 2))])
    if not len(years):
        return {"first": 1950}
    # The years that no value has, as runs (after, before) on the circle of a hundred.
    runs = [(int(a), int(b)) for a, b in zip(years, np.append(years[1:], years[0] + 100), strict=True)]
    after, before = max(runs, key=lambda run: run[1] - run[0])
    if before - after <= 10:
        return {"first": 1950}
    cut = min((c for c in range(after + 1, before + 1)), key=lambda c: min(abs(c - 50), abs(c - 150)))
    return {"first": 1900 + cut % 100}


def _describe_years(values: np.ndarray, first: int) -> str:
    """What years of two digits were taken for, and how many dates that puts in the future."""
    low, high = (str(v)[:4] for v in (values.min(), values.max()))
    later = int((values > np.datetime64(date.today(), "us")).sum())
    future = f", {later:,} of them in the future" if later else ""
    return f"years of two digits are taken from {first} to {first + 99}: here {low} to {high}{future}"


def mark_far_dates(values: np.ndarray) -> np.ndarray:
    """Which dates lie in years that stand for "never"."""
    first, last = np.datetime64(f"{FIRST_YEAR}-01-01", "us"), np.datetime64(f"{LAST_YEAR}-12-31", "us")
    with np.errstate(invalid="ignore"):
        return (values < first) | (values > last)
