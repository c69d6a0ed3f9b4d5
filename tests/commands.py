"""The command line as its user has it: `nestor` in a folder of its own, and what a kill -9 leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.runs import list_living, list_process_tree, wait_for

QUIET = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "NESTOR_", "MLFLOW_"))}
TIMES = re.compile(r"seconds|peak_mb|tracking")


class Command:
    """A `nestor` command that is at work in a folder."""

    def __init__(self, folder: Path, *arguments: str):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._out, self._err = folder / "out.json", folder / "err.txt"
        code = "from flows.cli import main; main()"
        with self._out.open("wb") as out, self._err.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, *arguments], cwd=folder, env=QUIET, stdout=out, stderr=err
            )

    @property
    def processes(self) -> list[psutil.Process]:
        """The command's own process and all below it but the Prefect server, which is meant to live on."""
        return [p for p in list_process_tree(self.process.pid) if "flows.server.serving" not in _read_command_line(p)]

    def events(self) -> int:
        """Lines of the run's journal so far."""
        return sum(len(p.read_bytes().splitlines()) for p in self.folder.glob("mlruns/work/*/events.jsonl"))

    def reached(self, events: int) -> bool:
        """Waits until the journal has so many lines; False if the command ended before."""
        wait_for(lambda: self.events() >= events or self.process.poll() is not None, 120)
        return self.process.poll() is None

    def victims(self, who: str) -> list[psutil.Process]:
        """The processes that play this part: main, worker, tracker or server."""
        everyone = list_process_tree(self.process.pid)
        if who == "main":
            return everyone[:1]
        if who == "server":
            with suppress(OSError, ValueError, psutil.Error):
                return [psutil.Process(json.loads((self.folder / "mlruns/prefect/server.json").read_text())["pid"])]
            return []
        if who == "tracker":
            return [p for p in everyone if "tasks.tracking" in _read_command_line(p)]
        servers = {p.pid for p in everyone if "forkserver" in _read_command_line(p)}
        return [p for p in everyone if p.pid in servers and _find_parent(p) in servers]

    def kill(self, who: str) -> bool:
        """Whether there was such a process; it is killed. With main all that it started must end by itself."""
        whole = self.processes
        found = self.victims(who)[:1]
        for process in found:
            process.send_signal(signal.SIGKILL)
        if who == "main":
            self.process.wait()
            wait_for(lambda: not list_living(whole), 20)
            assert not list_living(whole), "these outlived their command"
        return bool(found)

    def result(self, timeout: float = 240) -> dict[str, Any]:
        """What the command printed, once it has ended well."""
        whole = self.processes
        code = self.process.wait(timeout)
        assert code == 0, self._err.read_text()[-3000:]
        wait_for(lambda: not list_living(whole), 10)
        assert not list_living(whole), "these outlived their command"
        return json.loads(self._out.read_text())


def _read_command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _find_parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


@contextmanager
def serve_folder(folder: Path) -> Iterator[Path]:
    """The folder; its Prefect server is ended afterwards."""
    from flows.server import prefect_server

    try:
        yield folder
    finally:
        prefect_server.stop_server(folder / "mlruns")


def drop_volatile(report: dict[str, Any]) -> dict[str, Any]:
    """A report without times and ids."""
    kept = {k: v for k, v in report.items() if k not in ("seconds", "run_id", "workdir", "tracking_uri")}
    kept["families"] = [{k: v for k, v in f.items() if k != "seconds"} for f in report["families"]]
    return kept


def read_mirror(folder: Path) -> dict[str, Any]:
    """What MLflow holds, by `nestor.key`, without times and ids. Every run must have ended."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlruns/mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=5_000)
    found = {}
    for run in runs:
        tags = run.data.tags
        metrics = {k: v for k, v in run.data.metrics.items() if not TIMES.search(k)}
        held = run.info.status, tags["nestor.kind"], tags.get("nestor.state"), metrics, run.data.params
        assert tags["nestor.key"] not in found, "one run, twice in MLflow"
        found[tags["nestor.key"]] = held
    assert "RUNNING" not in {held[0] for held in found.values()}
    return found


def read_studies(folder: Path) -> dict[str, Any]:
    """What the studies' files hold, without times."""
    found = {}
    for path in sorted(folder.glob("mlruns/work/*/studies/*.log")):
        storage = JournalStorage(JournalFileBackend(str(path)))
        for study in optuna.get_all_study_summaries(storage):
            trials = optuna.load_study(storage=storage, study_name=study.study_name).trials
            numbers = [t.user_attrs["nestor.number"] for t in trials]
            assert len(set(numbers)) == len(numbers), f"a trial stands twice in {path}"
            found[study.study_name] = sorted(
                (t.user_attrs["nestor.number"], t.user_attrs["nestor.state"], str(t.user_attrs["nestor.scores"]),
                 str(sorted(t.params.items()))) for t in trials
            )  # fmt: skip
    return found
