"""A version as MLflow loads it: rows as pandas, JSON or Spark have them in, labels, numbers or probabilities out.

Every version carries this file with models/data/history.py and models/data/spelling.py, as a package of its own
(register.py): who loads it needs MLflow, numpy and pandas, and nothing of Nestor's. What does not fit is told in
a sentence, over HTTP with status 400."""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.sklearn import load_model

from models.data.history import History, prepare_new_rows, to_past_target
from models.data.spelling import Spelling, Tally

MARKS = ("", "?", "n/a", "#n/a", "nan", "<na>", "null", "\\n", "(null)", "#null!")
NO_NUMBER = (
    "na", "none", "-", "--", "---", ".", "..", "...", "n.a.", "n.a", "nat", "nil", "*", "\u2013", "\u2014", "missing",
    "unknown", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "not available",
)  # fmt: skip
"""Words that stand for a missing number or date."""
LARGEST = 3e38
FIRST, LAST = np.datetime64("1678-01-01", "us"), np.datetime64("2261-12-31", "us")
"""Dates outside stand for "never"."""
LONGEST = 200
"""Characters of a number or date. What is longer is none, and would keep an expression busy."""
METHODS = ("predict", "predict_proba")


class Served:
    """What MLflow calls for a version."""

    def __init__(self, model: Any, facts: Mapping[str, Any], levels: Mapping[str, Mapping[str, int]]):
        """`facts`: nestor.json; `levels`: of each category, as profile.json has them."""
        self.model, self.facts = model, facts
        self.history = History.from_json(facts["history"]) if "history" in facts else None
        self.spellings = {column: Spelling(known) for column, known in levels.items()}

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> Any:
        """A prediction for each row; of a series for each row whose target is empty, by the rows' index. With
        `{"predict_method": "predict_proba"}` a frame with a column of probabilities for each label."""
        method = (params or {}).get("predict_method", "predict")
        if method not in METHODS or not hasattr(self.model, method):
            known = " and ".join(m for m in METHODS if hasattr(self.model, m))
            raise _wrong(f"No predict_method {method!r}: this model knows {known}.")
        table = self.features(rows)
        said = self._said(table, method)
        if method == "predict_proba":
            index = table.index if self.history is not None else None
            return pd.DataFrame(said, index=index, columns=[str(label) for label in self.model.classes_])
        return said if self.history is None else pd.Series(said, index=table.index, name="prediction")

    def _said(self, table: pd.DataFrame, method: str) -> np.ndarray:
        # A level never seen is no news here: `_spelled` tells what is to be told.
        warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
        if len(table):
            return np.asarray(getattr(self.model, method)(table))
        labels = np.asarray(getattr(self.model, "classes_", np.zeros(0)))
        return np.zeros((0, len(labels))) if method == "predict_proba" else labels[:0]

    def features(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows as the raw model takes them, as for its own methods: read as the training table was."""
        if self.history is None:
            return self._read(rows)
        goal = self.history.target
        if goal not in rows.columns:
            raise _wrong(f"The rows have no column {goal!r}: its known values are the history.")
        target = to_past_target(rows[goal], self.history)
        if (bad := (rows[goal].notna() & target.isna())).any():
            wanted = "no number" if not self.history.labels else f"none of {', '.join(self.history.labels)}"
            raise _wrong(f"{_at(rows[goal], bad)} is {wanted}. Rows without a value are those to predict.")
        try:
            table, notes = prepare_new_rows(self._read(rows), target, self.history)
        except ValueError as error:
            raise _wrong(str(error)) from None
        for note in notes:
            warnings.warn(note, stacklevel=3)
        return table

    def _read(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Each column that is used in the form that it had in training."""
        reading = self.facts["reading"]
        kinds = {c: kind for c, kind in reading["kinds"].items() if kind not in ("id", "drop") and c in rows.columns}
        marks = reading.get("missing", MARKS)
        parsers = reading.get("parsers", {})
        found = {c: self._read_column(rows[c], kind, parsers.get(c, {}), marks) for c, kind in kinds.items()}
        return pd.DataFrame({c: values.array for c, values in found.items()}, index=rows.index, columns=list(found))

    def _read_column(self, column: pd.Series, kind: str, parser: Mapping[str, Any], marks: Sequence[str]) -> pd.Series:
        column = _plain(column)
        own = parser.get("missing", ())
        if kind == "date":
            return _dates(column, parser, (*marks, *NO_NUMBER, *own))
        if kind == "boolean":
            return _truth(column, parser, (*marks, *NO_NUMBER, *own))
        if kind in ("number", "key"):
            return _numbers(column, parser, (*marks, *NO_NUMBER, *own))
        return self._spelled(_words(column, marks))

    def _spelled(self, column: pd.Series) -> pd.Series:
        """The levels as the training table wrote them; an error where they are known ones in another spelling."""
        spelling = self.spellings.get(str(column.name))
        if spelling is None:
            return column
        tally = Tally(str(column.name), spelling)
        other = tally.add({str(text): int(rows) for text, rows in column.value_counts().items()})
        if tally.misspelt:
            raise _wrong(tally.refusal)
        if tally.strange:
            warnings.warn(tally.refusal, stacklevel=5)
        return column.where(~column.isin(list(other)), column.map(other)) if other else column

    def get_raw_model(self) -> Any:
        """The fitted scikit-learn model."""
        return self.model


def _load_pyfunc(path: str) -> Served:
    """What MLflow calls with a version's folder."""
    folder = Path(path)
    profile = folder / "profile.json"
    levels = json.loads(profile.read_text("utf-8")).get("levels", {}) if profile.exists() else {}
    return Served(load_model(path), json.loads((folder / "nestor.json").read_text("utf-8")), levels)


# --- Columns ---------------------------------------------------------------------------------------------------------


def _wrong(said: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(said)


def _at(column: pd.Series, bad: Any) -> str:
    """`Column 'age', row 3: 'old'`."""
    row = int(np.flatnonzero(np.asarray(bad, bool))[0])
    return f"Column {str(column.name)!r}, row {row + 1}: {str(column.iloc[row])[:40]!r}"


def _plain(column: pd.Series) -> pd.Series:
    """The values of a categorical, an Arrow or a sparse column as pandas' own types have them."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(column.cat.categories.dtype if column.cat.categories.dtype.kind in "fOM" else object)
    if isinstance(column.dtype, (pd.ArrowDtype, pd.SparseDtype)):
        return column.astype(object)
    return column


def _each(column: pd.Series, read: Callable[[Any], Any], marks: Sequence[str]) -> tuple[pd.Series, np.ndarray]:
    """What each value is read as, None for what stands for missing, and which could not be read."""
    there = column.astype(object).where(column.notna(), None)
    try:
        codes, distinct = pd.factorize(there)
    except TypeError:
        raise _wrong(f"Column {str(column.name)!r} holds lists or objects, where single values are wanted.") from None
    made: list[Any] = []
    bad: list[bool] = []
    for value in distinct:
        missing = isinstance(value, str) and value.strip().lower() in marks
        try:
            made.append(None if missing else read(value))
            bad.append(False)
        except (ValueError, TypeError, OverflowError):
            made.append(None)
            bad.append(True)
    found = np.array([*made, None], dtype=object)[codes]
    return pd.Series(found, column.index, dtype=object, name=column.name), np.array([*bad, False])[codes]


def _numbers(column: pd.Series, parser: Mapping[str, Any], marks: Sequence[str]) -> pd.Series:
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        column = column.dt.total_seconds()
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        values = column.to_numpy(np.float64, na_value=np.nan)
    else:
        read, bad = _each(column, lambda value: _number(value, parser), marks)
        if bad.any():
            raise _wrong(f"{_at(column, bad)} is no number. Give a number, or nothing where it is not known.")
        values = read.to_numpy(np.float64, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        kept = np.where(np.abs(values) > LARGEST, np.nan, values)
    return pd.Series(kept, index=column.index, name=column.name)


def _number(value: Any, parser: Mapping[str, Any]) -> float:
    if isinstance(value, (pd.Timestamp, datetime, date, pd.Period)):
        raise TypeError("a date")
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    if not isinstance(value, str):
        return float(value)
    text = _brief(value)
    if parser.get("duration") and any(re.match(form, text, re.ASCII) for form in DURATIONS):
        # pandas wants seconds too: 2:03 is 2:03:00.
        return pd.to_timedelta(re.sub(r"((?:^|[^:\d])\d{1,4}:\d{2})$", r"\1:00", text)).total_seconds()
    try:
        return _amount(text, parser)
    except ValueError:
        if re.sub(r"\d[\d.,]*", "#", text.lower()) in parser.get("missing", ()):
            return np.nan
        raise


def _brief(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(text)
    return unicodedata.normalize("NFC", text.strip())


def _truth(column: pd.Series, parser: Mapping[str, Any], marks: Sequence[str]) -> pd.Series:
    yes, no = ((*parser.get(str(which), ()), str(which), mark) for which, mark in (("true", "1"), ("false", "0")))

    def read(value: Any) -> float:
        text = str(value).strip().lower().removesuffix(".0")
        if text not in (*yes, *no):
            raise ValueError(text)
        return float(text in yes)

    found, bad = _each(column, read, marks)
    if bad.any():
        raise _wrong(f"{_at(column, bad)} is neither true nor false.")
    return found.astype(np.float64)


def _dates(column: pd.Series, parser: Mapping[str, Any], marks: Sequence[str]) -> pd.Series:
    """Instants in UTC without a zone. A number is none: milliseconds would be taken for nanoseconds."""
    if pd.api.types.is_numeric_dtype(column.dtype) and column.notna().any():
        raise _wrong(
            f"{_at(column, column.notna())} is a number. Dates are text such as 2024-01-31T10:30:00; from pandas: "
            'to_json(date_format="iso").'
        )
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        instants = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column
        return _kept(instants.astype("datetime64[us]"))
    read, bad = _each(column, lambda value: _date(value, parser), marks)
    if bad.any():
        raise _wrong(f"{_at(column, bad)} is no date. Dates are text such as 2024-01-31 or 2024-01-31T10:30:00.")
    return _kept(read.astype("datetime64[us]"))


def _kept(instants: pd.Series) -> pd.Series:
    return instants.where((instants >= FIRST) & (instants <= LAST))


def _date(value: Any, parser: Mapping[str, Any]) -> pd.Timestamp:
    if isinstance(value, pd.Period):
        value = value.to_timestamp()
    if isinstance(value, str):
        value = _parsed(_brief(value), parser)
    if not isinstance(value, (pd.Timestamp, datetime, date, np.datetime64)):
        raise TypeError("no date")
    instant = pd.Timestamp(value)
    return instant.tz_convert("UTC").tz_localize(None) if instant.tz is not None else instant


def _parsed(text: str, parser: Mapping[str, Any]) -> datetime:
    """By the form of training, or else by ISO 8601."""
    form, first = parser.get("format", "ISO8601"), parser.get("first", 1969)
    if form != "ISO8601" and (found := _expression(form).match(text)):
        return _moment(found.groupdict(""), first)
    try:
        if re.search(SHORT_ZONE, text):
            raise ValueError(text)
        return pd.to_datetime(text, format="ISO8601", utc=True)
    except ValueError:
        if found := next(filter(None, (_expression(form).match(text) for form in ISO)), None):
            return _moment(found.groupdict(""), first)
        raise


def _words(column: pd.Series, marks: Sequence[str]) -> pd.Series:
    found, _ = _each(column, _word, marks)
    return found.astype("str").where(found.notna())


def _word(value: Any) -> str:
    """A value as the training table's reader writes it."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, (pd.Timestamp, datetime)) and pd.Timestamp(value) == pd.Timestamp(value).normalize():
        return str(pd.Timestamp(value).date())
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return unicodedata.normalize("NFC", text.strip())


# --- Numbers and dates as tasks/data/column_types/ reads them: a version cannot carry Arrow ---------------------------

POWER = r"([eE][+-]?\d+)?"
WHOLE = r"[+-]?\d+"
PLAIN = rf"[+-]?(\d+\.?\d*|\.\d+){POWER}"
POINT_GROUPS = rf"[+-]?(\d{{1,3}}(,\d{{3}})+|\d{{1,2}}(,\d{{2}})+,\d{{3}})(\.\d*)?{POWER}"
COMMA = rf"[+-]?(\d+,\d*|,\d+){POWER}"
COMMA_GROUPS = rf"[+-]?\d{{1,3}}(\.\d{{3}})+(,\d*)?{POWER}"
FORMS = {
    (".", False): (PLAIN,), (".", True): (PLAIN, POINT_GROUPS),
    (",", False): (WHOLE, COMMA), (",", True): (WHOLE, COMMA, COMMA_GROUPS),
}  # fmt: skip
"""By the decimal mark, and whether there is one of thousands."""
CURRENCY = (
    r"$\u00a2-\u00a5\u058f\u060b\u07fe\u07ff\u09f2\u09f3\u09fb\u0af1\u0bf9\u0e3f\u17db"
    r"\u20a0-\u20c0\ua838\ufdfc\ufe69\uff04\uffe0\uffe1\uffe5\uffe6"
)
MONEY = (
    rf"(?:[A-Z]{{0,3}}[{CURRENCY}]|[Rr]s\.?|kr\.?|AED|ARS|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|"
    r"INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RON|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR)"
)
MINUS = (
    (r"^[\u2212\u2013] *(\d)", r"-\1"),
    (r"^([^\d()]*)\( *([^()]*\d[^()]*?) *\)([^\d()]*)$", r"-\1\2\3"),
    (rf"^([^-]*\d[^-]*?) *- *((?:{MONEY}|%)?)$", r"-\1\2"),
)
SIGNS = (
    (rf"^(?P<minus>[+-]?) *(?P<sign>{MONEY}) *(?P<digit>[+-]?[\d.,])", r"\g<minus>\g<digit>"),
    (rf"(?P<digit>[\d.,kKmMbBn]) *(?P<sign>{MONEY})$", r"\g<digit>"),
    (r"(?P<digit>[\d.,]) *(?P<sign>%)$", r"\g<digit>"),
)
GROUPING = r"[ \u00a0\u2009\u202f'\u2019]"
GROUPED = rf"[+-]?\d{{1,3}}(?:{GROUPING}\d{{3}})+"
DIGITS = rf"[+-]?(?:\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d+)?|{GROUPED}(?:[.,]\d*)?"
LETTER, OTHERS = r"[^\W\d_]", r"°'\"\u2032\u2033‰"
UNIT = (
    rf"(?:{LETTER}|[{OTHERS}])(?:{LETTER}|[{OTHERS}/²³^·*%. ]){{0,15}}|"
    rf"(?:(?:{LETTER}|[{OTHERS}])(?:{LETTER}|[{OTHERS}/ ]){{0,14}})?{LETTER}[23]"
)
ZEROS = {"k": 3, "K": 3, "M": 6, "mn": 6, "mln": 6, "mio": 6, "Mio": 6, "bn": 9, "Bn": 9, "m": 6, "b": 9, "B": 9}


def _amount(text: str, parser: Mapping[str, Any]) -> float:
    """The number in the style of training; ValueError for another."""
    if re.fullmatch("[+-]?(?i:inf|infinity|∞)", text):
        return np.inf
    number, sign, unit = _taken_apart(text)
    zeros = f"e{ZEROS[unit]}" if parser.get("scaled") and unit in ZEROS else ""
    units = (parser.get("unit", ""), *([""] if parser.get("bare") else []))
    signs = parser.get("signs", ())
    decimal, thousands = parser.get("decimal", "."), parser.get("thousands", "")
    number += zeros
    fits = any(re.fullmatch(form, number, re.ASCII) for form in FORMS[decimal, bool(thousands)])
    if not fits or not (zeros or unit in units) or (sign not in ("", *signs) if signs else sign == "%"):
        raise ValueError(text)
    return float((number.replace(thousands, "") if thousands else number).replace(decimal, "."))


def _taken_apart(text: str) -> tuple[str, str, str]:
    """(the number with its minus before it and no grouping blanks, its sign of money or percent, its unit)."""
    for pattern, bare in MINUS:
        text = re.sub(pattern, bare, text)
    sign, unit = "", ""
    for pattern, bare in SIGNS:
        if found := re.search(pattern, text):
            sign, text = found["sign"], re.sub(pattern, bare, text)
    if found := re.fullmatch(rf"(?P<number>{DIGITS}) *(?P<unit>{UNIT})?", text):
        text, unit = found["number"], re.sub(rf"^({LETTER}{{2,}}?)s?\.?$", r"\1", found["unit"] or "")
    return (re.sub(GROUPING, "", text) if re.fullmatch(rf"{GROUPED}([.,]\d*)?", text) else text), sign, unit


SPAN = r"\d{1,4}:[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
DURATIONS = (
    rf"^[+-]?(?:\d+ ?(?:d|days?)(?:,? ?[+-]?{SPAN})?|{SPAN})$",
    r"^[+-]?P(?:\d+(?:\.\d+)?D)?(?:T(?:\d+(?:\.\d+)?H)?(?:\d+(?:\.\d+)?M)?(?:\d+(?:\.\d+)?S)?)?$",
)
"""As tasks/data/column_types/durations.py reads them."""

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = (
    "(?P<name>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t|tember)?|"
    "oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))"
)
WEST = {"edt": 4, "est": 5, "cdt": 5, "cst": 6, "mdt": 6, "mst": 7, "pdt": 7, "pst": 8}
CLOCK = (
    r"(?P<hour>\d{1,2})(?:[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,:](?P<part>\d{1,9}))?)?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
DENSE_CLOCK = r"(?P<hour>\d{2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,]?(?P<part>\d{1,9}))?)?"
PLACE = r"(?:\[[\w/+-]+\])?"
ZONE = (
    rf"(?: ?(?P<zone>Z|z|UTC|GMT|UT|{'|'.join(WEST).upper()}){PLACE})?"
    r"(?: ?(?P<ahead>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2})(?::?(?P<seconds>\d{2}))?)?"
    rf"(?:{PLACE}| [A-Z]{{2,5}}))?(?: ?\([^()]*\))?"
)
SHORT_ZONE = r":\d{2}.* ?[+-]\d{3}$"
FIELDS = {
    "Y": r"(?P<year>\d{4})", "y": r"(?P<year>\d{4}|\d{2})", "m": r"(?P<month>\d{1,2})", "d": r"(?P<day>\d{1,2})",
    "b": MONTH, "B": MONTH, "q": r"(?P<quarter>[1-4])", "G": r"(?P<year>\d{4})", "V": r"(?P<week>\d{1,2})",
    "u": r"(?P<weekday>[1-7])", "X": CLOCK + ZONE,
}  # fmt: skip
ISO = ("%Y-%m-%d", "%Y-%m-%d-%X", "%GW%V%u", "%Y-%m")


@cache
def _expression(form: str) -> re.Pattern[str]:
    """What a format matches: a weekday before it, a clock and a zone after a day."""
    loose, gap = bool(re.search("%[bBqV]", form)) and form != "%b-%y", r"[ ,./'-]*"
    dense = form == "%Y%m%d"
    text = ""
    for part in re.findall(r"%.|[^%]+", form):
        field = FIELDS[part[1]] if part[0] == "%" else re.escape(part.strip(" -") if loose else part)
        if part[0] == "%" and part != "%X" and (dense or "%u" in form):
            field = field.replace("{1,2}", "{2}")
        text += (gap if loose and part != "%X" and (text or part[0] != "%") else "") + field
    tail = r"(?:/\d{4}-\d{2}-\d{2})?"
    if "%X" not in form and re.search("%[du]", form):
        start, clock = ("?", DENSE_CLOCK) if dense else ("", CLOCK)
        tail = rf"(?:(?:,? +(?:at )?|[Tt:]{start}){clock})?{ZONE}(?:/\d{{4}}-.*)?"
    return re.compile(rf"^(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? +)?{text}{tail}$", re.ASCII)


def _moment(parts: Mapping[str, str], first: int) -> datetime:
    """In UTC; `first`: the first of the hundred years that two digits of a year mean. ValueError where there is no such
    day, time or offset."""

    def whole(name: str, missing: int = 0) -> int:
        return int(parts.get(name) or missing)

    year, month, hour = whole("year"), whole("month", 1), whole("hour")
    if len(parts["year"]) == 2:
        year = first + (year - first) % 100
    if name := parts.get("name"):
        month = MONTHS.index(name[:3].lower()) + 1
    elif quarter := whole("quarter"):
        month = 3 * quarter - 2
    if half := parts.get("half"):
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + 12 * (half in "pP")
    week = parts.get("week")
    day = date.fromisocalendar(year, int(week), whole("weekday", 1)) if week else date(year, month, whole("day", 1))
    part = int((parts.get("part") or "").ljust(6, "0")[:6])
    local = datetime(day.year, day.month, day.day, hour, whole("minute"), whole("second"), part)
    return local - _ahead(parts)


def _ahead(parts: Mapping[str, str]) -> timedelta:
    if not parts.get("ahead"):
        return timedelta(hours=-WEST.get((parts.get("zone") or "").lower(), 0))
    hours, minutes, seconds = (int(parts.get(name) or 0) for name in ("hours", "minutes", "seconds"))
    if hours >= 16 or minutes >= 60 or seconds >= 60:
        raise ValueError(parts)
    return (-1 if parts["ahead"] == "-" else 1) * timedelta(hours=hours, minutes=minutes, seconds=seconds)
