"""Intervals and sets from outer scores: they are CV+, cover what they say, and keeping fewer scores covers no less."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor

from models.errors import InputError
from models.evaluation import conformal
from models.evaluation.conformal import ConformalScores, FoldScores, compute_intervals, compute_label_sets, thin_scores


def kept_of(folds: list[np.ndarray], task: str = "regression") -> ConformalScores:
    """Whole scores, one member for each fold."""
    scores = [FoldScores(str(k), np.sort(s), np.ones(len(s), int), (k,), (1.0,)) for k, s in enumerate(folds)]
    return ConformalScores(task, "cv+", tuple(scores))


def plain_cv_plus(folds: list[np.ndarray], centres: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """As the paper has it: the floor(a (n + 1))-th smallest of mu - R, the ceil((1 - a)(n + 1))-th of mu + R."""
    n = sum(map(len, folds))
    lows = np.hstack([c[:, None] - s for c, s in zip(centres, folds, strict=True)])
    highs = np.hstack([c[:, None] + s for c, s in zip(centres, folds, strict=True)])
    low_place = math.floor(round((1 - level) * (n + 1), 9))
    high_place = math.ceil(round(level * (n + 1), 9))
    return np.sort(lows, axis=1)[:, low_place - 1], np.sort(highs, axis=1)[:, high_place - 1]


@pytest.mark.parametrize("spread", [0.0, 0.3, 20.0])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_intervals_are_those_of_the_paper(level, spread):
    draw = np.random.default_rng(1)
    folds = [np.abs(draw.normal(size=n)) for n in (19, 30, 41, 57)]
    centres = draw.normal(size=(4, 200)) * spread
    found = compute_intervals(kept_of(folds), list(centres), level)
    assert np.allclose(found, plain_cv_plus(folds, centres, level), atol=1e-5 * spread + 1e-12)


def test_they_never_lie_within_those_of_the_paper():
    """What is left of the halvings widens them, but for rounding."""
    draw = np.random.default_rng(2)
    folds = [np.abs(draw.normal(size=n)) for n in (100, 120)]
    centres = draw.normal(size=(2, 500))
    (low, high), (own_low, own_high) = (
        compute_intervals(kept_of(folds), list(centres), 0.9),
        plain_cv_plus(folds, centres, 0.9),
    )
    assert (low <= own_low + 1e-12).all()
    assert (high >= own_high - 1e-12).all()


scores = st.lists(st.floats(0, 100, width=32), min_size=1, max_size=200).map(np.array)


@settings(max_examples=60, deadline=None)
@given(scores, st.integers(1, 40))
def test_keeping_fewer_scores_never_counts_more_of_them(whole, most):
    values, counts = thin_scores(whole, most)
    assert len(values) <= max(most, 1)
    assert counts.sum() == len(whole)
    assert counts.min() >= 1
    kept = FoldScores("0", values, counts)
    at = np.concatenate([whole, whole + 0.01, whole - 0.01])
    assert (kept.count_up_to(at, "right") <= (whole <= at[:, None]).sum(axis=1)).all()
    assert values[-1] == whole.max()


@settings(max_examples=30, deadline=None)
@given(st.lists(scores, min_size=1, max_size=4), st.integers(1, 20), st.integers(0, 99), st.floats(0.02, 0.98))
def test_keeping_fewer_scores_makes_no_interval_and_no_set_smaller(folds, most, seed, level):
    draw = np.random.default_rng(seed)
    whole = kept_of(folds)
    fewer = replace(whole, folds=tuple(replace(f, **_thinned(f, most)) for f in whole.folds))
    if level > whole.highest:
        return
    centres = list(draw.normal(size=(len(folds), 20)))
    (low, high), (wide_low, wide_high) = (
        compute_intervals(whole, centres, level),
        compute_intervals(fewer, centres, level),
    )
    if level >= 0.5:  # below, models far apart turn the ends round
        assert (wide_low <= low + 1e-5).all()  # the span of six, halved twenty times
        assert (wide_high >= high - 1e-5).all()
    odds = list(draw.dirichlet([0.3] * 3, size=(len(folds), 20)))
    unit = replace(whole, folds=tuple(replace(f, values=f.values / 100) for f in whole.folds))
    fewer = replace(unit, folds=tuple(replace(f, **_thinned(f, most)) for f in unit.folds))
    assert (compute_label_sets(unit, odds, level) <= compute_label_sets(fewer, odds, level)).all()


def _thinned(fold: FoldScores, most: int) -> dict[str, np.ndarray]:
    values, counts = thin_scores(fold.values, most)
    return {"values": values, "counts": counts}


def test_many_scores_are_kept_close_together_where_levels_lie():
    """Half a million scores in 400: a 95 % interval is one of at most 95.25 %."""
    whole = np.random.default_rng(0).exponential(size=500_000)
    values, counts = thin_scores(whole, 400)
    assert len(values) <= 400
    for level in (0.8, 0.9, 0.95, 0.99):
        place = math.ceil(level * 500_001)
        bound = values[np.searchsorted(np.cumsum(counts), place)]
        above = 1 - (whole <= bound).mean()
        assert (1 - level) * 0.95 < above <= 1 - level


def test_intervals_of_fewer_scores_are_hardly_wider():
    draw = np.random.default_rng(4)
    outer = [(str(k), draw.normal(size=20_000), np.zeros(20_000)) for k in range(5)]
    centres = list(draw.normal(size=(5, 100)) * 0.5)
    whole, fewer = kept_of([np.abs(y) for _, y, _ in outer]), conformal.make_conformal_scores("regression", outer)
    for level in (0.8, 0.9, 0.95, 0.99):
        (low, high), (wide_low, wide_high) = (
            compute_intervals(whole, centres, level),
            compute_intervals(fewer, centres, level),
        )
        assert (wide_high - wide_low < 1.02 * (high - low)).all()


def test_a_class_as_improbable_as_the_bound_is_in_the_set():
    """Nine scores of one half: the ninth of ten is one half, and a score of one half is not above it."""
    kept = kept_of([np.full(9, 0.5)], "multiclass")
    assert compute_label_sets(kept, [np.array([[0.5, 0.5, 0.0], [0.6, 0.4, 0.0]])], 0.9).tolist() == [
        [True, True, False],
        [True, False, False],
    ]


def test_a_higher_level_is_never_narrower():
    draw = np.random.default_rng(3)
    kept = kept_of([np.abs(draw.normal(size=50)) for _ in range(4)])
    centres = list(draw.normal(size=(4, 100)))
    ends = [compute_intervals(kept, centres, level) for level in np.linspace(0.05, 0.99, 60)]
    assert all((high >= low).all() for low, high in ends)
    widths = np.array([high - low for low, high in ends[29:]])
    assert (np.diff(widths, axis=0) >= -1e-6).all()
    odds = list(draw.dirichlet([0.5] * 4, size=(4, 100)))
    inside = [compute_label_sets(kept, odds, level) for level in np.linspace(0.05, 0.99, 60)]
    assert all((a <= b).all() for a, b in pairwise(inside))


# --- Coverage --------------------------------------------------------------------------------------------------------


def fold_models(model, X, y, seed):
    """Models of five folds with the scores of the rows that each had not seen."""
    task = "regression" if y.dtype == float else "multiclass"
    models, folds = [], []
    for train, judge in KFold(5, shuffle=True, random_state=seed).split(X):
        models.append(model().fit(X[train], y[train]))
        said = models[-1].predict(X[judge]) if task == "regression" else models[-1].predict_proba(X[judge])
        folds.append((str(len(folds)), y[judge], said))
    return models, conformal.make_conformal_scores(task, folds)


@pytest.mark.parametrize("model", [lambda: Ridge(1.0), lambda: KNeighborsRegressor(3)])
def test_intervals_cover_exchangeable_rows(model):
    """60 tables of 100 rows with heavy tails: mean coverage at the level, as far as 60 tables tell."""
    levels, found = (0.5, 0.8, 0.9, 0.95), []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        X = draw.normal(size=(600, 4))
        y = X @ [1.0, 2.0, 0.0, 0.0] + draw.standard_t(3, size=600) * (1 + np.abs(X[:, 0]))
        models, kept = fold_models(model, X[:100], y[:100], seed)
        said = [m.predict(X[100:]) for m in models]
        found.append([c.covered for c in conformal.measure_coverage(kept, said, y[100:], levels)])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    assert (mean >= np.array(levels) - 3 * error).all()
    assert (mean <= np.array(levels) + 0.04 + 3 * error).all()


def test_sets_cover_exchangeable_rows_and_are_as_small_as_the_task_allows():
    """Four classes that overlap: sets of more than one label are needed, of all labels not."""
    levels, found = (0.7, 0.8, 0.9, 0.95), []
    for seed in range(40):
        draw = np.random.default_rng(seed)
        y = draw.integers(0, 4, size=700)
        X = np.eye(4)[y] * 1.2 + draw.normal(size=(700, 4))
        models, kept = fold_models(GaussianNB, X[:200], y[:200], seed)
        measured = conformal.measure_coverage(kept, [m.predict_proba(X[200:]) for m in models], y[200:], levels)
        found.append([(c.covered, c.size) for c in measured])
    covered, size = np.moveaxis(np.array(found), 2, 0)
    error = covered.std(axis=0) / np.sqrt(len(covered))
    assert (covered.mean(axis=0) >= np.array(levels) - 3 * error).all()
    assert (covered.mean(axis=0) <= np.array(levels) + 0.03 + 3 * error).all()
    assert (np.diff(size.mean(axis=0)) > 0.1).all()
    assert size.mean(axis=0)[-1] < 3.5


def test_no_set_is_empty():
    """A model that is never wrong: no class is improbable enough to be needed, but the likeliest is always there."""
    kept = kept_of([np.zeros(30), np.zeros(30)], "multiclass")
    odds = [np.tile([0.6, 0.3, 0.1], (5, 1)), np.tile([0.2, 0.5, 0.3], (5, 1))]
    assert compute_label_sets(kept, odds, 0.8).sum(axis=1).tolist() == [1] * 5
    assert compute_label_sets(kept, odds, 0.8)[:, 0].all()


# --- Limits, form ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, -0.1, 90, float("nan")])
def test_a_level_is_a_share(level):
    with pytest.raises(InputError, match=r"between 0 and 1, such as 0\.9, not"):
        kept_of([np.ones(10)]).find_place(level)


def test_a_level_too_high_for_the_rows_says_which_is_the_highest():
    kept = kept_of([np.arange(10.0), np.arange(9.0)])
    assert kept.find_place(0.95) == 19
    with pytest.raises(InputError, match=r"0.99 needs scores of 99 rows; .* judged 19: the highest level is 0.95\."):
        kept.find_place(0.99)
    assert [c.level for c in conformal.measure_coverage(kept, [np.zeros(3)] * 2, np.zeros(3), (0.9, 0.95, 0.99))] == [
        0.9,
        0.95,
    ]


def test_it_is_kept_as_json_and_members_find_their_fold():
    draw = np.random.default_rng(5)
    outer = [(str(k), draw.normal(size=3000), np.zeros(3000)) for k in range(5)]
    kept = conformal.make_conformal_scores("regression", outer)
    kept = kept.place_members([("1", 0.1), ("0", 0.2), ("1", 0.1), ("2", 0.2), ("3", 0.2), ("4", 0.2)])
    assert sum(len(f.values) for f in kept.folds) <= conformal.MOST
    assert [f.members for f in kept.folds] == [(1,), (0, 2), (3,), (4,), (5,)]
    assert kept.folds[1].weights == (0.5, 0.5)
    back = ConformalScores.from_json(json.loads(json.dumps(kept.as_json())))
    assert (back.rows, back.method, back.task) == (15000, "cv+", "regression")
    each = draw.normal(size=(6, 50))
    assert np.array_equal(
        compute_intervals(back, back.combine_members(each), 0.9),
        compute_intervals(kept, kept.combine_members(each), 0.9),
    )
    assert np.allclose(back.combine_members(each)[1], (each[0] + each[2]) / 2)
    with pytest.raises(InputError, match="format 2; this Nestor knows 1"):
        ConformalScores.from_json({**kept.as_json(), "format": 2})


def test_a_refitted_model_has_all_scores_around_its_one_prediction():
    draw = np.random.default_rng(6)
    outer = [(str(k), draw.normal(size=40), np.zeros(40)) for k in range(3)]
    kept = conformal.make_conformal_scores("regression", outer, refit="all").place_members([("all", 0.7), ("all", 0.3)])
    assert (kept.method, kept.rows, len(kept.folds)) == ("refit", 120, 1)
    low, high = compute_intervals(kept, kept.combine_members(np.array([[1.0], [2.0]])), 0.9)
    residual = np.sort(np.abs(np.concatenate([target for _, target, _ in outer])))[math.ceil(0.9 * 121) - 1]
    assert np.allclose([low[0], high[0]], [1.3 - residual, 1.3 + residual])


def test_there_are_none_without_outer_rows_or_with_a_prediction_that_is_no_number():
    assert conformal.make_conformal_scores("regression", []) is None
    assert conformal.make_conformal_scores("regression", [("0", np.ones(3), np.array([1, np.nan, 1]))]) is None
