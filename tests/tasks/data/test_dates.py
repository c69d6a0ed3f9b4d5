"""Text as dates: what training takes for a date, in whatever form, is the moment it says, and scoring reads it so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from email.utils import format_datetime
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from models.config import Run
from models.errors import InputError
from tasks.data import read_like, read_table
from tasks.data.chunks import open_table, read_chunks
from tasks.data.column_types import dates as reader
from tasks.data.column_types.columns import to_canonical
from tasks.data.column_types.dates import find_day_order
from tasks.data.column_types.kinds import InferredKind, infer_kind
from tasks.data.roles import read_times
from tasks.retrain.settings import find_day_orders

# Of 2023 and 2024, hours and minutes of all sorts.
MOMENTS = pd.date_range("2023-01-05 00:07:09.123", periods=60, freq="11D13h")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def zoned(form: str) -> Callable[[pd.Timestamp], str]:
    return lambda d: d.strftime(form)


# What a moment is written as, and what of it remains.
FORMS: dict[str, tuple[Callable[[pd.Timestamp], str], Callable[[pd.Timestamp], pd.Timestamp]]] = {
    "PostgreSQL": (zoned("%Y-%m-%d %H:%M:%S+00"), lambda d: d.floor("s")),
    "PostgreSQL, half hours": (zoned("%Y-%m-%d %H:%M:%S.%f+05:30"), lambda d: d - 5.5 * HOUR),
    "PostgreSQL, seconds of old": (zoned("%Y-%m-%d %H:%M:%S+00:53:28"), lambda d: d.floor("s") - timedelta(0, 3208)),
    "single digits": (lambda d: f"{d.year}-{d.month}-{d.day} {d.hour}:{d.minute:02d}", lambda d: d.floor("min")),
    "SQL Server with a zone": (zoned("%Y-%m-%d %H:%M:%S.%f0 -01:00"), lambda d: d + HOUR),
    "Go": (zoned("%Y-%m-%d %H:%M:%S.%f +0100 CET"), lambda d: d - HOUR),
    "Twitter": (zoned("%a %b %d %H:%M:%S +0000 %Y"), lambda d: d.floor("s")),
    "a comma before milliseconds": (lambda d: d.isoformat(" ", "milliseconds").replace(".", ","), lambda d: d),
    "nanoseconds": (lambda d: d.isoformat() + "000", lambda d: d),
    "an hour alone": (zoned("%Y-%m-%dT%H"), lambda d: d.floor("h")),
    "a day with a zone": (zoned("%Y-%m-%d+01:00"), lambda d: d.floor("D") - HOUR),
    "ISO without signs": (zoned("%Y%m%dT%H%M%SZ"), lambda d: d.floor("s")),
    "fourteen digits": (zoned("%Y%m%d%H%M%S"), lambda d: d.floor("s")),
    "Java": (zoned("%Y-%m-%dT%H:%M+01:00[Europe/Paris]"), lambda d: d.floor("min") - HOUR),
    "DB2": (zoned("%Y-%m-%d-%H.%M.%S.%f"), lambda d: d),
    "slashes and a zone": (zoned("%Y/%m/%d %H:%M:%S+0200"), lambda d: d.floor("s") - 2 * HOUR),
    "mail": (lambda d: format_datetime(d.tz_localize("UTC").to_pydatetime()), lambda d: d.floor("s")),
    "mail of New York": (zoned("%a, %d %b %Y %H:%M:%S EST"), lambda d: d.floor("s") + 5 * HOUR),
    "HTTP of old": (zoned("%A, %d-%b-%y %H:%M:%S GMT"), lambda d: d.floor("s")),
    "Oracle": (lambda d: d.strftime("%d-%b-%y %I.%M.%S.%f %p").upper(), lambda d: d),
    "Oracle with a zone": (lambda d: d.strftime("%d-%b-%y %I.%M.%S.%f000 %p -08:00").upper(), lambda d: d + 8 * HOUR),
    "JavaScript": (zoned("%a %b %d %Y %H:%M:%S GMT+0100 (Central European Time)"), lambda d: d.floor("s") - HOUR),
    "JavaScript, the day": (zoned("%a %b %d %Y"), lambda d: d.floor("D")),
    "JavaScript, America": (zoned("%m/%d/%Y, %I:%M:%S %p"), lambda d: d.floor("s")),
    "C": (zoned("%a %b %d %H:%M:%S %Y"), lambda d: d.floor("s")),
    "the shell": (zoned("%a %b %e %H:%M:%S UTC %Y"), lambda d: d.floor("s")),
    "Apache": (zoned("%d/%b/%Y:%H:%M:%S -0330"), lambda d: d.floor("s") + 3.5 * HOUR),
    "SAS": (lambda d: d.strftime("%d%b%Y:%H:%M:%S").upper(), lambda d: d.floor("s")),
    "SQL Server": (zoned("%b %d %Y %I:%M%p"), lambda d: d.floor("min")),
    "Germany": (zoned("%d.%m.%Y, %H:%M"), lambda d: d.floor("min")),
    "a letter": (zoned("%A, %B %d, %Y"), lambda d: d.floor("D")),
    "abbreviated": (zoned("%d. %b. %Y"), lambda d: d.floor("D")),
    "the year first, of two digits": (zoned("%y-%m-%d"), lambda d: d.floor("D")),
    "a month": (zoned("%m/%Y"), lambda d: d.to_period("M").start_time),
    "a month after a point": (zoned("%m.%Y"), lambda d: d.to_period("M").start_time),
    "a month by name": (zoned("%b %Y"), lambda d: d.to_period("M").start_time),
    "a month of Excel": (zoned("%b-%y"), lambda d: d.to_period("M").start_time),
    "a month of Eurostat": (zoned("%YM%m"), lambda d: d.to_period("M").start_time),
    "a quarter": (lambda d: f"{d.year}Q{d.quarter}", lambda d: d.to_period("Q").start_time),
    "a quarter with a dash": (lambda d: f"{d.year}-Q{d.quarter}", lambda d: d.to_period("Q").start_time),
    "a quarter first": (lambda d: f"Q{d.quarter} {d.year}", lambda d: d.to_period("Q").start_time),
    "a quarter of two digits": (lambda d: f"{d.quarter}Q{d:%y}", lambda d: d.to_period("Q").start_time),
    "a quarter of a short year": (lambda d: f"Q{d.quarter}'{d:%y}", lambda d: d.to_period("Q").start_time),
    "a week of one digit": (lambda d: f"{d:%G}-W{int(d.strftime('%V'))}", lambda d: d.to_period("W").start_time),
    "a week first": (zoned("W%V %G"), lambda d: d.to_period("W").start_time),
    "a week": (zoned("%G-W%V"), lambda d: d.to_period("W").start_time),
    "a day of a week": (zoned("%G-W%V-%u"), lambda d: d.floor("D")),
    "a week from and to": (lambda d: str(d.to_period("W")), lambda d: d.to_period("W").start_time),
}  # fmt: skip


def looked(values: Sequence[Any], asked: str | None = None) -> tuple[InferredKind, pd.Series]:
    raw = pd.Series(list(values), name="x")
    found = infer_kind(raw, ".", asked)
    return found, to_canonical(raw, found.kind, found.parser).values


def noted(found: InferredKind, check: str) -> str:
    return "; ".join(n.text for n in found.notes if n.check == check)


@pytest.mark.parametrize("form", FORMS)
def test_a_date_is_the_moment_that_it_says_in_training_and_in_scoring(form):
    written, meant = FORMS[form]
    found, values = looked(map(written, MOMENTS))
    assert found.kind == "date"
    assert values.tolist() == [meant(d) for d in MOMENTS]
    assert json.loads(json.dumps(found.parser)) == found.parser
    # One row of the next table, and a row that no form fits.
    one = to_canonical(pd.Series([written(MOMENTS[7]), "soon"]), "date", found.parser)
    assert one.values[0] == meant(MOMENTS[7])
    assert one.bad.tolist() == [False, True]


ZONES = {"+1:30": 90, "+130": 90, "+01:30": 90, "-0130": -90, "+5": 300, "-11": -660, "+5:30:30": 330.5, "+12:45": 765}


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y/%m/%d %H:%M ", "%d/%b/%Y:%H:%M:%S "])
def test_a_zone_is_so_many_hours_and_minutes_ahead_however_it_is_written(form):
    moment = pd.Timestamp("2024-01-31 10:20")
    found = infer_kind(pd.Series([d.strftime(form) + "+0100" for d in MOMENTS], name="x"), ".", None)
    read_as = to_canonical(pd.Series([moment.strftime(form) + zone for zone in ZONES]), "date", found.parser).values
    assert read_as.tolist() == [moment - timedelta(minutes=ahead) for ahead in ZONES.values()]


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y", "%m-%d-%Y %H:%M"])
def test_whether_the_day_comes_first_can_be_said_and_a_retraining_on_few_rows_says_it(form):
    first = "day-first" if form.startswith("%d") else "month-first"
    few = pd.Series([f"{d:{form}}" for d in pd.date_range("2024-02-01", periods=9)], name="x")
    meant = list(pd.date_range("2024-02-01", periods=9))
    found, values = looked(few, first)
    assert (found.kind, values.tolist()) == ("date", meant)
    frames = [pd.DataFrame({"x": x, "y": np.arange(len(x)) % 2}) for x in (few, [f"{d:{form}}" for d in MOMENTS])]
    new, known = (read_table(Run(data=frame, target="y")) for frame in frames)
    types = find_day_orders(known.reading, new.reading)
    again = read_table(Run(data=frames[0], target="y", types=types))
    assert again.features["x"].tolist() == meant
    assert find_day_orders(known.reading, again.reading) == {}
    assert types == ({} if find_day_order(new.reading.parsers["x"]) == first else {"x": first})


@pytest.mark.parametrize("form", ["PostgreSQL", "Oracle", "a comma before milliseconds", "mail", "a quarter", "a week"])
def test_it_is_a_time_to_split_by_too(form):
    written, meant = FORMS[form]
    order = read_times(pd.Series([written(d) for d in MOMENTS], name="x"), ".", None)
    assert order.tolist() == pd.DatetimeIndex([meant(d) for d in MOMENTS]).as_unit("us").asi8.tolist()


@pytest.mark.parametrize("every", ["Q-MAR", "W-WED", "h"])
@pytest.mark.parametrize("form", ["frame", "parquet", "csv"])
def test_periods_are_dates(every, form, tmp_path):
    frame = pd.DataFrame({"x": MOMENTS.to_period(every), "z": np.arange(60) % 7, "y": [0, 1] * 30})
    path = tmp_path / f"a.{form}"
    if form != "frame":
        getattr(frame, f"to_{form}")(path, **({"index": False} if form == "csv" else {}))
    table = read_table(Run(data=frame if form == "frame" else str(path), target="y"))
    assert table.kinds["x"] == "date"
    assert table.features["x"].is_monotonic_increasing
    assert table.features["x"].nunique() == frame["x"].nunique()
    pd.testing.assert_frame_equal(read_like(table.reading, frame), table.features)
    parts = read_chunks(table.reading, open_table(frame if form == "frame" else str(path)), 25)
    pd.testing.assert_frame_equal(pd.concat([p.features for p in parts], ignore_index=True), table.features)


UNREAD = {
    "no year": zoned("%d-%b"),
    "a day or a year": zoned("%b %d"),
    "a zone of letters": zoned("%a %b %d %H:%M:%S CET %Y"),
    "a zone by its place": zoned("%Y-%m-%d %H:%M:%S Europe/Berlin"),
    "French": lambda d: f"{d.day} janvier {d.year}",
    "Spanish": lambda d: f"{d.day} de enero de {d.year}",
    "Korean": lambda d: f"{d.year}. {d.month}. {d.day}.",
    "underscores": zoned("%d_%m_%Y"),
    "halves of years": lambda d: f"{d.year}H{(d.month > 6) + 1}",
    "Japanese": lambda d: f"{d.year}年{d.month}月{d.day}日",
    "the day before the month": zoned("%Y-%d-%m"),
    "days and months by turns": lambda d: d.strftime("%d/%m/%Y" if d.day % 2 else "%m/%d/%Y"),
    "days of one month": lambda d: f"{d.day} May",
    "days of one month, in short": lambda d: f"{d.day}. SEPT.",
    "two formats": lambda d: d.strftime("%d %b %Y" if d.day % 2 else "%Y-%m-%d"),
}


@pytest.mark.parametrize("form", UNREAD)
def test_what_looks_like_dates_and_is_not_read_is_told(form):
    found, _ = looked(map(UNREAD[form], MOMENTS))
    assert found.kind == "category"
    assert noted(found, "mixed_dates")


OTHERS = {
    "versions": lambda i: f"1.{i % 7}.{i}",
    "numbers of bills": lambda i: f"2024-{i:04d}",
    "cars": lambda i: f"Ford {1960 + i}",
    "parts": lambda i: f"Q{i}-{i % 9}",
    "clocks": lambda i: f"{i % 24}:{i:02d}",
    "years": lambda i: str(1960 + i),
    "decimals": lambda i: f"{i / 7:.4f}",
}


@pytest.mark.parametrize("form", OTHERS)
def test_what_is_no_date_is_none(form):
    found, _ = looked(map(OTHERS[form], range(60)))
    assert found.kind != "date"
    assert not noted(found, "mixed_dates")


def test_mostly_dates_are_dates_and_the_rest_is_told_with_figures():
    found, values = looked([f"not before {i}" if i % 5 == 0 else d.date().isoformat() for i, d in enumerate(MOMENTS)])
    assert found.kind == "date"
    assert values.isna().sum() == 12
    assert "48 of 60 values are dates; others such as 'not before" in noted(found, "unreadable_values")


def born(first: int, last: int, form: str = "%d/%m/%y") -> list[str]:
    """Dates of all these years."""
    years = np.arange(first, last + 1).repeat(4)
    return [pd.Timestamp(int(y), i % 12 + 1, i % 28 + 1).strftime(form) for i, y in enumerate(years)]


@pytest.mark.parametrize("form", ["%d/%m/%y", "%d-%b-%y", "%b-%y", "%y-%m-%d"])
@pytest.mark.parametrize(
    ("first", "last"),
    [(1960, 1968), (1950, 1999), (1930, 2008), (1945, 1969), (1970, 2026), (2019, 2025), (2024, 2054), (1990, 2049)],
)
def test_years_of_two_digits_are_those_that_belong_together_and_that_is_told(first, last, form):
    found, values = looked(born(first, last, form))
    assert found.kind == "date"
    assert sorted(set(values.dt.year)) == list(range(first, last + 1))
    assert f"here {first} to {last}" in noted(found, "date_format")
    # The next table is read by the same hundred years, whatever it holds.
    later = to_canonical(pd.Series(born(last, last, form)), "date", found.parser).values
    assert set(later.dt.year) == {last}


def test_dates_in_the_future_are_counted():
    found, values = looked(born(2030, 2049))
    assert f"{len(values)} of them in the future" in noted(found, "date_format")
    assert "future" not in noted(looked(born(1950, 2020))[0], "date_format")


def test_a_reading_of_before_keeps_its_pivot():
    values = to_canonical(pd.Series(["01/02/68", "01/02/69"]), "date", {"format": "%d/%m/%y"}).values
    assert values.dt.year.tolist() == [2068, 1969]


@pytest.mark.parametrize("asked", ["date", "number", "boolean"])
def test_a_type_that_fits_no_value_stops(asked):
    frame = pd.DataFrame({"x": ["red", "green", "blue"] * 20, "z": range(60), "y": [0, 1] * 30})
    with pytest.raises(
        InputError, match=f"The type {asked} is given for the column 'x', and no value of it is one: 'red'"
    ):
        read_table(Run(data=frame, target="y", types={"x": asked}))


def test_a_type_that_fits_in_part_is_told():
    found, values = looked([d.date().isoformat() if i % 3 else "open" for i, d in enumerate(MOMENTS)], "date")
    assert values.isna().sum() == 20
    assert "40 of 60 values are dates" in noted(found, "unreadable_values")
    found, values = looked(["yes", "no", "perhaps"] * 20, "boolean")
    assert values.isna().sum() == 20
    assert "'perhaps'" in noted(found, "unreadable_values")


def test_one_look_tells_all_that_any_format_reads_or_knows():
    parts = {"Y": "2024", "y": "24", "m": "01", "d": "02", "b": "sept", "q": "3", "G": "2024", "V": "05", "u": "1"}
    known = [
        reduce(lambda text, part: text.replace(f"%{part}", parts[part]), parts, form)
        for form in (*reader.ISO, *reader.FORMS)
    ]
    written = [text.replace("%X", "10:30") for text in known] + [
        "20240102", "2.1.24", "W/ 05, 2024", "2024M01", "Q-3 24", "3 Q/24", "2024T1", "S2 2024", "2024\n\n1\n\n2",
        "2024年1月2", "2024-1-2",
        "2 de mars de 2024", "1er mars 2024", "2 janvier 2024", "3. März 2024", "Mon, 2 May", "May 2",
    ]  # fmt: skip
    assert reader._match_values(pa.array(written), reader.DATED).all()
    assert not reader._match_values(pa.array(["A17-B3", "17-B3", "B12", "x.y-2", "1234567"]), reader.DATED).any()
