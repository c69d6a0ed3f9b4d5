"""A small Prefect server of the project's own: found or started in no time, ready a few seconds later, gone when idle.

A command calls `start_server()` first thing and reads its table meanwhile; `ServerHandle.ready()` waits for the server,
which lives on for the next command and ends by itself (`flows/server/serving.py`). Where PREFECT_API_URL is set, in the
environment or in the active Prefect profile, that server is used and none is started; so is that of a living
`nestor up` in this folder (`flows/stack/`). Nothing here imports Prefect: `set_quiet_environment()` must run before
anybody does.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil

from models.errors import NestorError
from tasks.system import login, private, proxy
from tasks.system import process as owner
from tasks.system.watching import keep_watch

IDLE = 600.0
"""Seconds without a request or an open connection after which a server ends."""
STARTING = 90.0
"""A server younger than this that does not answer yet is taken to be starting; an older one is wedged."""

_QUIET = {
    "DO_NOT_TRACK": "1",  # Prefect's client telemetry
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # tracebacks belong into our log file, not on the screen
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",  # "EventsWorker - Still processing items" at the end
}
_OURS = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # without our server: an error, never a second, slow one
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
}


@dataclass(frozen=True)
class ServerHandle:
    """A Prefect server that answers or will soon."""

    url: str
    """The API's address, known before it answers."""
    home: Path | None = None
    """PREFECT_HOME of a server of our own; None for one that the user runs."""
    pid: int = 0
    found: bool = False
    """Whether it was there already."""
    up: bool = False
    """Whether it is that of a living `nestor up`, which looks after it; `pid` is then that of `nestor up`."""

    def wait_until_ready(self, timeout: float = 90.0) -> str:
        """The API's address, as soon as it answers. One that was killed while it started is started once more."""
        deadline, url, can_retry = time.monotonic() + timeout, self.url, True
        while self.home and not is_healthy(url):
            if not _is_alive(read_record(self.home).get("pid", self.pid)):
                if not can_retry:
                    raise NestorError(
                        f"The local Prefect server ended while starting; its log is {self.home / 'server.log'}."
                    )
                url, can_retry = start_server(self.home.parent).url, False
            if time.monotonic() > deadline:
                raise NestorError(
                    f"The {'Prefect server of `nestor up`' if self.up else 'local Prefect server'} does not answer "
                    f"after {timeout:.0f} s; its log is {self._log}. Kill process {self.pid} and try again."
                )
            time.sleep(0.05)
        return url

    @property
    def _log(self) -> Path | None:
        return self.home and (self.home.parent / "logs" / "up-prefect.log" if self.up else self.home / "server.log")

    def reach(self) -> dict[str, str]:
        """Prefect's settings for asking it, by their names, once it answers: address and login. Those of a server that
        the user runs stand in the environment."""
        url = self.wait_until_ready()
        settings = {"PREFECT_API_AUTH_STRING": login.ensure_login(self.home.parent)} if self.home else {}
        return {"PREFECT_API_URL": url, **settings}

    def guard(self, every: float = 1.0) -> AbstractContextManager[None]:
        """Inside the block a server of our own that dies is started anew at the same address."""
        home = self.home
        if home is None:
            return nullcontext()

        def guard() -> None:
            if find_recorded_process(read_record(home)) is None:
                start_server(home.parent)

        return keep_watch(guard, "server-guard", every)


def start_server(root: Path | str = "mlruns", idle: float = IDLE) -> ServerHandle:
    """The server to use, at once: the user's own, a living one of this project, or one that is starting now."""
    if url := find_own_api(root):
        return ServerHandle(url)
    home = Path(root).resolve() / "prefect"
    private.make_private_folder(home)
    with lock_home(home):
        return _find_living_server(home) or _launch_server(home, idle)


def stop_server(root: Path | str = "mlruns") -> bool:
    """Whether there was a server of this project; it is ended."""
    home = Path(root).resolve() / "prefect"
    if not home.is_dir():
        return False
    with lock_home(home):
        record = read_record(home)
        process = find_recorded_process(record)
        _end_process(process, 20 if record.get("up") else 3)
        (home / "server.json").unlink(missing_ok=True)
        return process is not None


def set_quiet_environment(root: Path | str = "mlruns", url: str | None = None) -> None:
    """Sets what Prefect reads when it is imported: silence, and for a server of our own its home and address. No proxy
    stands between this machine's processes from now on."""
    proxy.spare_this_machine()
    api = find_own_api(root)
    values = dict(_QUIET)
    if api is None:
        home = Path(root).resolve() / "prefect"
        places = {"PREFECT_HOME": str(home), "PREFECT_PROFILES_PATH": str(home / "profiles.toml")}
        values |= _OURS | _make_log_settings(home) | places
    for name, value in values.items():
        os.environ.setdefault(name, value)
    if api is None and url:
        # no setdefault, and a mark that it is ours: a later run in the same process may meet another server
        os.environ["PREFECT_API_URL"] = os.environ["NESTOR_SERVER"] = url
        os.environ["PREFECT_API_AUTH_STRING"] = login.ensure_login(Path(root).resolve())


def _make_log_settings(home: Path) -> dict[str, str]:
    """Logs go to the server of a living `nestor up`, whose page shows them; the small one has no page."""
    record = read_record(home)
    return {"PREFECT_LOGGING_TO_API_ENABLED": "true"} if record.get("up") and find_recorded_process(record) else {}


def find_own_api(root: Path | str = "mlruns") -> str | None:
    """The API's address that the user has set, in the environment or in the active Prefect profile. That of this
    folder's server is none of the user's: it may have to be started. In a worker of `nestor up` it is there."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return _read_profile_api()
    home = Path(root).resolve() / "prefect"
    urls = {os.environ.get("NESTOR_SERVER"), make_url(read_record(home).get("port", 0))}
    return None if url in urls and "NESTOR_UP" not in os.environ else url


def _read_profile_api() -> str | None:
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    return profiles.get("profiles", {}).get(name, {}).get("PREFECT_API_URL")


def _find_living_server(home: Path) -> ServerHandle | None:
    """The recorded server where it answers or is still starting; None, and no process left, otherwise."""
    record = read_record(home)
    process = find_recorded_process(record)
    if process is None:
        return None
    handle = ServerHandle(make_url(record["port"]), home, process.pid, found=True, up=record["up"])
    if handle.up:
        return handle
    # Fits may hold every core for a while: several seconds of silence are not yet a wedged server.
    if any(is_healthy(handle.url, seconds) for seconds in (1, 4)) or time.time() - record["started"] < STARTING:
        return handle
    _end_process(process)
    return None


def _launch_server(home: Path, idle: float) -> ServerHandle:
    """A server that starts now. It inherits a bound socket, so the port is sure and known at once."""
    with _bind_socket(read_record(home)) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        # -P: a folder named `flows` where the user happens to be must not be taken for ours
        command = [sys.executable, "-P", "-m", "flows.server.serving", str(fd), str(home), str(idle)]
        with _prepare_log(home).open("ab") as log:
            process = subprocess.Popen(
                command, cwd=home, env=_make_environment(home), pass_fds=[fd], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, umask=0o077,
            )  # fmt: skip
    _processes.append(process)
    record_server(home, process.pid, port)
    return ServerHandle(make_url(port), home, process.pid)


def record_server(home: Path, pid: int, port: int, **extras: object) -> None:
    """From now on commands in this folder use the server of that process at that port."""
    record = {"pid": pid, "started": psutil.Process(pid).create_time(), "port": port, **extras}
    private.write_private_text(home / "server.json", json.dumps(record))


def _bind_socket(record: dict) -> socket.socket:
    """A socket at the project's last port, where clients may still look for it, or else at a free one."""
    listener, port = socket.socket(), record.get("port", 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # The threads of a killed process let its port go a moment after it; the programs of a killed `nestor up` are ended.
    patience = 8.0 if record.get("up") else 1.0
    for _ in range(round(patience / 0.05) if port else 0):
        try:
            listener.bind(("127.0.0.1", port))
            return listener
        except OSError:
            time.sleep(0.05)
    listener.bind(("127.0.0.1", 0))
    return listener


_processes: list[subprocess.Popen[bytes]] = []
"""Children of this process, so that ended ones can be reaped."""


def _make_environment(home: Path) -> dict[str, str]:
    """The server's environment: none of the user's Prefect settings, only what a one-off run needs switched on. A
    login that the user gives is the folder's from now on."""
    prefixes = ("PREFECT_", "NESTOR_SERVER")
    database = "PREFECT_SERVER_DATABASE_CONNECTION_URL"  # the same as under `nestor up`
    variables = {name: value for name, value in os.environ.items() if not name.startswith(prefixes) or name == database}
    services = (
        "SERVICES_TRIGGERS",
        "SERVICES_EVENT_PERSISTER",
        "EVENTS_STREAM_OUT",
        "LOGS_STREAM_OUT",
        "UI",
        "ANALYTICS",
    )
    return variables | {
        **{f"PREFECT_SERVER_{name}_ENABLED": "false" for name in services},
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        login.GIVEN: login.ensure_login(home.parent, os.environ.get(login.GIVEN)),
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def _prepare_log(home: Path) -> Path:
    """The log's path; a log of more than 1 MB is begun anew."""
    path = home / "server.log"
    if path.exists() and path.stat().st_size > 1_000_000:
        path.unlink()
    return path


def make_url(port: int) -> str:
    """The API's address of a server on this machine."""
    return f"http://127.0.0.1:{port}/api"


def is_healthy(url: str, timeout: float = 1.0) -> bool:
    """Whether the API at that address answers."""
    # no proxy: one that is set in the environment must not be asked for this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=timeout) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def read_record(home: Path) -> dict:
    """What is written down about this folder's server: pid, started, port, and what `nestor up` adds."""
    try:
        record = json.loads((home / "server.json").read_text())
        numbers = {"pid": int(record["pid"]), "started": float(record["started"]), "port": int(record["port"])}
        return {**record, **numbers, "up": bool(record.get("up"))}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def find_recorded_process(record: dict) -> psutil.Process | None:
    """The recorded process, where it is the same one and alive."""
    return owner.find_process(record["pid"], record["started"]) if record and _is_alive(record["pid"]) else None


def _is_alive(pid: int) -> bool:
    for child in _processes:
        child.poll()
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end_process(process: psutil.Process | None, patience: float = 3) -> None:
    if process is None:
        return
    try:
        process.terminate()
        process.wait(patience)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.Error:
        pass


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Alone among those who start, end or record a server of this folder."""
    with (home / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
