"""Runs whose process is gone: closed by whichever command comes next."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tasks.system import process
from tasks.tracking.store import search_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def make_process_tags(pid: int) -> dict[str, str]:
    """The tags that tell whether a run's process still lives."""
    start = psutil.Process(pid).create_time()
    return {"nestor.host": socket.gethostname(), "nestor.pid": str(pid), "nestor.pid_start": f"{start:.2f}"}


def is_process_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process that the tags name is alive."""
    try:
        return process.find_process(int(tags["nestor.pid"]), float(tags["nestor.pid_start"])) is not None
    except (KeyError, ValueError):
        return False


def close_orphans(client: MlflowClient, but: str = "") -> int:
    """Closes the open runs of this machine's dead processes, but not those of the pipeline run `but`; how many."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    host = socket.gethostname().replace("'", "")
    # pipeline and watch runs: those that are a process's own
    query = f"attributes.status = 'RUNNING' and tags.`nestor.host` = '{host}'"
    runs = (
        [r for r in search_runs(client, experiments, query) if not is_process_alive(r.data.tags)] if experiments else []
    )
    return sum(_close_tree(client, r) for r in runs if r.data.tags["nestor.run"] != but)


def _close_tree(client: MlflowClient, pipeline: Run) -> int:
    """Closes a pipeline run and what is open under it, itself last: so that a second kill leaves it to be found."""
    tags = pipeline.data.tags
    query = f"attributes.status = 'RUNNING' and tags.`nestor.run` = '{tags['nestor.run']}'"
    root_id = pipeline.info.run_id
    ids = {r.info.run_id for r in search_runs(client, [pipeline.info.experiment_id], query)} - {root_id}
    for run_id in [*ids, root_id]:
        client.set_terminated(run_id, "KILLED", _find_last_sign(tags))
    return len(ids) + 1


def _find_last_sign(tags: Mapping[str, str]) -> int:
    """When the run last wrote something down, in milliseconds; now, where its folder is gone."""
    with suppress(OSError):
        return round((Path(tags.get("nestor.workdir", "")) / "events.jsonl").stat().st_mtime * 1000)
    return round(time.time() * 1000)
