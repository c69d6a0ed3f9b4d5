"""Metrics: scikit-learn's values, one definition over folds, and a bootstrap that equals repeating rows."""

import math
import pickle
import sys
import types
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    cohen_kappa_score,
    fbeta_score,
    get_scorer,
    get_scorer_names,
    log_loss,
    make_scorer,
    mean_pinball_loss,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.errors import InputError
from models.metrics.formulas import count_confusions
from models.metrics.metric import list_metric_names, make_metric

TASKS = ("binary", "multiclass", "regression")
NAMED = [(task, name) for task in TASKS for name in list_metric_names(task)]


@cache
def predicted(task):
    """Target, prediction and integer weights of the second half of a shipped table; a weak model, so that it errs."""
    load = {"binary": load_breast_cancer, "multiclass": load_wine, "regression": load_diabetes}[task]
    X, y = load(return_X_y=True)
    order = np.random.default_rng(3).permutation(len(y))
    X, y = X[order][:, :3], y[order]
    half = len(y) // 2
    model = make_pipeline(StandardScaler(), Ridge() if task == "regression" else LogisticRegression(C=0.1))
    model.fit(X[:half], y[:half])
    prediction = model.predict(X[half:]) if task == "regression" else model.predict_proba(X[half:])
    weight = np.random.default_rng(4).integers(1, 4, len(y) - half).astype(float)
    return y[half:], prediction, weight


def named(task, name):
    classes = () if task == "regression" else tuple(range(2 if task == "binary" else 3))
    return make_metric(name, task, classes)


def library_value(metric, target, prediction, **extra):
    scorer = get_scorer(metric.source)
    kwargs = {k: v for k, v in scorer._kwargs.items() if v is not None}
    if metric.needs == "label":
        prediction = prediction.argmax(axis=1)
    elif metric.needs == "probability" and prediction.shape[1] == 2:
        prediction = prediction[:, 1]
    return scorer._score_func(target, prediction, **kwargs, **extra)


@pytest.mark.parametrize(("task", "name"), NAMED)
def test_a_score_is_scikit_learns(task, name):
    target, prediction, _ = predicted(task)
    metric = named(task, name)
    assert metric.score(target, prediction) == pytest.approx(library_value(metric, target, prediction), abs=1e-9)


@pytest.mark.parametrize(("task", "name"), [n for n in NAMED if n[1] != "max_error"])
def test_weights_count_as_repeated_rows_do(task, name):
    target, prediction, weight = predicted(task)
    metric, times = named(task, name), weight.astype(int)
    repeated = metric.score(np.repeat(target, times), np.repeat(prediction, times, axis=0))
    assert metric.score(target, prediction, weight) == pytest.approx(repeated, abs=1e-9)


@pytest.mark.parametrize(
    "name", ["roc_auc", "average_precision", "log_loss", "brier", "f1", "balanced_accuracy", "mcc"]
)
def test_weighted_scores_are_scikit_learns(name):
    target, prediction, weight = predicted("binary")
    metric = named("binary", name)
    expected = library_value(metric, target, prediction, sample_weight=weight)
    assert metric.score(target, prediction, weight) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("task", "name"), NAMED)
def test_resampling_equals_repeating_rows(task, name):
    target, prediction, _ = predicted(task)
    metric = named(task, name)
    parts = np.array_split(np.arange(len(target)), 3)
    folds = [(target[p], prediction[p], None) for p in parts]
    draw = np.random.default_rng(0)
    counts = [draw.multinomial(len(p), np.full(len(p), 1 / len(p)), size=4).astype(float) for p in parts]
    brute = [
        metric.score_folds([
            (np.repeat(t, c[b].astype(int)), np.repeat(p, c[b].astype(int), axis=0), None)
            for (t, p, _), c in zip(folds, counts, strict=True)
        ])
        for b in range(4)
    ]  # fmt: skip
    assert metric.resample(folds, counts) == pytest.approx(np.array(brute), abs=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_auc_counts_pairs_with_ties_half(rows):
    positive, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    prediction = np.column_stack([4 - score, score]) / 4
    above = sum(
        weight[i] * weight[j] * ((score[i] > score[j]) + (score[i] == score[j]) / 2)
        for i in np.flatnonzero(positive)
        for j in np.flatnonzero(~positive)
    )
    pairs = weight[positive].sum() * weight[~positive].sum()
    value = named("binary", "roc_auc").score(positive.astype(int), prediction, weight)
    assert math.isnan(value) if pairs == 0 else value == pytest.approx(above / pairs)


def test_means_are_pooled_and_ranks_averaged():
    target, prediction, _ = predicted("regression")
    uneven = [(target[:20], prediction[:20], None), (target[20:], prediction[20:], None)]
    rmse = named("regression", "rmse")
    assert rmse.score_folds(uneven) == pytest.approx(rmse.score(target, prediction))
    target, prediction, _ = predicted("binary")
    uneven = [(target[:60], prediction[:60], None), (target[60:], prediction[60:], None)]
    auc = named("binary", "roc_auc")
    assert auc.score_folds(uneven) == pytest.approx(np.mean([auc.score(*fold) for fold in uneven]))


def test_a_fold_of_one_class_is_left_out_of_a_rank_metric():
    target, prediction, _ = predicted("binary")
    auc = named("binary", "roc_auc")
    lone = np.flatnonzero(target == 1)[:5]
    folds = [(target, prediction, None), (target[lone], prediction[lone], None)]
    assert auc.score_folds(folds) == auc.score(target, prediction)
    assert math.isnan(auc.score(target[lone], prediction[lone]))


@pytest.mark.parametrize(("task", "name"), NAMED)
def test_a_prediction_that_is_no_number_is_no_score(task, name):
    target, prediction, _ = predicted(task)
    metric = named(task, name)
    if metric.needs == "label":
        return
    broken = prediction.copy()
    broken[0] = np.nan
    assert math.isnan(metric.score_folds([(target[:50], prediction[:50], None), (target[:50], broken[:50], None)]))


def test_log_loss_has_a_floor():
    value = named("binary", "log_loss").score(np.array([0, 1]), np.array([[0.0, 1], [0, 1.0]]))
    assert 15 < value < 20


@pytest.mark.parametrize(("task", "name"), NAMED)
def test_metrics_pickle_are_bounded_and_know_their_direction(task, name):
    metric = named(task, name)
    assert pickle.loads(pickle.dumps(metric)) == metric
    assert metric == named(task, metric.source)
    target, prediction, _ = predicted(task)
    value = metric.score(target, prediction)
    assert metric.low <= value <= metric.high
    assert metric.greater_is_better == (get_scorer(metric.source)._sign > 0)
    worse = value - 0.1 if metric.greater_is_better else value + 0.1
    assert metric.is_better(value, worse)
    assert metric.is_better(value, math.nan)
    assert not metric.is_better(math.nan, value)
    assert not metric.is_better(value, value)


@pytest.mark.parametrize(
    ("asked", "task", "shown"),
    [
        (None, "binary", "roc_auc"),
        (None, "multiclass", "log_loss"),
        (None, "regression", "rmse"),
        ("neg_root_mean_squared_error", "regression", "rmse"),
        ("root_mean_squared_error", "regression", "rmse"),
        ("MAE", "regression", "mae"),
        ("r2_score", "regression", "r2"),
        ("neg_log_loss", "multiclass", "log_loss"),
        ("log-loss", "binary", "log_loss"),
        ("brier_score_loss", "binary", "brier"),
        ("neg_max_error", "regression", "max_error"),
        ("f1 macro", "multiclass", "f1_macro"),
    ],
)
def test_names_in_their_usual_forms(asked, task, shown):
    assert named(task, asked).name == shown


@pytest.mark.parametrize("name", get_scorer_names())
def test_every_scorer_is_taken_or_refused_with_a_message(name):
    for task in TASKS:
        if any(named(task, shown).source == name for shown in list_metric_names(task)):
            assert named(task, name).source == name
        else:
            with pytest.raises(InputError, match="does not fit"):
                named(task, name)


@pytest.mark.parametrize(
    ("asked", "task", "said"),
    [
        ("roc_acu", "binary", "roc_auc"),
        ("zzzz", "regression", "rmse"),
        ("rmse", "binary", "does not fit a binary"),
        ("roc_auc", "multiclass", "roc_auc_ovr"),
        ("nowhere_at_all:thing", "binary", "can't be imported"),
        ("math:pi", "binary", "no scorer and no function"),
        ("math:sqrt", "binary", "fails on a binary"),
    ],
)
def test_a_wrong_metric_is_an_input_error_that_helps(asked, task, said):
    with pytest.raises(InputError, match=said):
        named(task, asked)


@pytest.fixture
def own_metrics():
    module = types.ModuleType("own_metrics_of_a_test")

    def cost(y_true, y_pred):
        return float(np.mean([{"no": 1, "yes": 5}[t] * (t != p) for t, p in zip(y_true, y_pred, strict=True)]))

    def pinball_loss(y_true, y_pred, sample_weight=None):
        error = y_true - y_pred
        return np.average(np.maximum(0.9 * error, -0.1 * error), weights=sample_weight)

    module.kappa = make_scorer(cohen_kappa_score, weights="quadratic")  # type: ignore[attr-defined]
    module.f2 = make_scorer(fbeta_score, beta=2, pos_label="yes")  # type: ignore[attr-defined]
    module.own_log = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba")  # type: ignore[attr-defined]
    module.cost = make_scorer(cost, greater_is_better=False)  # type: ignore[attr-defined]
    module.pinball_loss = pinball_loss  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    yield module.__name__
    del sys.modules[module.__name__]


def test_own_scorers_see_labels_in_their_own_form(own_metrics):
    target, prediction, weight = predicted("binary")
    labels = np.array(["no", "yes"])
    said = labels[prediction.argmax(axis=1)]
    own = {name: make_metric(f"{own_metrics}:{name}", "binary", ("no", "yes")) for name in ("f2", "own_log", "cost")}
    assert own["f2"].score(target, prediction, weight) == pytest.approx(
        fbeta_score(labels[target], said, beta=2, pos_label="yes", sample_weight=weight)
    )
    assert own["own_log"].score(target, prediction) == pytest.approx(log_loss(target, prediction))
    assert own["cost"].score(target, prediction) > 0
    assert not own["cost"].greater_is_better
    with pytest.raises(InputError, match="no row weights"):
        own["cost"].score(target, prediction, weight)


def test_own_scorers_resample_as_repeated_rows(own_metrics):
    for task, name, classes in [("multiclass", "kappa", ("a", "b", "c")), ("regression", "pinball_loss", ())]:
        target, prediction, weight = predicted(task)
        metric = make_metric(f"{own_metrics}:{name}", task, classes)
        times = weight.astype(int)
        repeated = metric.score(np.repeat(target, times), np.repeat(prediction, times, axis=0))
        assert metric.resample([(target, prediction, None)], [weight[None]]) == pytest.approx(repeated)
    assert not metric.greater_is_better


# --- Quantiles and costs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_pinball_is_scikit_learns(level, weighted):
    target, prediction, weight = predicted("regression")
    weight = weight if weighted else None
    metric = named("regression", f"pinball:{level}")
    expected = mean_pinball_loss(target, prediction, alpha=level, sample_weight=weight)
    assert metric.score(target, prediction, weight) == pytest.approx(expected)
    assert (metric.level, metric.greater_is_better, metric.dear) == (level, False, False)
    assert metric.loss == ("absolute" if level == 0.5 else "quantile")


def test_pinball_resamples_as_repeated_rows():
    target, prediction, weight = predicted("regression")
    metric = named("regression", "pinball:0.9")
    repeated = metric.score(*(np.repeat(values, weight.astype(int)) for values in (target, prediction)))
    assert metric.resample([(target, prediction, None)], [weight[None]]) == pytest.approx(repeated)


@pytest.mark.parametrize("asked", ["pinball:0.90", "Pinball:.9", "mean_pinball_loss:0.9"])
def test_pinball_is_shown_in_one_form_that_is_read_again(asked):
    metric = named("regression", asked)
    assert metric.name == "pinball:0.9"
    assert named("regression", metric.name) == metric
    assert named("regression", "pinball").level == 0.5


@pytest.mark.parametrize("level", ["0", "1", "1.5", "-0.1", "nan", "", "high"])
def test_a_level_that_is_none_is_refused(level):
    with pytest.raises(InputError, match=r"between 0 and 1, such as pinball:0.9"):
        named("regression", f"pinball:{level}")


def test_a_module_of_ones_own_may_be_called_pinball(monkeypatch, tmp_path):
    (tmp_path / "pinball.py").write_text("def high(y_true, y_pred):\n    return 7.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert named("regression", "pinball:high").score(np.ones(3), np.ones(3)) == 7.0
    assert named("regression", "pinball:0.9").level == 0.9


COSTS = {"binary": {"no": {"yes": 3}, "yes": {"no": 8, "yes": 0.5}}, "multiclass": {"a": {"b": 4}, "c": {"a": 0.25}}}
LABELS = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c")}


@pytest.mark.parametrize("task", COSTS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_cost_is_that_of_the_decisions_of_least_expected_cost(task, weighted):
    target, odds, weight = predicted(task)
    weight = weight if weighted else None
    labels, given = LABELS[task], COSTS[task]
    metric = make_metric(None, task, labels, given)

    def price(actual, said):
        return given.get(labels[actual], {}).get(labels[said], float(actual != said))

    codes = range(len(labels))
    said = [min(codes, key=lambda j, row=row: sum(row[i] * price(i, j) for i in codes)) for row in odds]
    each = [price(t, s) for t, s in zip(target, said, strict=True)]
    assert metric.name == "cost"
    assert metric.decide(odds).tolist() == said
    assert metric.score(target, odds, weight) == pytest.approx(np.average(each, weights=weight))
    assert metric.score(target, odds, weight) == metric.score(target, np.array(said), weight)
    assert said != odds.argmax(axis=1).tolist(), "the costs change no decision: the rule is not seen at work"


def test_the_cost_resamples_as_repeated_rows():
    target, odds, weight = predicted("multiclass")
    metric = make_metric("cost", "multiclass", LABELS["multiclass"], COSTS["multiclass"])
    repeated = metric.score(*(np.repeat(values, weight.astype(int), axis=0) for values in (target, odds)))
    assert metric.resample([(target, odds, None)], [weight[None]]) == pytest.approx(repeated)


@pytest.mark.parametrize(
    ("name", "task", "costs", "said"),
    [
        ("cost", "binary", None, "wants costs"),
        ("cost", "binary", {"maybe": {"no": 5}}, "No label for costs 'maybe'. Known: no, yes"),
        ("f1", "binary", {"yes": {"no": 5}}, "With costs the metric is cost"),
        ("cost", "regression", {"yes": {"no": 5}}, "do not fit a regression"),
        ("cost", "binary", {"no": {"yes": 0}}, "'yes' is the cheapest prediction whatever is true"),
        ("cost", "binary", {"yes": {"no": math.inf}}, "finite"),
    ],
)
def test_costs_that_make_no_sense_are_refused(name, task, costs, said):
    with pytest.raises(InputError, match=said):
        make_metric(name, task, LABELS.get(task, ()), costs)


@pytest.mark.parametrize("task", COSTS)
def test_confusion_matrices_are_scored_as_their_rows_are(task):
    target, odds, weight = predicted(task)
    for metric in (
        *(named(task, name) for name in ("accuracy", "balanced_accuracy", "f1_macro", "mcc")),
        make_metric(None, task, LABELS[task], COSTS[task]),
    ):
        tables = count_confusions(target, metric.decide(odds), weight[None], len(LABELS[task]))
        assert metric.score_tables(tables) == pytest.approx(metric.score(target, odds, weight))
