"""Refits made beside the search are those of the end, and the search goes on in the time that they do not need."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from models.splitting.budget import REFIT
from tasks.evaluation.ensemble import build_ensembles, list_refits, refit_ahead
from tasks.planning.plan import make_plan
from tasks.tuning.deadline import Deadline
from tasks.tuning.running import RunningStudies
from tasks.tuning.tune import limit_search_time
from tasks.values import Studies
from tests.runs import begin_run, make_frame, make_small_run, tune_plan, wait_for

FAMILIES = ("constant", "linear", "tree")


@pytest.fixture
def studies(tmp_path) -> Iterator[Studies]:
    """Studies that are over, of a run that has a thousand seconds left."""
    data = make_frame().drop(columns=["day", "words"])
    sealed = begin_run(make_small_run(data=data, search={"trials": 3, "families": FAMILIES}), tmp_path)
    try:
        studies = tune_plan(make_plan(sealed))
        sealed.context.ledger.limit = sealed.context.ledger.elapsed + 1000
        yield studies
    finally:
        sealed.context.close()


def resume_search(studies: Studies) -> RunningStudies:
    running = RunningStudies(studies)
    running.trials.update({key: list(trials) for key, trials in studies.trials.items()})
    return running


def test_the_end_needs_no_refit_of_what_had_its_chance(studies: Studies):
    trials = {key: list(study) for key, study in studies.trials.items()}
    deadline = Deadline(studies, trials)
    before = deadline.estimate_end()
    deadline.settle(studies.trials, ["linear"] * len(studies.folds))
    after = deadline.estimate_end()
    assert after < before
    fold, inner = next(iter(studies.folds)), studies.scope.inner
    best = max(trials["linear", fold], key=lambda t: t.inner or 0.0)
    trials["linear", fold].append(
        replace(best, number=len(trials["linear", fold]), scores=(1.0,) * inner, seconds=50.0)
    )
    # One refit on one of the cores, and on the leaderboard it is the same one.
    seconds = REFIT * 50.0 / inner
    assert deadline.estimate_end() - after == pytest.approx(1.4 * seconds / studies.context.workers + seconds, rel=0.1)


def test_refits_made_ahead_are_those_of_the_end(studies: Studies):
    folder = studies.context.folder
    refit_ahead(studies)
    made = {path: path.stat().st_mtime_ns for path in folder.path.glob("fits/*/*/*/*/refit*")}
    assert made
    ensembles = build_ensembles(studies)
    files = [file for ensemble in ensembles.values() for file, _ in list_refits(studies, ensemble)]
    assert files
    assert all(folder.path / f"{file}.npy" in made for file in files)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert all(np.isfinite(folder.read_array(file)).all() for file in files)


def test_the_search_goes_on_beside_refits_and_ends_for_good_when_time_is_up(studies: Studies):
    """With the time of the end there, refits begin; what they turn out not to need is the search's again."""
    running, ledger = resume_search(studies), studies.context.ledger
    gate, asked = threading.Event(), threading.Event()

    def refit(_: Studies) -> list[str]:
        asked.set()
        assert gate.wait(30)
        return ["linear"] * 2

    with limit_search_time(running, refit):
        assert running.may_search()
        assert not asked.is_set()
        needed = running.deadline.estimate_end()
        ledger.limit = ledger.elapsed + needed - 0.2
        assert asked.wait(10)
        assert running.deadline.is_end_due()
        assert running.may_search()
        gate.set()
        assert wait_for(lambda: not running.deadline.awaits_refits, 10)
        assert running.deadline.estimate_end() < needed
        ledger.limit = ledger.elapsed
        assert wait_for(lambda: running._is_over, 10)
        ledger.limit = ledger.elapsed + 1000
        assert not running.may_search()


def test_refits_that_fail_end_the_search_and_nothing_else(studies: Studies):
    def refit(_: Studies) -> list[str]:
        raise OSError("no room")

    running, ledger = resume_search(studies), studies.context.ledger
    with limit_search_time(running, refit):
        ledger.limit = ledger.elapsed + running.deadline.estimate_end() - 0.2
        assert wait_for(lambda: not running.may_search(), 10)
    assert build_ensembles(studies)


def test_without_a_limit_nothing_is_made_ahead(studies: Studies):
    studies.context.ledger.limit = None
    running = resume_search(studies)
    with limit_search_time(running, lambda _: pytest.fail("no clock decides anything")):
        assert not running.deadline.awaits_refits
        assert running.may_search()
