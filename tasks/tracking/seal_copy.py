"""How a name's rows are sealed, as its first run fixed it: a copy in this folder, and the experiment in MLflow, which
other machines ask. One place for `check`, a dry plan and a run, so that all stop at the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.splitting.seal import digest_values
from models.text.address import mask_address
from tasks.run.folder import Workdir
from tasks.run.journal import find_default_address
from tasks.run.resume import ROOT

Settings = Mapping[str, Any]


def find_seal_settings(
    name: str, address: str | None = None, ask: Callable[[], Any] | None = None
) -> dict[str, Any] | None:
    """How this name's rows are sealed in the store at this address, None where it has no seal: by the copy in this
    folder, which saves waiting for MLflow, else as `ask`, by default the store itself, says."""
    address = find_default_address() if address is None else address
    settings = _make_folder().try_json(_name_file(name, address)) or None
    if settings is not None or lacks_store(address):
        return settings
    return (ask or (lambda: ask_store(name, address)))()


def keep_seal_copy(name: str, address: str, settings: Settings) -> dict[str, Any]:
    """The settings as they are written down in this folder: with the time, where the seal is new."""
    record = {"drawn": time.time(), **settings}
    folder, file = _make_folder(), _name_file(name, address)
    if (folder.try_json(file) or {}).get("number", 1) <= record.get("number", 1):  # a run that is resumed may be older
        folder.write_json(file, record)
    return record


def lacks_store(address: str) -> bool:
    """Whether the address is a SQLite file that does not exist."""
    kind, _, path = address.partition("sqlite:///")
    return not kind and bool(path) and not Path(path).exists()


def ask_store(name: str, address: str) -> dict[str, Any] | None:
    """How this name's rows are sealed, as the store at this address says."""
    from tasks.tracking.seal import read_seal_settings  # MLflow takes seconds to import
    from tasks.tracking.store import connect_store

    return read_seal_settings(connect_store(address), name)


def _make_folder() -> Workdir:
    return Workdir(ROOT / "seals")


def _name_file(name: str, address: str) -> str:
    return f"{digest_values(mask_address(address), name):016x}.json"
