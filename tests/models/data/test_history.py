"""The past of a series as columns: nothing later than a horizon before a row, one series at a time, in any order."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import Run
from models.data.forecast import infer_clock, plan_history, widen_table
from models.data.history import History, prepare_new_rows, to_past_target, widen_rows
from models.data.table import Reading, Table
from models.errors import InputError
from models.metrics.metric import make_metric
from models.splitting.division import divide_table
from models.splitting.split import build_folds

HOUR = 3600 * 10**6
PLAN = History(
    time="at", target="y", series="shop", horizon=("3 h", 3 * HOUR), lags={"3 h": 3 * HOUR, "5 h": 5 * HOUR},
    windows={"4 h": 4 * HOUR}, cycles={"2 x 4 h": (4 * HOUR, 8 * HOUR)}, reference="y 3 h ago", kept=("shop",),
    calendar=("hour", "weekday"),
    inputs={"x": "number", "sky": "category"}, input_lags={"3 h": 3 * HOUR}, input_windows={"4 h": 4 * HOUR}, gap=HOUR,
)  # fmt: skip


def rows(hours: list[int], shops: list[str], seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """A panel with gaps, and its target."""
    rng = np.random.default_rng(seed)
    at = pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h")
    sky = pd.Series(rng.choice(["sun", "rain", ""], len(hours)), dtype="str").replace("", np.nan)
    x = np.where(rng.random(len(hours)) < 0.2, np.nan, rng.normal(size=len(hours)))
    frame = pd.DataFrame({"at": at, "shop": pd.Series(shops, dtype="str"), "x": x, "sky": sky})
    return frame, pd.Series(rng.normal(size=len(hours)))


PANELS = st.sets(st.tuples(st.integers(0, 14), st.sampled_from(["a", "b"])), min_size=12, max_size=24).map(sorted)


def panel(cells: list[tuple[int, str]]) -> tuple[pd.DataFrame, pd.Series]:
    return rows([hour for hour, _ in cells], [shop for _, shop in cells], len(cells))


@settings(max_examples=15, deadline=None)
@given(PANELS, st.integers(5, 12))
def test_no_column_knows_what_comes_later_than_a_horizon_before_its_row(cells, now):
    frame, target = panel(cells)
    before = widen_rows(frame, target, PLAN)
    hours = np.array([hour for hour, _ in cells])
    later = hours > now - 3
    changed = frame.assign(x=frame["x"].where(~later, 99.0), sky=frame["sky"].where(~later, "snow"))
    after = widen_rows(changed, target.where(~later, 99.0), PLAN)
    pd.testing.assert_frame_equal(before[hours <= now], after[hours <= now], check_exact=True)


@settings(max_examples=10, deadline=None)
@given(PANELS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(cells, chance):
    frame, target = panel(cells)
    order = list(range(len(cells)))
    chance.shuffle(order)
    mixed = widen_rows(frame.iloc[order], target.iloc[order], PLAN)
    pd.testing.assert_frame_equal(widen_rows(frame, target, PLAN), mixed.sort_index())


@settings(max_examples=10, deadline=None)
@given(PANELS)
def test_a_panel_is_its_series_one_by_one(cells):
    frame, target = panel(cells)
    whole = widen_rows(frame, target, PLAN)
    for shop in set(frame["shop"]):
        own = (frame["shop"] == shop).to_numpy()
        alone = widen_rows(frame[own], target[own], PLAN)
        pd.testing.assert_frame_equal(whole[own], alone, check_exact=True)


def test_what_is_made():
    frame, target = rows([0, 1, 2, 3, 6, 7], ["a"] * 6)
    target = pd.Series([1.0, 2.0, 3.0, 4.0, 5.0, np.nan])
    frame = frame.assign(sky=pd.Series(["sun", None, "rain", "sun", "sun", "sun"], dtype="str"))
    made = widen_rows(frame, target, PLAN)
    assert list(made) == ["shop", *PLAN.kinds]
    np.testing.assert_array_equal(made["hour of at"], [0, 1, 2, 3, 6, 7])
    assert set(made["weekday of at"]) == {0}  # a Monday
    np.testing.assert_array_equal(made["y 3 h ago"], [np.nan, np.nan, np.nan, 1, 4, 4])  # the hours 4 and 5 are missing
    np.testing.assert_array_equal(made["y 5 h ago"], [np.nan, np.nan, np.nan, np.nan, 2, 3])
    np.testing.assert_array_equal(made["y mean of 4 h until 3 h ago"], [np.nan, np.nan, np.nan, 1, 2.5, 2.5])
    np.testing.assert_array_equal(made["y mean over 2 x 4 h"], [np.nan, np.nan, np.nan, np.nan, 3, 4])
    assert made["sky 3 h ago"].tolist()[3:] == ["sun", "sun", "sun"]
    assert made["sky 3 h ago"].isna().tolist() == [True] * 3 + [False] * 3


def test_a_history_survives_json():
    assert History.from_json(json.loads(json.dumps(asdict(PLAN)))) == PLAN


def test_labels_become_numbers_or_words():
    two = History(**{**asdict(PLAN), "labels": ("0", "1")})
    assert to_past_target(pd.Series([1.0, 0.0, np.nan]), two).tolist()[:2] == [1, 0]
    many = History(**{**asdict(PLAN), "labels": ("1", "2", "3")})
    assert to_past_target(pd.Series([1, 3, 7]), many).tolist()[:2] == ["1", "3"]
    frame, _ = rows([0, 3], ["a", "a"])
    assert widen_rows(frame, to_past_target(pd.Series([2, 3]), many), many)["y 3 h ago"].tolist()[1] == "2"


# --- New rows ---------------------------------------------------------------------------------------------------------


def test_new_rows_are_those_without_a_target_in_their_order():
    frame, target = rows([0, 1, 2, 5, 4], ["a"] * 5)
    table, notes = prepare_new_rows(frame, target.where(np.array([True, True, True, False, False])), PLAN)
    assert table.index.tolist() == [3, 4]
    assert "shorter than the model can use" in notes[0]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ([True] * 4, "Every row has a value in 'y'"),
        ([False] * 4, "No row to predict has a history 3 h before it. Wanted are rows with known 'y' from 2023-12-31"),
        ([True, True, True, False], "1 of 1 rows to predict are later than the model looks ahead: 3 h"),
    ],
)
def test_a_history_that_will_not_do_is_refused(known, said):
    frame, target = rows([0, 1, 2, 9], ["a"] * 4)
    with pytest.raises(ValueError, match=said):
        prepare_new_rows(frame, target.where(np.array(known)), PLAN)


# --- The plan ---------------------------------------------------------------------------------------------------------


def table(times: pd.DatetimeIndex | np.ndarray, series: np.ndarray | None = None, **columns: object) -> Table:
    dated = isinstance(times, pd.DatetimeIndex)
    features = pd.DataFrame({"at": times, **columns})
    if series is not None:
        features["shop"] = pd.Series(series).astype("str")
    kinds = {str(c): "date" if c == "at" and dated else "category" if c == "shop" else "number" for c in features}
    at = times.to_numpy("datetime64[us]").astype(np.int64) if dated else np.asarray(times, float)
    target = np.arange(len(features), dtype=float)
    reading = Reading("t", "frame", kinds=kinds)
    return Table("t", features, target, "regression", (), reading, "", time=at, series=series)


def run(horizon: str, **split: Any) -> Run:
    return Run.model_validate({"data": "t", "target": "y", "split": {"time": "at", "horizon": horizon, **split}})


@pytest.mark.parametrize(
    ("step", "horizon", "count", "reference", "lag"),
    [
        ("h", "24h", 24 * 100, "y 7 d ago", 7 * 24),
        ("h", "24", 24 * 100, "y 7 d ago", 7 * 24),
        ("h", "9d", 24 * 100, "y 14 d ago", 14 * 24),
        ("D", "1", 100, "y 7 d ago", 7),
        ("MS", "3", 120, "y 12 steps ago", 12),
        ("MS", "13", 120, "y 24 steps ago", 24),
        ("YS", "2", 40, "y 2 steps ago", 2),
        ("h", "2", 40, "y 2 h ago", 2),
    ],
)
def test_the_season_is_the_calendars(step, horizon, count, reference, lag):
    times = pd.date_range("2001-01-01", periods=count, freq=step)
    found = widen_table(plan_history(table(times), run(horizon)))
    assert found.season == reference
    np.testing.assert_array_equal(found.features[reference].to_numpy()[lag:], np.arange(count - lag, dtype=float))


def test_times_may_be_numbers_and_the_season_given():
    found = plan_history(table(np.arange(0, 50, 0.5)), run("3", season="12"))
    assert found.season == "y 12 steps ago"
    assert widen_table(found).features["y 3 steps ago"].tolist()[3:5] == [0, 1]


def test_inputs_count_by_their_past_unless_they_are_known_ahead():
    times = pd.date_range("2001-01-01", periods=100, freq="D")
    found = widen_table(
        plan_history(table(times, price=np.arange(100.0), rain=np.arange(100.0)), run("1", known=("price",)))
    )
    assert "price" in found.features
    assert "rain" not in found.features
    assert {"price 24 h ago", "rain 24 h ago", "rain mean of 7 d until 24 h ago"} <= set(found.features)
    assert set(found.kinds) == set(found.features)
    assert [f.columns for f in found.findings if f.check == "known_ahead"] == [("rain",)]


def test_what_never_changes_within_a_series_is_known():
    times = pd.DatetimeIndex(np.tile(pd.date_range("2001-01-01", periods=50, freq="D"), 2))
    shop = np.repeat([0, 1], 50)
    found = widen_table(
        plan_history(table(times, shop, size=shop * 5.0, rain=np.arange(100.0)), run("1", series="shop"))
    )
    assert {"shop", "size"} <= set(found.features)
    assert "size 24 h ago" not in found.features
    assert np.isnan(found.features["y 24 h ago"].to_numpy()[[0, 50]]).all()


@pytest.mark.parametrize(
    ("times", "how", "said"),
    [
        (pd.date_range("2001-01-01", periods=50, freq="D"), run("40d"), "A horizon of 40 d is too long"),
        (np.arange(50.0), run("24h"), "The times are numbers, so the horizon is a number of steps"),
        (pd.date_range("2001-01-01", periods=50, freq="D"), run("1", known=("x",)), "No feature 'x' is known ahead"),
    ],
)
def test_what_can_not_be_planned_is_said(times, how, said):
    with pytest.raises(InputError, match=said):
        plan_history(table(times), how)


def test_several_rows_of_one_time_stop_and_the_key_is_named():
    times = pd.DatetimeIndex(np.repeat(pd.date_range("2001-01-01", periods=50, freq="D"), 2))
    found = plan_history(table(times, store=np.tile([1.0, 2.0], 50)), run("1"))
    assert [f.verdict for f in found.findings] == ["stop"]
    assert "Does store tell several series apart? Then give --series." in found.findings[0].message


def test_the_clock_is_what_most_steps_are():
    hours = np.array([0, 1, 2, 3, 10, 11, 12]) * HOUR
    clock, gap = infer_clock(hours, np.zeros(7, np.int64))
    assert (clock.name_span(clock.step), gap) == ("1 h", 7 * HOUR)
    month_ends = pd.date_range("2001-01-31", periods=30, freq="ME").to_numpy("datetime64[us]").astype(np.int64)
    assert infer_clock(month_ends, np.zeros(30, np.int64))[0].months == 1


@pytest.mark.parametrize("freq", ["MS", "ME", "BMS", "BME", "QS", "QE", "YS", "YE"])
@pytest.mark.parametrize("horizon", ["1", "2"])
def test_steps_of_the_calendar_are_rows_however_long_a_month_is(freq, horizon):
    times = pd.date_range("2001-01-01", periods=60, freq=freq)
    found = widen_table(plan_history(table(times), run(horizon))).features
    for ago in (int(horizon), int(horizon) + 1):
        column = found[f"y {ago} step{'s' * (ago > 1)} ago"].to_numpy()
        np.testing.assert_array_equal(column, np.where(np.arange(60) < ago, np.nan, np.arange(60.0) - ago))


def test_within_a_month_rows_of_any_day_are_of_that_month():
    draw = np.random.default_rng(0)
    times = pd.date_range("2001-01-01", periods=48, freq="MS") + pd.to_timedelta(draw.integers(0, 28, 48), unit="D")
    found = widen_table(plan_history(table(times), run("1"))).features
    np.testing.assert_array_equal(found["y 1 step ago"].to_numpy()[1:], np.arange(47.0))


def test_thirty_days_are_no_month():
    times = pd.date_range("2001-01-01", periods=60, freq="30D")
    assert infer_clock(times.to_numpy("datetime64[us]").astype(np.int64), np.zeros(60, np.int64))[0].months == 0
    found = widen_table(plan_history(table(times), run("1"))).features
    np.testing.assert_array_equal(found["y 30 d ago"].to_numpy()[1:], np.arange(59.0))


@pytest.mark.parametrize("horizon", ["40d", "2"])
def test_no_calendar_column_knows_what_comes_later_than_a_horizon_before_its_row(horizon):
    times = pd.date_range("2001-01-31", periods=80, freq="ME")
    plan = plan_history(table(times), run(horizon))
    assert plan.known is not None
    before, now = widen_table(plan).features, 50
    later = plan.time > plan.known[now]  # type: ignore[operator]
    after = widen_table(replace(plan, target=np.where(later, 1e9, plan.target))).features
    pd.testing.assert_frame_equal(before[: now + 1], after[: now + 1], check_exact=True)
    assert not before.equals(after)


def test_a_month_that_is_short_of_a_mean_one_is_history_enough():
    plan = plan_history(table(pd.date_range("2001-01-01", periods=60, freq="MS")), run("1")).history
    assert plan is not None
    frame = pd.DataFrame({"at": pd.to_datetime(["2024-02-01", "2024-03-01"])})
    made, notes = prepare_new_rows(frame, pd.Series([5.0, np.nan]), plan)
    assert made["y 1 step ago"].tolist() == [5.0]
    assert "from 2022-" in notes[0]
    assert "to 2024-02-29" in notes[0]


# --- What may be trained on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "horizon"),
    [
        (pd.date_range("2001-01-01", periods=400, freq="D"), "20d"),
        (pd.date_range("2001-01-01", periods=400, freq="h"), "12"),
        (pd.date_range("2001-01-31", periods=200, freq="ME"), "3"),
        (np.arange(0, 40, 0.1), "7"),
        (pd.DatetimeIndex(np.tile(pd.date_range("2001-01-01", periods=200, freq="D"), 2)), "9d"),
    ],
)
def test_nothing_is_trained_on_that_is_not_known_yet_when_the_first_judged_row_is_forecast(times, horizon):
    """At every level, the seal's too: and not less than what is known."""
    shops = np.repeat([0, 1], len(times) // 2) if not pd.Index(times).is_unique else None
    how = run(horizon, **({} if shops is None else {"series": "shop"}))
    whole = plan_history(table(times, shops), how)
    division = divide_table(whole, how, make_metric("rmse", "regression", ()))
    work, plan = whole.take(division.work_places), division.plan
    sides = [(whole, division.work_places, division.sealed_places)]
    for fold in build_folds(plan, np.arange(work.rows), 3, 3, True):
        sides += [(work, train, judge) for train, judge in (*fold.inner, *fold.stops, (fold.train, fold.judge))]
    for of, train, judge in [(of, t, j) for of, t, j in sides if len(j)]:
        late = of.known[judge].min()
        assert of.time[train].max() <= late
        assert of.time[train].max() == of.time[of.time <= late].max()


def test_a_gap_that_is_set_stands_in_its_place():
    times = pd.date_range("2001-01-01", periods=400, freq="D")
    how = run("20d", gap=0)
    division = divide_table(plan_history(table(times), how), how, make_metric("rmse", "regression", ()))
    assert division.work_places.max() + 1 == division.sealed_places.min()
