"""Weights & Biases as a second mirror: whatever is killed, in the end each run stands there once, and nothing goes to
the network while it is offline."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.config import Run
from models.errors import InputError
from tasks.context import open_run
from tasks.run import wandb_mirror
from tasks.run.fingerprint import digest_json, select_identity_settings
from tasks.run.journal import Journal, JournalRecord
from tasks.run.resume import to_run_settings
from tasks.run.wandb_mirror import WandbMirror, describe_mirror, make_environment, start_mirror
from tasks.tracking.wandb_mirror.runs import WandbRuns, nest_names, to_safe_id
from tests import wandb_files

installed = pytest.mark.skipif(find_spec("wandb") is None, reason="the extra `wandb` is not installed")
AT = 1_790_000_000.0


@pytest.mark.parametrize("text", ["{}", '{"key": null}', '{"digest": 1}', "[]", "", "{"])
def test_a_folder_whose_note_is_damaged_is_nobodys(tmp_path, text):
    (tmp_path / "wandb" / "run").mkdir(parents=True)
    note = tmp_path / "wandb" / "run" / "nestor.json"
    note.write_text('{"key": "a"}')
    assert WandbRuns(tmp_path).held == {"a": note.parent}
    assert WandbRuns(tmp_path)._read_held_digest("a") == ""
    note.write_text(text)
    assert WandbRuns(tmp_path).held == {}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """The environment of the mirror's process, for tests that write in this one; any call over the network is refused
    and remembered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("WANDB_BASE_URL", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
            monkeypatch.setenv(name, address)
        for name in ("NO_PROXY", "no_proxy"):  # Prefect's clients of earlier tests may look for their server in here
            monkeypatch.setenv(name, "127.0.0.1")
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        for name, value in make_environment(tmp_path / "w").items():
            monkeypatch.setenv(name, value)
        yield
        if os.environ.get("WANDB_MODE") == "offline":  # who wants to upload may ask whether there is a server
            assert list(_calls(server)) == []


def _calls(server):
    """Who has connected, and the beginning of what they said."""
    server.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            caller, (_, port) = server.accept()
            caller.settimeout(2)
            found = [c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port]
            try:
                told = caller.recv(1000)
            except OSError as error:
                told = repr(error)
            yield [psutil.Process(pid).cmdline() if pid else None for pid in found], told


def tree(count=3):
    """The records of a whole run."""
    yield JournalRecord("run", "pipeline", name="m, today", params={"seed": 0, "split.outer": 3}, start=AT)
    yield JournalRecord("lightgbm", "family", parent="run", start=AT)
    yield JournalRecord("lightgbm/1", "fold", parent="lightgbm", start=AT)
    for n in range(count):
        yield JournalRecord(
            f"lightgbm/1/{n}", "trial", parent="lightgbm/1", params={"rate": 0.1 * n}, metrics={"inner": 0.5 + n},
            tags={"nestor.state": "complete"}, status="FINISHED", start=AT + n, end=AT + n + 1,
        )  # fmt: skip
    yield JournalRecord(
        "lightgbm/1", "fold", params={"best.rate": 0.2}, metrics={"outer": 0.7}, status="FINISHED", end=AT + 9
    )
    yield JournalRecord("lightgbm", "family", status="FINISHED", end=AT + 9)
    yield JournalRecord("run", "pipeline", metrics={"estimate": 0.7}, status="FINISHED", end=AT + 10)


def record(workdir, records):
    with Journal(workdir, "m", f"sqlite:///{workdir}/unused.db", start=False) as journal:
        for one in records:
            journal.record(one)


def copied(workdir, over=False):
    """The mirror after all that the journal says; `over`: nothing more will come."""
    runs = WandbRuns(workdir)
    while runs.follow():
        pass
    if over:
        runs.close_open()
        while runs.write():
            pass
    return runs


def statuses(workdir):
    return {key: run["status"] for key, run in wandb_files.read_runs(workdir).items()}


WHOLE = dict.fromkeys(("run", "lightgbm", "lightgbm/1", "lightgbm/1/0", "lightgbm/1/1", "lightgbm/1/2"), "FINISHED")


@installed
def test_a_run_is_grouped_with_its_kind_parent_and_own_types(tmp_path, offline):
    record(tmp_path / "w", tree())
    assert copied(tmp_path / "w").lost == {}
    found = wandb_files.read_runs(tmp_path / "w")
    assert {key: run["kind"] for key, run in found.items()} == {
        key: ("pipeline" if key == "run" else ("family", "fold", "trial")[key.count("/")]) for key in WHOLE
    }
    assert {(run["project"], run["group"]) for run in found.values()} == {("m", "w")}
    assert found["lightgbm/1/2"]["params"] == {"rate": 0.2}
    assert found["lightgbm/1"]["params"] == {"best.rate": 0.2}
    assert found["run"]["params"] == {"seed": 0, "split.outer": 3}


@installed
def test_a_run_that_goes_on_takes_the_place_of_the_stopped_one(tmp_path, offline):
    workdir, records = tmp_path / "w", list(tree())
    record(workdir, records[:5])
    copied(workdir, over=True)
    stopped = wandb_files.read_runs(workdir)
    assert {k: r["status"] for k, r in stopped.items() if r["status"] != "FINISHED"} == dict.fromkeys(
        ("run", "lightgbm", "lightgbm/1"), "KILLED"
    )
    assert {run["exit"] for run in stopped.values()} == {0, 255}
    written = {f: f.stat().st_mtime_ns for f in workdir.glob("wandb/*-1-0/*.wandb")}
    record(workdir, records[5:])
    copied(workdir, over=True)
    assert statuses(workdir) == WHOLE
    assert {key: run["id"] for key, run in wandb_files.read_runs(workdir).items()}.items() >= {
        key: run["id"] for key, run in stopped.items()
    }.items()
    assert written == {f: f.stat().st_mtime_ns for f in workdir.glob("wandb/*-1-0/*.wandb")}


@installed
def test_a_service_that_was_killed_is_started_again(tmp_path, offline):
    record(tmp_path / "w", [*tree()][:4])
    runs = copied(tmp_path / "w")
    for child in psutil.Process().children():
        if "wandb-core" in child.name():
            child.kill()
    record(tmp_path / "w", [*tree()][4:])
    while runs.follow():
        pass
    assert runs.lost == {}
    assert statuses(tmp_path / "w") == WHOLE


@installed
def test_what_can_not_be_written_does_not_hold_up_the_others(tmp_path, offline):
    odd = JournalRecord("k" * 300, "trial", parent="lightgbm/1", status="FINISHED", start=AT, end=AT)
    record(tmp_path / "w", [*tree(), odd])
    assert list(copied(tmp_path / "w").lost) == ["k" * 300]
    assert statuses(tmp_path / "w") == WHOLE


@installed
def test_files_and_the_table_are_kept(tmp_path, offline):
    workdir = tmp_path / "w"
    (workdir / "artifacts" / "figures").mkdir(parents=True)
    (workdir / "artifacts" / "report.html").write_text("hello")
    (workdir / "artifacts" / "figures" / "a.png").write_bytes(b"1")
    (workdir / "beside.txt").write_text("xyz")
    files = [["artifacts", ""], ["beside.txt", "more"], ["gone.txt", ""]]
    table = {"name": "m.csv", "digest": "f" * 32, "source": "m.csv", "rows": 3, "columns": 2}
    record(workdir, [JournalRecord("run", "pipeline", artifacts=files, dataset=table, status="FINISHED")])
    copied(workdir)
    (run,) = wandb_files.read_runs(workdir).values()
    assert run["files"] == {"report.html": 5, "figures/a.png": 1, "more/beside.txt": 3}
    assert run["dataset"] == table


@installed
def test_no_password_and_nothing_of_the_machine_is_written(tmp_path, offline):
    address = "postgresql://me:geh3im@host/loans?password=geh3im"
    odd = JournalRecord(
        "run", "pipeline", params={"data": address, "many": [address]}, tags={"nestor.source": address},
        dataset={"name": "loans", "digest": "1", "source": address}, status="FINISHED",
    )  # fmt: skip
    record(tmp_path / "w", [odd])
    copied(tmp_path / "w")
    (run,) = wandb_files.read_runs(tmp_path / "w").values()
    assert "postgresql://***@host/loans" in run["raw"]
    assert '"host"' not in run["raw"]
    secrets = ["geh3im", "0" * 40, str(Path.cwd()), sys.executable]
    for file in (tmp_path / "w" / "wandb").rglob("offline-run-*/**/*"):
        text = file.read_bytes() if file.is_file() else b""
        assert not [secret for secret in secrets if secret.encode() in text]


def ended(workdir, seconds=120):
    """Waits until no process is at work on the mirror."""
    until = time.monotonic() + seconds
    while any(str(workdir) in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < until
        time.sleep(0.1)


@installed
@pytest.mark.prove
def test_a_killed_command_and_a_killed_mirror_leave_nothing_twice(tmp_path, offline):
    workdir, records = tmp_path / "w", list(tree(24))
    code = f"""
        import os, signal
        from pathlib import Path
        from tests.tasks.tracking.test_wandb_mirror import record, tree
        from tasks.run.wandb_mirror import WandbMirror
        record(Path({str(workdir)!r}), [*tree(24)][:15])
        WandbMirror(Path({str(workdir)!r}))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, cwd=Path(__file__).parents[3])
    ended(workdir)
    assert statuses(workdir)["run"] == "KILLED"
    record(workdir, records[15:])
    mirror = WandbMirror(workdir)
    until = time.monotonic() + 120
    while len(list(workdir.glob("wandb/*/nestor.json"))) <= 17 and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(mirror.pid, signal.SIGKILL)
    ended(workdir)
    assert mirror.wait(120) == (
        f"Weights & Biases: 27 runs are in {workdir}/wandb, none is sent (it is offline). `wandb sync {workdir}/wandb` "
        "uploads them."
    )
    assert statuses(workdir) == {one.key: "FINISHED" for one in records}


@installed
def test_without_a_login_the_files_stay_and_a_sentence_says_so(tmp_path, offline, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    record(tmp_path / "w", tree())
    assert WandbMirror(tmp_path / "w").wait(120) == (
        "Weights & Biases: 0 of 6 runs are uploaded. Error: No API key configured. Use `wandb login` to log in. "
        f"`wandb sync {tmp_path}/w/wandb` uploads them."
    )
    assert statuses(tmp_path / "w") == WHOLE


@installed
def test_a_session_starts_its_mirror_and_a_refused_table_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_run(Run(data="t.csv", tracking={"mirror": "wandb"}), None, time.time()) as context:
        assert context.mirror is not None
        assert psutil.pid_exists(context.mirror.pid)
    assert not psutil.pid_exists(context.mirror.pid)
    assert list((tmp_path / "mlruns" / "work").glob("*")) == []


@given(st.dictionaries(st.text("ab.", min_size=1, max_size=5), st.integers(), max_size=6))
def test_nesting_loses_no_value(values):
    def leaves(value):
        return [x for v in value.values() for x in leaves(v)] if isinstance(value, dict) else [value]

    assert sorted(leaves(nest_names(values))) == sorted(values.values())


def test_names_that_wandb_forbids_are_changed():
    assert to_safe_id("a/b#c?d:e%f\\g") == "a_b_c_d_e_f_g"


def test_a_missing_package_is_said_before_anything_begins(tmp_path):
    (tmp_path / "wandb").mkdir()  # W&B's own folder of runs is no package
    code = """
        import sys
        from models.config import Run
        from models.errors import InputError
        from tasks.run import wandb_mirror
        sys.path = [sys.argv[1]]
        wandb_mirror.require_wandb(Run(data="t.csv"))
        try:
            wandb_mirror.require_wandb(Run(data="t.csv", tracking={"mirror": "wandb"}))
        except InputError as error:
            sys.exit(str(error))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert "the package wandb, which is missing. Install it: uv sync --extra wandb" in done.stderr
    assert InputError.exit_code == 2


def test_only_known_mirrors_are_taken():
    with pytest.raises(ValidationError, match="mirror"):
        Run(data="t.csv", tracking={"mirror": "neptune"})


def test_a_run_without_a_mirror_is_described_as_before_there_were_any():
    plain, mirrored = Run(data="t.csv"), Run(data="t.csv", tracking={"mirror": "wandb"})
    assert "tracking" not in to_run_settings(plain)
    assert to_run_settings(mirrored)["tracking"] == {"mirror": "wandb"}
    assert digest_json(select_identity_settings(to_run_settings(plain))) == digest_json(
        select_identity_settings(to_run_settings(mirrored))
    )


def test_no_mirror_without_asking_nor_where_wandb_is_switched_off(tmp_path, monkeypatch):
    assert start_mirror(Run(data="t.csv"), tmp_path) is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert start_mirror(Run(data="t.csv", tracking={"mirror": "wandb"}), tmp_path) is None


def test_what_names_another_run_is_not_handed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "theirs")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    own = make_environment(tmp_path)
    assert "WANDB_RUN_ID" not in own
    assert (own["WANDB_ENTITY"], own["WANDB_ERROR_REPORTING"]) == ("team", "false")


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (None, "still being written; w/wandb.log says"),
        ({"online": True, "sent": 7, "done": True}, "has 7 runs."),
        ({"online": True, "sent": 3, "done": False}, "3 of 7 runs are uploaded; the others are under way."),
        (
            {"online": True, "sent": 3, "done": True, "said": "No API key."},
            "uploaded. No API key. `wandb sync w/wandb`",
        ),
        ({"lost": 2, "why": "disk full"}, "2 runs could not be written (disk full), 7 runs are in w/wandb."),
    ],
)
def test_how_far_it_came_is_said(state, says):
    plain = {"written": 7, "lost": 0, "why": "", "done": True, "online": False, "sent": 0, "said": ""}
    assert says in describe_mirror(None if state is None else {**plain, **state}, Path("w"))
    assert wandb_mirror.LONGEST <= 10
