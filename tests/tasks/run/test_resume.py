"""Runs on disk: what they used of their time, and which of them a resume takes up."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from models.config import Run
from models.errors import BudgetError, InputError
from tasks.context import RunContext
from tasks.evaluation.evaluate import evaluate
from tasks.planning.plan import make_plan
from tasks.run import resume
from tasks.run.folder import Workdir
from tasks.run.ledger import Ledger
from tasks.tuning.deadline import Deadline
from tests.runs import LocalJournal, begin_run, make_frame, make_small_run, train_run, tune_plan

HOUR = 3600.0


def left_behind(path: Path, state: str = "stopped", used: float = 0.0, **settings: Any) -> RunContext:
    """The context of a run in this folder that has used so many seconds and is over."""
    run = Run(**{"data": "loans.csv", "target": "paid", "budget": "10m", **settings})
    now = time.time()
    ledger = Ledger(run.seconds, now, used)
    context = RunContext(run, resume.choose_model_name(run), Workdir(path), ledger, LocalJournal(path, "loans"))
    context.write_state(state)
    context.journal.close()
    return context


def backdated(context: RunContext, seconds: float, *names: str) -> dict[str, Any]:
    """What the run's folder says of it, with these moments so many seconds earlier."""
    kept = context.folder.read_json("run.json")
    kept |= {name: kept[name] - seconds for name in names}
    context.folder.write_json("run.json", kept)
    return kept


def test_time_between_two_sessions_is_nobodys(tmp_path):
    context = left_behind(tmp_path, used=100.0)
    kept = backdated(context, HOUR, "begun")
    assert resume.count_used_seconds(context.folder, kept) == pytest.approx(100.0, abs=1)


def test_a_killed_session_used_its_time_up_to_its_last_event(tmp_path):
    context = left_behind(tmp_path, "running", used=100.0)
    kept = backdated(context, HOUR, "begun", "at")
    last = kept["at"] + 30.0
    os.utime(tmp_path / "events.jsonl", (last, last))
    assert resume.count_used_seconds(context.folder, kept) == pytest.approx(130.0, abs=1)


QUICK = {"families": ("constant", "linear")}


def quick(search: dict[str, Any], **settings: Any) -> Run:
    """A run over two columns."""
    data = make_frame()[["number", "flag", "target"]]
    return make_small_run(data=data, weight=None, drop=(), search={**QUICK, **search}, **settings)


def test_a_run_whose_trials_are_there_gets_the_time_that_its_end_needs(tmp_path):
    run = quick({"trials": 2})
    before = train_run(run, tmp_path)
    sealed = begin_run(quick({}, budget="1m"), tmp_path, used=100.0)
    try:
        sealed.context.afford_end()
        plan = make_plan(sealed)
        studies = tune_plan(plan)
        deadline = Deadline(plan, studies.trials)
        assert not deadline.may_search()
        deadline.grant_end()
        assert sealed.context.ledger.left == pytest.approx(deadline.estimate_end(), abs=1)
        assert sealed.context.ledger.limit_refit() > 2.0
        after = evaluate(studies)
    finally:
        sealed.context.close()
    assert after.estimate == before.estimate
    assert [note for note in sealed.context.notes if "more" in note]


def test_a_resumed_run_knows_as_well_what_its_end_needs_and_what_fits_took(tmp_path):
    run, needs, booked = quick({}, budget="2m"), [], []
    for used in (0.0, 130.0):
        sealed = begin_run(run, tmp_path, used=used)
        try:
            plan = make_plan(sealed)
            sealed.context.ledger.extend(-130.0)  # the time is up: one trial each
            studies = tune_plan(plan)
            end = Deadline(plan, studies.trials).estimate_end()
            needs.append((plan.model_mb, sealed.context.ledger.preparing, end))
            booked.append((dict(sealed.context.ledger.fitting), sealed.context.ledger.recalled))
        finally:
            sealed.context.close()
    (sizes, preparing, end), after = needs[0], needs[1]
    assert min(sizes.values()) >= 0 < max(sizes.values())
    assert preparing > 0
    assert after[:2] == (sizes, pytest.approx(preparing))
    assert after[2] >= 0.99 * end
    (fitting, none), (still, recalled) = booked
    assert (still, none) == (pytest.approx(fitting), 0.0)
    assert recalled == pytest.approx(sum(fitting.values()))


def test_fits_of_an_earlier_session_are_told_apart_though_they_are_asked_for_again(tmp_path):
    run, booked = quick({"trials": 1}), []
    for _ in range(2):
        sealed = begin_run(run, tmp_path)
        try:
            plan = make_plan(sealed)
            evaluate(tune_plan(plan))
            booked.append((sum(sealed.context.ledger.fitting.values()), sealed.context.ledger.recalled))
        finally:
            sealed.context.close()
        shutil.rmtree(tmp_path / "studies")  # as where it ended before its batches were told
    (fitting, none), (still, recalled) = booked
    assert (still, none) == (pytest.approx(fitting), 0.0)
    assert recalled == pytest.approx(fitting)


def test_without_a_trial_a_time_that_is_over_is_an_error(tmp_path):
    sealed = begin_run(quick({}, budget="1m"), tmp_path, used=100.0)
    try:
        with pytest.raises(BudgetError):
            sealed.context.afford_end()
    finally:
        sealed.context.close()


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """The folder of the runs of a directory that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mlruns" / "work"


def loans(**settings: Any) -> Run:
    return Run(**{"data": "loans.csv", "target": "paid", **settings})


def test_a_run_by_name_is_not_taken_up_with_other_settings(work):
    left_behind(work / "first", metric="roc_auc", budget="10m", split={"outer": 4})
    asked = loans(metric="f1", budget="10m", split={"inner": 3})
    told = r"metric \(roc_auc there, f1 here\), split.inner \(none there, 3 here\), split.outer \(4 there, none here\)"
    with pytest.raises(InputError, match=told):
        resume.find_interrupted_run(asked, "loans", "first")
    with pytest.raises(InputError, match=r"name \(loans there, other here\)"):
        resume.find_interrupted_run(loans(metric="roc_auc", split={"outer": 4}, name="other"), "other", "first")


def test_fits_of_other_libraries_are_no_part_of_a_run(work):
    context = left_behind(work / "first")
    kept = context.folder.read_json("run.json")
    context.folder.write_json("run.json", {**kept, "libraries": {**kept["libraries"], "scipy": "0.1"}})
    assert resume.find_interrupted_run(loans(budget="10m"), "loans") is None
    with pytest.raises(InputError, match=r"libraries.scipy \(0.1 there, "):
        resume.find_interrupted_run(loans(budget="10m"), "loans", "first")


@pytest.mark.parametrize("wanted", ["", "first"])
def test_a_run_goes_on_with_more_time(wanted, work):
    left_behind(work / "first", budget="10m")
    left_behind(work / "trials", budget={}, search={"trials": 5})
    for more in ("10m", "1h", {"workers": 2, "seconds": "2h"}):
        found = resume.find_interrupted_run(loans(budget=more), "loans", wanted)
        assert found is not None
        assert found.path.name == "first"


def test_a_run_that_is_done_is_no_answer_to_who_gives_another_time(work):
    left_behind(work / "first", "done", budget="10m")
    assert resume.find_interrupted_run(loans(budget="1h"), "loans") is None
    assert resume.find_interrupted_run(loans(budget="10m"), "loans") is not None
