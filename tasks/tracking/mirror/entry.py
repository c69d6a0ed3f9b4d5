"""A journal record as MLflow takes it: names, lengths and kinds of values within its limits."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.run.journal import JournalRecord

PARAM, TAG, NAME, PER_CALL = 6000, 8000, 250, 100
"""MLflow's limits: characters of a param, of a tag, of a name; params or tags in one call (metrics: ten times that)."""

NOTE = "mlflow.note.content"
"""The tag that MLflow's page shows as the description of a run or an experiment."""
COLUMNS = "mlflow_colspec"
"""Where a dataset's schema has its columns, each with `name` and `type`."""
TYPES = {"number": "double", "boolean": "boolean", "date": "datetime"}
"""A column's kind as MLflow says it; all others are strings there."""


def to_safe_name(name: object) -> str:
    """The name of a param or metric as MLflow allows it."""
    text = re.sub(r"[^/\w.\- ]", "_", str(name))
    return posixpath.join("", *(p for p in text.split("/") if p not in ("", ".", "..")))[:NAME].rstrip("/") or "_"


def to_safe_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under allowed names; names that became equal are numbered."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        key, n = to_safe_name(name), 2
        while key in result:
            key, n = f"{to_safe_name(name)[: NAME - 4]}_{n}", n + 1
        result[key] = value
    return result


def _cut_text(text: object, limit: int) -> str:
    content = str(text).replace("\0", "").encode("utf-8", "replace").decode()
    return content if len(content) <= limit else content[: limit - 1] + "…"


@dataclass
class RunEntry:
    """A record as MLflow is to hold it."""

    name: str
    params: dict[str, str]
    metrics: dict[str, list[float]]
    """Metric -> its values at steps 0, 1, ..."""
    tags: dict[str, str]
    start: int
    """Milliseconds, as `end` and `at`."""
    end: int
    at: int


def make_entry(record: JournalRecord, run: str, parent: str | None) -> RunEntry:
    """The record within MLflow's limits, with the tags that find it again."""
    key_tags = {"nestor.key": record.key, "nestor.run": run, "nestor.kind": record.kind}
    parent_tags = {"mlflow.parentRunId": parent} if parent else {}
    parent_tags |= {NOTE: record.note} if record.note else {}
    # What is undefined is no number: a NaN would be told as one, and no server takes it in JSON.
    metrics = {k: [float(v)] for k, v in record.metrics.items() if v is not None and math.isfinite(v)}
    metrics |= {k: [float(x) for x in v if x is not None and math.isfinite(x)] for k, v in record.series.items()}
    ms = [round((t or record.at) * 1000) for t in (record.start, record.end, record.at)]
    return RunEntry(
        name=_cut_text(record.name or record.key, NAME),
        params={k: _cut_text(v, PARAM) for k, v in to_safe_names(record.params).items()},
        metrics=to_safe_names({k: v for k, v in metrics.items() if v}),
        tags={to_safe_name(k): _cut_text(v, TAG) for k, v in {**record.tags, **key_tags, **parent_tags}.items()},
        start=ms[0],
        end=ms[1],
        at=ms[2],
    )


def make_dataset(values: Mapping[str, Any]) -> Any:
    """The input table as MLflow's dataset entity: its digest, shape and columns, not its rows."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.validation import MAX_DATASET_SCHEMA_SIZE

    columns = [{"type": TYPES.get(kind, "string"), "name": c} for c, kind in values.get("kinds", {}).items()]
    schema = json.dumps({COLUMNS: columns}) if columns else ""
    shape = {f"num_{k}": values[k] for k in ("rows", "columns") if k in values}
    table = Dataset(
        name=_cut_text(values["name"], 500),
        digest=str(values["digest"])[:36],
        source_type="local",
        source=json.dumps({"uri": _cut_text(values.get("source", ""), 1000)}),
        schema=schema if 0 < len(schema) <= MAX_DATASET_SCHEMA_SIZE else None,
        profile=json.dumps(shape) if shape else None,
    )
    return DatasetInput(table, [InputTag("mlflow.data.context", "training")])
