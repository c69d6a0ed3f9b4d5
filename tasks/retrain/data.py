"""What a retraining's data is: what it was given, else what the last run was given, read anew."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from models.config import Retrain
from models.errors import InputError, join_names
from models.text.address import mask_address, mask_text
from models.text.markdown import escape_markdown
from tasks.data import fetch_data
from tasks.data.sources.database import is_address
from tasks.monitoring.prefect_events import NO_SOURCE
from tasks.registry.load import LoadedVersion, load_version
from tasks.run.fingerprint import keep_source, locate_retrain_folder
from tasks.run.folder import Workdir
from tasks.run.journal import find_default_address
from tasks.system import private
from tasks.tracking import PastRun, find_newest_run, moves
from tasks.tracking.orphans import close_orphans
from tasks.tracking.store import connect_store

KEPT = 3
"""Tables from a database that stay in a model's folder: an attempt that was broken off goes on with its own."""


@dataclass(frozen=True, eq=False)
class RetrainInputs:
    """Everything that a retraining begins with."""

    retrain: Retrain
    past: PastRun | None
    """The newest finished run of this name."""
    champion: LoadedVersion | None
    """Its tested twin: the model that every number speaks of."""
    data: Any
    """The new table: a file, `sklearn:NAME` or a DataFrame, the same however often it is read."""
    source: dict[str, Any]
    """What was given to get it: data, query and bound; a DataFrame is null."""
    folder: Workdir

    @property
    def name(self) -> str:
        """The model's name."""
        return self.retrain.name


def load_retrain_inputs(retrain: Retrain) -> RetrainInputs:
    """The new data, the last run and the champion. Runs in MLflow whose process is gone are closed first."""
    address, folder = find_default_address(), locate_retrain_folder(retrain.name)
    private.make_private_folder(folder.path)
    close_orphans(connect_store(address))
    past = find_newest_run(retrain.name, address, folder.path / "past")
    source = _choose_source(retrain, past)
    data = fetch_data(source["data"], source["query"], source["bound"], folder=folder.path)
    record = _mask_source(source)
    keep_source(retrain.name, data, record)
    _remove_old_tables(folder)
    return RetrainInputs(retrain, past, _load_champion(retrain, address), data, record, folder)


def offer_source(
    data: object, query: str | None, bound: Mapping[str, str], labelled: bool
) -> tuple[Mapping[str, str], str]:
    """Where a retraining may read these rows, as an event carries it, and why it can't where it can't: in an event a
    password would be there for all to read."""
    source = {"data": str(data), "query": query or "", "bound": json.dumps([f"{k}={v}" for k, v in bound.items()])}
    if not labelled:
        return NO_SOURCE, "they have no target"
    if not isinstance(data, (str, Path)):
        return NO_SOURCE, "a DataFrame can't be read anew"
    if any(mask_text(mask_address(text)) != text for text in source.values()):
        return NO_SOURCE, "their address holds a password, which no event may carry: name it by env:NAME or secret:NAME"
    return source, ""


def _load_champion(retrain: Retrain, address: str) -> LoadedVersion | None:
    """The champion's tested twin; None before there is one."""
    client, name = connect_store(address), retrain.name
    if not client.search_registered_models(f"name = '{name}'"):
        return None
    version = moves.find_champion(client, name)
    return None if version is None else load_version(f"{name}/{version}", address, tested=True, unsafe=retrain.unsafe)


def _choose_source(retrain: Retrain, past: PastRun | None) -> dict[str, Any]:
    """data, query and bound, each as asked, else as the last run had it."""
    source = _read_last_source(past)
    # an event that names no table gives an empty text
    no_data = retrain.data is None or (isinstance(retrain.data, str) and not retrain.data.strip())
    data = source["data"] if no_data else retrain.data
    if data is None:
        raise InputError(_explain_no_data(retrain.name, past))
    if not is_address(data):
        return {"data": data, "query": retrain.query or None, "bound": retrain.bound}
    query = retrain.query or source["query"]
    bindings = {k: v for k, v in source["bound"].items() if re.search(rf":{re.escape(k)}\b", query or "")}
    return {"data": data, "query": query, "bound": {**bindings, **retrain.bound}}


def _read_last_source(past: PastRun | None) -> dict[str, Any]:
    """What the last run was given; nulls where it was a DataFrame or there was none."""
    source = json.loads(past.tags.get("nestor.source", "{}")) if past else {}
    return {"data": source.get("data"), "query": source.get("query"), "bound": source.get("bound") or {}}


def _explain_no_data(name: str, past: PastRun | None) -> str:
    if past is None:
        return (
            f"{name} has never been trained here, so there is no table to read anew. Give data and the target "
            "(--data FILE, and changes: {target: COLUMN} in --config), or train it: nestor train FILE --target COLUMN "
            f"--name {name}."
        )
    return f"The last run of {name} was given a DataFrame, which can't be read anew: give the new table (--data)."


def _mask_source(source: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as it is written down: without a password."""
    data = source["data"]
    return {**source, "data": None if isinstance(data, pd.DataFrame) else mask_address(str(data))}


def _remove_old_tables(folder: Workdir) -> None:
    """Removes all but the newest tables."""
    tables = sorted(folder.path.glob("*.parquet"), key=lambda p: p.stat().st_mtime, reverse=True)
    for table in tables[KEPT:]:
        table.unlink(missing_ok=True)


def describe_inputs(inputs: RetrainInputs) -> str:
    """What was found, in a few lines of markdown."""
    rows = [f"Data: {inputs.source['data'] or 'a DataFrame'}"]
    rows += [f"Query: {inputs.source['query']}"] if inputs.source["query"] else []
    rows += (
        [f"With {join_names(f'{k} = {v}' for k, v in inputs.source['bound'].items())}"]
        if inputs.source["bound"]
        else []
    )
    rows += [f"Last run: {inputs.past.run_id}" if inputs.past else "Last run: none"]
    rows += [f"Champion: version {inputs.champion.version}" if inputs.champion else "Champion: none"]
    return "\n".join(f"- {escape_markdown(row)}" for row in rows)
