"""A trial that failed is a result: it is kept with its reason, and the study, the fold and the run go on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from models.errors import BudgetError, NestorError
from models.splitting.budget import SearchScope
from models.studies.study import is_hopeless
from models.tuning.goal import find_best_trial
from models.tuning.strategy import BATCH
from models.tuning.trial import Trial
from tasks.evaluation.evaluate import evaluate
from tasks.execution.job import FitJob
from tasks.execution.pool import JUDGE, SEARCH, FitError, FitPool
from tasks.planning.plan import make_plan
from tasks.planning.studies import make_study
from tasks.tuning import tune
from tasks.tuning.running import RunningStudies
from tasks.tuning.search import ATTEMPTS, _tune_study
from tasks.tuning.tune import StudyFile, _prefer_stored, limit_refit_time, limit_search_time
from tasks.values import RunPlan, advance
from tests.runs import begin_run, make_frame, make_small_run, tune_plan

FAMILIES = ("constant", "linear", "random_forest")


class Sabotaged(FitPool):
    """The pool, in which chosen fits run other code instead."""

    def __init__(self, chosen: Callable[[FitJob], bool], code: str):
        super().__init__(2, 700, 1)
        self._chosen, self._code = chosen, code

    def submit(self, work: Any, *args: Any, **how: Any):
        if isinstance(args[0], FitJob) and self._chosen(args[0]):
            how["timeout"] = min(how.get("timeout") or 2, 2)
            return super().submit(exec, self._code, **how)
        return super().submit(work, *args, **how)


def run(trials: int | None = 6, families=FAMILIES, seconds: float | None = None):
    data = make_frame().drop(columns=["day", "words"])
    search, budget = {"trials": trials, "families": families}, {"workers": 2, "seconds": seconds}
    return make_small_run(data=data, search=search, budget=budget)


def third_on_the_second_inner_fold(job: FitJob) -> bool:
    return (job.family, job.fold, job.trial, job.inner) == ("linear", "1", 2, 1)


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("raise ValueError('singular matrix')", "failed", "ValueError: singular matrix"),
        ("import os; os._exit(9)", "failed", "exit code 9"),
        ("import time; time.sleep(600)", "timeout", "stopped after 2 s"),
        ("bytearray(8_000_000_000)", "memory", "more memory"),
    ],
    ids=["raises", "dies", "hangs", "eats memory"],
)
def test_a_trial_that_failed_is_kept_with_its_reason_and_the_study_goes_on(trained, code, state, reason):
    evaluation = trained(run(), pool=lambda: Sabotaged(third_on_the_second_inner_fold, code))
    trials = evaluation.trials["linear", "1"]
    assert [t.number for t in trials] == list(range(6))
    third = trials[2]
    # It may have been stopped as hopeless before its second fold; then the sabotage never came to pass.
    assert third.state == state
    assert reason in third.reason
    assert len(third.scores) == 1
    assert {t.state for t in trials if t.number != 2} <= {"complete", "pruned"}
    assert {t.state for t in evaluation.trials["linear", "2"]} <= {"complete", "pruned"}
    assert evaluation.estimate is not None
    assert [f.trials for f in evaluation.families if f.name == "linear"] == [12]
    kept = StudyFile(evaluation, "linear", "1").trials[2]
    assert (kept.state, kept.reason) == (third.state, third.reason)
    lines = [json.loads(line) for line in (evaluation.context.folder.path / "events.jsonl").read_text().splitlines()]
    told = next(line for line in lines if line.get("key") == "linear/1/2")
    assert told["tags"] == {"nestor.state": state, "nestor.reason": third.reason}
    assert told["status"] == "FAILED"


def test_a_family_that_never_works_is_listed_without_an_estimate(trained):
    linear = lambda job: job.family == "linear"  # noqa: E731
    evaluation = trained(run(3), pool=lambda: Sabotaged(linear, "raise OSError(28)"))
    assert {t.state for t in evaluation.trials["linear", "1"]} == {"failed"}
    assert len(evaluation.trials["linear", "1"]) == 3
    found = {f.name: f for f in evaluation.families}
    assert found["linear"].estimate is None
    assert found["linear"].inner is None
    assert found["random_forest"].estimate is not None
    assert evaluation.families[-1].name == "linear"
    assert evaluation.winner == "random_forest"
    assert evaluation.estimate is not None


def test_a_default_that_fails_does_not_end_its_study(trained):
    chosen = lambda job: job.family == "linear" and job.trial == 0  # noqa: E731
    evaluation = trained(run(4), pool=lambda: Sabotaged(chosen, "raise ValueError"))
    states = [t.state for t in evaluation.trials["linear", "1"]]
    assert states[0] == "failed"
    assert "complete" in states
    assert next(f for f in evaluation.families if f.name == "linear").estimate is not None


def test_a_refit_that_fails_leaves_its_family_without_an_estimate_and_says_so(trained):
    chosen = lambda job: (job.family, job.fold, job.inner) == ("linear", "2", None)  # noqa: E731
    evaluation = trained(run(2), pool=lambda: Sabotaged(chosen, "raise ValueError('no')"))
    found = {f.name: f for f in evaluation.families}
    assert found["linear"].estimate is None
    assert found["random_forest"].estimate is not None
    assert any("linear could not be refitted on fold 2" in note for note in evaluation.context.notes)
    weights = [sum(m.weight for m in one.members) for one in evaluation.chosen.values()]
    assert weights == pytest.approx([1.0] * len(weights))
    assert "linear" not in {m.family for m in evaluation.chosen["2"].members}


def test_a_run_in_which_nothing_works_ends_with_a_sentence(trained):
    with pytest.raises(NestorError):
        trained(run(2), pool=lambda: Sabotaged(lambda job: True, "raise ValueError('no')"))


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("raise ValueError('no')", NestorError, "No family could be fitted.*linear: its first.*ValueError: no"),
        (
            "import time; time.sleep(600)", BudgetError,
            "60 s are too little for this table.*linear: its first fit, with default settings, failed: stopped after",
        ),
    ],
    ids=["fails", "hangs"],
)  # fmt: skip
def test_where_no_family_can_be_fitted_at_all_the_reasons_are_told(tmp_path, code, error, said):
    timed = run(None, families=("linear",), seconds=60)
    sealed = begin_run(timed, tmp_path, pool=lambda: Sabotaged(lambda job: True, code))
    try:
        with pytest.raises(NestorError, match=f"(?s){said}") as caught:
            make_plan(sealed)
    finally:
        sealed.context.close()
    assert type(caught.value) is error


# --- Stopped early ----------------------------------------------------------------------------------------------------


def stopping(path, strategy: str, family: str, space: dict[str, Any], **more: Any):
    """The studies of one family, with two inner folds."""
    search = {"trials": 9, "families": (family,), "strategy": strategy, **more.pop("search", {})}
    data, told = make_frame().drop(columns=["day", "words", "town"]), {family: {"space": space}}
    sealed = begin_run(make_small_run(data=data, search=search, families=told, budget={"workers": 2}, **more), path)
    try:
        return tune_plan(make_plan(sealed))
    finally:
        sealed.context.close()


NOTHING_LEFT = {"strength": 100.0, "l1_ratio": 1.0}
"""So strong an L1 penalty leaves no column; an L2 penalty of that strength, the default's, does no harm."""


@pytest.mark.parametrize("strategy", ["tpe", "random", "genetic"])
def test_a_configuration_that_is_bad_on_its_first_inner_fold_is_stopped_there(strategy, tmp_path):
    studies = stopping(tmp_path, strategy, "linear", NOTHING_LEFT)
    trials = [one for told in studies.trials.values() for one in told]
    assert len(trials) == 18
    bad = {(one.state, len(one.scores)) for one in trials if one.params["penalty"] == "elasticnet"}
    good = {(one.state, len(one.scores)) for one in trials if one.params["penalty"] == "l2"}
    assert (bad, good) == ({("pruned", 1)}, {("complete", 2)})


def condemned(trials: Sequence[Trial], metric) -> set[int]:
    """Numbers of the trials whose first inner fold is worse than the worst one of the best trial told before theirs."""
    best = {one.number: find_best_trial(trials[: 1 + (one.number - 1) // BATCH * BATCH], metric) for one in trials[1:]}
    return {one.number for one in trials[1:] if is_hopeless(one.scores[:1], best[one.number], metric)}


@pytest.mark.parametrize(
    ("strategy", "family", "space", "more"),
    [
        ("pbt", "lightgbm", {"learning_rate": [1e-6, 0.1, "log"], "min_child_samples": 3}, {"metric": "log_loss"}),
        ("tpe", "linear", NOTHING_LEFT, {"search": {"objectives": ("size",)}}),
    ],
    ids=["a step of a schedule, which others go on from", "several objectives, of which one only is bad"],
)
def test_what_must_not_be_stopped_is_not(strategy, family, space, more, tmp_path):
    studies = stopping(tmp_path, strategy, family, space, **more)
    assert any(condemned(told, studies.metric) for told in studies.trials.values())
    found = {(one.state, len(one.scores)) for told in studies.trials.values() for one in told}
    assert found == {("complete", 2)}


# --- The end of the time ----------------------------------------------------------------------------------------------


@pytest.fixture
def late(tmp_path):
    """Studies that run though their time is up, without a plan of their own."""
    sealed = begin_run(run(1), tmp_path)
    sealed.context.start_pool()
    sealed.context.ledger.limit = 0.001
    plan: Any = {"scope": SearchScope(1, 1, (), {}), "folds": {"1": None}, "fit_context": None}
    running = RunningStudies(advance(RunPlan, sealed, **plan))
    with limit_search_time(running):
        yield running
    sealed.context.close()


def test_a_study_that_broke_keeps_nobody_waiting_and_costs_no_other(tmp_path, monkeypatch):
    """Its second attempt is its last; others of its fold go on, and its family is listed without an estimate."""
    sealed = begin_run(run(2, ("constant", "linear")), tmp_path)
    usual, attempts = make_study, []

    def broken(plan, name, fold):
        if (name, fold) == ("linear", "1"):
            attempts.append(name)
            raise OSError(5, "Input/output error")
        return usual(plan, name, fold)

    monkeypatch.setattr(tune, "make_study", broken)
    try:
        running = RunningStudies(make_plan(sealed))
        waiting = threading.Thread(target=tune._await_defaults, args=(running, "1"), daemon=True)
        running.trials["constant", "1"] = [Trial(0, {}, {})]
        waiting.start()
        for name, fold in (("linear", "1"), ("linear", "2"), ("constant", "1"), ("constant", "2")):
            _tune_study(running, name, fold)
        waiting.join(20)
        assert not waiting.is_alive()
        evaluation = evaluate(running.take_snapshot())
    finally:
        sealed.context.close()
    assert len(attempts) == ATTEMPTS
    assert any("linear ended early on fold 1" in note and "Input/output error" in note for note in sealed.context.notes)
    found = {f.name: f for f in evaluation.families}
    assert (found["linear"].estimate, found["linear"].trials) == (None, 2)
    assert evaluation.estimate is not None


def test_no_fit_begins_after_the_search_was_ended(late):
    """A study that was asking its strategy meanwhile hands its batch to the pool a moment later."""
    pool, ledger = late.plan.context.pool, late.plan.context.ledger
    ended = [pool.submit(time.sleep, 60, priority=(SEARCH, batch), timeout=60).exception(20) for batch in range(3)]
    assert all(isinstance(one, FitError) for one in ended)
    ledger.limit = 1e6  # the end needs less than it seemed
    assert not late.may_search()


def test_refits_for_the_leaderboard_end_when_the_rest_is_needed_to_register(late):
    context, ledger = late.plan.context, late.plan.context.ledger
    ledger.limit = ledger.elapsed + ledger.registration + 1
    with limit_refit_time(context):
        needed, other = (context.pool.submit(time.sleep, 60 * n, priority=(JUDGE, n), timeout=60) for n in (0, 1))
        assert isinstance(other.exception(60), FitError)
        assert needed.exception(60) is None


def test_refits_that_take_too_long_end_together(late, monkeypatch):
    """Each has its own limit from its own start: many would overrun by one limit after the other."""
    monkeypatch.setattr(tune, "LEAST", 1.0)
    context, ledger = late.plan.context, late.plan.context.ledger
    ledger.limit = ledger.elapsed + ledger.registration
    with limit_refit_time(context):
        waiting = [context.pool.submit(time.sleep, 60, priority=(JUDGE, 0), timeout=60) for _ in range(4)]
        assert all(isinstance(one.exception(20), FitError) for one in waiting)


def test_what_is_told_is_what_the_file_holds_whatever_became_of_it_the_second_time():
    """Else a session after this one would recall another trial than the one that the search went on from."""
    asked = [Trial(n, {}, {}) for n in range(1, 5)]
    kept = {1: replace(asked[0], state="timeout"), 2: replace(asked[1], scores=(0.5,))}
    came = [replace(one, scores=(0.25,)) for one in asked[:3]]
    batch = _prefer_stored(SimpleNamespace(trials=kept), asked, came)  # type: ignore[arg-type]
    assert batch == [kept[1], kept[2], came[2]]
