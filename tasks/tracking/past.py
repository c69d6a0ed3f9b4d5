"""A finished run as a later one needs it: its settings, what its data was, and its trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError, make_unknown_error
from models.text.address import mask_address
from models.text.safe import shorten
from tasks.run.folder import DamagedFileError, read_json
from tasks.run.journal import find_default_address, find_page_address
from tasks.tracking.look import fetch_run_file
from tasks.tracking.mirror.entry import COLUMNS, TAG
from tasks.tracking.store import connect_store, search_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tasks.tracking.mirror.writer import MlflowMirror

IDENTITY = "identity.json"
"""The file of a run that says what makes it what it is (`tasks/run/fingerprint.py`)."""
ALIKE = 0.5
"""Share of two tables' columns that both have, from which on one model's configurations are tried for the other."""
_FINISHED = "tags.`nestor.kind` = 'pipeline' and attributes.status = 'FINISHED'"


@dataclass(frozen=True)
class PastRun:
    """A pipeline run that came to its end."""

    run_id: str
    name: str
    config: dict[str, Any]
    """The Run, as `config.json` holds it."""
    report: dict[str, Any]
    trials: str
    """Path of the table of its trials."""
    tags: dict[str, str] = field(default_factory=dict)
    """Those of Nestor's own, with what `identity.json` holds: `nestor.fingerprint`, `nestor.settings`,
    `nestor.libraries`, `nestor.source`."""
    searched: dict[str, Any] = field(default_factory=dict)
    """`importance.json`: the metric's direction, and what mattered in the searches; only from `list_finished_runs`."""


def find_newest_run(name: str, address: str | None = None, into: str | Path | None = None) -> PastRun | None:
    """The newest finished run of the model `name`; None before there is one. Files that are far are copied `into`."""
    client = connect_store(address or find_default_address())
    run = _find_newest(client, name)
    return None if run is None else _make_past_run(client, run, name, into)


def list_finished_runs(name: str, address: str | None = None, into: str | Path | None = None) -> list[PastRun]:
    """Every finished run of the model `name`, newest first; InputError where there is none."""
    client = connect_store(address or find_default_address())
    experiment = client.get_experiment_by_name(name)
    runs = list(search_runs(client, [experiment.experiment_id], _FINISHED)) if experiment else []
    if not runs:
        if names := {e.name for e in client.search_experiments()} - {"Default"}:
            raise make_unknown_error("model with a finished run", name, sorted(names))
        raise InputError(f"No run of {shorten(name)!r}, nor of any other model, yet: nestor train DATA --target COL")
    return [_add_importance(client, run, name, Path(into) / run.info.run_id if into else None) for run in runs]


def _add_importance(client: MlflowClient, run: Run, name: str, folder: Path | None) -> PastRun:
    if folder is not None:
        folder.mkdir()
    result = _make_past_run(client, run, name, folder)
    try:
        return replace(result, searched=_read_json_file(client, result.run_id, "importance.json", folder))
    except InputError:  # it was made before there was one
        return result


def past(mirror: MlflowMirror, run: str) -> dict[str, Any]:
    """A finished run, by its id or its model's name, as JSON values; InputError where there is none."""
    return _hand_over(mirror, _find_newest(mirror.client, run) or _find_by_id(mirror.client, run))


def _hand_over(mirror: MlflowMirror, run: Run) -> dict[str, Any]:
    """The run as JSON values, its files in the folder of the run that asks."""
    folder = mirror.workdir / "past"
    folder.mkdir(exist_ok=True)
    return asdict(_make_past_run(mirror.client, run, mirror.client.get_experiment(run.info.experiment_id).name, folder))


def similar(mirror: MlflowMirror, task: str, metric: str, columns: Sequence[str]) -> dict[str, Any] | None:
    """The newest finished run of the model whose table is most like this one, as JSON values with `shared`, the number
    of columns in common: the same kind of target, the same metric, and at least half of both tables' columns (Jaccard).
    None where no model is so near."""
    ids = [e.experiment_id for e in mirror.client.search_experiments()]
    query = f"{_FINISHED} and tags.`nestor.task` = '{task}' and tags.`nestor.metric` = '{metric}'"
    runs: dict[str, Run] = {}
    for run in search_runs(mirror.client, ids, query) if ids else ():
        runs.setdefault(run.info.experiment_id, run)
    ours = set(columns)
    candidates = [(ours & theirs, ours | theirs, run) for run in runs.values() if (theirs := _list_columns(run))]
    shared, total, match = max(
        candidates, key=lambda candidate: len(candidate[0]) / len(candidate[1]), default=(set(), ours, None)
    )
    if match is None or len(shared) < ALIKE * len(total):
        return None
    return {**_hand_over(mirror, match), "shared": len(shared)}


def _list_columns(run: Run) -> set[str]:
    """The names of its table's columns; empty where the run does not hold them."""
    schemas = [entry.dataset.schema for entry in run.inputs.dataset_inputs] if run.inputs else []
    return {column["name"] for schema in schemas if schema for column in json.loads(schema).get(COLUMNS, ())}


def _find_newest(client: MlflowClient, name: str) -> Run | None:
    experiment = client.get_experiment_by_name(name)
    return next(search_runs(client, [experiment.experiment_id], _FINISHED), None) if experiment else None


def _find_by_id(client: MlflowClient, run: str) -> Run:
    """The finished run whose id is or begins with `run`."""
    ids = [e.experiment_id for e in client.search_experiments()]
    runs = list(search_runs(client, ids, _FINISHED)) if ids else []
    matches = [r for r in runs if len(run) >= 4 and r.info.run_id.startswith(run)]
    if len(matches) != 1:
        raise make_unknown_error("finished run or model", run, [r.info.run_id[:12] for r in runs])
    return matches[0]


def _make_past_run(client: MlflowClient, run: Run, name: str, folder: str | Path | None) -> PastRun:
    run_id = run.info.run_id
    config, report = (_read_json_file(client, run_id, file, folder) for file in ("config.json", "report.json"))
    trials = fetch_run_file(client, run_id, "trials.parquet", folder)
    tags = {k: v for k, v in run.data.tags.items() if k.startswith("nestor.")}
    with suppress(InputError):  # earlier versions kept these as tags; without them its model is made anew
        tags |= _read_json_file(client, run_id, IDENTITY, folder)
    return PastRun(run_id, name, config, report, str(trials), tags)


def _read_json_file(client: MlflowClient, run_id: str, file: str, folder: str | Path | None) -> dict[str, Any]:
    """What a JSON file of the run holds; InputError, which names both, where it has none or a damaged one."""
    path = fetch_run_file(client, run_id, file, folder)
    try:
        return read_json(path)
    except DamagedFileError:
        raise InputError(
            f"The {file} of the run {run_id} is damaged: {path}. Put it back from a copy, or train anew: nestor train."
        ) from None


def add_to_run(run_id: str, tags: Mapping[str, str], files: Mapping[str, str], address: str | None = None) -> None:
    """Adds tags and small text files to a run that has ended: what came of its model."""
    client = connect_store(address or find_default_address())
    for key, value in tags.items():
        client.set_tag(run_id, key, shorten(value, TAG))
    for name, text in files.items():
        client.log_text(run_id, text, name)


def find_run_page(run_id: str, address: str | None = None) -> str | None:
    """The address of the run's page. None where MLflow is a database and no server is known beside it."""
    page = find_page_address(address or find_default_address())
    return f"{mask_address(page).rstrip('/')}/#/runs/{run_id}" if page else None
