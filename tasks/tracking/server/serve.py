"""MLflow's server: `python -m tasks.tracking.server.serve OPTIONS` is `mlflow server OPTIONS` behind a door, over a
store that was laid out.

The door (`tasks/system/door.py`) keeps out pages of other origins, and asks for the login in NESTOR_MLFLOW_LOGIN: a
browser asks its user, programs have it in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. MLflow itself checks
host names (MLFLOW_SERVER_ALLOWED_HOSTS). Its own login, `--app-name basic-auth`, has users and rights, which a team may
want; it needs more packages and a database of its own.

Laying the store out takes the lock that commands take: a server and a `nestor train` that begin together would both
make the tables, and one of them would fail."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from models.errors import NestorError
from tasks.system import door
from tasks.tracking.server.opening import add_opening_script
from tasks.tracking.store import connect_store, is_sqlite_file

LOGIN = "NESTOR_MLFLOW_LOGIN"
ORIGINS = "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"
_ITS_APP, _OURS = "mlflow.server.fastapi_app:app", ("--factory", "tasks.tracking.server.serve:app")


def main() -> None:
    """Serves MLFLOW_BACKEND_STORE_URI."""
    address = os.environ["MLFLOW_BACKEND_STORE_URI"]
    if not is_sqlite_file(address) or not os.path.exists(address.removeprefix("sqlite:///")):
        connect_store(address)
    import mlflow.server
    from mlflow.cli import cli

    # MLflow serves other apps than its own only where they are installed as plugins.
    command = mlflow.server._build_uvicorn_command
    mlflow.server._build_uvicorn_command = lambda *args: _put_behind_door(command(*args))
    # Our app is looked for where this file is, wherever the user is.
    options = f"--app-dir {shlex.quote(str(Path(__file__).parents[3]))} --no-access-log"
    cli(["server", *sys.argv[1:], "--uvicorn-opts", options], prog_name="mlflow")


def _put_behind_door(command: list[str]) -> list[str]:
    """The command that serves MLflow's app, with ours in its place."""
    if command[-1] == _ITS_APP:
        return [*command[:-1], *_OURS]
    if "mlflow.server.auth" in command[-1]:
        return command
    raise NestorError(f"MLflow would serve {command[-1]}, which nothing guards.")


def app() -> door.App:
    """MLflow's app behind the door."""
    from mlflow.server.fastapi_app import app

    origins = [origin.strip() for origin in os.environ.get(ORIGINS, "").split(",")]
    return door.Door(add_opening_script(app), origins, os.environ.get(LOGIN, ""))


if __name__ == "__main__":
    main()
