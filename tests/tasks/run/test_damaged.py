"""Files that lost power, a full disk or a hand has damaged: those of another run are named and left out, those of this
run are made again, or named where that would be another run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from models.errors import InputError, NestorError
from tasks.evaluation.evaluate import evaluate
from tasks.planning import load_and_seal
from tasks.planning.plan import make_plan
from tasks.retrain import attempt
from tasks.run import events, resume
from tasks.run.fingerprint import make_source_record
from tasks.run.folder import DamagedFileError, Workdir
from tests.runs import begin_run, collect_numbers, make_frame, make_small_run, train_run, tune_plan

RUN = make_small_run(
    data=make_frame()[["number", "flag", "target"]], weight=None, drop=(),
    search={"families": ("constant", "linear"), "trials": 2}, budget={"workers": 1},
)  # fmt: skip


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(max(64, path.stat().st_size)))


HARMS = [empty, halved, garbage]
FIXED = ("plan.pkl", "table.json", "seal.json", "warm.json")
"""What was fixed before the first trial: trials of two plans, tables or seals are no one run."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run up to its evaluation, and its numbers."""
    path = tmp_path_factory.mktemp("whole") / "run"
    evaluation = train_run(RUN, path)
    evaluation.context.folder.write_json("warm.json", {"warm": None, "notes": []})
    return path, collect_numbers(evaluation)


def again(path: Path):
    """The numbers of the run in this folder, resumed."""
    sealed = begin_run(RUN, path)
    try:
        load_and_seal.check_signal_of_table(sealed)
        return collect_numbers(evaluate(tune_plan(make_plan(sealed))))
    finally:
        sealed.context.close()


@pytest.mark.parametrize("harm", HARMS)
def test_what_a_run_can_make_again_it_makes_again_to_the_last_digit(whole, tmp_path, harm):
    path = shutil.copytree(whole[0], tmp_path / "run")
    files = [file for file in path.rglob("*") if file.is_file() and file.name not in FIXED]
    assert {file.relative_to(path).parts[0] for file in files} >= {"fits", "columns", "studies", "sealed", "briefs"}
    for file in files:
        harm(file)
    assert again(path) == whole[1]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", FIXED)
def test_what_was_fixed_before_any_trial_is_named_where_it_is_damaged(whole, tmp_path, name, harm):
    path = shutil.copytree(whole[0], tmp_path / "run", ignore=shutil.ignore_patterns("fits", "columns"))
    harm(path / name)
    with pytest.raises(DamagedFileError, match=rf"{name} is damaged: .* Begin a new run without --resume"):
        _to_the_plan(path)
    shutil.rmtree(path / "studies")
    _to_the_plan(path)  # nothing hangs on it yet


def test_a_plan_of_an_earlier_version_is_told_from_a_damaged_one(whole, tmp_path):
    path = shutil.copytree(whole[0], tmp_path / "run", ignore=shutil.ignore_patterns("fits", "columns"))
    Workdir(path).write_pickle("plan", Workdir(path).read_pickle("plan")[:4])
    with pytest.raises(
        DamagedFileError, match=r"plan.pkl was made with other versions .* Begin a new run without --resume"
    ):
        _to_the_plan(path)


@pytest.mark.parametrize("gone", [b"cno_such_library\nThing\n.", b"cjson\nNoSuchThing\n."])
def test_what_a_changed_library_can_not_read_is_told_from_what_is_damaged(tmp_path, gone):
    (tmp_path / "a.pkl").write_bytes(gone)
    with pytest.raises(DamagedFileError, match=r"a.pkl was made with other versions .*(no_such_library|NoSuchThing)"):
        Workdir(tmp_path).read_pickle("a")
    assert Workdir(tmp_path).try_pickle("a") is None


@pytest.mark.parametrize("name", ["read_pickle", "read_array"])
def test_a_file_that_the_system_refuses_is_not_called_damaged(tmp_path, name):
    for ending in ("pkl", "npy"):
        (tmp_path / f"a.{ending}").symlink_to(f"a.{ending}")
    with pytest.raises(OSError, match="symbolic links"):
        getattr(Workdir(tmp_path), name)("a")


def test_an_interrupt_after_a_file_has_its_name_is_what_is_raised(tmp_path, monkeypatch):
    replace = os.replace

    def interrupted(*names: str) -> None:
        replace(*names)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Workdir(tmp_path).write_json("run.json", {})
    assert os.listdir(tmp_path) == ["run.json"]


def _to_the_plan(path: Path) -> None:
    sealed = begin_run(RUN, path, pool=_NoPool)
    try:
        make_plan(sealed)
    finally:
        sealed.context.close()


class _NoPool:
    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def runs(whole, tmp_path, monkeypatch):
    """A folder with two runs, one of them with other settings."""
    monkeypatch.chdir(tmp_path)
    resume._warn_of_damaged.cache_clear()
    for name in ("first", "second"):
        shutil.copytree(whole[0], tmp_path / "mlruns" / "work" / name, ignore=lambda *_: ["fits", "columns"])
    sealed = begin_run(RUN, tmp_path / "mlruns" / "work" / "first", pool=_NoPool)
    sealed.context.write_state("stopped")
    sealed.context.close()
    return tmp_path / "mlruns"


UNREADABLE: list[Callable[[Path], object]] = [
    *HARMS,
    lambda path: path.write_text("{}"),
    lambda path: path.write_text("[1, 2]"),
    lambda path: path.write_text('{"run": 3, "state": "done"}'),
    lambda path: path.write_bytes(b"\xff\xfe\x00"),
]


@pytest.mark.parametrize("harm", UNREADABLE)
def test_a_damaged_run_is_named_and_left_out(runs, harm):
    said: list[str] = []
    shutil.copyfile(runs / "work/first/run.json", runs / "work/second/run.json")
    harm(runs / "work/second/run.json")
    with events.listen_to_events(lambda event: said.append(getattr(event, "text", ""))):
        found = resume.find_interrupted_run(RUN, "model")
        assert resume.find_flow_run_folder("none") is None
        assert resume.find_abandoned_runs() == []
        assert resume.read_finished_report(RUN.model_copy(update={"name": "model"}), "") is None
    assert found is not None
    assert found.path.name == "first"
    assert [line for line in said if line] == ["The run in mlruns/work/second is left out: its run.json is damaged."]
    with pytest.raises(NestorError, match=r"second/run.json is damaged"):
        resume.find_interrupted_run(RUN, "model", "second")
    with pytest.raises(InputError, match="third"):
        resume.find_interrupted_run(RUN, "model", "third")


@pytest.mark.parametrize("harm", UNREADABLE[:-4])
def test_a_report_that_is_damaged_is_made_again(runs, harm):
    kept = json.loads((runs / "work/first/run.json").read_text())
    (runs / "work/first/run.json").write_text(json.dumps({**kept, "state": "done"}))
    (runs / "work/first/report.json").write_text(json.dumps({"run_id": "a" * 32}))
    harm(runs / "work/first/report.json")
    assert resume.read_finished_report(RUN.model_copy(update={"name": "model"}), "first") is None


@pytest.mark.parametrize("harm", UNREADABLE)
def test_what_a_retraining_wrote_down_may_be_damaged(tmp_path, monkeypatch, harm):
    monkeypatch.chdir(tmp_path)
    run = RUN.model_copy(update={"name": "model", "data": "t.csv"})
    folder = Workdir(Path("mlruns/retrain/x"))
    monkeypatch.setattr("tasks.run.fingerprint.locate_retrain_folder", lambda name: folder)
    folder.write_json("sources.json", {"t.csv": {"data": "env:SALES"}})
    harm(folder.path / "sources.json")
    assert make_source_record(run)["data"] == "t.csv"
    folder.write_json("open.json", {"run": {"a": 1}, "since": 1.0})
    harm(folder.path / "open.json")
    asked = attempt.RetrainInputs(None, SimpleNamespace(config={}), None, "t.csv", {}, folder)  # type: ignore[arg-type]
    assert attempt.find_waiting_report(asked) is None


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders can't be synced here")
def test_what_must_last_is_brought_to_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done: list[str] = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, call=call, name=name: (done.append(name), call(*a))[1])
    Workdir(tmp_path).write_json("run.json", {})
    assert done == ["fsync", "replace", "fsync"]
    done.clear()
    Workdir(tmp_path).write_array("fits/1/0", np.zeros(3))
    assert done == ["replace"]
