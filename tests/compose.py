"""deployments/compose.yaml without a container engine: its services as processes of this machine, each with the very
command and environment that the file gives it. Only host names, ports and folders are changed for this machine's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.commands import QUIET
from tests.runs import wait_for
from tests.stack import PostgresServer, find_free_ports, run_postgres

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deployments" / "compose.yaml"
SECRETS = {
    "POSTGRES_PASSWORD": "topsecret0",
    "PREFECT_DB_PASSWORD": "topsecret1",
    "MLFLOW_DB_PASSWORD": "topsecret2",
    "PREFECT_AUTH": "team:topsecret3",
    "MLFLOW_PASSWORD": "topsecret4",
}


def read_image_environment() -> dict[str, str]:
    """What the image sets for every service, but for its PATH."""
    last = (ROOT / "deployments" / "Dockerfile").read_text("utf-8").rpartition("\nFROM ")[2]
    said = " ".join(re.findall(r"^ENV ((?:.*\\\n)*.*)$", last, re.M))
    return {name: value for name, value in re.findall(r"(\w+)=(\S+)", said) if name != "PATH"}


def read_services(given: Mapping[str, str]) -> dict[str, Any]:
    """The file's services, its variables filled in as compose does; KeyError where a required one is missing."""

    def filled(match: re.Match[str]) -> str:
        name, default, required = match["name"], match["default"], match["required"]
        if required is not None and not given.get(name):
            raise KeyError(name)
        return given.get(name) or default or ""

    variable = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?(?P<required>[^}]*))\}")
    return yaml.safe_load(variable.sub(filled, FILE.read_text("utf-8")))["services"]


class Team:
    """The file's services, running here."""

    def __init__(self, folder: Path, database: PostgresServer, given: Mapping[str, str]):
        """Nothing is started yet."""
        self.folder, self.database, self.services = folder, database, read_services({**SECRETS, **given})
        prefect, mlflow = find_free_ports(2)
        self.api = f"http://{SECRETS['PREFECT_AUTH']}@127.0.0.1:{prefect}/api"
        self.mlflow = f"http://localhost:{mlflow}"
        self.login = {"MLFLOW_TRACKING_USERNAME": "nestor", "MLFLOW_TRACKING_PASSWORD": SECRETS["MLFLOW_PASSWORD"]}
        self._here = {
            "postgres:5432": f"127.0.0.1:{database.port}",
            "http://prefect:4200": f"http://127.0.0.1:{prefect}",
            "http://mlflow:5000": self.mlflow,
            "127.0.0.1:4200": f"127.0.0.1:{prefect}",
            "127.0.0.1:5000": f"127.0.0.1:{mlflow}",
            "mlflow:5000": f"mlflow:{mlflow}",
            "0.0.0.0": "127.0.0.1",
            "/artifacts": str(folder / "artifacts"),
            "/tmp/prefect": str(folder / "prefect"),
            "/work": str(folder / "work"),
            "/app/deployments": str(ROOT / "deployments"),
        }
        self._ports = {"prefect": ("4200", str(prefect)), "mlflow": ("5000", str(mlflow))}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, service: str | None = None, **more: str) -> subprocess.Popen[bytes]:
        """A service, started in a folder of its own as its container has one."""
        said = self.services[service or name]
        home = self.folder / "homes" / name
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            **QUIET,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "PREFECT_HOME": str(home / ".prefect"),
            **read_image_environment(),
            **{key: self.here("" if value is None else str(value)) for key, value in said["environment"].items()},
            **more,
        }
        (self.folder / "work").mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(service or name), cwd=self.folder / "work", env=environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        return self.processes[name]

    def command(self, service: str) -> list[str]:
        """The service's command for this machine."""
        old, new = self._ports.get(service, ("", ""))
        return [new if old and word == old else self.here(word) for word in map(str, self.services[service]["command"])]

    def healthy(self, service: str, **more: str) -> bool:
        """What the service's own health check says."""
        words = [self.here(word) for word in self.services[service]["healthcheck"]["test"][1:]]
        for old, new in more.items():
            words = [word.replace(f":{old.removeprefix('port_')}", f":{new}") for word in words]
        words = [sys.executable if word == "python" else word for word in words]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def here(self, text: str) -> str:
        """The text with this machine's addresses and folders in place of the containers'."""
        for name, here in self._here.items():
            text = text.replace(name, here)
        return text

    def log(self, name: str) -> str:
        """What the service has written."""
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def stop(self, *names: str) -> None:
        """Ends these services, as compose does: politely, then by force."""
        for name in names:
            self.processes[name].send_signal(signal.SIGTERM)
        for name in names:
            try:
                self.processes[name].wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.processes[name].pid, signal.SIGKILL)
                self.processes[name].wait()


@contextmanager
def run_team(folder: Path, workers: int = 2, **given: str) -> Iterator[Team]:
    """The whole file on this machine: PostgreSQL with the file's databases, both servers, deployments, workers."""
    folder.mkdir(parents=True, exist_ok=True)
    with run_postgres("-c", "log_min_messages=warning") as database:
        running = Team(folder, database, given)
        make_databases(running)
        try:
            running.start("prefect")
            running.start("mlflow")
            assert wait_for(lambda: running.healthy("prefect"), 120), running.log("prefect")
            assert wait_for(lambda: running.healthy("mlflow"), 120), running.log("mlflow")
            assert running.start("deploy").wait(120) == 0, running.log("deploy")
            ports = find_free_ports(workers)
            for number, port in enumerate(ports, 1):
                running.start(f"worker-{number}", "worker", PREFECT_WORKER_WEBSERVER_PORT=str(port))
            for number, port in enumerate(ports, 1):
                well = wait_for(lambda port=port: running.healthy("worker", port_8080=str(port)), 120)
                assert well, running.log(f"worker-{number}")
            yield running
        finally:
            alive = [name for name, process in running.processes.items() if process.poll() is None]
            running.stop(*(name for name in alive if name.startswith("worker")))
            running.stop(*(name for name in alive if not name.startswith("worker")))


def make_databases(running: Team) -> None:
    """Runs the script that PostgreSQL's image runs."""
    reached = {"PGHOST": "127.0.0.1", "PGPORT": str(running.database.port), "POSTGRES_USER": "nestor"}
    secrets = {k: str(v) for k, v in running.services["postgres"]["environment"].items() if k.endswith("_DB_PASSWORD")}
    script = [*running.database.user, "sh", str(running.database.script(ROOT / "deployments" / "databases.sh"))]
    programs = f"{running.database.programs}{os.pathsep}{os.environ['PATH']}"
    for _ in range(2):  # a second time without harm
        environment = {**QUIET, **reached, **secrets, "PATH": programs}
        subprocess.run(script, env=environment, check=True, capture_output=True, cwd="/")
