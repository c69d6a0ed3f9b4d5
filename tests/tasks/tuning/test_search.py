"""The search begins with the plan and needs nobody who waits for it; it ends whole, or is stopped for good."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from models.errors import NestorError
from tasks.planning.plan import make_plan
from tasks.run import events
from tasks.run.stage import TUNE
from tasks.tuning import tune
from tasks.tuning.search import Search
from tasks.values import RunPlan
from tests.runs import begin_run, drop_times, make_frame, make_small_run, tune_plan, wait_for

FAMILIES = ("constant", "linear", "tree")


def make_run(trials: int | None):
    data = make_frame().drop(columns=["day", "words"])
    budget = {"seconds": None if trials else 600, "workers": 2}
    return make_small_run(data=data, search={"trials": trials, "families": FAMILIES}, budget=budget)


@pytest.fixture
def plan(request, tmp_path) -> Iterator[RunPlan]:
    sealed = begin_run(make_run(getattr(request, "param", 3)), tmp_path / "one")
    try:
        yield make_plan(sealed)
    finally:
        sealed.context.close()


def test_it_finds_what_studies_one_by_one_find(plan, tmp_path):
    with events.record_events() as told:
        search = Search(plan)
        assert search.await_study("linear", "1") == 3
        studies = search.end()
    assert [event.stage for _, event in told if isinstance(event, events.Began)] == [TUNE.name]
    assert plan.context.ledger.stages[TUNE.name] > 0
    again = begin_run(make_run(3), tmp_path / "two")
    try:
        expected = tune_plan(make_plan(again))
    finally:
        again.context.close()
    assert {key: [drop_times(t) for t in trials] for key, trials in studies.trials.items()} == {
        key: [drop_times(t) for t in trials] for key, trials in expected.trials.items()
    }


@pytest.mark.parametrize("plan", [None], indirect=True)
def test_stopping_ends_every_study_at_once(plan):
    """As Ctrl-C and Cancel do: whoever waits for a study is told."""
    search = Search(plan)
    assert wait_for(lambda: search.running.trials.get(("linear", "1")), 60)
    began = time.monotonic()
    search.stop()
    assert search.await_study("tree", "2") == len(search.running.trials.get(("tree", "2"), ()))
    assert search.running.stopped
    assert time.monotonic() - began < 20
    assert not search.running.may_search()
    search.stop()


def test_what_is_over_is_not_stopped(plan):
    search = Search(plan)
    search.end()
    search.stop()
    assert not search.running.stopped


def test_what_ends_the_run_reaches_whoever_waits(plan, monkeypatch):
    def refuse(running, name, fold):
        raise NestorError("no")

    monkeypatch.setattr(tune, "tune", refuse)
    search = Search(plan)
    with pytest.raises(NestorError, match="no"):
        search.await_study("linear", "2")
    with pytest.raises(NestorError, match="no"):
        search.end()
    search.stop()
