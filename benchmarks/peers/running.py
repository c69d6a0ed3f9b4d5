"""One system on one divided table: its files, its clock from outside, and what came of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from benchmarks.command import stop_server
from benchmarks.peers.catalogue import Table
from benchmarks.peers.division import Division
from benchmarks.peers.judging import UnusablePredictions, score_predictions
from benchmarks.peers.systems import SCRIPTS, System
from benchmarks.peers.watching import Watch

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}
"""Nothing is told of us, and no weights are waited for."""
OURS = ("PREFECT_", "MLFLOW_", "NESTOR_", "PYTHONPATH", "VIRTUAL_ENV")
"""Variables that a system does not get to see."""


@dataclass(frozen=True)
class Task:
    """What a system is asked for."""

    table: Table
    seed: int
    budget: float
    """Seconds."""
    cores: int

    def to_spec(self) -> dict[str, Any]:
        """What the system is told. Of a table with time and groups it is told the time, which has divided it."""
        told = asdict(self.table)
        spec = {name: told[name] for name in ("target", "task", "metric", "group", "time")}
        spec["group"] = None if spec["time"] else spec["group"]
        return spec | {"seed": self.seed, "budget": self.budget, "cores": self.cores}


@dataclass(frozen=True)
class Stage:
    """A process that has ended."""

    code: int | None
    """None where it was stopped after the patience."""
    began: float
    wall: float
    peak_mb: float
    core_seconds: float
    said: str
    """The end of what was written to standard error."""
    seen: tuple[psutil.Process, ...]


def compute_patience(budget: float) -> float:
    """Seconds after which a process is taken to hang: three times the budget, and ten minutes for what comes after."""
    return 3 * budget + 600


def run_system(system: System, python: Path, task: Task, division: Division, folder: Path) -> dict[str, Any]:
    """The part of a row that the run yields: its state, the score of its predictions, seconds, memory and facts."""
    spec = task.to_spec()
    _lay_out(system, spec, division, folder)
    training = system.list_training_command(spec)
    stages: list[Stage] = []
    try:
        if training:
            stages.append(_run_stage(training, task, folder, "report.json"))
        if not training or stages[0].code == 0:
            stages.append(_run_stage([str(python), "peer.py"], task, folder, "out"))
    finally:
        stop_server(folder)
        _end_processes([process for stage in stages for process in stage.seen])
    return {"state": "done"} | _measure_run(stages, folder, bool(training)) | _judge(stages[-1], task, division, folder)


def _lay_out(system: System, spec: Mapping[str, Any], division: Division, folder: Path) -> None:
    division.train.to_parquet(folder / "train.parquet", index=False)
    division.test.drop(columns=spec["target"]).to_parquet(folder / "test.parquet", index=False)
    (folder / "spec.json").write_text(json.dumps(spec))
    shutil.copy(SCRIPTS / "exchange.py", folder / "exchange.py")
    # Under its own name it would hide the library that it imports.
    shutil.copy(system.script, folder / "peer.py")


def _run_stage(command: Sequence[str], task: Task, folder: Path, out: str) -> Stage:
    ready, log = folder / "model-ready", folder / "log"
    began, clock = time.time(), time.monotonic()
    with (folder / out).open("wb") as printed, log.open("ab") as said:
        process = subprocess.Popen(
            [*_pin(task.cores), *command], cwd=folder, env=_make_environment_variables(), stdin=subprocess.DEVNULL,
            stdout=printed, stderr=said, start_new_session=True,
        )  # fmt: skip
        with Watch(process.pid, _find_server(folder), lambda: not ready.exists()) as watch:
            code = _wait(process, compute_patience(task.budget), watch)
    wall, end = time.monotonic() - clock, log.read_text("utf-8", errors="replace")[-4000:]
    return Stage(code, began, wall, watch.peak_mb, watch.core_seconds, end, tuple(watch.list_seen()))


def _pin(cores: int) -> list[str]:
    """What keeps a command and its children on so many cores, where the system has it."""
    taskset = shutil.which("taskset")
    if taskset is None or not hasattr(os, "sched_getaffinity"):
        return []
    return [taskset, "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))]


def _make_environment_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | QUIET


def _find_server(folder: Path) -> Callable[[], list[int]]:
    """The server that Nestor's command leaves running is nobody's child in the end."""

    def find() -> list[int]:
        with suppress(OSError, ValueError, KeyError):
            return [json.loads((folder / "mlruns" / "prefect" / "server.json").read_text())["pid"]]
        return []

    return find


def _wait(process: subprocess.Popen[bytes], limit: float, watch: Watch) -> int | None:
    """The exit code, or None where the patience was over; then, and after Ctrl-C, nothing of it is left running."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            _end_processes(watch.list_seen())
            process.kill()
            process.wait()


def _end_processes(seen: Iterable[psutil.Process]) -> None:
    """Ends what a system has left running."""
    for process in seen:
        with suppress(psutil.Error):
            process.kill()


def _measure_run(stages: Sequence[Stage], folder: Path, trained_before: bool) -> dict[str, Any]:
    """Seconds from the start of the first process, and what it used until the model was there."""
    last, before = stages[-1], sum(stage.wall for stage in stages[:-1])
    trained = stages[:1] if trained_before else stages
    ready = _find_moment(folder / "model-ready", last, before)
    if trained_before:
        ready = stages[0].wall if stages[0].code == 0 else None
    return {
        "seconds_model": ready,
        "seconds_predictions": _find_moment(folder / "predictions.parquet", last, before),
        "seconds_exit": before + last.wall,
        "peak_mb": max(stage.peak_mb for stage in trained),
        "core_seconds": sum(stage.core_seconds for stage in trained),
    }


def _find_moment(file: Path, stage: Stage, before: float) -> float | None:
    return before + file.stat().st_mtime - stage.began if file.exists() else None


def _judge(last: Stage, task: Task, division: Division, folder: Path) -> dict[str, Any]:
    """Facts and score, or why there are none. Predictions that were written count, whatever came after."""
    written, facts = folder / "predictions.parquet", folder / "facts.json"
    if not written.exists():
        if last.code is None:
            return {"state": "timeout", "why": f"ended after {last.wall:.0f} s", "score": None}
        return {"state": "failed", "why": _shorten(last.said) or f"exit code {last.code}", "score": None}
    told = json.loads(facts.read_text()) if facts.exists() else {}
    try:
        truth, said = division.test[task.table.target], pd.read_parquet(written)
        return told | {"score": score_predictions(task.table.metric, truth, said, _list_labels(task, division))}
    except UnusablePredictions as error:
        return told | {"state": "failed", "why": str(error), "score": None}


def _list_labels(task: Task, division: Division) -> set[str] | None:
    if task.table.task == "regression":
        return None
    return {*division.train[task.table.target].astype(str), *division.test[task.table.target].astype(str)}


def _shorten(said: str) -> str:
    """The last line that names an error, or else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b.*: ", line)]
    return (errors or lines or [""])[-1][:300]
