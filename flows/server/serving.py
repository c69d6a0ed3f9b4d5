"""The local Prefect server's process: `python -m flows.server.serving FD HOME IDLE`, started by
`flows/server/prefect_server.py`.

Prefect's own app with what a one-off run needs and no more: the API and the recorder of task runs. It has no page, and
asks for the folder's login. It ends when nobody has asked for anything during IDLE seconds, or when another server has
taken its place.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.system import door, private, process

App = Callable[[Any, Any, Any], Awaitable[None]]


class WatchedApp:
    """An ASGI app that knows when it was last used."""

    def __init__(self, app: App, when_up: Callable[[], None]) -> None:
        """Wraps `app`; `when_up` is called once it has started."""
        self.app, self.when_up, self.open, self.last, self.asked = app, when_up, 0, time.monotonic(), False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes the call on."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, self._noting_start(send))
        self.asked = True
        self.open += 1  # a client's event stream is one open connection: a run that is silent for long is not idle
        try:
            return await self.app(scope, receive, send)
        finally:
            self.open -= 1
            self.last = time.monotonic()

    def idle(self) -> float:
        """Seconds since the last use."""
        return 0.0 if self.open else time.monotonic() - self.last

    def _noting_start(self, send: Any) -> Any:
        async def noting(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.when_up()
                self.last = time.monotonic()
            await send(message)

        return noting


def serve_until_idle(fd: int, home: Path, idle: float) -> None:
    """Serves on the inherited socket until idle."""
    gc.disable()  # nothing that imports build is garbage: a tenth of the start
    copy_layout(home)
    import uvicorn
    from prefect.server.api.server import create_app

    # `ephemeral`: the recorder of task runs runs, schedulers and the like do not
    app = WatchedApp(create_app(ephemeral=True), partial(_settle, home))
    gc.freeze()
    gc.enable()
    guard = door.Door(app, hosts=door.list_host_names())
    config = uvicorn.Config(guard, log_config=None, access_log=False, timeout_graceful_shutdown=3)
    asyncio.run(_await_idle(uvicorn.Server(config), app, socket.socket(fileno=fd), home, idle))


def _settle(home: Path) -> None:
    """Once it is up nobody waits for the server any more, and it gives way to fits."""
    keep_layout(home)
    process.lower_priority()


async def _await_idle(server: Any, app: WatchedApp, listener: socket.socket, home: Path, idle: float) -> None:
    async def watch() -> None:
        while not server.should_exit:
            await asyncio.sleep(min(1.0, idle / 4))
            patience = idle if app.asked else max(idle, 60.0)  # who started it may still be reading a table
            is_over = app.idle() > patience or (not app.open and _is_replaced(home))
            server.should_exit = server.should_exit or is_over

    task = asyncio.create_task(watch())
    await server.serve(sockets=[listener])
    task.cancel()


def _is_replaced(home: Path) -> bool:
    try:
        return json.loads((home / "server.json").read_text())["pid"] != os.getpid()
    except (OSError, ValueError, KeyError):
        return True


def copy_layout(home: Path) -> None:
    """Gives a new home a database whose tables another first start on this machine has already made: 6 s less."""
    if not (home / "prefect.db").exists():
        with suppress(OSError):
            shutil.copyfile(_locate_template(), home / "prefect.db.new")
            private.restrict_to_owner(home / "prefect.db.new")
            (home / "prefect.db.new").replace(home / "prefect.db")


def keep_layout(home: Path) -> None:
    """Keeps the tables of this home's database, and nothing of what is in them, for the next new folder."""
    path = _locate_template()
    with suppress(OSError, sqlite3.Error):
        if path.exists():
            return
        private.make_private_folder(path.parent)
        draft = path.with_suffix(f".{os.getpid()}")
        try:
            with closing(sqlite3.connect(home / "prefect.db")) as source, closing(sqlite3.connect(draft)) as target:
                source.backup(target)
                _empty_tables(target)
            private.restrict_to_owner(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _empty_tables(database: sqlite3.Connection) -> None:
    """Leaves the tables, and the note of which version they have. What is deleted would still stand in the file."""
    query = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
    for (table,) in database.execute(query).fetchall():
        if table != "alembic_version":
            database.execute(f'delete from "{table}"')
    database.commit()
    database.execute("vacuum")


def _locate_template() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "nestor" / f"prefect-{version('prefect')}-tables.db"


if __name__ == "__main__":
    serve_until_idle(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
