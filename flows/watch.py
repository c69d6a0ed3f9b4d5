"""New rows against the champion: do columns, predictions or the score drift?

load the champion -> load -> compare -> report -> tell

In Python: `from flows.watch import watch; watched = watch(Watch(name="loans", data="new.csv"))`."""

from __future__ import annotations

import time

from flows.server.called import ServedFlow  # before Prefect: it reads its settings when it is imported

# isort: split
from prefect.runtime import flow_run

from models.config import Watch
from models.monitoring.drift import WatchReport
from tasks.monitoring.drift import has_labels
from tasks.stages import watch as stages


def _watch(watch: Watch) -> WatchReport:
    """Compares new rows with what the champion was trained on; drift sends the event `nestor.drift`."""
    start = time.time()
    loaded = stages.champion(watch)
    rows = stages.load(watch, loaded)
    drift = stages.compare(watch, loaded, rows)
    return stages.tell(watch, stages.report(watch, loaded, rows, drift, start), has_labels(loaded, rows))


def _make_run_name() -> str:
    """The model's name: what is looked for among flow runs."""
    settings = flow_run.parameters["watch"]
    return settings.name if isinstance(settings, Watch) else "watch"


watch = ServedFlow(_watch, name="watch", flow_run_name=_make_run_name, persist_result=False)
