"""Many ended trials in one transaction of MLflow's own database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.tracking.mirror.entry import RunEntry

if TYPE_CHECKING:
    from mlflow import MlflowClient


def insert_whole(client: MlflowClient, experiment_id: str, entries: Sequence[tuple[RunEntry, str]]) -> list[str] | None:
    """The run ids of new, ended runs written by one transaction into MLflow's own database; None where the store is a
    server. MlflowClient takes 15 ms for each of them, this 1 ms, and the rows are the same."""
    store = client._tracking_client.store
    if type(store).__name__ != "SqlAlchemyStore":
        return None
    from mlflow.store.tracking.dbmodels import models as tables
    from sqlalchemy import insert

    location = client.get_experiment(experiment_id).artifact_location.rstrip("/")
    rows: dict[Any, list[dict[str, Any]]] = {
        t: [] for t in (tables.SqlRun, tables.SqlTag, tables.SqlParam, tables.SqlMetric, tables.SqlLatestMetric)
    }
    ids = [uuid.uuid4().hex for _ in entries]
    for run_id, (entry, status) in zip(ids, entries, strict=True):
        rows[tables.SqlRun].append(_make_run_row(run_id, experiment_id, location, entry, status))
        tags = {**entry.tags, "mlflow.runName": entry.name}
        rows[tables.SqlTag] += [{"run_uuid": run_id, "key": k, "value": v} for k, v in tags.items()]
        rows[tables.SqlParam] += [{"run_uuid": run_id, "key": k, "value": v} for k, v in entry.params.items()]
        for key, values in entry.metrics.items():
            steps = [_make_metric_row(store, run_id, key, v, step, entry.at) for step, v in enumerate(values)]
            rows[tables.SqlMetric] += steps
            rows[tables.SqlLatestMetric].append(steps[-1])
    with store.ManagedSessionMaker(read_only=False) as session:
        for table, values in rows.items():
            if values:
                session.execute(insert(table), values)
    return ids


def _make_run_row(run_id: str, experiment_id: str, location: str, entry: RunEntry, status: str) -> dict[str, Any]:
    return {
        "run_uuid": run_id,
        "name": entry.name,
        "artifact_uri": f"{location}/{run_id}/artifacts",
        "experiment_id": int(experiment_id),
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "source_version": "",
        "user_id": entry.tags.get("mlflow.user", "unknown"),
        "status": status,
        "start_time": entry.start,
        "end_time": entry.end,
        "lifecycle_stage": "active",
    }


def _make_metric_row(store: Any, run_id: str, key: str, value: float, step: int, moment: int) -> dict[str, Any]:
    is_nan, number = store.sanitize_metric_value(value)
    return {"run_uuid": run_id, "key": key, "value": number, "timestamp": moment, "step": step, "is_nan": is_nan}
