"""What MLflow holds, for whoever asks: any process may."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from models.errors import InputError, join_names, make_unknown_error
from models.splitting.sealing import FIRST
from tasks.run.journal import find_default_address
from tasks.tracking import moves
from tasks.tracking.seal import read_seal_settings
from tasks.tracking.store import connect_store, describe_error, search_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def list_runs(name: str | None = None, address: str | None = None) -> list[dict[str, Any]]:
    """The pipeline runs, newest first: name, run_id, when (unix seconds), version, alias, how, estimate, test, status,
    seconds; None where there is none."""
    client = connect_store(address or find_default_address())
    runs = _find_runs(client, name)
    versions = _find_versions(client, {owner for _, owner in runs})
    return [_make_run_row(run, owner, versions) for run, owner in runs]


def _find_runs(client: MlflowClient, name: str | None = None) -> list[tuple[Run, str]]:
    """The pipeline runs and whose they are, newest first; InputError where a name has none."""
    experiments = {e.experiment_id: e.name for e in client.search_experiments()}
    names = {k: v for k, v in experiments.items() if name in (None, v)}
    runs = list(search_runs(client, list(names), "tags.`nestor.kind` = 'pipeline'")) if names else []
    if name is not None and not runs:
        raise make_unknown_error(
            "runs of", name, sorted({label for label in experiments.values() if label != "Default"})
        )
    return [(run, names[run.info.experiment_id]) for run in runs]


def list_champion_moves(name: str, address: str | None = None) -> list[dict[str, Any]]:
    """Who was champion when, newest first: number, kind, how, from, to, who, when (unix seconds), why, gate."""
    return [
        move.as_json() for move in reversed(moves.list_moves(connect_store(address or find_default_address()), name))
    ]


def list_seals(name: str, address: str | None = None) -> list[dict[str, Any]]:
    """The seals of the name, newest first: number, when (unix seconds; None where an earlier version drew it), why,
    kind, share, salt, and the columns that rows are known by."""
    settings = read_seal_settings(connect_store(address or find_default_address()), name)
    if settings is None:
        return []
    newest = {"number": 1, "drawn": None, "why": FIRST, **settings, "columns": join_names(settings["columns"])}
    return [
        {"number": seal["number"], "when": seal["drawn"], "why": seal["why"] or FIRST, "kind": seal["kind"],
         "share": seal["fraction"], "salt": seal["salt"], "columns": seal["columns"]}
        for seal in (newest, *reversed(settings.get("earlier", ())))
    ]  # fmt: skip


def _find_versions(client: MlflowClient, names: Iterable[str]) -> dict[str, tuple[int, str | None]]:
    """Version and alias by run id."""
    table: dict[str, tuple[int, str | None]] = {}
    for name in names:
        versions = client.search_model_versions(f"name = '{name}'")
        aliases = _find_aliases(client, name) if versions else {}
        table |= {v.run_id: (int(v.version), aliases.get(str(v.version))) for v in versions if v.run_id}
    return table


def _find_aliases(client: MlflowClient, name: str) -> dict[str, str]:
    return {str(version): alias for alias, version in client.get_registered_model(name).aliases.items()}


def _make_run_row(run: Run, name: str, versions: Mapping[str, tuple[int, str | None]]) -> dict[str, Any]:
    info, metrics = run.info, run.data.metrics
    version, alias = versions.get(info.run_id, (None, None))
    duration = (info.end_time - info.start_time) / 1000 if info.end_time else None
    return {
        "name": name,
        "run_id": info.run_id,
        "when": info.start_time / 1000,
        "version": version,
        "alias": alias,
        "how": run.data.tags.get("nestor.how"),
        "estimate": metrics.get("estimate"),
        "test": metrics.get("test"),
        "status": info.status,
        "seconds": metrics.get("seconds_total", duration),
    }


def fetch_artifact(run: str, path: str, address: str | None = None, folder: str | Path | None = None) -> Path:
    """A file that the run holds, copied here where it is far. `run`: its id, the beginning of it, or a model's name."""
    client = connect_store(address or find_default_address())
    return fetch_run_file(client, _find_run_id(client, run), path, folder)


def fetch_run_file(client: MlflowClient, run_id: str, path: str, folder: str | Path | None = None) -> Path:
    """A file that the run with this id holds, copied here where it is far."""
    try:
        file = Path(url2pathname(urlparse(str(client.get_run(run_id).info.artifact_uri)).path), path)
        if folder is None and file.exists():  # a store on this machine: no copy is needed
            return file
        return Path(client.download_artifacts(run_id, path, str(folder) if folder else None))
    except Exception as error:
        raise InputError(f"The run {run_id} holds no {path!r}: {describe_error(error)}") from error


def _find_run_id(client: MlflowClient, run: str) -> str:
    pairs = [(name, record.info.run_id) for record, name in _find_runs(client)]
    matches = [run_id for name, run_id in pairs if run in (name, run_id)]
    candidates = [run_id for _, run_id in pairs if len(run) >= 4 and run_id.startswith(run)]
    if not matches and len(candidates) != 1:
        raise make_unknown_error("run", run, [run_id[:8] for _, run_id in pairs])
    return (matches or candidates)[0]
