"""Calibration helps where probabilities are off, stays away where they are not, and is what the library predicts."""

import warnings
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from models.evaluation.calibration import (
    LEAST,
    LEAST_STEPS,
    Calibration,
    calibrate_classifier,
    choose_calibration,
    fit_calibration,
)
from models.metrics.metric import make_metric

METHODS = ("temperature", "sigmoid", "isotonic")


class Said(ClassifierMixin, BaseEstimator):
    """A classifier whose rows are its probabilities."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)


def drawn(rows, classes=2, power=1.0, seed=0):
    """Targets drawn from true probabilities, and these made surer (power > 1) or less sure."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet(np.full(classes, 0.6), rows)
    target = (true.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(max=classes - 1)
    odds = np.clip(true, 1e-9, 1) ** power
    return target, odds / odds.sum(axis=1, keepdims=True)


def parts(target, odds, count=4, weight=None):
    """As inner folds, and their keys: every row its own."""
    rows = np.array_split(np.arange(len(target)), count)
    return [(target[r], odds[r], None if weight is None else weight[r]) for r in rows], rows


def metric(classes, name="log_loss"):
    return make_metric(name, "binary" if classes == 2 else "multiclass", tuple(range(classes)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_judged_is_what_the_library_predicts(method, classes):
    fold = (*drawn(800, classes, 3.0), None)
    made = fit_calibration(method, fold)
    new = drawn(200, classes, 3.0, seed=1)[1]
    whole = calibrate_classifier(Said().fit(new[:classes], np.arange(classes)), made)
    assert np.array_equal(whole.predict_proba(new), made.apply(new))
    assert made.apply(new).sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_fitted_as_the_library_fits_it(method, classes):
    target, odds = drawn(800, classes, 3.0)
    weight = np.random.default_rng(2).uniform(0.5, 2, 800)
    library = CalibratedClassifierCV(FrozenEstimator(Said().fit(odds, target)), method=method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library.fit(odds, target, weight)
    ours = fit_calibration(method, (target, odds, weight)).apply(odds)
    bound = 0.02 if method == "isotonic" else 1e-6  # the steps' ends are bounded here
    assert np.abs(ours - library.predict_proba(odds)).max() < bound


def test_steps_never_say_never():
    target, odds = drawn(800, 2, 3.0)
    said = fit_calibration("isotonic", (target, odds, None)).apply(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert said.min() > 0


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("power", [0.4, 3.0])
def test_probabilities_that_are_off_are_mended(classes, power):
    target, odds = drawn(2000, classes, power)
    made, crossed = choose_calibration(metric(classes), *parts(target, odds))
    assert made is not None
    fresh = drawn(4000, classes, power, seed=5)
    true = drawn(4000, classes, 1.0, seed=5)[1]
    loss = metric(classes).score
    plain, mended, best = loss(*fresh), loss(fresh[0], made.apply(fresh[1])), loss(fresh[0], true)
    assert mended - best < 0.1 * (plain - best)
    assert loss(target, np.concatenate(crossed)) < loss(target, odds)


def test_true_probabilities_are_left_alone_in_nineteen_of_twenty_tables():
    kept = 0
    for seed in range(8):
        made, crossed = choose_calibration(metric(2), *parts(*drawn(600, seed=seed)))
        kept += made is not None
        assert made is not None or np.array_equal(np.concatenate(crossed), drawn(600, seed=seed)[1])
    assert kept <= 1


def test_copies_of_rows_are_no_more_evidence():
    """The law that keys are for: a gain that is not sure on rows is not sure on ten copies of each."""
    sure = []
    for seed in range(6):
        target, odds = (np.repeat(values, 10, axis=0) for values in drawn(520, 6, 1.08, seed))
        folds, rows = parts(target, odds)
        sure.append(
            [choose_calibration(metric(6), folds, keys)[0] is not None for keys in (rows, [r // 10 for r in rows])]
        )
        alone = choose_calibration(metric(6), *parts(*drawn(520, 6, 1.08, seed)))[0] is not None
        assert sure[-1][1] == alone
    assert sum(apart for apart, _ in sure) > sum(together for _, together in sure)


def test_each_row_is_calibrated_by_rows_of_other_keys():
    """Turned targets of some keys change nothing of these rows' own probabilities, and all others."""
    target, odds = drawn(1000, 3, 3.0)
    rows = np.arange(1000)
    turned = np.where(rows % 5 == 2, (target + 1) % 3, target)
    one, two = (
        np.concatenate(choose_calibration(metric(3), *parts(each, odds), "always")[1]) for each in (target, turned)
    )
    same = (one == two).all(axis=1)
    assert same[rows % 5 == 2].all()
    assert not same[rows % 5 != 2].any()


@pytest.mark.parametrize(
    ("name", "calibrate", "rows", "done"),
    [
        ("log_loss", "auto", 2000, True),
        ("brier", "auto", 2000, True),
        ("roc_auc", "auto", 2000, False),
        ("f1", "auto", 2000, False),
        ("roc_auc", "always", 2000, True),
        ("log_loss", "never", 2000, False),
        ("log_loss", "always", LEAST - 1, False),
    ],
)
def test_it_is_for_metrics_that_read_probabilities_and_for_those_who_ask(name, calibrate, rows, done):
    made, _ = choose_calibration(metric(2, name), *parts(*drawn(rows, 2, 3.0)), calibrate)
    assert (made is not None) == done


def test_one_inner_fold_is_cross_fitted_over_its_keys():
    target, odds = drawn(2000, 2, 3.0)
    made, crossed = choose_calibration(metric(2), [(target, odds, None)], [np.arange(2000)])
    assert made is not None
    assert metric(2).score(target, crossed[0]) < metric(2).score(target, odds)


@pytest.mark.parametrize("calibrate", ["auto", "always"])
def test_rows_of_one_key_are_left_as_they_are(calibrate):
    """One inner split may judge one group alone: no other would be there to be calibrated by."""
    target, odds = drawn(2000, 3, 3.0)
    made, shown = choose_calibration(metric(3), [(target, odds, None)], [np.full(2000, 7)], calibrate)
    assert made is None
    assert np.array_equal(shown[0], odds)


@pytest.mark.parametrize(("power", "pooled", "done"), [(3.0, True, False), (3.0, False, True), (0.4, True, True)])
def test_members_of_a_bag_that_are_too_sure_are_left_to_each_other(power, pooled, done):
    made, _ = choose_calibration(metric(3), *parts(*drawn(1000, 3, power)), pooled=pooled)
    assert (made is not None) == done


def test_steps_need_rows_and_several_classes_one_temperature():
    few = choose_calibration(metric(2), *parts(*drawn(LEAST_STEPS - 1, 2, 3.0)))[0]
    many = choose_calibration(metric(6), *parts(*drawn(2000, 6, 3.0)))[0]
    assert few is not None
    assert few.method != "isotonic"
    assert many is not None
    assert many.method == "temperature"


def test_it_is_plain_numbers():
    made = fit_calibration("sigmoid", (*drawn(800, 3, 3.0), None))
    assert Calibration(**asdict(made)) == made
