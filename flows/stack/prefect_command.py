"""`python -m flows.stack.prefect_command server start ...`: Prefect's own command, with transactions that wait for each
other where its database is SQLite.

Prefect begins them DEFERRED. One that has read and then writes, while another has written, fails at once with `database
is locked`, whatever the time-out is (SQLite, "Isolation": SQLITE_BUSY_SNAPSHOT). Begun IMMEDIATE it waits for its turn.
"""

from __future__ import annotations

import runpy
from typing import Any

from prefect.server.database.configurations import AioSqliteConfiguration

_begin = AioSqliteConfiguration.begin_transaction


def immediately(self: AioSqliteConfiguration, session: Any, with_for_update: bool = False) -> Any:
    """The transaction, begun as Prefect begins those that it knows will write."""
    return _begin(self, session, with_for_update=True)


if __name__ == "__main__":
    AioSqliteConfiguration.begin_transaction = immediately
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
