"""Laws of drift: rows of the same kind raise no alarm, others do."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets

from models.metrics.metric import make_metric
from models.monitoring.drift import FEWEST, LEAST, Drift, _join_cells, measure_drift, measure_performance_drift
from models.monitoring.table_profile import (
    LEVELS,
    ColumnProfile,
    Performance,
    TableProfile,
    compute_design_effect,
    count_levels,
    profile_column,
    profile_table,
    to_prediction_columns,
)


def tables() -> dict[str, tuple[pd.DataFrame, dict[str, str]]]:
    """Real tables, and generated ones that are hard: many columns, few rows, rare levels, many zeros."""
    found = {}
    for name in ("iris", "wine", "breast_cancer", "diabetes"):
        frame = getattr(datasets, f"load_{name}")(as_frame=True).data.astype(float)
        found[name] = (frame, dict.fromkeys(frame.columns, "number"))
    draw = np.random.default_rng(0)
    made: dict[str, tuple[str, pd.DataFrame]] = {
        "many columns": ("number", pd.DataFrame(draw.normal(size=(800, 40)))),
        "few rows": ("number", pd.DataFrame({i: draw.normal(size=60).round(i % 3) for i in range(24)})),
        "few rows of words": ("category", _words(draw, 60, [2 + i for i in range(24)])),
        "rare levels": ("category", _words(draw, 180, [90] * 20)),
        "many levels": ("category", _words(draw, 1_000, [3, 90, 300, 3_000] * 3)),
        "long tails": ("category", pd.DataFrame({i: draw.zipf(1.3, 800) % 10**6 for i in range(20)}).astype(str)),
        "zeros": ("number", pd.DataFrame({i: draw.poisson(0.3, 500) * draw.exponential(size=500) for i in range(24)})),
    }
    for name, (kind, frame) in made.items():
        named = frame.set_axis([f"c{c}" for c in frame.columns], axis=1)
        holes = named.mask(draw.random(named.shape) < 0.05)
        found[name] = (holes, dict.fromkeys(holes.columns, kind))
    return found


def _words(draw: np.random.Generator, rows: int, sizes: list[int]) -> pd.DataFrame:
    return pd.DataFrame({i: draw.integers(0, size, rows).astype(str) for i, size in enumerate(sizes)})


TABLES = tables()


def halves(frame: pd.DataFrame, seed: int, share: float = 0.5) -> tuple[pd.DataFrame, pd.DataFrame]:
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = int(len(frame) * share)
    return tuple(frame.iloc[rows].reset_index(drop=True) for rows in (order[:cut], order[cut:]))  # type: ignore[return-value]


def finite(found: Drift) -> bool:
    return all(math.isfinite(x) for c in found.columns for x in (c.psi, c.distance, c.p, *c.missing))


# --- No false alarms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_at_most_one_alarm_over_twenty_random_halves(name: str) -> None:
    frame, kinds = TABLES[name]
    found = [
        measure_drift(profile_table(one, kinds), other) for one, other in (halves(frame, seed) for seed in range(20))
    ]
    assert sum(one.drifted for one in found) <= 1
    assert all(map(finite, found))


def test_rows_that_come_in_groups_raise_no_more_alarms() -> None:
    """Customers of about ten rows each, who are alike in most columns: other customers are no drift."""

    def drawn(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
        draw = np.random.default_rng(seed)
        groups = np.repeat(np.arange(60), draw.integers(1, 20, 60))
        age, town = draw.normal(40, 10, 60)[groups], draw.integers(0, 8, 60).astype(str)[groups]
        return pd.DataFrame({"age": age, "town": town, "noise": draw.normal(size=len(groups))}), groups

    kinds, alone, together = {"age": "number", "town": "category", "noise": "number"}, 0, 0
    for seed in range(20):
        (first, groups), (later, others) = drawn(seed), drawn(1000 + seed)
        alone += measure_drift(profile_table(first, kinds), later).drifted
        known = profile_table(first, kinds, units=groups, unit="group")
        found = measure_drift(known, later, units=others)
        together += found.drifted
        assert known.columns["age"].effect > 5 > 1.5 > known.columns["noise"].effect
    assert (alone, together <= 1) == (20, True)
    moved = first.assign(age=first["age"] + 40, noise=first["noise"] + 1)
    assert {c.name for c in measure_drift(known, moved, units=groups).alarms} == {"age", "noise"}


@pytest.mark.parametrize("size", [1, 4])
def test_the_design_effect_of_copies_is_how_many_there_are(size: int) -> None:
    cells = np.random.default_rng(0).integers(0, 5, 3000)
    units = np.arange(3000)
    assert compute_design_effect(np.repeat(cells, size), np.repeat(units, size)) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "many levels", "zeros"])
def test_few_later_rows_raise_no_more_alarms(name: str) -> None:
    frame, kinds = TABLES[name]
    found = [
        measure_drift(profile_table(one, kinds), other)
        for one, other in (halves(frame, seed, 0.9) for seed in range(20))
    ]
    assert sum(one.drifted for one in found) <= 1


def test_significance_alone_and_size_alone_are_no_alarm() -> None:
    draw = np.random.default_rng(0)
    big = profile_table(pd.DataFrame({"a": draw.normal(size=200_000)}), {"a": "number"})
    trifle = measure_drift(big, pd.DataFrame({"a": draw.normal(0.05, 1, 200_000)}))
    assert trifle.columns[0].p < 1e-10
    assert trifle.columns[0].psi < 0.01
    assert not trifle.drifted
    small = profile_table(pd.DataFrame({"a": [0.0, 1.0] * 15}), {"a": "number"})
    noise = measure_drift(small, pd.DataFrame({"a": [0.0] * 18 + [1.0] * 7}))
    assert noise.columns[0].psi > 0.05
    assert noise.columns[0].p > 0.01
    assert not noise.drifted


def test_too_few_rows_say_nothing() -> None:
    known = profile_table(pd.DataFrame({"a": np.arange(100.0)}), {"a": "number"})
    found = measure_drift(known, pd.DataFrame({"a": np.full(FEWEST - 1, 1e6)}))
    assert not found.drifted
    assert "say nothing" in found.notes[0]
    assert not measure_drift(known, pd.DataFrame({"a": np.empty(0)})).drifted


def test_dates_and_what_the_table_is_ordered_by_move_on() -> None:
    frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=300, freq="h"), "n": np.arange(300.0)})
    known = profile_table(frame, {"day": "date", "n": "number"}, moving=("n",))
    found = measure_drift(known, frame.assign(day=frame["day"] + pd.Timedelta("90D"), n=frame["n"] + 300))
    assert not found.drifted
    assert all(c.moves and c.psi > 1 for c in found.columns)


# --- Real shifts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "many columns"])
def test_a_shifted_column_is_found_and_it_alone(name: str) -> None:
    frame, kinds = TABLES[name]
    one, other = halves(frame, 0)
    column = frame.columns[3]
    found = measure_drift(profile_table(one, kinds), other.assign(**{column: other[column] + frame[column].std()}))
    assert [c.name for c in found.alarms] == [column]
    assert found.sentence.startswith(f"1 of {frame.shape[1]} columns drift: ")


def words(rows: int, size: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame({"w": np.random.default_rng(seed).integers(0, size, rows).astype(str)})


@pytest.mark.parametrize("size", [3, 60, 100, 101, 5_000])
def test_levels_that_are_new_or_change_are_found_however_many_there_are(size: int) -> None:
    known = profile_table(words(3_000, size, 0), {"w": "category"})
    assert not measure_drift(known, words(3_000, size, 1)).drifted
    new = words(3_000, size, 1)["w"].mask(np.arange(3_000) % 3 == 0, "never seen")
    found = measure_drift(known, pd.DataFrame({"w": new})).columns[0]
    assert found.alarm
    assert found.new_levels == (pytest.approx(1 / 3) if size <= LEVELS else None)


def test_missing_values_that_become_999_are_found() -> None:
    draw = np.random.default_rng(0)
    values = pd.Series(draw.normal(size=2_000)).mask(draw.random(2_000) < 0.2)
    known = profile_table(pd.DataFrame({"a": values}), {"a": "number"})
    for other in (values.fillna(999.0), values.fillna(-999.0), values.fillna(values.median())):
        assert measure_drift(known, pd.DataFrame({"a": other})).drifted


def test_values_that_go_missing_at_random_are_found() -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"a": draw.normal(size=1_000), "w": draw.choice(["x", "y"], 1_000)})
    known = profile_table(frame, {"a": "number", "w": "category"})
    found = measure_drift(known, frame.mask(draw.random(frame.shape) < 0.3))
    assert {c.name for c in found.alarms} == {"a", "w"}
    assert all(c.missing == (0, pytest.approx(0.3, abs=0.05)) for c in found.columns)


def test_a_constant_that_changes_is_found_and_one_that_stays_is_not() -> None:
    known = profile_table(pd.DataFrame({"a": np.full(100, 3.0)}), {"a": "number"})
    assert not measure_drift(known, pd.DataFrame({"a": np.full(100, 3.0)})).drifted
    assert measure_drift(known, pd.DataFrame({"a": np.full(100, 3.1)})).drifted
    assert measure_drift(known, pd.DataFrame({"a": np.full(100, np.nan)})).drifted
    empty = profile_table(pd.DataFrame({"a": np.full(100, np.nan)}), {"a": "number"})
    assert measure_drift(empty, pd.DataFrame({"a": np.full(100, 3.0)})).drifted


@pytest.mark.parametrize("kind", ["boolean", "text"])
def test_booleans_and_lengths_of_texts_count(kind: str) -> None:
    draw = np.random.default_rng(0)
    flags = pd.Series(draw.integers(0, 2, 500).astype(float))
    one = flags if kind == "boolean" else pd.Series([" ".join(["oak"] * n) for n in draw.integers(3, 9, 500)])
    other = flags * 0 if kind == "boolean" else one + " and so on"
    known = profile_table(pd.DataFrame({"a": one}), {"a": kind})
    assert not measure_drift(known, pd.DataFrame({"a": one.sample(frac=1, random_state=0)})).drifted
    assert measure_drift(known, pd.DataFrame({"a": other})).drifted
    assert "oak" not in json.dumps(known.as_json()), "no text is kept"


# --- Laws of form ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e12, 1e12) | st.just(math.nan), min_size=1, max_size=60), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_the_order_of_rows_is_nothing_and_every_number_is_finite(values: list[float], seed: int) -> None:
    frame = pd.DataFrame({"a": values, "b": [str(v)[:2] for v in values]})
    kinds = {"a": "number", "b": "category"}
    mixed = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    assert profile_table(frame, kinds) == profile_table(mixed, kinds)
    known = profile_table(frame, kinds)
    assert sum(known.columns["a"].counts) + known.columns["a"].missing == len(values)
    found = measure_drift(known, mixed)
    assert finite(found)
    assert all(c.psi == 0 for c in found.columns)
    assert measure_drift(known, mixed) == measure_drift(known, frame)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=30), st.booleans())
@settings(max_examples=60, deadline=None)
def test_cells_are_joined_until_each_expects_enough(cells: list[tuple[int, int]], ordered: bool) -> None:
    then, now = (np.array(one) for one in zip(*cells, strict=True))
    column = (
        ColumnProfile("number", int(then.sum()), 0, edges=(0.0,))
        if ordered
        else ColumnProfile("category", 0, 0, distinct=0)
    )
    first, later = _join_cells(column, then, now, 0)
    assert (first.sum(), later.sum()) == (then.sum(), now.sum())
    share = min(then.sum(), now.sum()) / max(1, then.sum() + now.sum())
    assert len(first) <= 1 or ((first + later) * share >= LEAST).all()


def test_a_profile_is_small_plain_and_comes_back_as_it_was() -> None:
    draw = np.random.default_rng(0)
    numbers = {f"n{i}": draw.normal(size=5_000) for i in range(25)}
    words = {f"w{i}": pd.Series(draw.integers(0, 100, 5_000)).map("level {}".format) for i in range(25)}
    frame = pd.DataFrame(numbers | words)
    kinds = {c: "number" if c.startswith("n") else "category" for c in frame.columns}
    known = profile_table(frame, kinds, to_prediction_columns(draw.random((500, 2)), ("no", "yes")), "sealed")
    text = json.dumps(known.as_json(), allow_nan=False)
    assert len(text) < 100_000
    assert TableProfile.from_json(json.loads(text)) == known


def test_levels_are_as_the_profile_writes_them() -> None:
    assert count_levels(pd.Series(["b", "a", "b", None, "x" * 60])) == {"b": 2, "a": 1, "x" * 40: 1}
    column = profile_column(pd.Series(range(200)).astype(str), "category")
    assert column.distinct == 200
    assert not column.whole
    assert len(column.levels) == 20
    assert sum(column.counts) == 200


def test_predictions_are_told_apart_from_noise_in_the_last_digit() -> None:
    odds = np.tile([[0.3, 0.7], [0.1 + 0.2, 1 - 0.3]], (50, 1))
    known = profile_table(pd.DataFrame(index=range(100)), {}, to_prediction_columns(odds, ("no", "yes")), "sealed")
    found = measure_drift(known, pd.DataFrame(index=range(100)), to_prediction_columns(odds + 1e-15, ("no", "yes")))
    assert not found.drifted
    assert [c.name for c in found.columns] == ["probability of yes"]
    several = to_prediction_columns(np.eye(3)[[0, 1, 2, 2]], ("a", "b", "c"))
    assert several["prediction"].tolist() == ["a", "b", "c", "c"]
    assert list(several) == ["prediction", *(f"probability of {c}" for c in "abc")]


def test_predictions_drift_though_no_column_does() -> None:
    draw = np.random.default_rng(0)
    known = profile_table(
        pd.DataFrame({"a": draw.normal(size=500)}),
        {"a": "number"},
        to_prediction_columns(draw.normal(size=300)),
        "outer",
    )
    found = measure_drift(
        known, pd.DataFrame({"a": draw.normal(size=500)}), to_prediction_columns(draw.normal(2, 1, 500))
    )
    assert found.sentence.startswith("Predictions drift; 1 column is as in training")


# --- The score -------------------------------------------------------------------------------------------------------


def scored(gap: float, rows: int, seed: int, error: float | None = 0.02) -> tuple[float, bool] | None:
    """z and alarm of a regression whose published rmse is 1 and whose error is `gap` more."""
    draw = np.random.default_rng(seed)
    then = Performance("rmse", 1.0, error, 1_000, "test")
    target = draw.normal(size=rows)
    said = target + draw.normal(0, 1 + gap, rows)
    found = measure_performance_drift(
        then, make_metric("rmse", "regression", ()), (target, said, None), np.arange(rows), 0.01
    )
    return None if found is None else (found.z, found.alarm)


def test_a_worse_score_alarms_a_better_one_and_an_equal_one_do_not() -> None:
    assert scored(0.5, 400, 0)[1]  # type: ignore[index]
    assert not scored(-0.5, 400, 0)[1]  # type: ignore[index]
    alarms = [scored(0.0, 400, seed)[1] for seed in range(100)]  # type: ignore[index]
    assert sum(alarms) <= 5
    for greater, label in ((True, 0.9), (False, 0.2)):
        then = Performance("roc_auc" if greater else "log_loss", label, 0.01, 500, "test")
        metric = make_metric(then.metric, "binary", (0, 1))
        target = np.tile([0, 1], 100)
        poor = np.tile([0.5, 0.5], (200, 1)) + np.linspace(0, 0.01, 200)[:, None] * [1, -1]
        found = measure_performance_drift(then, metric, (target, poor, None), np.arange(200), 0.01)
        assert found is not None
        assert found.z > 3
        assert found.alarm


def test_a_score_of_few_rows_or_without_an_error_is_not_compared() -> None:
    assert scored(1.0, 30, 0) is None
    assert scored(1.0, 300, 0, error=None) is None
