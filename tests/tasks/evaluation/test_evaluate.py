"""Where time is too short for outer folds, what is delivered is still judged, sealed rows included; where these can't
be predicted there is a model without a test score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.config import Run
from models.errors import BudgetError
from models.splitting.budget import SearchScope
from models.splitting.folds import list_required_metrics, make_even_folds
from models.splitting.split import ALL
from tasks.evaluation import evaluate as concluding
from tasks.evaluation.package import package_models
from tasks.evaluation.table_profile import profile_run
from tasks.execution import worker
from tasks.execution.pool import JUDGE, FitPool
from tasks.planning.plan import make_plan
from tasks.tuning import selection
from tasks.tuning.deadline import Deadline
from tasks.tuning.running import RunningStudies
from tasks.values import RunPlan, Studies
from tests.runs import begin_run, make_frame, make_small_run, tune_plan


@pytest.mark.parametrize(("inner", "method"), [(5, "bbc"), (1, "holdout")])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_without_outer_folds_the_estimate_comes_from_inner_ones(tmp_path, monkeypatch, task, inner, method):
    monkeypatch.chdir(tmp_path)
    run = Run(data=make_frame(task=task), target="target", search={"trials": 2}, drop=("group", "weight"))
    sealed = begin_run(run, tmp_path / "run")
    try:
        metrics = list_required_metrics(sealed.goal)
        layout = make_even_folds(sealed.work_rows, sealed.division.plan, run, metrics, sealed.table, 0, inner)
        scope = SearchScope(0, inner, ("constant", "linear"), {"lightgbm": "a test"})
        sealed.context.folder.write_pickle("plan", (scope, {fold.name: fold for fold in layout.folds}, {}, {}, ()))
        evaluation = concluding.evaluate(tune_plan(make_plan(sealed)))
        model, twin = package_models(evaluation)
    finally:
        sealed.context.close()
    assert evaluation.scope.how.method == method
    assert evaluation.estimate is not None
    assert evaluation.estimate.low <= evaluation.estimate.value <= evaluation.estimate.high
    assert evaluation.test is not None
    assert (evaluation.optimism, evaluation.agreement, twin) == (None, None, None)
    assert (evaluation.conformal, evaluation.coverage) == (None, ())
    assert len(model.predict(sealed.sealed_rows.features)) == sealed.sealed_rows.rows


def test_where_the_search_on_all_work_rows_makes_nothing_a_bag_is_delivered_and_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_frame()[["number", "target"]]
    run = Run(data=data, target="target", search={"trials": 1, "families": ("linear",)}, final={"deliver": "refit"})
    sealed = begin_run(run, tmp_path / "run")
    try:
        studies = tune_plan(make_plan(sealed))
        studies = replace(studies, trials={**studies.trials, ("linear", ALL): ()})
        evaluation = concluding.evaluate(studies)
        model, _ = package_models(evaluation)
    finally:
        sealed.context.close()
    assert len(model.estimators_) == len(evaluation.chosen) > 1
    assert [note for note in sealed.context.notes if "the average of the outer folds' models is delivered" in note]


def test_a_family_that_was_not_judged_in_every_fold_leads_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, search = make_frame()[["number", "target"]], {"trials": 1, "families": ("constant", "linear")}
    sealed = begin_run(Run(data=data, target="target", search=search), tmp_path / "run")
    try:
        studies = tune_plan(make_plan(sealed))
        concluding.evaluate(studies)
        best = selection.pick_family_trial(studies, "linear", "1")
        (sealed.context.folder.path / (studies.make_job("linear", "1", best.number, {}).file + ".npy")).unlink()
        families = concluding._rank_families(studies, {})
    finally:
        sealed.context.close()
    assert [(f.name, f.estimate is None) for f in families] == [("constant", False), ("linear", True)]
    assert families[1].inner > families[0].inner


class Blind(FitPool):
    """The pool, in which the sealed rows are too many to predict in time."""

    def __init__(self):
        super().__init__(2, 700, 1)

    def submit(self, work: Any, *args: Any, **how: Any):
        if work is worker.predict_sealed:
            return super().submit(exec, "import time; time.sleep(60)", **{**how, "timeout": 1})
        return super().submit(work, *args, **how)


def test_sealed_rows_that_can_not_be_predicted_cost_the_test_score_alone(trained, monkeypatch):
    opened = []

    def count(plan: RunPlan) -> int:
        opened.append(plan.context)
        return len(opened)

    monkeypatch.setattr(concluding, "_count_opening", count)
    data = make_frame().drop(columns=["day", "words"])
    run = make_small_run(data=data, search={"trials": 1, "families": ("constant", "linear")}, budget={"workers": 2})
    evaluation = trained(run, pool=Blind)
    assert (evaluation.test, evaluation.agreement, evaluation.coverage) == (None, None, ())
    assert opened == [evaluation.context], "they were opened"
    assert any("sealed rows could not be predicted: stopped after 1 s" in note for note in evaluation.context.notes)
    assert evaluation.estimate is not None
    profile = profile_run(evaluation)
    assert profile.performance.of == "estimate"
    assert profile.performance.rows == evaluation.work_rows.rows
    assert len(package_models(evaluation)[0].predict(evaluation.sealed_rows.features)) == evaluation.sealed_rows.rows


class Late(FitPool):
    """A pool on a machine where nothing can be refitted in time on these folds."""

    def __init__(self, folds: tuple[str, ...] = ()):
        super().__init__(2, 700, 1)
        self.folds = folds

    def submit(self, work: Any, *args: Any, priority: tuple[int, ...], **how: Any):
        if work is worker.run_fit and priority[0] == JUDGE and (not self.folds or args[0].fold in self.folds):
            return super().submit(exec, "import time; time.sleep(60)", priority=priority, timeout=0.1)
        return super().submit(work, *args, priority=priority, **how)


GOALS = {
    "plain": {}, "limited": {"limits": ("size=100",)}, "several": {"objectives": ("latency",)},
}  # fmt: skip


def ready(tmp_path, goal: str, deliver: str, pool: Any = Late, family: str = "linear") -> Studies:
    """The studies of a constant and this family, whose search is over."""
    data = make_frame().drop(columns=["day", "words"])
    search = {"trials": 1, "families": ("constant", family), **GOALS[goal]}
    sealed = begin_run(make_small_run(data=data, search=search, final={"deliver": deliver}), tmp_path, pool=pool)
    return tune_plan(make_plan(sealed))


@pytest.mark.parametrize(
    ("goal", "deliver", "outer"),
    [("plain", "bag", True), ("plain", "refit", True), ("plain", "refit", False), ("limited", "refit", True),
     ("several", "refit", False)],
)  # fmt: skip
def test_where_nothing_is_refitted_in_time_the_quickest_that_learns_is_delivered_without_an_estimate(
    tmp_path, goal, deliver, outer
):
    studies = ready(tmp_path, goal, deliver)
    try:
        if not outer:
            studies = replace(studies, folds={ALL: studies.folds[ALL]})
        studies.context.ledger.limit = 0.1
        assert Deadline(studies, studies.trials).is_deliverable()
        evaluation = concluding.evaluate(studies)
        model, _ = package_models(evaluation)
    finally:
        studies.context.close()
    [(fold, chosen)] = evaluation.chosen.items()
    [member] = chosen.members
    assert member.family == evaluation.winner == "linear"
    assert fold == ALL or goal == "plain"
    folds = [fold] if goal != "plain" else evaluation.folds
    assert evaluation.trials["linear", fold][0].seconds == min(evaluation.trials["linear", k][0].seconds for k in folds)
    assert (evaluation.estimate, evaluation.beats_constant) == (None, False)
    notes = [note for note in evaluation.context.notes if "Time was too short" in note and "no estimate" in note]
    assert len(notes) == 1
    assert evaluation.test is not None
    assert len(model.predict(evaluation.sealed_rows.features)) == evaluation.sealed_rows.rows


def test_where_only_what_is_delivered_could_not_be_refitted_the_last_resort_is_and_the_reason_is_told(tmp_path):
    studies = ready(tmp_path, "limited", "refit", lambda: Late((ALL,)))
    try:
        studies.context.ledger.limit = studies.context.ledger.elapsed + 600
        evaluation = concluding.evaluate(studies)
    finally:
        studies.context.close()
    assert [(k, one.last) for k, one in evaluation.chosen.items()] == [(ALL, True)]
    assert evaluation.estimate is None
    assert [note for note in evaluation.context.notes if "could not be refitted within the limits" in note]
    assert not [note for note in evaluation.context.notes if "Time was too short" in note]


def test_what_is_over_a_limit_once_it_is_refitted_is_no_last_resort(tmp_path):
    studies = ready(tmp_path, "limited", "refit", family="knn")
    try:
        [limit], [trial] = studies.goal.limits, studies.trials["knn", ALL]
        goal = replace(studies.goal, limits=(replace(limit, bound=1.2 * trial.measures["size"]),))
        studies = replace(studies, goal=goal)
        studies.context.ledger.limit = 0.1
        assert Deadline(studies, studies.trials).is_deliverable()
        evaluation = concluding.evaluate(studies)
    finally:
        studies.context.close()
    assert evaluation.winner == "constant"


def test_only_what_keeps_the_limits_and_learns_can_be_delivered_late(tmp_path):
    studies = ready(tmp_path, "limited", "refit")
    studies.context.close()
    studies.context.ledger.limit = 0.1
    deadline = Deadline(studies, studies.trials)
    overtime = deadline.allow_overtime()
    assert overtime is not None
    assert overtime > deadline.limit_last_resort()
    for kept in (("constant",), ("linear",)):
        some = {
            key: told
            for key, told in studies.trials.items()
            if key[0] in kept and (kept != ("linear",) or key[1] != ALL)
        }
        assert not Deadline(studies, some).is_deliverable()
        assert Deadline(studies, some).allow_overtime() is None
    goal = replace(studies.goal, limits=(replace(studies.goal.limits[0], bound=0.0),))
    assert not Deadline(replace(studies, goal=goal), studies.trials).is_deliverable()


def test_without_a_whole_trial_there_is_no_model_and_a_sentence(tmp_path):
    sealed = begin_run(
        make_small_run(data=make_frame().drop(columns=["day", "words"]), search={"trials": 1}), tmp_path, pool=Late
    )
    try:
        studies = RunningStudies(make_plan(sealed)).take_snapshot()
        studies.context.ledger.limit = 0.1
        assert not Deadline(studies, studies.trials).is_deliverable()
        with pytest.raises(BudgetError, match="Give more time"):
            concluding.evaluate(studies)
    finally:
        sealed.context.close()
