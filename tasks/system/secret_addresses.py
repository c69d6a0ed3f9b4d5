"""Addresses that are kept elsewhere: `env:NAME` in the environment, `secret:NAME` in a Prefect Secret block.

So no password stands in a config file, a run, a deployment or a log. Importing this is cheap: the command line does."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TextIO

from models.errors import InputError
from models.text.address import HIDDEN, extract_passwords, mask_text
from models.text.safe import shorten, to_printable
from tasks.system import login

server: ContextVar[Callable[[], Mapping[str, str]] | None] = ContextVar("server", default=None)
"""Waits for the Prefect server and gives Prefect's settings for asking it, by their names; unset inside of a flow,
where Prefect knows them."""


LEAST = 4
"""Letters of the shortest password that is looked for by itself: one of fewer may be a part of any word."""
LEAST_OF_VARIABLES = 6
"""Letters of the shortest that is looked for because of the name of its environment variable."""
_NAMED = re.compile(
    "(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|AUTH_STRING|API_?KEY|ACCESS_KEY|ACCOUNT_KEY|PRIVATE_KEY)(?![A-Za-z])",
    re.I,
)
"""Ends of words in the names of environment variables that hold secrets: PGPASSWORD, and not TOKENIZERS_PARALLELISM."""
_used: set[str] = set()
"""The addresses that this process has used."""


def hide_passwords(text: str) -> str:
    """The text, such as a library's, without passwords: in addresses, or of one that is used or in the environment."""
    for password in sorted(_collect_passwords(), key=len, reverse=True):
        text = text.replace(password, HIDDEN)
    return mask_text(text)


def _collect_passwords() -> set[str]:
    variables = {value for value in os.environ.values() if "://" in value}
    passwords = {value for name, value in os.environ.items() if _NAMED.search(name) and _is_secret_value(value)}
    return passwords | {
        text for address in {*_used, *variables} for text in extract_passwords(address) if len(text) >= LEAST
    }


def _is_secret_value(value: str) -> bool:
    """Whether a variable's value can be a secret: no `false`, and no number, which stand in any text."""
    return len(value) >= LEAST_OF_VARIABLES and not value.isdigit()


class PasswordHidingStream(io.TextIOBase):
    """A stream that writes on what it is given, without passwords."""

    def __init__(self, stream: TextIO) -> None:
        """What is written goes to `stream`."""
        self.stream = stream

    def write(self, text: str, /) -> int:
        """The number of characters taken."""
        self.stream.write(hide_passwords(text))
        return len(text)

    def flush(self) -> None:
        """Has the other stream write out."""
        self.stream.flush()


class SafeLogFormatter(logging.Formatter):
    """Lines of a log, tracebacks included, without passwords and without what a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return to_printable(hide_passwords(super().format(record)))


def is_address_reference(address: str) -> bool:
    """Whether the address only says where the real one is kept."""
    return address.startswith(("env:", "secret:"))


def resolve_address(address: str) -> str:
    """The address that `env:NAME` or `secret:NAME` stands for, others as they are; InputError where there is none."""
    kind, _, name = address.partition(":")
    if not is_address_reference(address):
        _used.add(address)
        return address
    value = _read_variable(name) if kind == "env" else _read_secret_block(name)
    if "://" not in value:
        raise InputError(f"{address} holds no database address, such as postgresql://user@host/database.")
    _used.add(value)
    return value


def _read_variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise InputError(f"The environment variable {shorten(name)} is not set; it should hold a database address.")
    return value


def _read_secret_block(name: str) -> str:
    """What the Secret block of this name holds."""
    getter = server.get()
    settings = getter() if getter else {}
    # Slow to import, and few runs read from such an address.
    from prefect.blocks.system import Secret

    with login.use_server_settings(settings):
        try:
            return str(Secret.load(name).get())  # pyright: ignore[reportAttributeAccessIssue]
        except ValueError:
            raise InputError(
                f"No Secret block {shorten(name)!r} in Prefect. Make it in Prefect's page under Blocks, with a "
                "database address as its value."
            ) from None
