"""Addresses that are kept elsewhere: `env:NAME` in the environment, `secret:NAME` in a Prefect Secret block.

So no password stands in a config file, a run, a deployment or a log. Importing this is cheap: the command line does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar

from models.errors import InputError, shortened
from tasks import login

server: ContextVar[Callable[[], Mapping[str, str]] | None] = ContextVar("server", default=None)
"""Waits for the Prefect server and gives Prefect's settings for asking it, by their names; unset inside of a flow,
where Prefect knows them."""


def named(address: str) -> bool:
    """Whether the address only says where the real one is kept."""
    return address.startswith(("env:", "secret:"))


def revealed(address: str) -> str:
    """The address that `env:NAME` or `secret:NAME` stands for, others as they are; InputError where there is none."""
    kind, _, name = address.partition(":")
    if not named(address):
        return address
    found = _variable(name) if kind == "env" else _block(name)
    if "://" not in found:
        raise InputError(f"{address} holds no database address, such as postgresql://user:password@host/database.")
    return found


def _variable(name: str) -> str:
    found = os.environ.get(name)
    if not found:
        raise InputError(f"The environment variable {shortened(name)} is not set; it should hold a database address.")
    return found


def _block(name: str) -> str:
    """What the Secret block of this name holds."""
    ask = server.get()
    found = ask() if ask else {}
    # Slow to import, and few runs read from such an address.
    from prefect.blocks.system import Secret

    with login.asking(found):
        try:
            return str(Secret.load(name).get())  # pyright: ignore[reportAttributeAccessIssue]
        except ValueError:
            raise InputError(
                f"No Secret block {shortened(name)!r} in Prefect. Make it in Prefect's page under Blocks, with a "
                "database address as its value."
            ) from None
