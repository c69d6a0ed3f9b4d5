"""What `nestor up` starts: the addresses, the databases, each program's environment and command."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from models.errors import InputError
from tasks.system import login

HOST = "127.0.0.1"
HERE = (HOST, "localhost")
MARK = "NESTOR_UP"
"""The environment variable by which every process that came of a `nestor up` is known: its id and its part."""
PART = "NESTOR_UP_PART"
WORKER = "flows.stack.prefect_worker"
"""The module that a worker is."""
LOCAL = ("localhost", "127.0.0.1", "::1", "")


@dataclass(frozen=True)
class StackRequest:
    """What the user asked for."""

    prefect_port: int = 4200
    mlflow_port: int = 5000
    workers: int = 1
    pool: str = "nestor"
    deploy: bool = True


@dataclass(frozen=True)
class Program:
    """A program to start."""

    name: str
    part: str
    """`server` or `worker`: workers, and the flow runs that come of them, are ended first."""
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class StackPlan:
    """All of it, before anything is started."""

    asked: StackRequest
    folder: Path
    """Where the user is: relative paths and `mlruns/` of flow runs."""
    id: str
    environment: Mapping[str, str] = field(repr=False)
    """What all programs share."""
    store: str = field(repr=False)
    """MLflow's database. Commands and flow runs write to it directly: three to five times faster than over HTTP."""

    @property
    def home(self) -> Path:
        """Prefect's home."""
        return self.folder / "mlruns" / "prefect"

    @property
    def prefect(self) -> str:
        """The address of Prefect's page."""
        return f"http://{HOST}:{self.asked.prefect_port}"

    @property
    def api(self) -> str:
        """The address of Prefect's API."""
        return f"{self.prefect}/api"

    @property
    def mlflow(self) -> str:
        """The address of MLflow's page and API."""
        return f"http://{HOST}:{self.asked.mlflow_port}"

    @property
    def login(self) -> str:
        """What Prefect's server asks for; empty where it asks for nothing."""
        return self.environment.get("PREFECT_API_AUTH_STRING", "")

    @property
    def store_is_here(self) -> bool:
        """Whether commands find MLflow's database without being told."""
        return self.store == _make_default_store(self.folder)

    def list_servers(self) -> tuple[Program, Program]:
        """Prefect's server and MLflow's."""
        port = str(self.asked.prefect_port)
        return (
            self._make_program(
                "prefect", "server", "flows.stack.prefect_command", "server", "start", "--host", HOST, "--port", port
            ),
            self._make_program(
                # One process is enough for one machine, and each more costs 250 MB.
                "mlflow", "server", "tasks.tracking.server.serve", "--host", HOST,
                "--port", str(self.asked.mlflow_port), "--workers", "1",
            ),
        )  # fmt: skip

    def make_worker(self, number: int) -> Program:
        """The worker with this number, from 1."""
        words = ("worker", "start", "--pool", self.asked.pool, "--type", "process", "--name", self.name_worker(number))
        limit = ("--limit", str(self.runs_per_worker))
        return self._make_program(f"worker-{number}", "worker", WORKER, "--no-prompt", *words, *limit)

    @property
    def runs_per_worker(self) -> int:
        """Flow runs that a worker has at once. Two runs that report their tasks to one SQLite file on a busy machine
        met `database is locked` in Prefect's server; on PostgreSQL a scoring need not wait for a training."""
        return 2 if self.environment.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "").startswith("postgres") else 1

    def name_worker(self, number: int) -> str:
        """What Prefect calls it."""
        return f"nestor-up-{number}"

    def deploy(self, file: Path) -> Program:
        """Puts the deployments of this file on the server."""
        words = ("--no-prompt", "deploy", "--all", "--prefect-file", str(file))
        return self._make_program("deploy", "worker", "prefect", *words)

    def _make_program(self, name: str, part: str, module: str, *words: str) -> Program:
        command = (sys.executable, "-P", "-m", module, *words)
        return Program(name, part, command, {**self.environment, MARK: self.id, PART: part})


def plan_stack(request: StackRequest, folder: Path, environment: Mapping[str, str] | None = None) -> StackPlan:
    """The plan; raises InputError where settings contradict each other."""
    variables = dict(os.environ if environment is None else environment)
    folder = folder.resolve()
    if request.prefect_port == request.mlflow_port:
        raise InputError(f"--prefect-port and --mlflow-port are both {request.mlflow_port}: give them different ports.")
    store = variables.get("MLFLOW_BACKEND_STORE_URI") or _find_database(variables.get("MLFLOW_TRACKING_URI"))
    store = store or _make_default_store(folder)
    database = variables.get("PREFECT_SERVER_DATABASE_CONNECTION_URL") or variables.get(
        "PREFECT_API_DATABASE_CONNECTION_URL"
    )
    if database:
        _refuse_bad_database(database)
        _refuse_shared(database, store)
    api = f"http://{HOST}:{request.prefect_port}/api"
    places = {"NESTOR_MLFLOW_UI": f"http://{HOST}:{request.mlflow_port}", **_make_door_settings(variables, request)}
    settings = {**_make_environment(variables, folder, api, store), **places}
    return StackPlan(request, folder, os.urandom(6).hex(), settings, store)


def _make_door_settings(variables: Mapping[str, str], request: StackRequest) -> dict[str, str]:
    """Who may ask the servers: by which names, from which pages, with which login; what the user gives is added."""
    prefect, mlflow = (
        [f"http://{host}:{port}" for host in HERE] for port in (request.prefect_port, request.mlflow_port)
    )
    defaults = {
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": prefect,
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": mlflow,
        "MLFLOW_SERVER_ALLOWED_HOSTS": [f"{host}:*" for host in HERE],
    }
    doors = {name: ",".join([*values, *filter(None, [variables.get(name)])]) for name, values in defaults.items()}
    return {**doors, **_make_login_settings(variables.get(login.GIVEN, ""))}


def _make_login_settings(text: str) -> dict[str, str]:
    """What the servers ask for, and what their clients give."""
    if not text:
        return {}
    name, password = login.split_login(text)
    variables = {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
    return {"PREFECT_API_AUTH_STRING": text, "NESTOR_MLFLOW_LOGIN": f"{name}:{password}", **variables}


def _make_default_store(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"


def _find_database(address: str | None) -> str | None:
    """The address where it is a database's; a server's is none."""
    return None if address is None or address.startswith(("http:", "https:", "databricks")) else address


def _refuse_bad_database(database: str) -> None:
    if not database.startswith(("postgresql+asyncpg://", "sqlite+aiosqlite://")):
        raise InputError(
            "PREFECT_SERVER_DATABASE_CONNECTION_URL must begin with postgresql+asyncpg:// or sqlite+aiosqlite://, not "
            f"with {database.partition('//')[0]}//."
        )


def _refuse_shared(database: str, store: str) -> None:
    if _locate_database(database) == _locate_database(store):
        raise InputError(
            "Prefect (PREFECT_SERVER_DATABASE_CONNECTION_URL) and MLflow (MLFLOW_BACKEND_STORE_URI) may not share one "
            "database: both keep their version in a table named alembic_version. Give each a database of its own; one "
            "server may hold both."
        )


def _locate_database(address: str) -> tuple[object, ...]:
    """Which database it is, whatever driver and user it is reached by."""
    kind, _, rest = address.partition("://")
    kind = "postgresql" if kind.startswith("postgres") else kind.partition("+")[0]
    parts: SplitResult = urlsplit(f"//{rest}")
    if kind == "sqlite":
        return kind, Path(rest.removeprefix("/").partition("?")[0]).resolve()
    host = "" if parts.hostname in LOCAL or parts.hostname is None else parts.hostname
    return kind, host, parts.port or 5432, parts.path.strip("/")


_OURS = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # for language models only, and eight processes
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_COLORS": "false",
    "PYTHONUNBUFFERED": "1",
}
_DEFAULTS = {
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",  # a schedule that is set fires at its next minute
    # Ten minutes, and three runs of each schedule at least, are laid out ahead: of a schedule of every minute the usual
    # hour would fill each list of runs with what has not been yet.
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT10M",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # a run that is killed is missed after a while, not never
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "true",
}


def _make_environment(variables: Mapping[str, str], folder: Path, api: str, store: str) -> dict[str, str]:
    """The user's settings, Prefect's and MLflow's too, but for what says which server is used and where it lives."""
    names = ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_UI_API_URL", "NESTOR_SERVER", "PREFECT_API_KEY", PART)
    user_variables = {name: value for name, value in variables.items() if name not in names}
    home = folder / "mlruns" / "prefect"
    artifacts = str(folder / "mlruns" / "artifacts")
    return {
        **_DEFAULTS,
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        **user_variables,
        **_OURS,
        "NESTOR_HOME": str(folder),
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_TRACKING_URI": store,
    }
