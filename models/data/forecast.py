"""Which columns a series' past becomes: planned from its step, its horizon and the calendar, never from its values.

Seasons are those of the calendar (a day and a week of hourly rows, a week of daily ones, a year of monthly ones), so
that a later table of the same series gets the same columns and a challenger can meet its champion. The lags are those
that Hyndman & Athanasopoulos (Forecasting: Principles and Practice, 3rd ed., 2021, 5.2 and 12.2) begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from models.config import Run
from models.config.values import parse_duration
from models.data.history import MONTH, SLACK, History, widen_rows
from models.data.labels import to_label_text
from models.data.table import Finding, Table
from models.errors import InputError, join_names

SECOND, MINUTE, HOUR, DAY = 10**6, 60 * 10**6, 3600 * 10**6, 86400 * 10**6
MOST_INPUTS = 50
"""Of more inputs only the latest known value counts."""
YEARS = 3
"""From so many years on the month is a column: before, no month has come often enough to tell from a trend."""
_SAME = 0.9
"""Share of equal steps from which on 28 or 30 days are days and no months, which differ."""
_CYCLE = 4
"""Seasons in a mean over the same place in several."""


@dataclass(frozen=True)
class Clock:
    """How a table's rows lie in time."""

    step: int
    """Ticks between two rows, as most are."""
    months: int = 0
    """How many months a step is, where it is of the calendar."""
    scale: float | None = None
    """Ticks of one unit where times are numbers."""

    def make_span(self, count: float) -> int:
        """The span of so many steps."""
        return int(count * self.months * MONTH) if self.months else int(count * self.step)

    def make_lag(self, span: int, horizon: int) -> int:
        """The span as a lag, never below the horizon: of whole months the calendar's, of what is none a little shorter,
        which on rows a month apart is the same row."""
        return max(horizon, span - SLACK if self.months and span % MONTH else span)

    def make_window(self, span: int) -> int:
        """The span as that of a mean: of calendar steps so much shorter that it holds no row more."""
        return span - SLACK if self.months else span

    def name_span(self, span: int) -> str:
        """`24 h`, `7 d`, `3 steps`."""
        if self.months or self.scale is not None:
            count = span / self.make_span(1)
            return f"{count:.4g} step{'s'[: count != 1]}"
        for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
            if span % size == 0 and span > (size if unit == "d" else 0):
                return f"{span // size} {unit}"
        return f"{span / SECOND:g} s"


def plan_history(table: Table, run: Run) -> Table:
    """The table with the plan of its history, where a horizon is asked for, and what there is to say of it.

    InputError where the table can't be a series: no horizon that fits, names that are taken."""
    split = run.split
    if split.horizon is None or table.time is None or split.time is None:
        return table
    times, owner = np.asarray(table.time), np.zeros(table.rows, np.int64) if table.series is None else table.series
    if finding := _check_repeated_times(table, run, owner):
        return replace(table, findings=(*table.findings, finding))
    clock, gap = infer_clock(times, owner)
    ticks = _to_ticks(times, clock)
    span = int(ticks.max() - ticks.min())
    horizon = _parse_span(split.horizon, clock, "horizon")
    if clock.make_window(horizon) * 2 > span:
        raise InputError(
            f"A horizon of {clock.name_span(horizon)} is too long: the table spans {clock.name_span(span)}, and at "
            "least twice "
            "the horizon is needed to learn from. Shorten --horizon or give a longer table."
        )
    history = _build_history(table, run, clock, horizon, span, owner, gap)
    clashes = [name for name in history.kinds if name in table.features.columns]
    if clashes:
        raise InputError(
            f"The table has a column {clashes[0]!r}, which is what the history's own is called: rename it."
        )
    return replace(table, history=history, findings=(*table.findings, *_find_history_notes(table, run, history, clock)))


def widen_table(table: Table) -> Table:
    """The table with the columns made of its history in place of inputs that are not known ahead; without a history as
    it is."""
    if table.history is None:
        return table
    return replace(table, features=widen_rows(table.features, take_past_target(table), table.history))


def take_past_target(table: Table) -> pd.Series:
    """The target as history takes it."""
    history = table.history
    if history is not None and not history.numeric:
        return pd.Series([history.labels[code] for code in table.target], dtype="str")
    return pd.Series(table.target.astype(np.float64))


def infer_clock(times: np.ndarray, owner: np.ndarray) -> tuple[Clock, int]:
    """The rows' clock, and the longest time in ticks between two rows of one series."""
    order = np.lexsort((times, owner))
    gaps = np.diff(times[order])[np.diff(owner[order]) == 0]
    gaps = gaps[gaps > 0]
    if not len(gaps):
        raise InputError("No series has two rows at different times, so there is no past to learn from. See --series.")
    steps, counts = np.unique(gaps, return_counts=True)
    step = steps[counts.argmax()] if counts.max() * 2 >= len(gaps) else np.median(gaps)
    if times.dtype.kind == "f":
        scale = 1e6 / float(step)
        return Clock(10**6, scale=scale), round(float(gaps.max()) * scale)
    months = _infer_months(float(np.median(gaps)) / DAY)
    if months and counts.max() >= _SAME * len(gaps) and _shares_month(times, owner):
        months = 0
    return Clock(int(step), months), int(gaps.max())


def _infer_months(days: float) -> int:
    for months, low, high in ((1, 28, 31), (3, 89, 92), (12, 365, 366)):
        if low <= days <= high:
            return months
    return 0


def _shares_month(times: np.ndarray, owner: np.ndarray) -> bool:
    """Whether some month holds two rows of one series."""
    months = times.astype("datetime64[us]").astype("datetime64[M]")
    return bool(pd.DataFrame({"series": owner, "month": months}).duplicated().any())


def _to_ticks(times: np.ndarray, clock: Clock) -> np.ndarray:
    return times if clock.scale is None else np.round(times * clock.scale).astype(np.int64)


def _is_count(text: str) -> bool:
    return re.fullmatch(r"\s*\d+\s*", text) is not None


def _parse_span(text: str, clock: Clock, option: str) -> int:
    """Ticks of `24` (steps) or `24h`; InputError where times are numbers and have no hours."""
    if _is_count(text):
        return clock.make_span(int(text))
    if clock.scale is not None:
        raise InputError(f"The times are numbers, so the {option} is a number of steps, such as 24, not {text!r}.")
    return round(float(str(parse_duration(text))) * SECOND)


# --- What is made -----------------------------------------------------------------------------------------------------


def list_seasons(clock: Clock, span: int) -> list[int]:
    """The calendar's seasons for this step that fit three times into the span, the shortest first."""
    if clock.scale is not None:
        return []
    if clock.months:
        seasons = [12 * MONTH] if clock.months < 12 else []
    elif clock.step < DAY:
        seasons = [DAY, 7 * DAY]
    else:
        # 52 weeks and not a year: the same day of the week.
        seasons = [season for season in (7 * DAY, 364 * DAY) if season > clock.step]
    return [season for season in seasons if 3 * season <= span]


def _build_history(
    table: Table, run: Run, clock: Clock, horizon: int, span: int, owner: np.ndarray, gap: int
) -> History:
    split, target = run.split, run.target or "target"
    seasons = [_parse_span(split.season, clock, "season")] if split.season else list_seasons(clock, span)
    starts = {season: -(-horizon // season) * season for season in seasons}
    # A week holds the day's pattern too, and is the harder mark; a year ago is long ago.
    base = max((season for season in seasons if season <= 7 * DAY), default=seasons[0] if seasons else None)
    step = clock.make_span(1)
    spans = [horizon, horizon + step, *(starts[s] + k * s for s in seasons for k in range(3 if s == base else 2))]
    lags = {clock.name_span(s): clock.make_lag(s, horizon) for s in sorted(set(spans)) if s == horizon or 2 * s <= span}
    reference = clock.name_span(starts[base]) if base is not None else clock.name_span(horizon)
    columns, inputs = _choose_columns(table, run, owner)
    labels = tuple(to_label_text(label) for label in table.classes)
    windows = _choose_windows(seasons, base, step, span, clock)
    window = clock.name_span(seasons[0]) if seasons else next(iter(windows), "")
    return History(
        time=str(split.time), target=target, series=split.series, scale=clock.scale,
        horizon=(clock.name_span(horizon), horizon), lags=lags,
        windows=windows,
        cycles={f"{_CYCLE} x {clock.name_span(s)}":
                tuple(clock.make_lag(starts[s] + k * s, horizon) for k in range(_CYCLE))
                for s in seasons if 2 * (starts[s] + _CYCLE * s) <= span},
        reference=f"{target} {reference} ago", calendar=_choose_calendar(clock, span), kept=columns, inputs=inputs,
        input_lags={name: lags[name] for name in
                    dict.fromkeys([clock.name_span(horizon), reference][: _count_input_lags(inputs)])},
        input_windows={window: windows[window]} if window in windows else {}, labels=labels, gap=gap,
        months=clock.months > 0,
    )  # fmt: skip


def _choose_calendar(clock: Clock, span: int) -> tuple[str, ...]:
    """The parts of the time that vary from row to row and come again."""
    if clock.scale is not None:
        return ()
    parts = {"hour": clock.step < DAY, "weekday": clock.step < 7 * DAY, "month": span >= YEARS * 12 * MONTH - DAY}
    return tuple(part for part, flag in parts.items() if flag)


def _count_input_lags(inputs: Sequence[str] | dict[str, str]) -> int:
    return 2 if len(inputs) <= MOST_INPUTS else 1


def _choose_windows(seasons: Sequence[int], base: int | None, step: int, span: int, clock: Clock) -> dict[str, int]:
    widths = sorted({4 * step, *seasons, 4 * base if base else 16 * step})
    return {clock.name_span(s): clock.make_window(s) for s in widths if 2 * s <= span and s > step}


def _choose_columns(table: Table, run: Run, owner: np.ndarray) -> tuple[tuple[str, ...], dict[str, str]]:
    """The columns that are known ahead, and those of which the past counts."""
    inputs = run.split.known
    missing = [c for c in inputs if c not in table.features.columns]
    if missing:
        raise InputError(
            f"No feature {missing[0]!r} is known ahead: the features are {join_names(table.features.columns)}."
        )
    constants = _find_still_columns(table, owner)
    columns = {run.split.series, *inputs, *constants}
    names = tuple(c for c in table.features.columns if c in columns)
    past = {c: k for c, k in table.kinds.items() if k in ("number", "boolean", "category")}
    return names, {c: k for c, k in past.items() if c not in {run.split.time, run.split.series, *constants}}


def _find_still_columns(table: Table, owner: np.ndarray) -> list[str]:
    """The columns of a panel that never change within a series: they are known ahead."""
    if table.series is None:
        return []
    counts = table.features.groupby(owner).nunique(dropna=False).max()
    return [str(c) for c in counts.index if counts[c] <= 1]


# --- What is said -----------------------------------------------------------------------------------------------------


def _check_repeated_times(table: Table, run: Run, owner: np.ndarray) -> Finding | None:
    """A stop where one series has two rows of one time."""
    rows = pd.DataFrame({"series": owner, "time": table.time})
    repeats = rows.duplicated(keep=False).to_numpy()
    if not repeats.any():
        return None
    places = tuple(int(n) for n in table.data_rows[repeats][:5])
    if run.split.series is not None:
        sentence = f"{int(repeats.sum()):,} rows have the time of another row of their series {run.split.series!r}"
        return Finding(
            "series", "stop", f"{sentence} (data rows {join_names(places)}): add them up or keep one.", rows=places
        )
    names = table.features.columns if 2 * repeats.sum() > table.rows else ()  # a few are a mistake, not a panel
    keys = [c for c in names if c != run.split.time and _separates_series(table, c)]
    hint = f"Does {join_names(keys)} tell several series apart? Then give --series." if keys else (
        "Several series in one table need --series COL; else add up the rows of one time, or keep one of them."
    )  # fmt: skip
    sentence = f"{int(repeats.sum()):,} rows have the time of another row (data rows {join_names(places)})."
    return Finding("series", "stop", f"{sentence} {hint}", rows=places)


def _separates_series(table: Table, column: str) -> bool:
    """Whether each value of the column has one row per time, and most values are there at once."""
    rows = pd.DataFrame({"key": table.features[column], "time": table.time})
    peak = rows["time"].value_counts().max()
    return not rows.duplicated().any() and bool(rows["key"].nunique() <= 3 * peak)


def _find_history_notes(table: Table, run: Run, history: History, clock: Clock) -> list[Finding]:
    rows = (
        f"every {clock.name_span(clock.make_span(1))}"
        if clock.months or clock.scale is None
        else "in steps of a number"
    )
    sentence = (
        f"A series with rows {rows}, forecast {history.horizon[0]} ahead: {len(history.kinds)} columns are made of "
        f"what was known {history.horizon[0]} before each row. {history.reference!r} is the seasonal-naive forecast."
    )
    if run.split.gap is None:
        sentence += (
            f" Models are judged on rows at least {history.horizon[0]} later than those that they were trained on."
        )
    findings = [Finding("series", "pass", sentence)]
    columns = [c for c in table.features.columns if c not in history.kept and c != history.time]
    if columns:
        sentence = (
            f"Of {join_names(columns, 6)} only values from {history.horizon[0]} before a row, or earlier, count. Name "
            "with "
            "--known what is known ahead, such as a calendar, a plan, a price or a weather forecast."
        )
        findings.append(Finding("known_ahead", "warn", sentence, tuple(columns)))
    return findings
