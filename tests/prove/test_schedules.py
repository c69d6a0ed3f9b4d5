"""A model that is retrained by a schedule and by nobody else: `nestor up` as a user starts it, a cron line of every
minute, on SQLite and on PostgreSQL. New data are trained on and judged unattended; a killed worker, a restart and slots
that went by cost nothing; no server's log tells of an error."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from sklearn.datasets import load_breast_cancer

from tests.runs import wait_for
from tests.stack import ENDED, UpCommand, ask_server, read_log, run_nestor, run_postgres

pytestmark = [pytest.mark.prove, pytest.mark.timeout(0)]

RETRAIN = {"retrain": {"name": "cells"}}
PATIENCE = 600


@contextmanager
def databases(kind: str) -> Iterator[dict[str, str]]:
    """The settings by which `nestor up` works on this kind of database."""
    if kind == "sqlite":
        yield {}
        return
    with run_postgres() as server:
        yield {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{server.database('prefect')}",
            "MLFLOW_BACKEND_STORE_URI": f"postgresql://{server.database('mlflow')}",
        }


class Story:
    """A stack, its schedule, and the lines of what happened."""

    def __init__(self, folder: Path, env: Mapping[str, str]):
        """Nothing runs yet; the table is there, half of it."""
        self.folder, self.env, self.lines, self.seen = folder, env, [], set()
        folder.mkdir()
        self.table = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=0)
        self.write(300)

    def write(self, rows: int) -> None:
        """The table has so many rows now."""
        self.table.head(rows).to_csv(self.folder / "new.csv", index=False)
        os.replace(self.folder / "new.csv", self.folder / "cells.csv")

    def next_ended(self, up: UpCommand, schedule: str) -> dict[str, Any]:
        """The next run of the schedule that has ended and met no other at work."""

        def look() -> dict[str, Any] | None:
            fresh = (r for r in up.scheduled(schedule) if r["id"] not in self.seen and r["state_type"] in ENDED)
            return next(fresh, None)

        run = wait_for(look, PATIENCE)
        assert run, up.errors()
        self.seen.add(run["id"])
        told = self.verdict(up, run)
        self.lines.append((run["expected_start_time"][11:16], run["name"], run["state_name"], told))
        # A retraining that takes longer than the minute between two slots refuses the next one, as `overlap` says.
        return self.next_ended(up, schedule) if run["state_name"] == "Skipped" else run

    def verdict(self, up: UpCommand, run: Mapping[str, Any]) -> str:
        """What the run's page says in one line: the artifact that a retraining leaves, else its state's message."""
        where = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
        found = [
            a for a in ask_server(f"{up.api}/artifacts/filter", where) if (a["key"] or "").startswith("nestor-retrain")
        ]
        words = [a["description"] for a in found if a["description"]]
        return words[0] if words else (run["state"]["message"] or "")

    def until_trained(self, up: UpCommand, schedule: str) -> dict[str, Any]:
        """The next run of the schedule that found something new."""
        before = versions(up, self.env)
        while True:
            run = self.next_ended(up, schedule)
            if run["state_type"] == "COMPLETED" and versions(up, self.env) > before:
                return run


def versions(up: UpCommand, env: Mapping[str, str]) -> int:
    """How many versions of the model the registry holds."""
    asked = f"{up.mlflow}/api/2.0/mlflow/model-versions/search?filter=name%3D%27cells%27"
    return len(ask_server(asked).get("model_versions", []))


def at_work(up: UpCommand, schedule: str) -> psutil.Process | None:
    """The process of a run of this schedule that fits by now: it has children of its own."""
    running = {run["id"] for run in up.scheduled(schedule) if run["state_type"] == "RUNNING"}
    for process in up.left():
        with suppress(psutil.Error):
            ours = process.environ().get("PREFECT__FLOW_RUN_ID") in running
            if ours and "prefect.engine" in process.cmdline() and len(process.children(recursive=True)) > 2:
                return process
    return None


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_schedules(kind, tmp_path, proof):
    wrong: list[str] = []
    with databases(kind) as env:
        story = Story(tmp_path / "company", env)
        with UpCommand(story.folder, env=env) as up:
            first = run_nestor(story.folder, "train", "cells.csv", "-t", "target", "--trials", "2",
                           "--families", "linear,lightgbm", "--name", "cells", env=env)  # fmt: skip
            assert first.returncode == 0, first.stderr
            schedule = up.schedule("retrain/retrain", RETRAIN)
            run = story.next_ended(up, schedule)
            wrong += [] if run["state_type"] == "COMPLETED" else [f"with nothing new: {read_log(up.api, run['id'])}"]
            story.write(430)
            story.until_trained(up, schedule)
            story.lines.append(("", "", "a second schedule in the same minute", ""))
            other = up.schedule("train/train", {"run": {"data": "sklearn:iris", "search": {"trials": 1}}})
            same = [story.next_ended(up, other), story.next_ended(up, schedule)]
            wrong += [f"two in one minute: {r['state_name']}" for r in same if r["state_type"] != "COMPLETED"]
            wrong += up.errors()
            story.lines.append(("", "", "killed in the middle of a scheduled run", ""))
            story.write(500)
            killed = wait_for(lambda: at_work(up, schedule), PATIENCE)
            assert killed, "no scheduled run was met at work"
            killed.send_signal(signal.SIGKILL)
            story.until_trained(up, schedule)
        story.lines.append(("", "", "`nestor up` ended, and started anew after two slots", ""))
        story.write(569)
        time.sleep(150)
        with UpCommand(story.folder, env=env) as up:
            story.until_trained(up, schedule)
            skipped = [r for r in up.scheduled(schedule) if "Missed while" in (r["state"]["message"] or "")]
            wrong += [] if skipped else ["no missed slot was skipped"]
            servers = [line for line in up.errors() if line.startswith(("up-prefect", "up-mlflow", "up-deploy"))]
            wrong += servers
    proof.say("`nestor up`, a cron line of every minute on `retrain`, one more on `train`; the table grows meanwhile.")
    proof.table(["slot", "run", "state", "what it says"], story.lines)
    proof.verdict(f"Schedules, on {'SQLite' if kind == 'sqlite' else 'PostgreSQL'}", wrong)
