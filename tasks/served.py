"""A version as MLflow loads it: rows as pandas, JSON or Spark have them in, labels, numbers or probabilities out.

Every version carries this file with models/history.py and models/spelling.py, as a package of its own (register.py):
who loads it needs MLflow, numpy and pandas, and nothing of Nestor's. What does not fit is told in a sentence, over HTTP
with status 400."""

from __future__ import annotations

import json
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.sklearn import load_model

from models.history import History, coming, told
from models.spelling import Spelling, Tally

MARKS = ("", "?", "n/a", "#n/a", "nan", "<na>", "null", "\\n", "(null)", "#null!")
NO_NUMBER = ("na", "none", "-", "--", ".", "nat", "missing", "unknown")
"""Words that stand for a missing number or date."""
LARGEST = 3e38
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
        target = told(rows[goal], self.history)
        if (bad := (rows[goal].notna() & target.isna())).any():
            wanted = "no number" if not self.history.labels else f"none of {', '.join(self.history.labels)}"
            raise _wrong(f"{_at(rows[goal], bad)} is {wanted}. Rows without a value are those to predict.")
        try:
            table, notes = coming(self._read(rows), target, self.history)
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
        found = {c: self._column(rows[c], kind, parsers.get(c, {}), marks) for c, kind in kinds.items()}
        return pd.DataFrame({c: values.array for c, values in found.items()}, index=rows.index, columns=list(found))

    def _column(self, column: pd.Series, kind: str, parser: Mapping[str, Any], marks: Sequence[str]) -> pd.Series:
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
    if parser.get("duration") and (":" in value or value.strip()[-1:].isalpha()):
        return pd.to_timedelta(value).total_seconds()
    text = value.replace(parser.get("thousands", ""), "") if parser.get("thousands") else value
    return float(text.replace(",", ".") if parser.get("decimal") == "," else text)


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
        return instants.astype("datetime64[us]")
    read, bad = _each(column, lambda value: _date(value, parser), marks)
    if bad.any():
        raise _wrong(f"{_at(column, bad)} is no date. Dates are text such as 2024-01-31 or 2024-01-31T10:30:00.")
    return read.astype("datetime64[us]")


def _date(value: Any, parser: Mapping[str, Any]) -> pd.Timestamp:
    if isinstance(value, pd.Period):
        value = value.to_timestamp()
    if isinstance(value, str):
        value = _parsed(value.strip(), parser.get("format", "ISO8601"))
    if not isinstance(value, (pd.Timestamp, datetime, date, np.datetime64)):
        raise TypeError("no date")
    instant = pd.Timestamp(value)
    return instant.tz_convert("UTC").tz_localize(None) if instant.tz is not None else instant


def _parsed(text: str, form: str) -> pd.Timestamp:
    try:
        return pd.to_datetime(text, format="ISO8601", utc=True)
    except ValueError:
        if form == "ISO8601":
            raise
    for clock in ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f"):
        try:
            return pd.to_datetime(text, format=form + clock, utc=True)
        except ValueError:
            continue
    raise ValueError(text)


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
