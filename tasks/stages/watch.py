"""The stages of watching as Prefect tasks; the work is done by the plain functions of `tasks/monitoring/drift.py`."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import task

from models.config import Watch
from models.monitoring.drift import Drift, WatchReport
from models.outcome import format_number
from models.text.address import mask_address
from models.text.markdown import escape_markdown
from tasks.data import fetch_data
from tasks.monitoring import page, prefect_events
from tasks.monitoring.drift import LaterRows, compare_with_profile, read_later_rows
from tasks.registry.load import LoadedVersion, load_version
from tasks.retrain import notify
from tasks.retrain.data import offer_source
from tasks.run import events
from tasks.stages import artifacts
from tasks.stages.options import PLAIN
from tasks.tracking import watches
from tasks.tracking.past import find_run_page


@task(name="load the champion", task_run_name="load the champion", **PLAIN)
def champion(watch: Watch) -> LoadedVersion:
    """The tested model: the profile and the published score speak of it."""
    events.emit(events.Began("read", watch.name))
    return load_version(watch.name, tested=True, unsafe=watch.unsafe)


@task(name="load", task_run_name="load", **PLAIN)
def load(watch: Watch, loaded: LoadedVersion) -> LaterRows:
    """The new rows, read as the training table was."""
    events.emit(events.Began("read", "new rows"))
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        return read_later_rows(loaded, fetch_data(watch.data, watch.query, watch.bound, folder=Path(folder)))


@task(name="compare", task_run_name="compare", **PLAIN)
def compare(watch: Watch, loaded: LoadedVersion, rows: LaterRows) -> Drift:
    """Every column, the predictions, and where there are labels the score."""
    events.emit(events.Began("check", "drift"))
    return compare_with_profile(loaded, rows, watch.level, watch.psi)


@task(name="report", task_run_name="report", **PLAIN)
def report(watch: Watch, loaded: LoadedVersion, rows: LaterRows, drift: Drift, start: float) -> WatchReport:
    """A run in MLflow, and what Prefect's page shows."""
    data = mask_address(watch.model_dump(mode="json")["data"])
    outcome = WatchReport(watch.name, loaded.version, data, drift)
    run_id = watches.record_watch(
        watch.name,
        begun=start,
        params={"version": loaded.version, **_list_settings(watch, data)},
        metrics=_list_metrics(drift),
        tags={"nestor.version": str(loaded.version), "nestor.drifted": str(drift.drifted).lower()},
        table={
            "name": watch.name, "digest": rows.digest, "source": data, "rows": len(rows.features),
            "columns": rows.features.shape[1],
        },
        files={
            "drift.json": json.dumps(outcome.as_json(), indent=1, ensure_ascii=False, allow_nan=False),
            "drift.html": page.render_drift(watch.name, loaded.version, data, drift),
        },
        note=f"{escape_markdown(drift.sentence)}\n\nThe whole finding is `drift.html` under Artifacts.",
    )  # fmt: skip
    _show_drift(replace(outcome, run_id=run_id))
    return replace(outcome, run_id=run_id)


def _list_settings(watch: Watch, data: str) -> dict[str, Any]:
    return {"data": data, "query": watch.query, "bound": watch.bound, "level": watch.level, "psi": watch.psi}


def _list_metrics(drift: Drift) -> dict[str, float]:
    """What there is to plot over watches."""
    index = {part: [c.psi for c in drift.columns if c.part == part and not c.moves] for part in _PARTS}
    metrics = {
        "rows": float(drift.rows[1]),
        "drift_columns": float(sum(c.part == "feature" for c in drift.alarms)),
        **{name: max(index[part]) for part, name in _PARTS.items() if index[part]},
    }
    if (performance := drift.performance) is not None:
        metrics |= {
            "performance": performance.now,
            "performance_then": performance.then,
            "performance_z": performance.z,
        }
    return metrics


_PARTS = {"feature": "max_psi", "prediction": "prediction_psi"}


def _show_drift(outcome: WatchReport) -> None:
    link = find_run_page(outcome.run_id) if outcome.run_id else None
    text = page.to_markdown(outcome.name, outcome.version, outcome.data, outcome.drift)
    line = f"\n\n[The run in MLflow]({link})" if link else f"\n\nMLflow run `{outcome.run_id}`"
    artifacts.show_markdown(artifacts.make_model_key("drift", outcome.name), text + line, outcome.drift.sentence[:300])
    columns = page.make_table_rows(outcome.drift)
    artifacts.show_table(
        artifacts.make_model_key("drift-columns", outcome.name), columns, f"Columns of {outcome.name}, then and now"
    )


@task(name="tell", task_run_name="tell", **PLAIN)
def tell(watch: Watch, outcome: WatchReport, labelled: bool) -> WatchReport:
    """The event for automations, with where to read the rows if they are `labelled`, and the notification block; what
    could not be told is noted."""
    if not outcome.drift.drifted:
        return outcome
    is_sent, notes = False, []
    if watch.alarm:
        source, reason = offer_source(watch.data, watch.query, watch.bound, labelled)
        is_sent = prefect_events.send_drift(
            outcome.name, version=outcome.version, data=outcome.data, columns=[c.name for c in outcome.drift.alarms],
            psi=max((c.psi for c in outcome.drift.alarms), default=0.0),
            performance=outcome.drift.performance and outcome.drift.performance.z,
            sentence=outcome.drift.sentence, run_id=outcome.run_id, source=source,
        )  # fmt: skip
        if not is_sent:
            notes.append(
                f"The event {prefect_events.DRIFT} was not sent, so nothing is retrained: no Prefect server that keeps "
                "events has it. `nestor up` starts one; the log says more."
            )
        elif reason:
            notes.append(f"A retraining can't train on these rows: {reason}. It reads the last run's table anew.")
    problem = notify.send_notification(watch.notify, f"{outcome.name}: drift", _make_message(outcome))
    return replace(outcome, event=is_sent, notes=(*notes, *([problem] if problem else [])))


def _make_message(outcome: WatchReport) -> str:
    lines = [f"- {c.name}: PSI {format_number(c.psi)}" for c in outcome.drift.alarms[:20]]
    return "\n".join([f"{outcome.drift.sentence} Version {outcome.version}, {outcome.data}.", *lines])
