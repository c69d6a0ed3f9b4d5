"""Where time is too short for outer folds, what is delivered is still judged, sealed rows included; where these can't
be predicted there is a model without a test score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.config import Run
from models.errors import BudgetError
from models.splitting.budget import RunPlan
from models.splitting.folds import list_required_metrics, make_even_folds
from models.splitting.split import ALL
from tasks.evaluation import evaluate as concluding
from tasks.evaluation.package import delivered
from tasks.evaluation.table_profile import profiled
from tasks.execution import worker
from tasks.execution.job import brief_for
from tasks.execution.pool import JUDGE, Pool
from tasks.planning import plan
from tasks.tuning import selection
from tests.sessions import begun, frame, run_over, tuned


@pytest.mark.parametrize(("inner", "method"), [(5, "bbc"), (1, "holdout")])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_without_outer_folds_the_estimate_comes_from_inner_ones(tmp_path, monkeypatch, task, inner, method):
    monkeypatch.chdir(tmp_path)
    run = Run(data=frame(task=task), target="target", search={"trials": 2}, drop=("group", "weight"))
    session = begun(run, tmp_path / "run")
    try:
        session.brief = brief_for(session.work, run, session.table)
        metrics = list_required_metrics(session.goal)
        plan._take(session, make_even_folds(session.work, session.plan, run, metrics, session.table, 0, inner))
        level = RunPlan(0, inner, ("constant", "linear"), {"lightgbm": "a test"})
        session.workdir.write_pickle("plan", (level, session.folds, {}, {}, ()))
        plan.shortlist(session)
        concluded = concluding.conclude(tuned(session))
        model, twin = delivered(session, concluded)
    finally:
        session.close()
    assert session.level.how.method == method
    assert concluded.estimate is not None
    assert concluded.estimate.low <= concluded.estimate.value <= concluded.estimate.high
    assert concluded.test is not None
    assert (concluded.optimism, concluded.agreement, twin) == (None, None, None)
    assert (concluded.conformal, concluded.coverage) == (None, ())
    assert len(model.predict(session.sealed.features)) == session.sealed.rows


def test_where_the_search_on_all_work_rows_makes_nothing_a_bag_is_delivered_and_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = frame()[["number", "target"]]
    run = Run(data=data, target="target", search={"trials": 1, "families": ("linear",)}, final={"deliver": "refit"})
    session = begun(run, tmp_path / "run")
    try:
        plan.shortlist(session)
        tuned(session).trials["linear", ALL] = []
        concluded = concluding.conclude(session)
        model, _ = delivered(session, concluded)
    finally:
        session.close()
    assert len(model.estimators_) == len(concluded.chosen) > 1
    assert [note for note in session.notes if "the average of the outer folds' models is delivered" in note]


def test_a_family_that_was_not_judged_in_every_fold_leads_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, search = frame()[["number", "target"]], {"trials": 1, "families": ("constant", "linear")}
    session = begun(Run(data=data, target="target", search=search), tmp_path / "run")
    try:
        plan.shortlist(session)
        tuned(session)
        concluding.conclude(session)
        best = selection.of_family(session, "linear", "1")
        (session.workdir.path / (session.job("linear", "1", best.number, {}).file + ".npy")).unlink()
        families = concluding._families(session, {})
    finally:
        session.close()
    assert [(f.name, f.estimate is None) for f in families] == [("constant", False), ("linear", True)]
    assert families[1].inner > families[0].inner


class Blind(Pool):
    """The pool, in which the sealed rows are too many to predict in time."""

    def __init__(self):
        super().__init__(2, 700, 1)

    def submit(self, work: Any, *args: Any, **how: Any):
        if work is worker.predict_sealed:
            return super().submit(exec, "import time; time.sleep(60)", **{**how, "timeout": 1})
        return super().submit(work, *args, **how)


def test_sealed_rows_that_can_not_be_predicted_cost_the_test_score_alone(trained, monkeypatch):
    opened = []
    monkeypatch.setattr("tests.sessions.Local.count_opening", lambda session: opened.append(session))
    data = frame().drop(columns=["day", "words"])
    run = run_over(data=data, search={"trials": 1, "families": ("constant", "linear")}, budget={"workers": 2})
    session, concluded = trained(run, pool=Blind)
    assert (concluded.test, concluded.agreement, concluded.coverage) == (None, None, ())
    assert opened == [session], "they were opened"
    assert any("sealed rows could not be predicted: stopped after 1 s" in note for note in session.notes)
    assert concluded.estimate is not None
    profile = profiled(session, concluded)
    assert profile.performance.of == "estimate"
    assert profile.performance.rows == session.work.rows
    assert len(delivered(session, concluded)[0].predict(session.sealed.features)) == session.sealed.rows


class Late(Pool):
    """A pool on a machine where nothing can be refitted in time on these folds."""

    def __init__(self, folds: tuple[str, ...] = ()):
        super().__init__(2, 700, 1)
        self.folds = folds

    def submit(self, work: Any, *args: Any, priority: tuple[int, ...], **how: Any):
        if work is worker.run and priority[0] == JUDGE and (not self.folds or args[0].fold in self.folds):
            return super().submit(exec, "import time; time.sleep(60)", priority=priority, timeout=0.1)
        return super().submit(work, *args, priority=priority, **how)


GOALS = {
    "plain": {}, "limited": {"limits": ("size=100",)}, "several": {"objectives": ("latency",)},
}  # fmt: skip


def ready(tmp_path, goal: str, deliver: str, pool: Any = Late, family: str = "linear") -> Any:
    """A session whose search is over, of a constant and this family."""
    data = frame().drop(columns=["day", "words"])
    search = {"trials": 1, "families": ("constant", family), **GOALS[goal]}
    session = begun(run_over(data=data, search=search, final={"deliver": deliver}), tmp_path, pool=pool)
    plan.shortlist(session)
    return tuned(session)


@pytest.mark.parametrize(
    ("goal", "deliver", "outer"),
    [("plain", "bag", True), ("plain", "refit", True), ("plain", "refit", False), ("limited", "refit", True),
     ("several", "refit", False)],
)  # fmt: skip
def test_where_nothing_is_refitted_in_time_the_quickest_that_learns_is_delivered_without_an_estimate(
    tmp_path, goal, deliver, outer
):
    session = ready(tmp_path, goal, deliver)
    try:
        if not outer:
            session.folds = {ALL: session.folds[ALL]}
        session.ledger.limit = 0.1
        assert session.deliverable
        concluded = concluding.conclude(session)
        model, _ = delivered(session, concluded)
    finally:
        session.close()
    [(fold, chosen)] = concluded.chosen.items()
    [member] = chosen.members
    assert member.family == concluded.winner == "linear"
    assert fold == ALL or goal == "plain"
    folds = [fold] if goal != "plain" else session.folds
    assert session.trials["linear", fold][0].seconds == min(session.trials["linear", k][0].seconds for k in folds)
    assert (concluded.estimate, concluded.beats_constant) == (None, False)
    assert len([note for note in session.notes if "Time was too short" in note and "no estimate" in note]) == 1
    assert concluded.test is not None
    assert len(model.predict(session.sealed.features)) == session.sealed.rows


def test_where_only_what_is_delivered_could_not_be_refitted_the_last_resort_is_and_the_reason_is_told(tmp_path):
    session = ready(tmp_path, "limited", "refit", lambda: Late((ALL,)))
    try:
        session.ledger.limit = session.ledger.elapsed + 600
        concluded = concluding.conclude(session)
    finally:
        session.close()
    assert [(k, one.last) for k, one in concluded.chosen.items()] == [(ALL, True)]
    assert concluded.estimate is None
    assert [note for note in session.notes if "could not be refitted within the limits" in note]
    assert not [note for note in session.notes if "Time was too short" in note]


def test_what_is_over_a_limit_once_it_is_refitted_is_no_last_resort(tmp_path):
    session = ready(tmp_path, "limited", "refit", family="knn")
    try:
        [limit], [trial] = session.goal.limits, session.trials["knn", ALL]
        session.goal = replace(session.goal, limits=(replace(limit, bound=1.2 * trial.measures["size"]),))
        session.ledger.limit = 0.1
        assert session.deliverable
        concluded = concluding.conclude(session)
    finally:
        session.close()
    assert concluded.winner == "constant"


def test_only_what_keeps_the_limits_and_learns_can_be_delivered_late(tmp_path):
    session = ready(tmp_path, "limited", "refit")
    session.close()
    session.ledger.limit = 0.1
    assert session.overtime > session.last_limit()
    whole = session.trials
    for kept in (("constant",), ("linear",)):
        session.trials = {
            key: told for key, told in whole.items() if key[0] in kept and (kept != ("linear",) or key[1] != ALL)
        }
        assert not session.deliverable
        assert session.overtime == 4.0
    session.trials = whole
    session.goal = replace(session.goal, limits=(replace(session.goal.limits[0], bound=0.0),))
    assert not session.deliverable


def test_without_a_whole_trial_there_is_no_model_and_a_sentence(tmp_path):
    session = begun(run_over(data=frame().drop(columns=["day", "words"]), search={"trials": 1}), tmp_path, pool=Late)
    try:
        plan.shortlist(session)
        session.ledger.limit = 0.1
        assert not session.deliverable
        with pytest.raises(BudgetError, match="Give more time"):
            concluding.conclude(session)
    finally:
        session.close()
