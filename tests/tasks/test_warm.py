"""A warm start in whole runs: what is fixed before tuning, what is said, and that it repeats."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.files import trials_table
from tasks.warm import saving, saving_said, warm_up
from tests import sessions
from tests.sessions import frame, numbers, run_over

FAMILIES = ("constant", "linear", "random_forest")


def run(workers: int = 2, warm: bool = True, trials: int = 6, **more: Any):
    data = frame().drop(columns=["day", "words"])
    search = {"trials": trials, "families": FAMILIES, "warm_from": "model" if warm else None}
    return run_over(data=data, search=search, budget={"workers": workers}, **more)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> dict[str, Any]:
    """A run with another seed, as MLflow hands it over."""
    folder = tmp_path_factory.mktemp("earlier")
    session, _ = sessions.trained(run(warm=False, seed=3), folder)
    trials_table(session).to_parquet(folder / "trials.parquet")
    report = {"metric": session.metric.name, "task": session.metric.task}
    return {"run_id": "f" * 32, "name": "model", "config": {}, "report": report,
            "trials": str(folder / "trials.parquet"), "tags": {}}  # fmt: skip


@pytest.fixture(scope="module")
def warm(earlier, tmp_path_factory) -> tuple[Any, Any]:
    return sessions.trained(run(), tmp_path_factory.mktemp("warm"), past=earlier)


def test_every_study_tries_the_default_and_then_what_the_earlier_run_found(warm):
    session, _ = warm
    assert session.warm.source == "f" * 32
    assert set(session.warm.configurations) == {"linear", "random_forest"}
    for (family, _), trials in session.trials.items():
        handed = session.warm.configurations.get(family, [])
        assert [dict(t.params) for t in trials[1 : 1 + len(handed)]] == handed
    assert any("the number to publish is the test score" in note for note in session.notes)


def test_only_configurations_cross_over(warm, earlier):
    kept = json.loads((warm[0].workdir.path / "warm.json").read_text())["warm"]
    assert set(kept) == {"source", "configurations", "until"}
    tried = {row for row in pd.read_parquet(earlier["trials"])["params"]}
    assert {json.dumps(params) for c in kept["configurations"].values() for params in c} <= tried


def test_the_saving_is_measured_against_the_earlier_run(warm):
    session, _ = warm
    found = saving(session)
    for name in ("linear", "random_forest"):
        before = session.warm.until[name][0]
        assert found[name]["warm_saved_trials"] == before - found[name]["trials_to_best"]
    mean = sum(found[n]["warm_saved_trials"] for n in ("linear", "random_forest")) / 2
    assert found[""]["warm_saved_trials"] == pytest.approx(mean)
    assert "linear" in saving_said(session)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_warm_run_repeats_with_any_number_of_workers(workers, warm, earlier, trained):
    assert numbers(*trained(run(workers), past=earlier)) == numbers(*warm)


def test_a_warm_run_taken_up_again_keeps_what_it_was_handed_first(warm, tmp_path):
    """The earlier run is no longer asked for: by now it may be another one."""
    folder = Path(shutil.copytree(warm[0].workdir.path, tmp_path / "again"))
    for log in (folder / "studies").glob("linear-*.log"):
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:4]))
    assert numbers(*sessions.trained(run(), folder, past={"run_id": "another"})) == numbers(*warm)


def test_that_there_was_nothing_to_hand_over_is_fixed_too(tmp_path):
    """Else a run taken up again would begin with what ended meanwhile, unlike an unbroken one."""
    search = {"trials": 6, "families": FAMILIES, "strategy": "meta"}
    asked = run_over(data=frame().drop(columns=["day", "words"]), search=search, budget={"workers": 2})
    for past in (None, {"run_id": "another"}):
        session = sessions.begun(asked, tmp_path, past=past)
        try:
            warm_up(session)
        finally:
            session.close()
        assert session.warm is None


def test_without_a_warm_start_nothing_is_asked(trained):
    session, _ = trained(run(warm=False, trials=1), past={"run_id": "broken"})
    assert session.warm is None
    assert saving_said(session) == ""
    assert set(saving(session)[""]) == {"trials_to_best", "seconds_to_best"}
