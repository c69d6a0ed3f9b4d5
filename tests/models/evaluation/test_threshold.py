"""Thresholds: near the best where the plain one is not, where it is where rows are few, and the cheaper label's."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import FixedThresholdClassifier

from models.evaluation.decision import (
    PLAIN,
    PostProcessing,
    apply_threshold,
    average_thresholds,
    choose_post_processing,
    to_class_codes,
)
from models.evaluation.threshold import (
    LEAST,
    _list_thresholds,
    _score_thresholds,
    choose_threshold,
    chooses_threshold,
    find_plain_threshold,
)
from models.metrics.metric import make_metric

COSTS = {"1": {"0": 9}}


def metric(name, costs=None):
    return make_metric(name, "binary", (0, 1), costs)


def drawn(rows, share=0.1, seed=0, count=4):
    """True probabilities of a rare class, and what came of them, as inner folds."""
    rng = np.random.default_rng(seed)
    odds = 1 / (1 + np.exp(-(rng.normal(scale=1.6, size=rows) + np.log(share / (1 - share)))))
    target = (rng.random(rows) < odds).astype(int)
    rows_of = np.array_split(np.arange(rows), count)
    return [(target[r], np.column_stack([1 - odds[r], odds[r]]), None) for r in rows_of]


def chosen(metric, folds, seed):
    """The threshold where each row is a key of its own."""
    return choose_threshold(metric, folds, [np.arange(len(target)) for target, _, _ in folds], seed)


def test_rows_of_one_key_are_drawn_together():
    """Where each fold is one group, every sample is the rows as they are: the threshold is their own best one."""
    folds = drawn(400)
    edges = _list_thresholds(np.concatenate([odds[:, 1] for _, odds, _ in folds]), 0.5)
    for name in ("f1", "balanced_accuracy"):
        best = edges[_score_thresholds(metric(name), folds, [np.ones((1, 100))] * 4, edges)[0].argmax()]
        assert choose_threshold(metric(name), folds, [np.zeros(100)] * 4, 0) == pytest.approx(best, abs=1e-12)
        assert chosen(metric(name), folds, 0) != pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", ["f1", "balanced_accuracy", "mcc"])
def test_it_is_near_the_best_of_fresh_rows(name):
    at = chosen(metric(name), drawn(2000), 0)
    target, odds, _ = drawn(40000, seed=1, count=1)[0]
    scores = {edge: metric(name).score(target, to_class_codes(odds, edge)) for edge in np.linspace(0.02, 0.9, 45)}
    plain, found, best = (
        scores[min(scores, key=lambda e: abs(e - 0.5))],
        metric(name).score(target, to_class_codes(odds, at)),
        0,
    )
    best = max(scores.values())
    assert best - found < 0.15 * (best - plain)


def test_balanced_accuracy_is_best_at_the_share_of_the_positive_class():
    folds = drawn(20000)
    share = np.concatenate([target for target, _, _ in folds]).mean()
    assert chosen(metric("balanced_accuracy"), folds, 0) == pytest.approx(share, abs=0.03)


def test_all_thresholds_at_once_are_each_one_scored_alone():
    for name in ("f1", "balanced_accuracy", "accuracy", "mcc"):
        for weight in (None, np.random.default_rng(3).uniform(0.5, 2, 100)):
            folds = [(target, odds, weight) for target, odds, _ in drawn(400)]
            edges = _list_thresholds(np.concatenate([odds[:, 1] for _, odds, _ in folds]), 0.5)[::20]
            values = _score_thresholds(metric(name), folds, [np.ones((1, 100))] * 4, edges)[0]
            alone = [metric(name).score_folds([apply_threshold(fold, edge) for fold in folds]) for edge in edges]
            assert values == pytest.approx(alone)


@pytest.mark.parametrize(
    ("name", "rows", "does"),
    [
        ("f1", LEAST, True),
        ("f1", LEAST - 1, False),
        ("accuracy", 9999, False),
        ("accuracy", 10000, True),
        ("roc_auc", 10000, False),
        ("log_loss", 10000, False),
    ],
)
def test_it_is_for_metrics_of_labels_and_enough_rows(name, rows, does):
    assert chooses_threshold(metric(name), rows) == does
    assert not chooses_threshold(make_metric("f1_macro", "multiclass", (0, 1, 2)), rows)


def test_costs_have_their_own_plain_threshold_and_move_it_on_many_rows_only():
    costly = metric(None, COSTS)
    assert find_plain_threshold(costly) == pytest.approx(0.1)
    assert (chooses_threshold(costly, 9999), chooses_threshold(costly, 10000)) == (False, True)
    folds = drawn(12000)
    at = chosen(costly, folds, 0)
    assert at is None or abs(at - 0.1) < 0.03, "these probabilities are true: the rule is right as it is"
    off = [(target, np.column_stack([1 - odds[:, 1] / 4, odds[:, 1] / 4]), None) for target, odds, _ in folds]
    assert chosen(costly, off, 0) == pytest.approx(0.025, abs=0.01)


def test_a_fold_without_one_of_the_classes_moves_nothing():
    folds = drawn(400)
    folds[1] = (np.zeros_like(folds[1][0]), *folds[1][1:])
    assert chosen(metric("f1"), folds, 0) is None


def test_the_same_seed_finds_the_same():
    assert chosen(metric("f1"), drawn(500), 7) == chosen(metric("f1"), drawn(500), 7)


def test_codes_are_those_of_the_librarys_classifier():
    class Said(DummyClassifier):
        def predict_proba(self, X):
            return X

    odds = np.column_stack([[0.7, 0.6, 0.5], [0.3, 0.4, 0.5]])
    model = FixedThresholdClassifier(Said(), threshold=0.4, response_method="predict_proba").fit(odds, [0, 1, 0])
    assert model.predict(odds).tolist() == to_class_codes(odds, 0.4).tolist() == [0, 1, 1]


def test_finishing_chooses_what_is_best_on_the_folds():
    folds = drawn(1000)
    keys = [np.arange(250) + 250 * i for i in range(4)]
    finish, shown = choose_post_processing(metric("f1"), folds, keys, "auto", True, 0)
    assert finish.threshold == chosen(metric("f1"), folds, 0)
    assert metric("f1").score_folds([apply_threshold(f, finish.threshold) for f in shown]) > metric("f1").score_folds(
        folds
    )
    plain, shown = choose_post_processing(metric("f1"), folds, keys, "auto", False, 0)
    assert plain == PLAIN
    assert metric("f1").score_folds(shown) == metric("f1").score_folds(folds)


def test_several_folds_agree_on_their_mean_and_a_plain_one_counts_as_what_it_does():
    assert average_thresholds(metric("f1"), [PLAIN, PLAIN]) is None
    assert average_thresholds(metric("f1"), [PostProcessing(None, 0.3), PLAIN]) == pytest.approx(0.4)
    assert average_thresholds(metric(None, COSTS), [PostProcessing(None, 0.3), PLAIN]) == pytest.approx(0.2)
