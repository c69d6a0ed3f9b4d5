"""Several models retrained at once: the services of deployments/compose.yaml as processes on a real PostgreSQL with two
workers, and `nestor up` on SQLite with one. All end well, nothing is locked, no trial is lost; what a worker registered
over HTTP another process loads over HTTP; what was backed up is there again."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.attacks import find_breaches
from tests.commands import QUIET
from tests.compose import SECRETS, Team, run_team
from tests.prove.conftest import Proof, scale_count
from tests.stack import UpCommand, ask_server, await_end, read_log, run_deployment, run_nestor

pytestmark = [pytest.mark.prove, pytest.mark.timeout(0)]

TABLES = ("breast_cancer", "wine", "iris", "diabetes")
BAD = re.compile(r"database is locked|deadlock|could not obtain lock|OperationalError|Traceback", re.I)


def settings(table: str) -> dict[str, Any]:
    """A run over this table."""
    search = {"trials": scale_count(10), "families": ["linear", "lightgbm"]}
    return {"data": f"sklearn:{table}", "name": table, "search": search}


def at_once(api: str) -> tuple[list[str], float]:
    """Four models trained at once and then retrained at once; what went wrong, and the seconds of the retrains."""
    for deployment in ("train/train", "retrain/retrain"):
        found = ask_server(f"{api}/deployments/name/{deployment}")
        # The limits that the file sets are for people; here the workers are to meet in the databases.
        ask_server(
            f"{api}/deployments/{found['id']}", {"concurrency_limit": None, "concurrency_options": None}, "PATCH"
        )
    wrong = _all_well(api, "train/train", [{"run": settings(table)} for table in TABLES])
    began = time.monotonic()
    wrong += _all_well(api, "retrain/retrain", [{"retrain": {"name": table, "force": True}} for table in TABLES])
    return wrong, time.monotonic() - began


def _all_well(api: str, deployment: str, parameters: list[dict[str, Any]]) -> list[str]:
    runs = [run_deployment(api, deployment, one) for one in parameters]
    done = [await_end(api, run, 900) for run in runs]
    return [
        f"{run['name']} is {run['state_name']}: {read_log(api, run['id'])[-1500:]}"
        for run in done
        if run["state_type"] != "COMPLETED"
    ]


def lost_trials(address: str) -> tuple[int, list[str]]:
    """How many trials all reports speak of, and where MLflow holds others."""
    from mlflow import MlflowClient

    client, wrong, count = MlflowClient(address), [], 0
    experiments = [e.experiment_id for e in client.search_experiments() if e.name in TABLES]
    every = client.search_runs(experiments, max_results=5_000)
    wrong += [f"{r.info.run_name} is {r.info.status}" for r in every if r.info.status in ("RUNNING", "SCHEDULED")]
    keys = Counter((r.data.tags["nestor.run"], r.data.tags["nestor.key"]) for r in every)
    wrong += [f"{key} stands {n} times" for key, n in keys.items() if n > 1]
    for pipeline in (r for r in every if r.data.tags["nestor.kind"] == "pipeline"):
        report = json.loads(Path(client.download_artifacts(pipeline.info.run_id, "report.json")).read_text())
        tags = [r.data.tags for r in every if r.data.tags["nestor.run"] == pipeline.data.tags["nestor.run"]]
        held = Counter(t["nestor.state"] for t in tags if t["nestor.kind"] == "trial")
        told = {state: n for state, n in report["trials"].items() if n}
        wrong += [f"{pipeline.info.run_name}: told {told}, held {dict(held)}"] if told != dict(held) else []
        count += sum(told.values())
    return count, wrong


def bad_lines(folder: Path, *more: Path) -> list[str]:
    """Lines of any log that tell of a lock or of something that nobody expected."""
    logs = [file for file in folder.rglob("*") if file.is_file() and file.suffix in (".log", ".txt", ".err")]
    found = []
    for log in (*logs, *more):
        if "artifacts" not in log.parts and log.stat().st_size < 20_000_000:
            text = log.read_bytes().decode("utf-8", "replace")
            found += [f"{log.name}: {line[:200]}" for line in text.splitlines() if BAD.search(line)]
    return found


def loads_over_http(address: str, folder: Path, login: dict[str, str]) -> str:
    """What a process that knows nothing but the server's address predicts."""
    code = (
        "import mlflow, sklearn.datasets as d\n"
        "frame = d.load_breast_cancer(as_frame=True).data\n"
        "model = mlflow.pyfunc.load_model('models:/breast_cancer@champion')\n"
        "print(len(model.predict(frame)))\n"
    )
    folder.mkdir()
    env = {**QUIET, **login, "MLFLOW_TRACKING_URI": address}
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    return done.stdout.strip() or done.stderr


def test_team_retrains_at_once(proof: Proof, tmp_path, monkeypatch):
    with run_team(tmp_path / "team") as running:
        for name, value in running.login.items():
            monkeypatch.setenv(name, value)
        failed, seconds = at_once(running.api)
        count, lost = lost_trials(running.mlflow)
        loaded = loads_over_http(running.mlflow, tmp_path / "consumer", running.login)
        failed += [] if loaded == "569" else [f"loading over HTTP: {loaded[-500:]}"]
        failed += lost + refusals(running) + restored_postgres(running)
        failed += bad_lines(running.folder, running.database.data / "log")
    proof.say("""Every service of `deployments/compose.yaml` is a process with the command and environment that the file
        and the image give it, on a real PostgreSQL, with a login on Prefect's API and artifacts through MLflow's
        server. Four models are trained at once, then retrained at once, by flow runs that are asked for over Prefect's
        API. Does every flow run complete; does MLflow hold each trial that a report counts, once, and no other; is no
        line of any log about a lock; does a process that knows only MLflow's address load a model; is a stranger
        refused; do dumps of both databases, restored, hold the same?""")
    proof.table(HEAD, [[2, len(TABLES), f"{seconds:.0f}", count, len(lost)]])
    proof.verdict("For a team: several models at once on shared servers", failed)


def test_one_machine_retrains_at_once(proof: Proof, tmp_path):
    with UpCommand(tmp_path / "one") as up:
        failed, seconds = at_once(up.api)
        count, lost = lost_trials(f"sqlite:///{up.folder}/mlruns/mlflow.db")
        failed += lost + restored_sqlite(up, tmp_path / "restored") + bad_lines(up.folder)
    proof.say("""The same with `nestor up` as it is by default: SQLite and one worker, which takes one flow run after
        the other. The backup is made while everything runs.""")
    proof.table(HEAD, [[1, len(TABLES), f"{seconds:.0f}", count, len(lost)]])
    proof.verdict("On one machine: several models at once on SQLite", failed)


HEAD = ["workers", "at once", "seconds for the retrains", "trials", "lost or doubled"]


def refusals(running: Team) -> list[str]:
    """What a stranger is let do: nothing."""
    api, mlflow = running.api.replace(f"{SECRETS['PREFECT_AUTH']}@", ""), running.mlflow
    search = f"{mlflow}/api/2.0/mlflow/experiments/search"
    wrong = [f"Prefect: {name}" for name in find_breaches(f"{api}/flow_runs/filter", {}, SECRETS["PREFECT_AUTH"])]
    wrong += [f"MLflow: {name}" for name in find_breaches(search, {"max_results": 1}, ":".join(running.login.values()))]
    return wrong


def restored_postgres(running: Team) -> list[str]:
    """Where a dump of the databases, restored, has other rows than they have; workers are stopped first."""
    running.stop(*(name for name in running.processes if name.startswith("worker")))
    database, wrong = running.database, []
    for name, tables in (("prefect", ("flow_run", "deployment")), ("mlflow", ("runs", "model_versions"))):
        dump = database.data / f"{name}.dump"
        subprocess.run([*database.program("pg_dump"), "-Fc", "-f", dump, name], check=True, cwd="/")
        database.say(f"create database {name}_again owner {name}")
        subprocess.run([*database.program("pg_restore"), "-d", f"{name}_again", dump], check=True, cwd="/")
        for table in tables:
            counts = [database.say(f"select count(*) from {table}", d)[0][0] for d in (name, f"{name}_again")]
            wrong += [f"restored {name}.{table}: {counts}"] if counts[0] != counts[1] or not counts[0] else []
    return wrong


def restored_sqlite(up: UpCommand, folder: Path) -> list[str]:
    """Where a backup that is made while everything runs, put into a new folder, shows other runs."""
    new, old = folder / "mlruns", up.folder / "mlruns"
    new.mkdir(parents=True)
    for name in ("mlflow.db", "prefect/prefect.db"):
        (new / name).parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(old / name)) as source, closing(sqlite3.connect(new / name)) as target:
            source.backup(target)
    for name in ("artifacts", "work", "seals"):
        if (old / name).exists():
            shutil.copytree(old / name, new / name)
    shown = [json.loads(run_nestor(at, "runs", "--json").stdout) for at in (up.folder, folder)]
    return [] if shown[0] == shown[1] and len(shown[0]) == 2 * len(TABLES) else [f"restored runs: {len(shown[1])}"]
