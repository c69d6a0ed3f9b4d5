"""A small Prefect server of the project's own: found or started in no time, ready a few seconds later, gone when idle.

A command calls `start()` first thing and reads its table meanwhile; `Handle.ready()` waits for the server. The server
lives on for the next command and ends by itself (`flows/serving.py`). Where PREFECT_API_URL is set, in the
environment or in the active Prefect profile, that server is used and none is started. Nothing here imports Prefect:
`quiet_environment()` must run before anybody does.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from models.errors import NestorError

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
class Handle:
    """A Prefect server that answers or will soon."""

    url: str
    """The API's address, known before it answers."""
    home: Path | None = None
    """PREFECT_HOME of a server of our own; None for one that the user runs."""
    pid: int = 0
    found: bool = False
    """Whether it was there already."""

    def ready(self, timeout: float = 90.0) -> str:
        """The API's address, as soon as it answers. One that was killed while it started is started once more."""
        until, url, again = time.monotonic() + timeout, self.url, True
        while self.home and not _healthy(url):
            if not _alive(_recorded(self.home).get("pid", self.pid)):
                if not again:
                    raise NestorError(
                        f"The local Prefect server ended while starting; its log is {self.home / 'server.log'}."
                    )
                url, again = start(self.home.parent).url, False
            if time.monotonic() > until:
                raise NestorError(
                    f"The local Prefect server does not answer after {timeout:.0f} s; its log is "
                    f"{self.home / 'server.log'}. Kill process {self.pid} and try again."
                )
            time.sleep(0.05)
        return url

    @contextmanager
    def guarded(self, every: float = 1.0) -> Iterator[None]:
        """Inside the block a server of our own that dies is started anew at the same address."""
        over = threading.Event()

        def guard(home: Path) -> None:
            while not over.wait(every):
                if _process(_recorded(home)) is None:
                    start(home.parent)

        if self.home:
            threading.Thread(target=guard, args=[self.home], daemon=True, name="server-guard").start()
        try:
            yield
        finally:
            over.set()


def start(root: Path | str = "mlruns", idle: float = IDLE) -> Handle:
    """The server to use, at once: the user's own, a living one of this project, or one that is starting now."""
    if url := own_api():
        return Handle(url)
    home = Path(root).resolve() / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "server.lock"):
        return _living(home) or _started(home, idle)


def stop(root: Path | str = "mlruns") -> bool:
    """Whether there was a server of this project; it is ended."""
    home = Path(root).resolve() / "prefect"
    if not home.is_dir():
        return False
    with _locked(home / "server.lock"):
        process = _process(_recorded(home))
        _end(process)
        (home / "server.json").unlink(missing_ok=True)
        return process is not None


def quiet_environment(root: Path | str = "mlruns", url: str | None = None) -> None:
    """Sets what Prefect reads when it is imported: silence, and for a server of our own its home and address."""
    own = own_api()
    values = dict(_QUIET)
    if own is None:
        home = Path(root).resolve() / "prefect"
        values |= _OURS | {"PREFECT_HOME": str(home), "PREFECT_PROFILES_PATH": str(home / "profiles.toml")}
    for name, value in values.items():
        os.environ.setdefault(name, value)
    if own is None and url:
        # no setdefault, and a mark that it is ours: a later run in the same process may meet another server
        os.environ["PREFECT_API_URL"] = os.environ["NESTOR_SERVER"] = url


def own_api() -> str | None:
    """The API's address that the user has set, in the environment or in the active Prefect profile."""
    url = os.environ.get("PREFECT_API_URL")
    return url if url and url != os.environ.get("NESTOR_SERVER") else None if url else _profile_api()


def _profile_api() -> str | None:
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    return profiles.get("profiles", {}).get(name, {}).get("PREFECT_API_URL")


def _living(home: Path) -> Handle | None:
    """The recorded server where it answers or is still starting; None, and no process left, otherwise."""
    record = _recorded(home)
    process = _process(record)
    if process is None:
        return None
    handle = Handle(_url(record["port"]), home, process.pid, found=True)
    # Fits may hold every core for a while: several seconds of silence are not yet a wedged server.
    if any(_healthy(handle.url, seconds) for seconds in (1, 4)) or time.time() - record["started"] < STARTING:
        return handle
    _end(process)
    return None


def _started(home: Path, idle: float) -> Handle:
    """A server that starts now. It inherits a bound socket, so the port is sure and known at once."""
    with _bound(_recorded(home).get("port", 0)) as bound:
        port, fd = bound.getsockname()[1], bound.fileno()
        # -P: a folder named `flows` where the user happens to be must not be taken for ours
        command = [sys.executable, "-P", "-m", "flows.serving", str(fd), str(home), str(idle)]
        with _log(home).open("ab") as log:
            process = subprocess.Popen(
                command, cwd=home, env=_environment(home), pass_fds=[fd], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
    _processes.append(process)
    record = {"pid": process.pid, "started": psutil.Process(process.pid).create_time(), "port": port}
    temporary = home / "server.json.new"
    temporary.write_text(json.dumps(record))
    temporary.replace(home / "server.json")
    return Handle(_url(port), home, process.pid)


def _bound(port: int) -> socket.socket:
    """A socket at the project's last port, where clients may still look for it, or else at a free one."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for _ in range(20 if port else 0):  # the threads of a killed process let its port go a moment after it
        try:
            bound.bind(("127.0.0.1", port))
            return bound
        except OSError:
            time.sleep(0.05)
    bound.bind(("127.0.0.1", 0))
    return bound


_processes: list[subprocess.Popen[bytes]] = []
"""Children of this process, so that ended ones can be reaped."""


def _environment(home: Path) -> dict[str, str]:
    """The server's environment: none of the user's Prefect settings, only what a one-off run needs switched on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NESTOR_SERVER"))}
    off = ("SERVICES_TRIGGERS", "SERVICES_EVENT_PERSISTER", "EVENTS_STREAM_OUT", "LOGS_STREAM_OUT", "UI", "ANALYTICS")
    return kept | {
        **{f"PREFECT_SERVER_{name}_ENABLED": "false" for name in off},
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def _log(home: Path) -> Path:
    """The log's path; a log of more than 1 MB is begun anew."""
    path = home / "server.log"
    if path.exists() and path.stat().st_size > 1_000_000:
        path.unlink()
    return path


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


def _healthy(url: str, timeout: float = 1.0) -> bool:
    # no proxy: one that is set in the environment must not be asked for this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=timeout) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def _recorded(home: Path) -> dict:
    try:
        record = json.loads((home / "server.json").read_text())
        return {"pid": int(record["pid"]), "started": float(record["started"]), "port": int(record["port"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _process(record: dict) -> psutil.Process | None:
    """The recorded process, where it is the same one and alive."""
    try:
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["started"]) < 1
        return process if same and _alive(process.pid) else None
    except (KeyError, psutil.Error):
        return None


def _alive(pid: int) -> bool:
    for child in _processes:
        child.poll()
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end(process: psutil.Process | None) -> None:
    if process is None:
        return
    try:
        process.terminate()
        process.wait(3)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.Error:
        pass


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
