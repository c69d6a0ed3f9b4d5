"""What was known a horizon before each row of a series: lags, means and cycles, as columns of their own.

For a row at time t nothing counts but rows of the same series, with a known target, at t - horizon or before. Every
value is the latest known at that instant ("as of"): gaps and irregular steps need no grid, and on Monday a series of
working days has Friday for yesterday.

A version carries this file (tasks/registry/served.py): it needs pandas and numpy, and nothing of Nestor's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

MONTH = 2_629_746_000_000
"""Ticks of a month of the mean Gregorian year."""
SLACK = 2 * 86_400_000_000
"""By so much a span of months is taken shorter where only ticks are counted: months are of unequal length."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Which columns are made. Spans are in ticks: microseconds, or of times that are numbers millionths of a step."""

    time: str
    target: str
    series: str | None = None
    """The column that tells the series of a panel apart."""
    scale: float | None = None
    """Ticks of one unit where times are numbers; None: they are dates."""
    horizon: tuple[str, int]
    """How it is called, and its ticks."""
    lags: Mapping[str, int]
    """Of the target. Every one is at least the horizon."""
    windows: Mapping[str, int]
    """Means over so long a time that ends a horizon ago."""
    cycles: Mapping[str, tuple[int, ...]]
    """Means over the same place in several seasons."""
    reference: str
    """The column that holds the target one season ago, or the last known one where there is no season."""
    calendar: tuple[str, ...] = ()
    """Parts of the row's own time: hour, weekday, month. The time itself is no column: a model would take the last
    month of training for a level, and no later row is like it."""
    kept: tuple[str, ...]
    """Columns whose value at the row's own time is known ahead."""
    inputs: Mapping[str, str]
    """Column -> kind: columns whose past counts."""
    input_lags: Mapping[str, int]
    input_windows: Mapping[str, int]
    labels: tuple[str, ...] = ()
    """The classes as text; empty in regression. Of two, the second counts as 1; of more, the past is a category."""
    gap: int = 0
    """The longest time between two rows of one series in training."""
    months: bool = False
    """Whether spans of whole months are the calendar's: a month before March is February, however long that is."""

    @property
    def reach(self) -> int:
        """How far before a row its history begins."""
        longest = self.horizon[1] + max(self.windows.values(), default=0)
        spans = [*self.lags.values(), *self.input_lags.values(), *(max(c) for c in self.cycles.values()), longest]
        return max(spans) - SLACK * self.months

    @property
    def numeric(self) -> bool:
        """Whether the target's past is a number."""
        return len(self.labels) <= 2

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each column that is made; `past`: a number that the target was."""
        target_kind = "past" if self.numeric else "category"
        kinds = dict.fromkeys((f"{part} of {self.time}" for part in self.calendar), "number")
        kinds |= dict.fromkeys((f"{self.target} {lag} ago" for lag in self.lags), target_kind)
        if self.numeric:
            kinds |= dict.fromkeys(_name_means(self, self.target, self.windows), target_kind)
            kinds |= dict.fromkeys((f"{self.target} mean over {c}" for c in self.cycles), target_kind)
        for column, kind in self.inputs.items():
            kinds |= dict.fromkeys((f"{column} {lag} ago" for lag in self.input_lags), kind)
            if kind == "number" and column not in self.kept:
                kinds |= dict.fromkeys(_name_means(self, column, self.input_windows), "number")
        return kinds

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> History:
        """The history that `dataclasses.asdict` made a mapping of, were it through JSON or not."""
        tuples = {k: tuple(values[k]) for k in ("horizon", "calendar", "kept", "labels")}
        return cls(**{**values, **tuples, "cycles": {name: tuple(lags) for name, lags in values["cycles"].items()}})


def widen_rows(rows: pd.DataFrame, target: pd.Series, history: History) -> pd.DataFrame:
    """What a model takes for these rows: the columns known ahead and those made of the past, in the rows' order.

    `target` as `told` gives it: rows without one are no history. The rows may come in any order."""
    past = pd.DataFrame(make_past_columns(rows, target, history), index=rows.index)
    return pd.concat([rows[list(history.kept)], past], axis=1)


def to_past_target(column: pd.Series, history: History) -> pd.Series:
    """The target as history: numbers, or with more than two classes their text; NaN where there is none."""
    if not history.labels:
        return pd.Series(pd.to_numeric(column, errors="coerce"), dtype="float64")
    texts = column.map(_to_label_text, na_action="ignore")
    if not history.numeric:
        return texts.where(texts.isin(history.labels))
    return texts.map({label: float(code) for code, label in enumerate(history.labels)}).astype("float64")


def _to_label_text(label: Any) -> str:
    value = label.item() if isinstance(label, np.generic) else label
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def make_past_columns(rows: pd.DataFrame, target: pd.Series, history: History) -> dict[str, Any]:
    """The columns made of the past, by name, in the order of `history.kinds`."""
    past = _Past(rows, target, history)
    columns = {f"{part} of {history.time}": _take_time_part(past.at, part) for part in history.calendar}
    columns |= {
        f"{history.target} {name} ago": past.read_lag(history.target, lag) for name, lag in history.lags.items()
    }
    if history.numeric:
        for name, window in _name_means(history, history.target, history.windows).items():
            columns[name] = past.average_window(history.target, window)
        for name, lags in history.cycles.items():
            columns[f"{history.target} mean over {name}"] = past.average_lags(history.target, lags)
    for column, kind in history.inputs.items():
        columns |= {f"{column} {name} ago": past.read_lag(column, lag) for name, lag in history.input_lags.items()}
        if kind == "number" and column not in history.kept:
            columns |= {
                name: past.average_window(column, w)
                for name, w in _name_means(history, column, history.input_windows).items()
            }
    return columns


def _take_time_part(instants: np.ndarray, part: str) -> np.ndarray:
    times = pd.DatetimeIndex(instants.astype("datetime64[us]"))
    values = (
        times.hour + times.minute / 60 if part == "hour" else times.day_of_week if part == "weekday" else times.month
    )
    return values.to_numpy(np.float64)


def _name_means(history: History, column: str, windows: Mapping[str, int]) -> dict[str, int]:
    return {f"{column} mean of {name} until {history.horizon[0]} ago": w for name, w in windows.items()}


class _Past:
    """The rows with a known target, in order of series and time, and where every row looks into them."""

    def __init__(self, rows: pd.DataFrame, target: pd.Series, history: History):
        self.history, self.size = history, len(rows)
        self.at, self.series = to_ticks(rows[history.time], history), encode_series(rows, history)
        places = np.flatnonzero(target.notna().to_numpy())
        self.order = places[np.lexsort((self.at[places], self.series[places]))]
        self.owner, self.then = self.series[self.order], self.at[self.order]
        self.values = {history.target: target.to_numpy()[self.order]}
        for column in history.inputs:
            # What is missing is as last known: `ago` asks for the latest value.
            known_value = rows[column].iloc[self.order].reset_index(drop=True)
            self.values[column] = known_value.groupby(self.owner).ffill().to_numpy()
        self._seen: dict[int, np.ndarray] = {}

    def read_lag(self, column: str, lag: int) -> Any:
        """The column's latest value at each row's time less the lag."""
        return self._take(self.values[column], lag)

    def average_window(self, column: str, window: int) -> np.ndarray:
        """The column's mean over a window that ends with the latest row a horizon ago."""
        times = pd.DatetimeIndex(self.then.astype("datetime64[us]"))
        series = pd.Series(self.values[column].astype(np.float64), index=times)
        if not len(series):
            return np.full(self.size, np.nan)
        rolled = series.groupby(self.owner).rolling(pd.Timedelta(window, unit="us"), min_periods=1).mean()
        return self._take(rolled.to_numpy(), self.history.horizon[1])

    def average_lags(self, column: str, lags: tuple[int, ...]) -> np.ndarray:
        """The column's mean over several lags; what there is not does not count."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # none of them there: NaN
            return np.nanmean([self.read_lag(column, lag) for lag in lags], axis=0)

    def _take(self, values: np.ndarray, lag: int) -> Any:
        place = self._find_places(lag)
        number = values.dtype.kind in "fiub"
        if not len(values):
            return np.full(self.size, np.nan)
        column = pd.Series(values[place]).where(place >= 0)
        return column.to_numpy(np.float64) if number else column.astype("str").where(column.notna()).array

    def _find_places(self, lag: int) -> np.ndarray:
        """For each row the place of the latest known one at its time less the lag; -1 where there is none."""
        if lag not in self._seen:
            place = np.arange(len(self.order))
            rows = pd.DataFrame({"at": self.then, "series": self.owner, "place": place})
            limits = np.minimum(shift_back(self.at, lag, self.history), find_latest_known(self.at, self.history))
            queries = pd.DataFrame({"at": limits, "series": self.series, "row": np.arange(self.size)})
            matches = pd.merge_asof(_sort_by_time(queries), _sort_by_time(rows), on="at", by="series")
            self._seen[lag] = np.full(self.size, -1)
            self._seen[lag][matches["row"]] = matches["place"].fillna(-1).astype(np.int64)
        return self._seen[lag]


def find_latest_known(instants: np.ndarray, history: History) -> np.ndarray:
    """The latest instants (ticks) whose targets are known when rows of these instants are forecast."""
    return shift_back(instants, history.horizon[1], history)


def shift_back(instants: np.ndarray, span: int, history: History) -> np.ndarray:
    """The instants (ticks) that lie a span before these; of whole months the end of the month so many months before."""
    if not history.months or span % MONTH:
        return instants - span
    month = instants.astype("datetime64[us]").astype("datetime64[M]")
    return (month - span // MONTH + 1).astype("datetime64[us]").astype(np.int64) - 1


def _sort_by_time(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("at", kind="stable")


def to_ticks(times: pd.Series, history: History) -> np.ndarray:
    """The times as whole ticks; ValueError where one is missing."""
    if times.isna().any():
        row = int(np.flatnonzero(times.isna())[0]) + 1
        raise ValueError(f"Row {row} has no time in {history.time!r}: every row of a series needs one.")
    if history.scale is not None:
        return np.round(pd.to_numeric(times).to_numpy(np.float64) * history.scale).astype(np.int64)
    instants = pd.to_datetime(times, utc=True).dt.tz_localize(None)
    return instants.to_numpy("datetime64[us]").astype(np.int64)


def encode_series(rows: pd.DataFrame, history: History) -> np.ndarray:
    """A number for each row's series; 0 for all where there is one."""
    if history.series is None:
        return np.zeros(len(rows), np.int64)
    return pd.factorize(rows[history.series].map(_to_label_text, na_action="ignore"))[0].astype(np.int64)


# --- New rows ---------------------------------------------------------------------------------------------------------


def prepare_new_rows(rows: pd.DataFrame, target: pd.Series, history: History) -> tuple[pd.DataFrame, list[str]]:
    """The rows without a target as the model takes them, in their order, and what is to be said of their history.

    ValueError where there is nothing to predict, or no history to predict it from."""
    new = target.isna().to_numpy()
    if not new.any():
        raise ValueError(
            f"Every row has a value in {history.target!r}: rows to predict have their time, what is known ahead, and "
            f"an empty {history.target!r}; the rows with a value are their history."
        )
    notes = _check_new_rows(rows, new, history)
    return widen_rows(rows, target, history)[new], notes


def _check_new_rows(rows: pd.DataFrame, new: np.ndarray, history: History) -> list[str]:
    """What is to be said of the history of these new rows; ValueError where it is too little."""
    instants, series = to_ticks(rows[history.time], history), encode_series(rows, history)
    past = pd.DataFrame({"series": series[~new], "at": instants[~new]})
    if repeats := int(past.duplicated().sum()):
        raise ValueError(f"{repeats} rows of the history have the time of another row of their series: which counts?")
    ends = past.groupby("series")["at"].agg(["min", "max"]).reindex(series[new])
    first, last, times = (
        ends["min"].to_numpy(np.float64),
        ends["max"].to_numpy(np.float64),
        instants[new].astype(np.float64),
    )
    known_until = find_latest_known(instants[new], history)
    sentence = (
        f"Wanted are rows with known {history.target!r} from "
        f"{_format_instant(int(times.min()) - history.reach, history)} to "
        f"{_format_instant(int(known_until.max()), history)}"
    )
    blind = ~(first <= known_until)
    if blind.all():
        raise ValueError(f"No row to predict has a history {history.horizon[0]} before it. {sentence}.")
    late = times > last + history.horizon[1] + history.gap
    if late.any():
        raise ValueError(
            f"{int(late.sum())} of {int(new.sum())} rows to predict are later than the model looks ahead: "
            f"{history.horizon[0]} from the last known {history.target!r}. {sentence}; or train with a longer horizon."
        )
    notes = []
    if blind.any():
        notes.append(f"{int(blind.sum())} of {int(new.sum())} rows to predict have no history at all. {sentence}.")
    elif (first > times - history.reach).any():
        notes.append(f"The history is shorter than the model can use: what is missing counts as unknown. {sentence}.")
    return notes


def _format_instant(instant: int, history: History) -> str:
    """The instant as one would write it in the time column."""
    if history.scale is not None:
        return f"{instant / history.scale:.15g}"
    timestamp = pd.Timestamp(instant, unit="us")
    return f"{timestamp.date() if history.months else timestamp}"
