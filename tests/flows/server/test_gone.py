"""Flow runs whose process is gone: what cannot be closed stops nobody."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.server import gone
from tasks.run import resume
from tasks.run.folder import Workdir
from tasks.system import process

DEAD = {**process.identify_process(), "pid": 2**22 + 1, "pid_start": 5.0}
"""A process that is not: pids of Linux end before."""


def run(name: str, **other: Any) -> Path:
    """The folder of a run whose process is gone."""
    fixed = {"run": {}, "name": "n", "begun": 1.0, "state": "running", "used": 0.0, "flow_run": "x"}
    folder = Path("mlruns/work") / name
    Workdir(folder).write_json("run.json", {**fixed, **DEAD, **other})
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def unreadable(folder: Path) -> None:
    (folder / "run.json").unlink()
    (folder / "run.json").mkdir()


def damaged(folder: Path) -> None:
    (folder / "run.json").write_text("{")


@pytest.mark.parametrize("strange", [shutil.rmtree, unreadable, damaged])
@pytest.mark.parametrize("meanwhile", [False, True])
def test_one_strange_folder_stops_no_flow_and_no_other_folder(here, monkeypatch, strange, meanwhile):
    folders = [run(name) for name in "abc"]

    def found() -> list[Workdir]:
        there = resume.find_abandoned_runs()
        strange(folders[1])
        return there

    if meanwhile:
        monkeypatch.setattr(gone, "find_abandoned_runs", found)
    else:
        strange(folders[1])
    gone.close_abandoned()
    assert [Workdir(folders[i]).read_json("run.json")["state"] for i in (0, 2)] == ["stopped", "stopped"]


@pytest.mark.parametrize("pid", ["one", -1, None, 2**70, [1]])
def test_a_run_that_names_no_process_stops_no_flow(here, pid):
    folder = run("strange", pid=pid)
    gone.close_abandoned()
    assert Workdir(folder).read_json("run.json")["state"] == "stopped"


@pytest.mark.parametrize("attempt", [1, "?"])
@pytest.mark.parametrize("name", ["no id", "None"])
def test_a_record_of_no_flow_run_stops_no_flow(here, name, attempt):
    folder = Path("mlruns/flows")
    folder.mkdir(parents=True)
    (folder / f"{name}.json").write_text(json.dumps({**DEAD, "attempt": attempt}))
    gone.close_abandoned()


def test_a_flow_run_is_noted_while_it_runs_and_no_longer(here, monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", "one")
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", "1")
    record = tmp_path / "mlruns/flows/one.json"
    with gone.record_flow_run():
        assert record.exists()
        monkeypatch.chdir("/")
    assert not record.exists()
