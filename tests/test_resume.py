"""Killed and resumed equals unbroken: the command itself, with Prefect, MLflow and every process of its own.

The kills are long proofs, here and, twenty more of them, in tests/prove: that a run which was killed and taken up again
is the unbroken one is looked at in each part by itself too (fits and studies in tests/test_laws.py, searches in
tests/test_searches.py, MLflow in tests/tasks/tracking/test_tracking.py)."""

from __future__ import annotations

import pytest

from tests.commands import Command, drop_volatile, read_mirror, read_studies, serve_folder

TRAIN = (
    "train", "sklearn:breast_cancer", "--trials", "6", "--families", "constant,linear,random_forest",
    "--outer", "2", "--inner", "2", "--workers", "2", "--json", "--quiet",
)  # fmt: skip


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    with serve_folder(tmp_path_factory.mktemp("unbroken")) as folder:
        return drop_volatile(Command(folder, *TRAIN).result()), read_mirror(folder), read_studies(folder)


def test_an_unbroken_run_is_whole_in_mlflow_and_in_its_studies(unbroken):
    report, runs, studies = unbroken
    assert set(report) == {
        "name", "version", "task", "metric", "winner", "how", "estimate", "test", "optimism", "agreement", "families",
        "trials", "warnings", "left_out", "sentence", "notes", "alias", "warm", "coverage", "objectives", "front",
        "openings", "seal", "repeats", "over_time", "promoted", "beats_constant", "pick",
    }  # fmt: skip
    kinds = [held[1] for held in runs.values()]
    assert {k: kinds.count(k) for k in set(kinds)} == {"pipeline": 1, "family": 3, "fold": 6, "trial": 26}
    assert sum(report["trials"].values()) == 26
    trials = {f"{study}/{trial[0]}" for study, trials in studies.items() for trial in trials}
    assert trials == {key for key, held in runs.items() if held[1] == "trial"}


@pytest.mark.prove
def test_a_run_that_was_killed_and_resumed_equals_the_unbroken_one(unbroken, tmp_path):
    with serve_folder(tmp_path) as folder:
        first = Command(folder, *TRAIN)
        assert first.reached(17), "it ended before it could be killed"
        assert first.kill("main")
        assert drop_volatile(Command(folder, *TRAIN, "--resume").result()) == unbroken[0]
        assert read_mirror(folder) == unbroken[1]
        assert read_studies(folder) == unbroken[2]


@pytest.mark.prove
def test_a_run_whose_tracker_and_server_were_killed_equals_the_unbroken_one(unbroken, tmp_path):
    with serve_folder(tmp_path) as folder:
        command = Command(folder, *TRAIN)
        assert command.reached(15)
        assert command.kill("tracker")
        assert command.reached(19)
        assert command.kill("server")
        assert drop_volatile(command.result()) == unbroken[0]
        assert read_mirror(folder) == unbroken[1]
        assert read_studies(folder) == unbroken[2]
