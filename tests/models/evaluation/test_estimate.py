"""Intervals cover, z is standard normal, the best of many is not flattered: laws, mostly by simulation."""

import math
import time
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit

from models.evaluation import estimate
from models.evaluation.estimate import (
    compute_spread_error,
    compute_standard_error,
    count_basis,
    estimate_by_bbc,
    estimate_score,
    make_interval,
    make_time_blocks,
    measure_agreement,
    measure_optimism,
    recover_error,
    score_best_constant,
)
from models.metrics.fairness import make_gap
from models.metrics.metric import make_metric
from models.outcome import Basis

AUC = make_metric("roc_auc", "binary", (0, 1))
RMSE = make_metric("rmse", "regression", ())
LOG_LOSS = make_metric("log_loss", "binary", (0, 1))
ACCURACY = make_metric("accuracy", "binary", (0, 1))
MCC = make_metric("mcc", "binary", (0, 1))
COST = make_metric(None, "binary", ("no", "yes"), {"yes": {"no": 5}})
R2 = make_metric("r2", "regression", ())
GAP = make_gap("gap:sex", "gap", ACCURACY)


def noisy(rng, rows, skill=1.0):
    """Target and probabilities of a fixed noisy predictor."""
    target = rng.integers(0, 2, rows)
    p = 1 / (1 + np.exp(-(skill * (2 * target - 1) + rng.normal(0, 1.5, rows))))
    return target, np.column_stack([1 - p, p])


def folded(target, prediction, count, weight=None):
    parts = np.array_split(np.arange(len(target)), count)
    return [(target[p], prediction[p], None if weight is None else weight[p]) for p in parts], parts


# --- Standard errors and intervals -----------------------------------------------------------------------------------


def test_the_bootstrap_of_a_mean_is_its_textbook_error():
    rng = np.random.default_rng(0)
    target = rng.normal(size=4000)
    folds, keys = folded(target, np.zeros(4000), 5)
    mse = make_metric("mse", "regression", ())
    assert compute_standard_error(mse, folds, keys, 0) == pytest.approx((target**2).std() / math.sqrt(4000), rel=0.08)


def test_the_bootstrap_of_auc_is_delongs_error():
    """DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837: the variance of placements."""
    target, prediction = noisy(np.random.default_rng(1), 1500)
    up, down = prediction[target == 1, 1], prediction[target == 0, 1]
    beats = (up[:, None] > down).astype(float)
    delong = math.sqrt(beats.mean(axis=1).var() / len(up) + beats.mean(axis=0).var() / len(down))
    assert compute_standard_error(AUC, [(target, prediction, None)], [np.arange(1500)], 0) == pytest.approx(
        delong, rel=0.1
    )


def test_rows_of_one_group_count_once():
    rng = np.random.default_rng(2)
    target, prediction = noisy(rng, 300)
    once = compute_standard_error(AUC, [(target, prediction, None)], [np.arange(300)], 0)
    nine = (np.repeat(target, 9), np.repeat(prediction, 9, axis=0), None)
    assert compute_standard_error(AUC, [nine], [np.repeat(np.arange(300), 9)], 0) == pytest.approx(once, rel=0.1)
    assert compute_standard_error(AUC, [nine], [np.arange(2700)], 0) < 0.5 * once


def test_the_spread_over_folds_is_nadeau_and_bengios():
    rng = np.random.default_rng(3)
    target = rng.normal(size=500)
    folds, _ = folded(target, np.zeros(500), 5)
    scores = [RMSE.score(*fold) for fold in folds]
    expected = math.sqrt((1 / 5 + 100 / 400) * np.var(scores, ddof=1))
    assert compute_spread_error(RMSE, folds, [400] * 5) == pytest.approx(expected)
    assert math.isnan(compute_spread_error(RMSE, folds[:1], [400]))


@given(st.integers(0, 10_000), st.sampled_from([AUC, LOG_LOSS]), st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_an_interval_holds_its_value_within_the_bounds_and_repeats(seed, metric, count):
    target, prediction = noisy(np.random.default_rng(seed), 60)
    folds, keys = folded(target, prediction, count)
    found = estimate_score(metric, folds, keys, [60 - 60 // count] * count, seed)
    assert found == estimate_score(metric, folds, keys, [60 - 60 // count] * count, seed)
    assert metric.low <= found.low <= found.value <= found.high <= metric.high
    assert found.value == metric.score_folds(folds)


def test_a_perfect_score_promises_no_more_than_its_fewest_rows():
    """Of 50 hits in a row the exact interval begins where 50 hits have one chance in forty."""
    target = np.arange(100) % 2
    folds, keys = folded(target, np.eye(2)[target], 5)
    found = estimate_score(AUC, folds, keys, [80] * 5, 0)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low**50 == pytest.approx(0.025)
    assert estimate_score(ACCURACY, folds, keys, [80] * 5, 0).low ** 100 == pytest.approx(0.025)
    everything = estimate_by_bbc(AUC, target, [np.eye(2)[target]] * 2, np.arange(100), [np.arange(100)], 0)
    assert everything.low == pytest.approx(found.low)


@pytest.mark.parametrize("metric", [AUC, ACCURACY, MCC, COST])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_between_two_bounds_an_interval_is_as_long_on_both_sides_on_the_logit_scale(metric, share):
    width = metric.high - metric.low
    found = make_interval(metric, metric.low + share * width, 0.01 * width)
    low, high = ((end - metric.low) / width for end in (found.low, found.high))
    assert 0 < low < share < high < 1
    assert logit(high) - logit(share) == pytest.approx(logit(share) - logit(low))
    assert logit(high) - logit(share) == pytest.approx(1.96 * 0.01 / (share * (1 - share)), rel=1e-4)
    assert recover_error(metric, found) == pytest.approx(0.01 * width)


def test_of_few_rows_an_interval_is_students_and_its_error_is_found_again():
    few = Basis(500, 8, 500)
    found, wide = make_interval(AUC, 0.9, 0.02), make_interval(AUC, 0.9, 0.02, few)
    times = (logit(wide.high) - logit(0.9)) / (logit(found.high) - logit(0.9))
    assert times == pytest.approx(2.3646 / 1.96 * math.sqrt(8 / 7), rel=1e-4)
    assert make_interval(ACCURACY, 0.9, 0.02, few).high == pytest.approx(
        make_interval(ACCURACY, 0.9, 0.02).high, abs=1e-3
    )
    for metric in (AUC, ACCURACY, MCC):
        assert recover_error(metric, make_interval(metric, 0.9, 0.02, few)) == pytest.approx(0.02)


def test_without_two_bounds_an_interval_stays_straight():
    for metric, value, ends in ((RMSE, 1.0, (0.0, 2.96)), (R2, 0.5, (-1.46, 1.0)), (GAP, 0.1, (0.0, 1.0))):
        found = make_interval(metric, value, 1.0)
        assert (found.low, found.high) == pytest.approx(ends, abs=1e-3)


def test_what_a_score_rests_on_is_counted():
    target = np.array([0] * 9 + [1] * 3)
    fold = (target, np.column_stack([1 - target, target]) * 0.5, None)
    groups = np.arange(12) // 3
    assert count_basis(AUC, [fold, fold], [groups, groups]) == Basis(24, 6, 8)
    three = make_metric("log_loss", "multiclass", ("a", "b", "c"))
    assert count_basis(three, [fold], [np.arange(12)]).smallest == 0, "a class that is not there is the smallest"
    assert count_basis(RMSE, [fold], [groups]) == Basis(12, None, 4)
    known_by = estimate.keep_defined_interval(estimate_score(AUC, [fold, fold], [groups, groups], [12, 12], 0), "group")
    assert known_by.basis.sentence == "24 rows, 6 of the smallest class, 8 groups"
    assert Basis(1, None, 1, "block").sentence == "1 row, 1 block"
    assert Basis(900, None, 30, "block").sentence == "900 rows, 30 blocks of time"


def test_an_undefined_score_has_no_interval():
    target = np.zeros(50, int)
    found = estimate.estimate_test_score(AUC, (target, np.full((50, 2), 0.5), None), np.arange(50), 0)
    assert math.isnan(found.value)
    assert found.low is None


@pytest.mark.parametrize("metric", [AUC, RMSE])
def test_intervals_of_a_fixed_model_cover(metric):
    rng = np.random.default_rng(5)
    target, prediction = noisy(rng, 200_000)
    if metric is RMSE:
        target, prediction = target.astype(float), prediction[:, 1]
    truth, held, runs = metric.score(target, prediction), 0, 150
    for run in range(runs):
        rows = rng.choice(len(target), 300, replace=False)
        found = estimate.estimate_test_score(metric, (target[rows], prediction[rows], None), np.arange(300), run)
        held += found.low <= truth <= found.high
    assert 0.88 <= held / runs <= 0.99


def test_blocks_of_time_are_longer_errors_where_neighbours_are_alike():
    rng = np.random.default_rng(6)
    steps = rng.normal(size=2000)
    drift = np.convolve(steps, np.ones(30) / 5, "same")
    fold, times = (drift, np.zeros(2000), None), rng.permutation(2000)
    fold = (drift[times], fold[1], None)
    blocks = make_time_blocks(times)
    assert len(np.unique(blocks)) == pytest.approx(math.sqrt(2000), abs=2)
    assert compute_standard_error(RMSE, [fold], [blocks], 0) > 2 * compute_standard_error(
        RMSE, [fold], [np.arange(2000)], 0
    )


def test_large_tables_are_quick():
    target, prediction = noisy(np.random.default_rng(7), 44_000)
    folds, keys = folded(target, prediction, 5)
    start = time.perf_counter()
    estimate_score(AUC, folds, keys, [35_200] * 5, 0)
    # Half a second on a free core; slower machines and neighbours get room.
    assert time.perf_counter() - start < 3


# --- Optimism and agreement ------------------------------------------------------------------------------------------


def test_optimism_is_positive_where_inner_scores_flattered():
    assert measure_optimism(AUC, [0.9, 0.8], [0.8, 0.8]) == pytest.approx(0.05)
    assert measure_optimism(RMSE, [1.0, 1.0], [1.5, 1.1]) == pytest.approx(0.3)
    assert measure_optimism(AUC, [0.9, math.nan], [0.8, 0.8]) == pytest.approx(0.1)
    assert measure_optimism(AUC, [], []) is None


@pytest.mark.parametrize("metric", [AUC, RMSE])
def test_agreement_is_standard_normal_over_exchangeable_tables(metric):
    """K fixed predictors that share most of their error, as the models of one run do."""
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        target = rng.integers(0, 2, 700)
        shared = 2 * target - 1 + rng.normal(0, 1.2, 700)
        models = [1 / (1 + np.exp(-(shared + rng.normal(0, 0.6, 700)))) for _ in range(5)]
        pairs = [np.column_stack([1 - p, p]) if metric is AUC else p for p in models]
        own = target if metric is AUC else target.astype(float)
        parts = np.array_split(np.arange(500), 5)
        outer = [(own[rows], pair[rows], None) for rows, pair in zip(parts, pairs, strict=True)]
        sealed = [(own[500:], pair[500:], None) for pair in pairs]
        found.append(measure_agreement(metric, outer, sealed, parts, np.arange(200), seed))
    assert abs(fmean(found)) < 0.2
    assert 0.8 < np.std(found) < 1.2


def test_agreement_is_positive_where_the_outer_score_flattered():
    rng = np.random.default_rng(8)
    for metric in (AUC, LOG_LOSS):
        target, good = noisy(rng, 500, 2.0)
        other, bad = noisy(rng, 200, 0.2)
        outer, keys = folded(target, good, 5)
        z = measure_agreement(metric, outer, [(other, bad, None)] * 5, keys, np.arange(200), 0)
        assert z is not None
        assert z > 3


def test_agreement_is_none_where_no_error_can_be_had():
    target = np.arange(40) % 2
    outer, keys = folded(target, np.eye(2)[target], 2)
    assert measure_agreement(AUC, outer, [outer[0]] * 2, keys, keys[0], 0) is None


# --- BBC-CV ----------------------------------------------------------------------------------------------------------


def test_the_best_of_many_coins_is_near_chance_by_bbc():
    """Forty useless configurations: the best looks good, its BBC-CV score does not."""
    naive, honest = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        target = rng.integers(0, 2, 200)
        predictions = [np.column_stack([1 - p, p]) for p in rng.random((40, 200))]
        parts = np.array_split(np.arange(200), 5)
        folds = [[(target[rows], one[rows], None) for rows in parts] for one in predictions]
        naive.append(max(AUC.score_folds(one) for one in folds))
        found = estimate_by_bbc(AUC, target, predictions, np.arange(200), parts, seed)
        assert found.low <= found.value <= found.high
        honest.append(found.value)
    assert fmean(naive) > 0.57
    assert abs(fmean(honest) - 0.5) < 0.02


def test_bbc_finds_what_is_truly_better():
    rng = np.random.default_rng(9)
    target, good = noisy(rng, 600, 1.5)
    useless = [np.column_stack([1 - p, p]) for p in rng.random((5, 600))]
    parts = np.array_split(np.arange(600), 5)
    for metric in (AUC, LOG_LOSS):
        found = estimate_by_bbc(metric, target, [*useless, good], np.arange(600), parts, 0)
        assert found.value == pytest.approx(metric.score(target, good), abs=0.02)
        assert found == estimate_by_bbc(metric, target, [*useless, good], np.arange(600), parts, 0)


# --- Chance ----------------------------------------------------------------------------------------------------------


def test_chance_is_the_best_constant():
    rng = np.random.default_rng(10)
    target = (rng.random(500) < 0.3).astype(int)
    share = target.mean()
    entropy = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    assert score_best_constant(AUC, target) == 0.5
    assert score_best_constant(LOG_LOSS, target) == pytest.approx(entropy)
    assert score_best_constant(make_metric("accuracy", "binary", (0, 1)), target) == pytest.approx(1 - share)
    assert score_best_constant(make_metric("f1", "binary", (0, 1)), target) == pytest.approx(2 * share / (1 + share))
    assert score_best_constant(make_metric("average_precision", "binary", (0, 1)), target) == pytest.approx(share)
    values = rng.gamma(2, size=500)
    assert score_best_constant(RMSE, values) == pytest.approx(values.std())
    assert score_best_constant(make_metric("mae", "regression", ()), values) == pytest.approx(
        np.abs(values - np.median(values)).mean()
    )
    assert score_best_constant(make_metric("r2", "regression", ()), values) == pytest.approx(0)
    assert score_best_constant(make_metric("rmsle", "regression", ()), values) == pytest.approx(np.log1p(values).std())


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_chance_heeds_weights(seed):
    rng = np.random.default_rng(seed)
    target, times = rng.integers(0, 2, 50), rng.integers(1, 4, 50)
    weighted = score_best_constant(LOG_LOSS, target, times.astype(float))
    assert weighted == pytest.approx(score_best_constant(LOG_LOSS, np.repeat(target, times)))
