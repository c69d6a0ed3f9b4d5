"""What a query's bound value stands for: `today-7d` is a date, `now-12h` a time, anything else the text itself."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from models.errors import InputError
from models.text.safe import shorten

UNITS = {"h": "hours", "d": "days", "w": "weeks"}
MOMENT = re.compile(r"(today|now)(?:\s*([+-])\s*(\d{1,6})\s*([hdw]))?", re.I)
MEANT = re.compile(r"(today|now)\s*[+-]", re.I)


def parse_moment(text: str, now: datetime) -> date | datetime | str:
    """`today` and `today-7d` (h, d, w) as a date of `now`'s zone, `now` and `now-12h` as a time with zone; other text
    as it is. InputError for what begins like one and is none."""
    match = MOMENT.fullmatch(text.strip())
    if match is None:
        if MEANT.match(text.strip()):
            raise InputError(f"{shorten(text)!r} is no moment: write such as today, today-7d, today-4w or now-12h.")
        return text
    base, sign, count, unit = match.groups()
    if base.lower() == "today" and (unit or "").lower() == "h":
        raise InputError(f"{shorten(text)!r}: a day has no hours; write now{sign}{count}h.")
    shift = timedelta(**{UNITS[unit.lower()]: int(f"{sign}{count}")}) if unit else timedelta()
    try:
        return (now.date() if base.lower() == "today" else now) + shift
    except OverflowError:
        raise InputError(f"{shorten(text)!r} lies outside of the calendar.") from None
