"""Started programs: each in a session of its own with a log of its own, all of them known by a mark in their
environment, and ended in order: flow runs and workers, then the servers that they report to."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from flows.stack.ask import crash_flow_runs
from flows.stack.plan import MARK, PART, WORKER, Program
from tasks.system import private

WORKERS_LEAVE, SERVERS_LEAVE = 6.0, 3.0
"""Seconds that they have to end before they are killed."""
MOST_LOG = 5_000_000
"""Bytes of a log from an earlier time that are gone on with."""


@dataclass
class ChildProgram:
    """A program that runs, and what became of it."""

    program: Program
    log: Path
    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)
    deaths: list[float] = field(default_factory=list)
    """When it died, by the monotonic clock."""

    @property
    def died(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def restart(self) -> None:
        """Starts it anew."""
        self.deaths.append(time.monotonic())
        self.process, self.began = _open_process(self.program, self.log), time.monotonic()

    def read_log_end(self, lines: int = 12) -> str:
        """The end of its log, indented."""
        text = self.log.read_bytes()[-8000:].decode("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(f"    {line}" for line in text.strip().splitlines()[-lines:]) or "    (its log is empty)"


def start_program(program: Program, logs: Path) -> ChildProgram:
    """The program, running."""
    private.make_private_folder(logs)
    log = logs / f"up-{program.name}.log"
    if log.exists() and log.stat().st_size > MOST_LOG:
        log.replace(log.with_suffix(".log.1"))
    return ChildProgram(program, log, _open_process(program, log))


def _open_process(program: Program, log: Path) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal is for `nestor up`, which ends the others in order. What a server
    # writes is its owner's alone; a worker may write a table for others.
    with log.open("ab") as file:
        return subprocess.Popen(
            program.command, env=dict(program.environment), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            start_new_session=True, umask=0o077 if program.part == "server" else -1,
        )  # fmt: skip


def end_all(mark: str, api: str | None = None, login: str = "") -> None:
    """Ends every process that came of the `nestor up` with this id; returns once none is left. Flow runs that had to be
    killed are told to the server at `api` as crashed."""
    runs = {r for r in (_read_flow_run(process) for process in find_marked_processes(mark, "worker")) if r}
    _end_processes(lambda: list(find_marked_processes(mark, "worker")), WORKERS_LEAVE, _is_prefect)
    if api and runs:
        crash_flow_runs(api, login, runs)
    _end_processes(lambda: list(find_marked_processes(mark)), SERVERS_LEAVE, lambda _: True)


def _read_flow_run(process: psutil.Process) -> str | None:
    with suppress(psutil.Error, OSError):
        return process.environ().get("PREFECT__FLOW_RUN_ID")
    return None


def find_marked_processes(mark: str, part: str | None = None) -> Iterator[psutil.Process]:
    """The living processes whose environment bears the mark, whoever their parent is by now."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ()
            if environment.get(MARK) == mark and part in (None, environment.get(PART)):
                yield process


def _is_prefect(process: psutil.Process) -> bool:
    """Whether it is a worker or a flow run's main process. What those have started (processes that fit, MLflow's
    writer) is theirs to end: killed under them, a fit would stand as failed."""
    with suppress(psutil.Error):
        return any(word.startswith(("prefect.", WORKER)) or word == "prefect" for word in process.cmdline()[1:5])
    return False


def _end_processes(
    living: Callable[[], list[psutil.Process]], patience: float, selector: Callable[[psutil.Process], bool]
) -> None:
    """Asks them to end, and kills what is left after the time they have."""
    for process in filter(selector, living()):
        with suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + patience
    while (remainder := living()) and time.monotonic() < deadline:
        time.sleep(0.1)
    while remainder:
        for process in remainder:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(0.05)
        remainder = living()
