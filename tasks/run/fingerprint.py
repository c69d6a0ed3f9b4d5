"""What makes a run what it is: its table, its settings, its libraries, and where the table came from. The run in MLflow
holds it as `identity.json`, so that a retraining can see that nothing has changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from models.config import Run
from models.errors import join_names
from models.splitting.seal import digest_values
from tasks.run import resume
from tasks.run.folder import Workdir
from tasks.run.resume import choose_model_name, to_run_settings
from tasks.system.libraries import list_installed_versions

SOURCES = "sources.json"
"""In a model's folder: by fetched table, what was given to get it."""

_ONCE = {"search": "warm_from", "split": "new_seal"}


def make_run_identity(run: Run, fingerprint: str) -> dict[str, str]:
    """What makes a run over a table with this fingerprint what it is; earlier versions wrote it down as tags."""
    return {
        "nestor.fingerprint": fingerprint,
        "nestor.settings": digest_json(select_identity_settings(to_run_settings(run))),
        "nestor.libraries": json.dumps(list_installed_versions()),
        "nestor.source": json.dumps(make_source_record(run), ensure_ascii=False),
    }


def select_identity_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A described Run without what says where its table lies and where it is shown, and without what it asked once."""
    settings = {k: v for k, v in config.items() if k not in ("data", "query", "bound", "name", "tracking")}
    return drop_one_time_settings(settings)


def drop_one_time_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that hold for one run alone: its warm start, and a new seal."""
    parts = {part: name for part, name in _ONCE.items() if config.get(part)}
    return {**config, **{part: {k: v for k, v in config[part].items() if k != name} for part, name in parts.items()}}


def digest_json(values: Mapping[str, Any]) -> str:
    """A hex digest of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:32]


def make_source_record(run: Run) -> dict[str, Any]:
    """What was given as data, query and bound; a DataFrame can't be given again, and a password is not kept. Of a table
    that a retraining fetched, what that one was given."""
    settings = to_run_settings(run)
    source = (locate_retrain_folder(choose_model_name(run)).try_json(SOURCES) or {}).get(str(settings["data"]))
    data = None if isinstance(run.data, pd.DataFrame) else settings["data"]
    return source or {"data": data, "query": settings["query"], "bound": settings["bound"]}


def keep_source(name: str, data: Any, source: Mapping[str, Any]) -> None:
    """Writes down what was given to get this file, until a run over it is published."""
    if isinstance(data, str):
        folder = locate_retrain_folder(name)
        folder.write_json(SOURCES, {**(folder.try_json(SOURCES) or {}), data: source})


def locate_retrain_folder(name: str) -> Workdir:
    """Where a model's retrainings keep what they need: `mlruns/retrain/NAME-...`."""
    return Workdir(resume.ROOT / "retrain" / to_folder_name(name))


def to_folder_name(name: str) -> str:
    """The model's name for a folder or a limit: no signs in it, and no two names alike."""
    slug = re.sub(r"[^\w-]+", "_", name)[:60]
    return f"{slug}-{digest_values(name):016x}"


def compare_identity(tags: Mapping[str, str], run: Run, fingerprint: str) -> tuple[str, ...]:
    """What differs between the run with these tags and this one: the table, settings, libraries and their versions."""
    identity = make_run_identity(run, fingerprint)
    names = {"nestor.fingerprint": "the table", "nestor.settings": "settings"}
    changes = [name for tag, name in names.items() if tags.get(tag) != identity[tag]]
    before, after = json.loads(tags.get("nestor.libraries", "{}")), list_installed_versions()
    differences = [
        f"{n} {before.get(n, '-')} → {after.get(n, '-')}" for n in {**before, **after} if before.get(n) != after.get(n)
    ]
    return (*changes, *([f"libraries ({join_names(differences)})"] if differences else []))
