"""Trainings that go on from checkpoints: they save time and change nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.fitting.schedule import Checkpoint
from models.tuning.strategy import find_reachable
from tasks.execution import checkpoints, worker
from tasks.execution.job import FitJob
from tasks.planning.plan import make_plan
from tasks.planning.studies import make_study
from tasks.planning.warm_start import read_studies
from tasks.reporting.artifacts import make_trials_table
from tasks.reporting.schedules import render_schedules
from tasks.run.folder import Workdir
from tasks.tuning.tune import StudyFile
from tests import runs
from tests.runs import begin_run, collect_numbers, make_small_run, wait_for

SETTINGS: dict[str, Any] = {
    "search": {"trials": 12, "families": ("lightgbm",), "strategy": "pbt"},
    "drop": ("group", "when", "day", "words"),
    "budget": {"workers": 2},
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return runs.train_run(make_small_run(**SETTINGS), tmp_path_factory.mktemp("unbroken"))


class Idle:
    """A pool that nobody gives work: fits are run here."""

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def here() -> None:
    """This process does what a worker does."""
    worker.peak.watch(0, os.getpid())


@pytest.fixture
def jobs(tmp_path, here) -> tuple[Workdir, FitJob, FitJob]:
    """The run's folder, a first step on one inner fold, and a second that goes on from it."""
    sealed = begin_run(make_small_run(**SETTINGS), tmp_path, pool=Idle)
    plan = make_plan(sealed)
    config = {**make_study(plan, "lightgbm", "1").ask()[0].config, "min_child_samples": 3}  # there are few rows
    steps = [[5, {"learning_rate": 0.3}], [5, {"learning_rate": 0.1}]]
    first = plan.make_job("lightgbm", "1", 1, {**config, "steps": steps[:1]}, inner=0)
    second = plan.make_job("lightgbm", "1", 5, {**config, "steps": steps}, inner=0, goes_on=1)
    sealed.context.close()
    return sealed.context.folder, first, second


def predicted(workdir: Workdir, job: FitJob) -> list[float]:
    shutil.rmtree((workdir.path / job.file).parent, ignore_errors=True)
    worker.run_fit(job)
    found = workdir.read_array(job.file)
    assert found is not None
    return np.asarray(found).tolist()


@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_a_checkpoint_that_was_cut_short_is_survived(jobs, left):
    workdir, first, second = jobs
    worker.run_fit(first)
    expected = predicted(workdir, second)
    file = workdir.path / f"{checkpoints.locate_checkpoint(first.file)}.pkl"
    file.write_bytes(file.read_bytes()[:left])
    assert checkpoints.read_checkpoint(workdir, first.file) is None
    assert predicted(workdir, second) == expected
    file.write_bytes(pickle.dumps("something else"))
    assert predicted(workdir, second) == expected
    file.unlink()
    assert predicted(workdir, second) == expected


def test_training_does_go_on_from_the_checkpoint(jobs):
    """Else whatever was read would be survived."""
    workdir, first, second = jobs
    worker.run_fit(first)
    expected = predicted(workdir, second)
    kept = checkpoints.read_checkpoint(workdir, first.file)
    assert kept is not None
    other = {**first.config, "steps": [[5, {"learning_rate": 0.02}]]}
    predicted(workdir, FitJob(**{**first.__dict__, "trial": 9, "config": other}))
    wrong = checkpoints.read_checkpoint(workdir, f"{Path(first.file).parents[1]}/9/0")
    assert wrong is not None
    checkpoints.write_checkpoint(workdir, first.file, Checkpoint(kept.schedule, wrong.state))
    assert predicted(workdir, second) != expected


def test_only_checkpoints_of_trials_that_are_needed_are_kept(tmp_path):
    workdir, study = Workdir(tmp_path), "fits/2x2/lightgbm/1"
    for trial in range(4):
        for inner in range(2):
            checkpoints.write_checkpoint(workdir, f"{study}/{trial}/{inner}", Checkpoint([], trial))
        workdir.write_json(f"{study}/{trial}/0.json", {})
    checkpoints.write_checkpoint(workdir, "fits/2x2/lightgbm/2/0/0", Checkpoint([], 0))
    checkpoints.remove_checkpoints(workdir, study, {1, 3})
    kept = [checkpoints.read_checkpoint(workdir, f"{study}/{trial}/1") for trial in range(4)]
    assert [one and one.state for one in kept] == [None, 1, None, 3]
    checkpoints.remove_checkpoints(workdir, study)
    assert not list((tmp_path / study).rglob("*.pkl"))
    assert len(list((tmp_path / study).rglob("0.json"))) == 4
    assert checkpoints.read_checkpoint(workdir, "fits/2x2/lightgbm/2/0/0") is not None


def test_a_run_tells_of_schedules_and_parents_and_leaves_no_checkpoint(unbroken):
    trials = unbroken.trials["lightgbm", "1"]
    assert [t.state for t in trials] == ["complete"] * 12
    assert [len(t.config.get("steps", ())) for t in trials] == [
        0,
        *[1] * 4,
        *[len(t.config["steps"]) for t in trials[5:]],
    ]
    assert max(len(t.config["steps"]) for t in trials[1:]) > 1
    assert StudyFile(unbroken, "lightgbm", "1").trials[7].config == trials[7].config
    lines = [json.loads(line) for line in (unbroken.context.folder.path / "events.jsonl").read_text().splitlines()]
    told = {line["key"]: line for line in lines if line.get("kind") == "trial"}
    for trial in trials[5:]:
        line = told[f"lightgbm/1/{trial.number}"]
        assert line["tags"]["nestor.parent"] == str(trial.parent)
    rates = [told[f"lightgbm/1/{t.number}"]["params"].get("schedule.learning_rate") for t in trials]
    assert any(rates)
    assert not list(unbroken.context.folder.path.glob("fits/**/checkpoints"))
    assert unbroken.winner == "lightgbm"
    again = read_studies(make_trials_table(unbroken))["lightgbm"]["1"]
    assert [t.config.get("steps") for t in again] == [t.config.get("steps") for t in trials]
    assert "lightgbm: learning_rate while models were trained" in render_schedules(make_trials_table(unbroken), True)


KILLED = """
from pathlib import Path
from tests.runs import make_small_run, train_run
train_run(make_small_run(**{settings!r}), Path({path!r}))
"""


@pytest.mark.prove
def test_killed_amid_a_generation_and_resumed_equals_unbroken(unbroken, tmp_path):
    code = KILLED.format(settings=SETTINGS, path=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    assert wait_for(lambda: list(tmp_path.glob("fits/**/5/0.json")), 120)
    whole = runs.list_process_tree(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wait_for(lambda: not runs.list_living(whole), 20)
    found = sorted(tmp_path.glob("fits/**/checkpoints/*.pkl"))
    assert found
    for number, file in enumerate(found):
        if number % 3 == 0:
            file.write_bytes(file.read_bytes()[:200])
    evaluation = runs.train_run(make_small_run(**SETTINGS), tmp_path)
    assert collect_numbers(evaluation) == collect_numbers(unbroken)


def test_what_the_next_batch_goes_on_from_is_within_reach(unbroken):
    """What is removed in between would only be trained again, so nothing else would tell."""
    for trials in unbroken.trials.values():
        for end in (5, 9):
            parents = {t.parent for t in trials[end : end + 4] if t.goes_on}
            assert parents
            assert parents <= find_reachable(trials[:end])
