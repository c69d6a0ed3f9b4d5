"""`python -m flows.stack.prefect_command server start ...`: Prefect's own command, behind a door, and with transactions
that wait for each other where its database is SQLite.

The door (`tasks/system/door.py`) keeps out pages of other origins, and whoever asks under another host name; what
automations do Prefect asks of itself, in its own process, under a name that no network knows. Prefect asks for the
login. Its page's own origins are in PREFECT_SERVER_CORS_ALLOWED_ORIGINS, more names in
NESTOR_HOSTS.

Prefect begins transactions DEFERRED. One that has read and then writes, while another has written, fails at once with
`database is locked`, whatever the time-out is (SQLite, "Isolation": SQLITE_BUSY_SNAPSHOT). Begun IMMEDIATE it waits for
its turn.
"""

from __future__ import annotations

import runpy
from typing import Any

from prefect.server.api import server
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.settings import get_current_settings

from tasks.system import door

_begin = AioSqliteConfiguration.begin_transaction
_create_app = server.create_app

_ITSELF = "prefect-in-memory"
"""The host name by which Prefect's services, automations among them, ask the server that they are a part of."""


def begin_immediately(self: AioSqliteConfiguration, session: Any, with_for_update: bool = False) -> Any:
    """The transaction, begun as Prefect begins those that it knows will write."""
    return _begin(self, session, with_for_update=True)


def create_app(*args: Any, **options: Any) -> door.App:
    """Prefect's app behind the door."""
    api = get_current_settings().server.api
    origins = (
        api.cors_allowed_origins if "cors_allowed_origins" in api.model_fields_set else ""
    )  # Prefect's default: all
    return door.Door(
        _create_app(*args, **options), map(str.strip, origins.split(",")), hosts=door.list_host_names(), itself=_ITSELF
    )


if __name__ == "__main__":
    AioSqliteConfiguration.begin_transaction = begin_immediately
    server.create_app = create_app  # pyright: ignore[reportAttributeAccessIssue]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
