"""Runs `nestor` as a user does, in a folder of its own, and measures what all of its processes used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from models.config import Run

NESTOR = Path(sys.executable).with_name("nestor")
EVERY = 0.1


@dataclass(frozen=True)
class CommandResult:
    """What a command did."""

    code: int
    wall: float
    out: str
    err: str
    core_seconds: dict[str, float]
    """Role of a process (command, workers, tracker, server) -> user and system seconds."""

    @property
    def report(self) -> dict[str, Any] | None:
        """What `--json` printed; None where there is none."""
        with suppress(ValueError):
            return json.loads(self.out)
        return None


def run_nestor(*arguments: str, folder: Path, timeout: float) -> CommandResult:
    """`nestor` with these arguments, in this folder."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "NESTOR_"))}
    began = time.monotonic()
    process = subprocess.Popen(
        [NESTOR, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with _ProcessWatch(process.pid, folder) as watch:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.terminate()
            out, err = process.communicate()
    return CommandResult(process.returncode, time.monotonic() - began, out, err, watch.by_role())


class _ProcessWatch:
    """Samples the processor time of a process, its children and this folder's server."""

    def __init__(self, pid: int, folder: Path):
        self.root, self.folder, self.born = pid, folder, psutil.Process(pid).create_time()
        self.first: dict[tuple[int, float], float] = {}
        self.last: dict[tuple[int, float], tuple[str, float]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> _ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sample()
        self._over.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._over.wait(EVERY):
            self._sample()

    def _sample(self) -> None:
        for process in self._processes():
            try:
                times, born = process.cpu_times(), process.create_time()
                role = self._role(process)
            except psutil.Error:
                continue
            used = times.user + times.system
            # A server that was there before has used time that is not this command's.
            self.first.setdefault((process.pid, born), used if born < self.born else 0.0)
            self.last[process.pid, born] = (role, used)

    def _processes(self) -> list[psutil.Process]:
        found: dict[int, psutil.Process] = {}
        with suppress(psutil.Error):
            own = psutil.Process(self.root)
            found = {p.pid: p for p in [own, *own.children(recursive=True)]}
        with suppress(OSError, ValueError, KeyError, psutil.Error):
            # The server lives on, so it is a child of the first command only.
            noted = json.loads((self.folder / "mlruns" / "prefect" / "server.json").read_text())
            found.setdefault(noted["pid"], psutil.Process(noted["pid"]))
        return list(found.values())

    def _role(self, process: psutil.Process) -> str:
        if process.pid == self.root:
            return "command"
        line = " ".join(process.cmdline())
        return "tracker" if "tasks.tracking" in line else "server" if "flows.server.serving" in line else "workers"

    def by_role(self) -> dict[str, float]:
        """Core-seconds by role."""
        total: dict[str, float] = {}
        for key, (role, used) in self.last.items():
            total[role] = total.get(role, 0.0) + used - self.first[key]
        return total


def compute_patience(budget: str) -> float:
    """Seconds after which a command with this budget is taken to hang."""
    return 2 * (Run(data="", budget=budget).seconds or 0) + 60


def stop_server(folder: Path) -> None:
    """Ends the folder's server, if there is one."""
    from flows.server import prefect_server

    prefect_server.stop_server(folder / "mlruns")
