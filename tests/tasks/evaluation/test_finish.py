"""Calibration, threshold and costs in whole runs: chosen on inner rows, judged, and delivered as one library object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import skops.io

from models.evaluation import calibration
from models.evaluation.decision import PLAIN, apply_threshold
from tasks.evaluation import ensemble
from tasks.evaluation import evaluate as concluding
from tasks.evaluation.package import list_trusted_types, package_models
from tasks.evaluation.table_profile import profile_run
from tasks.planning.plan import make_plan
from tasks.scoring.predict import decide_labels
from tests.runs import begin_run, make_frame, make_small_run, tune_plan


def ended(path, task="binary", **settings):
    """A run to its end over the table without dates and text; its evaluation and the model."""
    data = make_frame(task=task).drop(columns=["day", "words"])
    search = {"trials": 2, "families": ("constant", "linear")}
    sealed = begin_run(make_small_run("random", data, search=search, **settings), path)
    try:
        evaluation = concluding.evaluate(tune_plan(make_plan(sealed)))
        model, _ = package_models(evaluation)
    finally:
        sealed.context.close()
    return evaluation, model


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run with calibration and threshold, on fewer rows than it would take by itself."""
    usual, calibration.LEAST = calibration.LEAST, 50
    try:
        yield ended(tmp_path_factory.mktemp("moved"), metric="f1", final={"calibrate": "always"})
    finally:
        calibration.LEAST = usual


@pytest.fixture(scope="module")
def costly(tmp_path_factory):
    costs = {"high": {"low": 5}, "low": {"mid": 0.5}}
    return ended(tmp_path_factory.mktemp("costly"), "multiclass", costs=costs, class_weight="balanced")


def test_the_delivered_model_says_what_was_tested(moved, tmp_path):
    evaluation, model = moved
    sealed = evaluation.sealed_rows
    file = tmp_path / "model.skops"
    skops.io.dump(model, file)
    assert set(skops.io.get_untrusted_types(file=file)) <= set(list_trusted_types(evaluation))
    loaded = skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))
    odds = loaded.predict_proba(sealed.features)
    assert np.abs(odds - concluding.average_sealed_predictions(evaluation.context, evaluation.chosen)).max() < 1e-12
    said = loaded.predict(sealed.features)
    assert said.tolist() == decide_labels(loaded, sealed.features, odds).tolist()
    assert said.tolist() != np.array(evaluation.work_rows.classes)[odds.argmax(axis=1)].tolist(), "no threshold at work"
    codes = np.searchsorted(evaluation.work_rows.classes, said)
    assert evaluation.metric.score(sealed.target, codes, sealed.weight) == evaluation.test.value


def test_each_fold_was_judged_as_its_inner_rows_would_have_it(moved):
    evaluation, _ = moved
    finishes = [one.finish for one in evaluation.chosen.values()]
    assert all(one.calibration for one in finishes)
    assert any(one.threshold for one in finishes)
    outer = [apply_threshold(rows, evaluation.chosen[k].finish.threshold) for k, rows in evaluation.outer]
    assert evaluation.estimate.value == evaluation.metric.score_folds(outer)
    assert evaluation.estimate.value != evaluation.metric.score_folds([rows for _, rows in evaluation.outer])
    known = " ".join(evaluation.context.notes)
    assert "Probabilities are calibrated" in known
    assert f"The label yes is given from a probability of {evaluation.threshold:.3g} on" in known


@pytest.mark.parametrize("fold", ["1", "2"])
def test_what_judges_has_no_part_in_calibration_and_threshold(moved, fold):
    evaluation, _ = moved
    rows = evaluation.folds[fold].judge
    target = evaluation.work_rows.target.copy()
    target[rows] = 1 - target[rows]
    plain = replace(evaluation.chosen[fold], finish=PLAIN)
    usual, calibration.LEAST = calibration.LEAST, 50
    changed = replace(evaluation, work_rows=replace(evaluation.work_rows, target=target))
    try:
        assert ensemble._finish_ensemble(changed, plain) == evaluation.chosen[fold]
    finally:
        calibration.LEAST = usual


def test_later_rows_are_scored_by_the_same_threshold(moved):
    evaluation, _ = moved
    assert profile_run(evaluation).performance.threshold == evaluation.threshold


def test_several_labels_are_decided_by_their_costs(costly):
    evaluation, model = costly
    sealed, metric = evaluation.sealed_rows, evaluation.metric
    odds = model.predict_proba(sealed.features)
    said = decide_labels(model, sealed.features, odds, metric.costs)
    codes = np.searchsorted(evaluation.work_rows.classes, said)
    assert metric.score(sealed.target, codes, sealed.weight) == pytest.approx(evaluation.test.value)
    assert said.tolist() != model.predict(sealed.features).tolist(), "the costs change no label"
    expected, rows = odds @ np.array(metric.costs), np.arange(len(odds))
    assert expected[rows, codes].mean() < expected[rows, odds.argmax(axis=1)].mean()
    assert evaluation.beats_constant


def test_class_weights_count_in_fits_and_not_in_scores(costly):
    evaluation, _ = costly
    assert evaluation.fit_context.class_weight == "balanced"
    (_, (target, odds, weight)), *_ = evaluation.outer
    assert np.array_equal(weight, evaluation.work_rows.weight[evaluation.folds[evaluation.outer[0][0]].judge])
    balanced = odds.mean(axis=0)
    shares = np.bincount(target, minlength=3) / len(target)
    assert balanced.std() < shares.std(), "weighed alike, rare classes are expected more often than they come"


@pytest.mark.parametrize("run", ["moved", "costly"])
def test_the_page_shows_the_labels_that_were_judged(run, request):
    evaluation, _ = request.getfixturevalue(run)
    folds = {k: rows for k, rows in evaluation.outer}
    rows = [(folds[k][0], codes, folds[k][2]) for k, codes in concluding.decide_outer_rows(evaluation)]
    assert evaluation.metric.score_folds(rows) == pytest.approx(evaluation.estimate.value)
