"""However a run ends, Prefect does not show it running on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.server import prefect_server
from tests.commands import QUIET
from tests.stack import LOGINS, ask_server

KILLED = """
import os, signal
from flows.server.called import ServedFlow
from flows.train import train

def inner(how: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

def outer(how: str) -> None:
    part(how)

part = ServedFlow(inner, name="train")
ServedFlow(outer, name="retrain")("killed")
"""

OVER_BUDGET = """
import time
from flows.server import begin
from flows.server.called import ServedFlow, FlowRunContext
from models.config import Run
from tasks.run import ledger

def hangs(how: str) -> None:
    context = begin.find_beginning().context
    context.write_state(flow_run=str(FlowRunContext.get().flow_run.id))
    context.overtime = lambda: None  # as where nothing could be delivered
    context.ledger.limit = 0.0
    time.sleep(600)

ledger.mark_command_start()
with begin.begin_run(Run(data="sklearn:iris", budget="10m", search={"families": ("constant",)})):
    ServedFlow(hangs, name="train")("over budget")
"""

CAUGHT = """
import os, signal, sys
from flows.server.called import ServedFlow
from models.errors import NestorError

def ends(how: str) -> None:
    if how == "sentence":
        raise NestorError("No luck.")
    if how == "error":
        raise ValueError("no luck")
    if how == "exit":
        sys.exit(3)
    if how in ("SIGINT", "SIGTERM"):
        os.kill(os.getpid(), getattr(signal, how))
        signal.pause()

for how in ("well", "sentence", "error", "exit", "SIGINT", "SIGTERM"):
    try:
        ServedFlow(ends, name="score")(how)
    except BaseException as error:
        print(how, type(error).__name__)
"""

STATES = {
    "killed": "CRASHED", "over budget": "FAILED", "well": "COMPLETED", "sentence": "FAILED", "error": "FAILED",
    "exit": "CRASHED", "SIGINT": "CRASHED", "SIGTERM": "CRASHED",
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """The flow runs that Prefect has after each of these endings, and one command more."""
    folder = tmp_path_factory.mktemp("endings")
    try:
        api = prefect_server.start_server(folder / "mlruns").wait_until_ready()
        LOGINS[api.split("/")[2]] = folder / "mlruns" / "login"
        codes = [run(folder, script) for script in (KILLED, OVER_BUDGET, CAUGHT)]
        assert codes == [-9, 3, -15]  # a SIGTERM ends its process, once Prefect has been told
        assert list((folder / "mlruns" / "flows").iterdir()) == []  # nothing is left for later commands to ask about
        yield ask_server(f"{api}/flow_runs/filter", {})
    finally:
        prefect_server.stop_server(folder / "mlruns")


def run(folder: Path, script: str) -> int:
    """The exit code of a process that runs the script in this folder."""
    return subprocess.run([sys.executable, "-c", script], cwd=folder, env=QUIET, check=False, timeout=120).returncode


FITTED = """
import time
from types import SimpleNamespace
from flows.server import begin
from tasks.run import ledger
ledger.mark_command_start()
context = SimpleNamespace(ledger=ledger.Ledger(1.0, time.time() - 60), is_resumed_with_records=False)
context.overtime, context.write_state = lambda: OVERTIME, print
context.folder = SimpleNamespace(read_json=lambda name: None)
with begin._enforce_budget(context, None):
    time.sleep(2)
"""


@pytest.mark.parametrize(("overtime", "code"), [(600.0, 0), (30.0, 3)])
def test_a_run_that_has_something_to_deliver_is_ended_only_after_its_overtime(tmp_path, overtime, code):
    assert run(tmp_path, FITTED.replace("OVERTIME", str(overtime))) == code


STUCK = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from flows.server import begin, prefect_server
from tasks.run import ledger
from tasks.run.folder import Workdir

def write_state(state):
    if sys.argv[1] == "a full disk":
        raise OSError(28, "No space left on device")

ledger.mark_command_start()
begin._PATIENCE = 0.5
if sys.argv[1] == "a dead server":
    Workdir(Path()).write_json("run.json", {"flow_run": "begun there"})
context = SimpleNamespace(
    ledger=ledger.Ledger(1.0, time.time() - 60), is_resumed_with_records=False, overtime=lambda: None,
    write_state=write_state, folder=Workdir(Path()),
)
dead = prefect_server.ServerHandle("http://127.0.0.1:9/api", home=Path("prefect"), pid=os.getpid())
with begin._enforce_budget(context, dead):
    time.sleep(60)
"""


@pytest.mark.parametrize("stuck", ["a full disk", "a dead server"])
def test_an_overrun_command_ends_whatever_hangs_or_fails(stuck, tmp_path):
    script = [sys.executable, "-c", STUCK, stuck]
    done = subprocess.run(script, cwd=tmp_path, env=QUIET, check=False, timeout=50, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("Error: The budget of 1 s is over")) == (3, 1)
    assert "Traceback" not in done.stderr


def test_every_ending_leaves_a_state_that_is_final(runs):
    found = {(one["parameters"]["how"], one["state_type"]) for one in runs}
    assert found == set(STATES.items())
    assert len(runs) == len(STATES) + 1  # the one that was killed had another within it


def test_what_ended_by_its_budget_says_so(runs):
    [state] = [one["state"] for one in runs if one["parameters"]["how"] == "over budget"]
    assert "budget of 600 s is over" in state["message"]


def test_the_runs_of_commands_have_the_tag_by_which_automations_know_them(runs):
    parts = [one for one in runs if one["parent_task_run_id"]]
    assert [one["tags"] for one in parts] == [["nestor-part"]]
    assert all(one["tags"] == ["nestor"] for one in runs if one not in parts)
