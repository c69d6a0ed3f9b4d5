"""The journal: what a kill leaves is readable, and what it says adds up."""

import json
import os
import subprocess
import sys
import threading

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError, NestorError
from tasks.run.journal import (
    Journal,
    JournalRecord,
    find_default_address,
    find_page_address,
    join_records,
    parse_records,
    read_lines,
)


def lines_of(*records):
    return [vars(r) for r in records]


def in_file(journal):
    return parse_records(read_lines(journal.workdir / "events.jsonl")[0])


def test_the_module_does_not_import_mlflow():
    code = "import sys, tasks.run.journal; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_record_comes_back_as_it_went(tmp_path):
    record = JournalRecord(
        "lightgbm/2/17",
        "trial",
        parent="lightgbm/2",
        params={"rate": 0.1},
        metrics={"inner": 0.0, "odd": float("inf")},
        series={"score": [0.1, 0.2]},
        tags={"nestor.state": "complete"},
        status="FINISHED",
        start=1.5,
        end=2.5,
    )
    with Journal(tmp_path, "m", start=False) as journal:
        journal.record(record)
        (back,) = in_file(journal)
    assert back.at > 0
    assert {**vars(back), "at": 0} == {**vars(record), "artifacts": (), "at": 0}


def test_artifacts_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w" / "artifacts").mkdir(parents=True)
    (tmp_path / "beside.txt").write_text("x")
    files = [["w/artifacts", ""], ["artifacts", "a"], [str(tmp_path / "w" / "artifacts"), "b"], ["beside.txt", "c"]]
    with Journal("w", "m", start=False) as journal:
        journal.record(JournalRecord("run", "pipeline", artifacts=files))
        (back,) = in_file(journal)
    here = str(tmp_path / "beside.txt")
    assert back.artifacts == [["artifacts", ""], ["artifacts", "a"], ["artifacts", "b"], [here, "c"]]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=3))
def test_a_torn_last_line_is_no_line_and_the_next_starts_afresh(tmp_path_factory, cuts):
    workdir = tmp_path_factory.mktemp("torn")
    for n, cut in enumerate(cuts):
        with Journal(workdir, "m", start=False) as journal:
            journal.record(JournalRecord(f"lightgbm/0/{n}", "trial", params={"text": "é" * 30}))
        whole = (workdir / "events.jsonl").read_bytes()
        (workdir / "events.jsonl").write_bytes(whole[: len(whole) - min(cut, 100)])
    with Journal(workdir, "m", start=False) as journal:
        journal.record(JournalRecord("last", "family"))
        keys = [r.key for r in in_file(journal)]
    assert keys[-1] == "last"
    assert (workdir / "events.jsonl").read_bytes().endswith(b"\n")
    assert set(keys) <= {*(f"lightgbm/0/{n}" for n in range(len(cuts))), "last"}


def test_threads_do_not_mix_their_lines(tmp_path):
    with Journal(tmp_path, "m", start=False) as journal:
        work = [threading.Thread(target=_write, args=(journal, n)) for n in range(8)]
        _ = [t.start() for t in work], [t.join() for t in work]
        assert len({r.key for r in in_file(journal)}) == len(in_file(journal)) == 800
        assert journal.count_backlog() == 800


def _write(journal, thread):
    for n in range(100):
        journal.record(JournalRecord(f"{thread}/{n}", "trial", params={"p": "x" * 500}))


def test_records_with_one_key_add_up():
    whole = join_records(
        lines_of(
            JournalRecord("run", "pipeline", name="a", start=1.0, metrics={"x": 1}, artifacts=[["f", ""]], at=1),
            JournalRecord("run", "pipeline", metrics={"x": 2, "y": 3}, artifacts=[["f", ""], ["g", ""]], at=2),
            JournalRecord("run", "pipeline", status="FINISHED", at=3),
        )
    )["run"]
    assert (whole.name, whole.start, whole.end, whole.status) == ("a", 1.0, 3, "FINISHED")
    assert whole.metrics == {"x": 2, "y": 3}
    assert list(whole.artifacts) == [["f", ""], ["g", ""]]


@pytest.mark.parametrize(("ended", "then"), [("KILLED", None), ("FAILED", None), ("FINISHED", "FINISHED")])
def test_a_resumed_run_is_open_unless_it_had_finished(ended, then):
    run = JournalRecord("run", "pipeline", status=ended, at=1)
    assert join_records([*lines_of(run), {"resumed": 2}])["run"].status == then


def test_a_second_journal_over_an_open_one_is_refused(tmp_path):
    with Journal(tmp_path, "m", start=False), pytest.raises(NestorError, match="Another process"):
        Journal(tmp_path, "m", start=False)


def test_a_resumed_journal_keeps_its_run(tmp_path):
    with Journal(tmp_path, "m", "sqlite:///one.db", start=False) as first:
        first.record(JournalRecord("run", "pipeline"))
    with Journal(tmp_path, "m", start=False) as second:
        assert (second.run_key, second.tracking_uri, second.count_backlog()) == (first.run_key, first.tracking_uri, 1)
    with pytest.raises(InputError, match="belongs to the model 'm'"):
        Journal(tmp_path, "other", start=False)


def test_the_address_is_that_of_a_living_up_whose_store_is_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI"):
        monkeypatch.delenv(name, raising=False)
    here = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert find_default_address() == here
    record = tmp_path / "mlruns" / "prefect" / "server.json"
    record.parent.mkdir(parents=True)
    born = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    record.write_text(json.dumps({**born, "port": 1, "tracking": "http://127.0.0.1:5000"}))
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "restored at the end")
        monkeypatch.delenv(name)
    assert find_default_address() == "http://127.0.0.1:5000"
    known = ":".join(os.environ[f"MLFLOW_TRACKING_{one}"] for one in ("USERNAME", "PASSWORD"))
    assert known == (tmp_path / "mlruns" / "login").read_text().strip()
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "the user's own")
    assert find_default_address() == "http://127.0.0.1:5000"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "the user's own"
    record.write_text(json.dumps({**born, "started": 1.0, "port": 1, "tracking": "http://127.0.0.1:5000"}))
    assert find_default_address() == here
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "postgresql://db/mlflow")
    assert find_default_address() == "postgresql://db/mlflow"


def test_a_command_knows_the_page_of_a_living_up_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI", "NESTOR_MLFLOW_UI"):
        monkeypatch.delenv(name, raising=False)
    record = tmp_path / "mlruns" / "prefect" / "server.json"
    record.parent.mkdir(parents=True)
    assert find_page_address(find_default_address()) is None
    living = {"pid": os.getpid(), "started": psutil.Process().create_time(), "mlflow": "http://127.0.0.1:5000"}
    record.write_text(json.dumps(living))
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "restored at the end")
        monkeypatch.delenv(name)
    assert find_page_address(find_default_address()) == "http://127.0.0.1:5000"
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ, "another server, set later, would be sent it"
    assert find_page_address("sqlite:////elsewhere/mlflow.db") is None, "its page shows another store"
    assert find_page_address("http://team") == "http://team"
    record.write_text(json.dumps({**living, "started": 1.0}))
    assert find_page_address(find_default_address()) is None


def test_no_password_is_written_down_and_the_tracker_has_it_all_the_same(tmp_path, monkeypatch):
    whole = f"sqlite:///{tmp_path}/m.db?password=geheim"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", whole)
    with Journal(tmp_path / "w", "m", start=False) as journal:
        assert "geheim" not in journal.tracking_uri
        journal.record(JournalRecord("run", "pipeline"))
    assert "geheim" not in (tmp_path / "w" / "events.jsonl").read_text()
    with Journal(tmp_path / "w", "m", start=False) as journal:
        assert journal._address == whole
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(InputError, match="with its password"):
        Journal(tmp_path / "w", "m", start=False)
