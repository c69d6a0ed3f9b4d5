"""A run's mirror in Weights & Biases, as the run sees it: a process of its own, which is never waited for long.

MLflow has the registry and what later runs read; this is a second copy for who looks there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from models.config import Run
from models.errors import InputError
from tasks.run.folder import Workdir

LONGEST = 10.0
"""Seconds that the end of a run waits; the process goes on without it."""
OF_ONE_RUN = (
    "FORK_FROM", "JOB_TYPE", "NAME", "NOTES", "RESUME", "RESUME_FROM", "RUN_GROUP", "RUN_ID", "SERVICE", "SWEEP_ID",
)  # fmt: skip
"""WANDB_* variables that name a certain run, such as a sweep's that this command is part of: not all of ours."""


def require_wandb(run: Run) -> None:
    """InputError where W&B is asked for and its package is not there."""
    if run.tracking.mirror == "wandb" and not _is_installed():
        raise InputError(
            "tracking.mirror: wandb needs the package wandb, which is missing. Install it: uv sync --extra wandb "
            "(pip install 'nestor[wandb]'), or leave the mirror out."
        )


def _is_installed() -> bool:
    # W&B's own folder of runs, ./wandb, would pass for a package without files.
    spec = find_spec("wandb")
    return spec is not None and spec.origin is not None


def start_mirror(run: Run, workdir: Path) -> WandbMirror | None:
    """The mirror that the run asks for, at work; None without one, and where WANDB_MODE switches W&B off."""
    is_off = os.environ.get("WANDB_MODE") == "disabled"
    return None if run.tracking.mirror is None or is_off else WandbMirror(workdir)


class WandbMirror:
    """The process that copies the journal."""

    def __init__(self, workdir: Path) -> None:
        """Starts it; it imports W&B when the first run has ended."""
        self.shown, self.workdir = workdir, workdir.resolve()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # -P and a session of its own, as MLflow's writer has them (tasks/run/tracker.py).
        command = [sys.executable, "-P", "-m", "tasks.tracking.wandb_mirror.writer", str(self.workdir)]
        with (self.workdir / "wandb.log").open("ab") as log:
            return subprocess.Popen(
                command, env=make_environment(self.workdir), stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def end(self, seconds: float) -> str:
        """Tells it that the run is over and waits a little, at most about `seconds`; a sentence on how far it came."""
        return self.wait(min(LONGEST, max(1.0, seconds)))

    def wait(self, seconds: float) -> str:
        """The same, for as long as it takes within `seconds`."""
        state = Workdir(self.workdir / "wandb")
        (state.path / "state.json").unlink(missing_ok=True)
        deadline = time.monotonic() + seconds
        for _ in range(2):  # where it was killed, a second one finds in the journal what is missing
            if self._process.poll() is not None:
                self._process = self._start()
            self.close()
            with suppress(subprocess.TimeoutExpired):
                if self._process.wait(max(0.0, deadline - time.monotonic())) == 0:
                    break
        return describe_mirror(state.try_json("state.json"), self.shown)

    def close(self, kill: bool = False) -> None:
        """Tells it that the run is over; with `kill` nothing of it is worth keeping."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        if kill:
            self._process.kill()
            self._process.wait()


def make_environment(workdir: Path) -> dict[str, str]:
    """What W&B is told beside what the user has set: nothing that names one run, no reports of its errors to its
    makers, its scratch files in the run's folder."""
    variables = {k: v for k, v in os.environ.items() if k not in {f"WANDB_{name}" for name in OF_ONE_RUN}}
    scratch = str(workdir / "wandb" / ".scratch")
    return {**variables, "WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": scratch, "WANDB_DATA_DIR": scratch}


def describe_mirror(state: dict[str, object] | None, workdir: Path) -> str:
    """How far the mirror came, in a sentence."""
    folder = workdir / "wandb"
    advice = f"`wandb sync {folder}` uploads them."
    if state is None:
        return f"Weights & Biases: still being written; {workdir / 'wandb.log'} says what goes wrong, if anything."
    runs, count = f"{state['written']} runs", state["sent"]
    if state["lost"]:
        loss = f"{state['lost']} runs could not be written ({state['why']})"
        return f"Weights & Biases: {loss}, {runs} are in {folder}."
    if not state["online"]:
        return f"Weights & Biases: {runs} are in {folder}, none is sent (it is offline). {advice}"
    if count == state["written"]:
        return f"Weights & Biases has {runs}."
    if not state["done"]:
        return f"Weights & Biases: {count} of {runs} are uploaded; the others are under way."
    return f"Weights & Biases: {count} of {runs} are uploaded. {state['said']} {advice}"
