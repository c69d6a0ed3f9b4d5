"""Rows that repeat: what is divided as one, and that shuffled labels are not predicted either way."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks import repeats as worlds
from benchmarks.repeats import atoms, continuous, copied, lattice, make_table, states
from models.config import Run, Split
from models.metrics.metric import make_metric
from models.splitting.division import divide_table
from models.splitting.repeats import (
    CUT_LEAST,
    UnitDecision,
    decide_unit,
    encode_units,
    make_point_keys,
    measure_repeat_share,
)
from models.splitting.split import build_folds, make_split_plan


def run(**split):
    return Run(data="x.csv", split=Split(**split))


def unit(features, target, **split):
    return decide_unit(make_table(features, target), run(**split)).unit


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("world", worlds.NATURAL)
def test_natural_repeats_are_separate_observations(world, seed):
    assert unit(*world(np.random.default_rng(seed), 2000, 0.5)) == "row"


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("harm", worlds.HARM)
def test_what_a_badly_made_table_repeats_stays_together(harm, noise):
    draw = np.random.default_rng(1)
    assert unit(*harm(draw, continuous(draw, 1000, noise), 0.3)) == "point"


@pytest.mark.parametrize("share", [0.1, 0.43])
def test_copies_of_whole_numbers_stay_together_too(share):
    draw = np.random.default_rng(1)
    made = lattice(draw, 1000, 0.3)
    once = ~made[0].duplicated()
    assert unit(*copied(draw, (made[0][once].reset_index(drop=True), made[1][once]), share)) == "point"


def test_the_setting_and_names_decide_before_any_evidence():
    draw = np.random.default_rng(0)
    few, same = states(draw, 500, 0.3), copied(draw, continuous(draw, 500, 0.3), 0.3)
    assert unit(*few, copies="together") == "point"
    assert unit(*same, copies="apart") == "row"
    named = make_table(*same)
    named = named.__class__(**{**vars(named), "ids": pd.DataFrame({"id": np.arange(named.rows).astype(str)})})
    assert decide_unit(named, run()).unit == "row"
    assert decide_unit(named, run(copies="together")).unit == "point"


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(index=range(60)),
        pd.DataFrame({"a": np.zeros(60)}),
        pd.DataFrame({"a": [np.nan] * 60, "b": ["x", None] * 30}),
        pd.DataFrame({"a": pd.to_datetime(["2020-01-01", None] * 30)}),
        pd.DataFrame({"a": np.repeat(np.arange(30), 2), "b": ["u", "v"] * 30}),
        pd.DataFrame({"a": [1.5, np.inf, np.nan] * 10 + list(range(30)), "b": [np.nan] * 60, "c": [None, "x"] * 30}),
        pd.DataFrame({"a": pd.to_datetime(np.arange(60) // 2, unit="D"), "b": [True, False] * 30}),
    ],
    ids=["no columns", "constant", "missing", "dates", "pairs", "infinite", "days"],
)
@pytest.mark.parametrize("classes", [True, False])
def test_every_table_gets_a_unit(frame, classes):
    target = np.random.default_rng(0).integers(0, 2, len(frame))
    found = decide_unit(make_table(frame, target, classes), run())
    assert found.unit in ("row", "point")
    assert found.reason


def test_a_point_of_a_tenth_of_a_fold_is_divided_row_by_row_and_smaller_ones_are_not():
    x = np.r_[np.zeros(300), np.repeat(np.arange(1.0, 11.0), CUT_LEAST), np.arange(11.0, 601.0)]
    made = make_table(pd.DataFrame({"x": x**0.5, "y": (x * 7) ** 1.5}), (x % 2).astype(int))
    found = decide_unit(made, run())
    assert found.unit == "point"
    assert found.cut == (int(make_point_keys(made)[0]),)
    unit_codes = encode_units(make_point_keys(made), found)
    assert len(np.unique(unit_codes[:300])) == 300
    assert len(np.unique(unit_codes[300 : 300 + CUT_LEAST])) == 1
    plan, _ = make_split_plan(made, run(), found)
    for fold in build_folds(plan, np.arange(made.rows), 5, 4, False):
        for train, judge in [(fold.train, fold.judge), *fold.inner]:
            assert 0 < (judge < 300).sum() < (train < 300).sum()


@pytest.mark.parametrize("rows", [32, 64, 200, 400])
def test_a_few_states_in_equal_numbers_are_no_table_written_twice(rows):
    """Two columns of two values, of which the target never errs: no state may be sealed or judged as a whole."""
    a, b = np.arange(rows) % 2, np.arange(rows) // 2 % 2
    made = make_table(pd.DataFrame({"a": a, "b": b}), a ^ b)
    assert decide_unit(made, run()).unit == "row"


def test_a_point_that_is_most_of_what_repeats_is_no_copy():
    x = np.r_[np.zeros(300), np.arange(1.0, 701.0)]
    found = decide_unit(make_table(pd.DataFrame({"x": x**0.5}), (x % 2).astype(int)), run())
    assert (found.unit, found.cut) == ("row", ())
    assert "one point" in found.reason


def test_the_share_of_repeating_rows_counts_all_of_a_point():
    assert measure_repeat_share(np.array([1, 1, 1, 2, 3], np.uint64)) == pytest.approx(0.6)
    assert measure_repeat_share(np.array([], np.uint64)) == 0


def badly_made(draw):
    """A large point, copies in fives, and rows of their own, shuffled."""
    x = draw.permutation(np.r_[np.zeros(300), np.repeat(np.arange(1.0, 41.0), 5), np.arange(41.0, 541.0)])
    return pd.DataFrame({"x": x**0.5, "y": (x * 7) ** 1.5}), (x % 2).astype(np.int64)


@pytest.mark.parametrize(
    ("made", "decided"),
    [(badly_made, "point"), (partial(states, rows=900, noise=0.3), "row"), (partial(atoms, rows=900, noise=1), "row")],
    ids=["copies", "states", "atoms"],
)
def test_seal_folds_and_stops_divide_by_one_unit(made, decided):
    whole = make_table(*made(np.random.default_rng(0)))
    division = divide_table(whole, run(), make_metric("roc_auc", "binary", (0, 1)))
    assert (division.repeats.unit, division.seal.unit) == (decided, decided)
    assert len(division.work_places) + division.sealed.sum() == whole.rows
    units = encode_units(make_point_keys(whole), division.repeats)
    sides = [(units[division.work_places], units[division.sealed])]
    own = units[division.work_places]
    for fold in build_folds(division.plan, np.arange(len(own)), 5, 4, True):
        sides += [(own[a], own[b]) for a, b in [(fold.train, fold.judge), *fold.inner, *fold.stops]]
    assert not any(np.isin(a, b).any() for a, b in sides)
    # What is divided row by row stands on both sides of the seal, in about the same share.
    common = np.bincount(pd.factorize(make_point_keys(whole))[0]).argmax()
    share = (pd.factorize(make_point_keys(whole))[0] == common)[division.sealed].mean()
    assert 0 < share < 3 * (pd.factorize(make_point_keys(whole))[0] == common).mean()


# --- Law 1 in small: what remembers points, and knows nothing else, is as good as guessing ---------------------------


@pytest.mark.parametrize("copies", ["together", "apart", "auto"])
@pytest.mark.parametrize("world", [atoms, states, "one point"])
def test_shuffled_labels_are_remembered_neither_rightly_nor_wrongly(world, copies):
    metric, gaps = make_metric("roc_auc", "binary", (0, 1)), []
    for seed in range(24):
        draw = np.random.default_rng(seed)
        features = _one_point(draw) if world == "one point" else world(draw, 250, 1.0)[0]
        made = make_table(features, (draw.random(len(features)) < 0.3).astype(np.int64))
        plan, _ = make_split_plan(made, run(copies=copies))
        code = pd.factorize(make_point_keys(made))[0]
        scores = []
        for train, judge in plan.divide(np.arange(made.rows), 5, "outer"):
            held = np.bincount(code[train], made.target[train], len(made.target)) + 1
            odds = (held / (np.bincount(code[train], minlength=len(held)) + 3))[code[judge]]
            scores.append(metric.score(made.target[judge], np.column_stack([1 - odds, odds])))
        gaps.append(np.nanmean(scores) - 0.5)
    assert abs(np.mean(gaps)) < 0.005 + 2.6 * np.std(gaps) / np.sqrt(len(gaps))


def _one_point(draw):
    x = draw.normal(size=(250, 2))
    x[:25] = 0
    return pd.DataFrame(x)


# --- A given test set ------------------------------------------------------------------------------------------------


def given(made, test):
    return made.__class__(**{**vars(made), "test": test})


def found_by(made, **split):
    division = divide_table(made, run(**split), make_metric("roc_auc", "binary", (0, 1)))
    return division, [f for f in division.findings if f.check == "test_set"]


def test_a_given_test_set_leaves_training_whole_where_rows_are_separate_observations():
    made = make_table(*states(np.random.default_rng(0), 1000, 0.5))
    division, findings = found_by(given(made, np.arange(1000) < 200))
    assert len(division.work_places) == 800
    assert [f.verdict for f in findings] == ["pass"]
    assert "of 200 rows of the given test set have features that rows for training have too" in findings[0].message


def test_copies_of_a_given_test_set_do_not_train_and_it_is_said_how_many_are_left():
    x = np.r_[np.arange(200.0), np.arange(40.0)]
    made = make_table(pd.DataFrame({"x": x, "z": x**0.5}), (x % 2).astype(np.int64))
    division, findings = found_by(given(made, np.arange(240) >= 200))
    assert len(division.work_places) == 160
    assert [f.verdict for f in findings] == ["warn"]
    assert "40 rows have the same features" in findings[0].message
    assert "160 of 200 rows for training are left" in findings[0].message


def test_units_are_those_that_were_decided():
    assert encode_units(np.array([5, 5, 7], np.uint64), UnitDecision("row", "")).tolist() == [0, 1, 2]
    assert encode_units(np.array([5, 5, 7], np.uint64), UnitDecision("point", "")).tolist() == [0, 0, 1]
