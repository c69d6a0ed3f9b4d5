"""Text as dates: the format that the values themselves decide, times in UTC without a zone."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.data.arrow import pc
from tasks.data.words import Words, mask

CLOCK = r"(?:[ T]+\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?: ?[AaPp][Mm])?)?"
ZONE = r"(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?"
ISO = rf"^\d{{4}}-\d{{1,2}}(?:-\d{{1,2}}{CLOCK}{ZONE})?$"
YEAR_FIRST = rf"^\d{{4}}[/.]\d{{1,2}}[/.]\d{{1,2}}{CLOCK}$"
YEAR_LAST = rf"^(?P<one>\d{{1,2}})(?P<mark>[/.-])(?P<two>\d{{1,2}})[/.-](?P<year>\d{{4}}|\d{{2}}){CLOCK}$"
LAST = re.sub(r"\?P<\w+>", "", YEAR_LAST)
DAY_NAME = rf"^\d{{1,2}}[ -][A-Za-z]{{3,9}}\.?,?[ -](?:\d{{4}}|\d{{2}}){CLOCK}$"
NAME_DAY = rf"^[A-Za-z]{{3,9}}\.? \d{{1,2}},? \d{{4}}{CLOCK}$"
COMPACT = r"^(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"
# Nanoseconds, in which many a library counts, end in these years; tables write 0001 and 9999 for "never".
FIRST_YEAR, LAST_YEAR = 1678, 2261


@dataclass(frozen=True)
class Dates:
    """Text values read as dates: NaT where `good` is false."""

    values: np.ndarray
    good: np.ndarray
    parser: dict[str, str]
    note: str = ""
    """What had to be decided, for the user."""


def dates(words: Words, skip: np.ndarray) -> Dates | None:
    """The distinct values as dates; None where they are none."""
    parser, note = _parser(words, skip)
    if parser is None:
        return None
    values, good = parsed(words, parser)
    weights = words.counts * ~skip
    return Dates(values, good & ~skip, parser, note) if weights @ good >= 0.95 * weights.sum() else None


def parsed(words: Words, parser: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """(datetime64[us], which could be read) by a parser that is known."""
    form = parser["format"]
    text = pd.Series(words.values.to_pylist(), dtype="str")
    if form == "ISO8601":
        read = pd.to_datetime(_padded(text), format="ISO8601", errors="coerce", utc=True)
    else:
        read = _by_format(text, form)
    stamps = read.dt.tz_localize(None).astype("datetime64[us]").to_numpy()
    return stamps, ~np.isnat(stamps)


def mixed(words: Words, skip: np.ndarray) -> bool:
    """Whether nearly all values look like dates, though no one format reads them."""
    patterns = (ISO, YEAR_FIRST, LAST, DAY_NAME, NAME_DAY)
    looks = np.logical_or.reduce([words.matching(p) for p in patterns])
    weights = words.counts * ~skip
    return bool(weights @ looks >= 0.95 * weights.sum() > 0)


def _padded(text: pd.Series) -> pd.Series:
    """ISO dates with two digits for the month and day, and no blank before the zone."""
    if text.str.contains(r"-\d(?:-|$|[ T])", regex=True).any():
        text = text.str.replace(r"-(\d)(?=-|$|[ T])", r"-0\1", regex=True)
    return text.str.replace(r" ?UTC$", "Z", regex=True).str.replace(r" (?=[+-]\d{2}:?\d{2}$)", "", regex=True)


def _by_format(text: pd.Series, form: str) -> pd.Series:
    """The dates under a day format, with whatever clock each value has."""
    read = pd.to_datetime(text, format=form, errors="coerce", utc=True)
    for clock in (" %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p"):
        left = read.isna()
        if not left.any():
            break
        read = read.fillna(pd.to_datetime(text.where(left), format=form + clock, errors="coerce", utc=True))
    return read


def _parser(words: Words, skip: np.ndarray) -> tuple[dict[str, str] | None, str]:
    """How the values write dates, and what had to be decided."""
    weights = words.counts * ~skip
    needed = 0.95 * weights.sum()
    if not weights.sum() or weights @ words.matching(r"\d") < needed:
        return None, ""

    def most(pattern: str) -> bool:
        return bool(weights @ words.matching(pattern) >= needed)

    if most(ISO):
        return {"format": "ISO8601"}, ""
    if most(YEAR_FIRST):
        mark = "/" if words.matching(r"^\d{4}/").any() else "."
        return {"format": f"%Y{mark}%m{mark}%d"}, ""
    if most(COMPACT):
        return {"format": "%Y%m%d"}, "eight digits, read as year, month, day"
    if most(LAST):
        return _day_month(words)
    return _with_names(words, most), ""


def _with_names(words: Words, most: object) -> dict[str, str] | None:
    """The format of dates with the month's name in English."""
    sample = next(iter(words.values.to_pylist()), "")
    for pattern, head in ((DAY_NAME, "%d"), (NAME_DAY, "")):
        if callable(most) and most(pattern):
            texts = [t for t in words.values.to_pylist() if re.match(pattern, t)]
            sample = texts[0]
            month = "%b" if all(len(re.search(r"[A-Za-z]+", t)[0]) == 3 for t in texts) else "%B"  # type: ignore[index]
            if not head:
                return {"format": f"{month} %d, %Y" if "," in sample else f"{month} %d %Y"}
            mark = "-" if "-" in sample else " "
            year = "%Y" if re.search(r"\d{4}", sample) else "%y"
            return {"format": f"%d{mark}{month}{mark}{year}"}
    return None


def _day_month(words: Words) -> tuple[dict[str, str] | None, str]:
    """Day before month or the reverse: whichever value above 12 decides; `mixed` text is left as text."""
    parts = pc.extract_regex(words.values, YEAR_LAST)
    fits = words.matching(LAST)

    def numbers(name: str) -> np.ndarray:
        return pc.fill_null(
            pc.cast(pc.if_else(pa.array(fits), pc.struct_field(parts, name), None), pa.int64()), 0
        ).to_numpy(zero_copy_only=False)

    one, two = numbers("one"), numbers("two")
    mark = next(m for m in pc.struct_field(parts, "mark").to_pylist() if m)
    year = "%Y" if mask(pc.match_substring_regex(words.values, r"[/.-]\d{4}")).any() else "%y"
    day_first, month_first = bool((one > 12).any()), bool((two > 12).any())
    if day_first and month_first:
        return None, ""
    if not day_first and not month_first:
        day_first = mark == "."
        note = f"no value above 12 tells day from month; read as {'day.month' if day_first else 'month/day'}"
    else:
        note = f"read as {'day' if day_first else 'month'} first, since a value above 12 decides it"
    form = f"%d{mark}%m{mark}{year}" if day_first else f"%m{mark}%d{mark}{year}"
    return {"format": form}, note


def far(values: np.ndarray) -> np.ndarray:
    """Which dates lie in years that stand for "never"."""
    first, last = np.datetime64(f"{FIRST_YEAR}-01-01", "us"), np.datetime64(f"{LAST_YEAR}-12-31", "us")
    with np.errstate(invalid="ignore"):
        return (values < first) | (values > last)
