"""The login of a folder's servers: `mlruns/login` holds `name:password`, and its owner alone may read it.

Prefect's server and MLflow's, small or of a `nestor up`, ask for it; commands and workers know it from there. It stands
in no command line, which every user of a machine can read."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from models.errors import NestorError
from tasks.system import private
from tasks.system.lock import hold_lock

FILE = "login"
NAME = "nestor"
GIVEN = "PREFECT_SERVER_API_AUTH_STRING"
"""The environment variable in which a user gives one, as Prefect knows it."""
_OPEN_BEFORE = ("mlflow.db", "prefect/prefect.db", "prefect/prefect.db-wal", "prefect/prefect.db-shm")


def ensure_login(root: Path, new_login: str | None = None) -> str:
    """`name:password` of the servers in the folder `mlruns` at `root`: the one that is given, else the one that was
    kept, else a new one. It is kept from now on."""
    path = private.make_private_folder(root) / FILE
    with hold_lock(root / f"{FILE}.lock"):
        old_login = _read_login(path)
        login = new_login or old_login or f"{NAME}:{secrets.token_hex(16)}"
        if not old_login:  # what earlier versions made here, everybody might read
            private.restrict_to_owner(root, *(root / name for name in _OPEN_BEFORE))
        if login != old_login:
            private.write_private_text(path, f"{login}\n")
    return login


def _read_login(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except PermissionError:
        raise NestorError(
            f"{path} can't be read: the servers of this folder belong to another user. Work in a folder of your own, "
            "or on a server for all (PREFECT_API_URL, docs/operate.md)."
        ) from None


def split_login(login: str) -> tuple[str, str]:
    """Name and password."""
    name, colon, password = login.partition(":")
    return (name, password) if colon else (NAME, login)


def to_mlflow_variables(root: Path) -> dict[str, str]:
    """The login of the servers in `mlruns` at `root`, in the environment variables that MLflow's clients read."""
    return dict(
        zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), split_login(ensure_login(root)), strict=True)
    )


@contextmanager
def use_server_settings(variables: Mapping[str, str]) -> Iterator[None]:
    """Inside the block Prefect's client has these settings, which are given by their names: a server's address, and the
    login for it."""
    from prefect import settings  # slow to import

    with settings.temporary_settings({getattr(settings, name): value for name, value in variables.items()}):
        yield
