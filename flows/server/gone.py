"""Flow runs whose process is gone: Prefect would show them, and the tasks in them, running on.

Each flow run writes down which process it is while it runs. A kill leaves that behind, and nobody who could close the
flow run: the next command on this machine does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.runtime import flow_run
from prefect.states import Crashed

from models.errors import NestorError
from tasks.run.folder import Workdir
from tasks.run.resume import ROOT, find_abandoned_runs
from tasks.system import process

_AT_WORK = [StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]
"""Not what waits for a worker: that may be a retry which somebody has asked for."""
_OPEN = [StateType.RUNNING, StateType.PENDING, StateType.PAUSED, StateType.SCHEDULED]


_within: ContextVar[bool] = ContextVar("within", default=False)
"""Whether one of our flows is being run: then it has looked for abandoned ones."""

_MESSAGE = "Its process is gone. What is finished is kept: Retry on its page, or the same command again, goes on."


@contextmanager
def record_flow_run() -> Iterator[None]:
    """Inside the block it is written down that this flow run, in this attempt at it, is this process. The outermost one
    first closes what others left open."""
    record = (_locate_records() / f"{flow_run.id}.json").absolute()  # a flow may change the folder
    if flow_run.id is not None:
        Workdir(record.parent).write_json(record.name, {**process.identify_process(), "attempt": flow_run.run_count})
    outermost, token = not _within.get(), _within.set(True)
    try:
        if outermost:
            close_abandoned()
        yield
    finally:
        _within.reset(token)
        with suppress(OSError):
            record.unlink(missing_ok=True)


def close_abandoned() -> None:
    """Closes what was never closed of flow runs on this machine whose process is gone, and writes down that their
    trainings stopped. Prefect has closed most of them itself."""
    for path in _locate_records().glob("*.json"):
        # a later command asks again
        with suppress(httpx.HTTPError, PrefectException, OSError, ValueError):
            record = _read_record(path)
            if record is None or process.is_owner_gone(record):
                if record is not None:
                    close_flow_run(path.stem, attempt=record["attempt"])
                path.unlink(missing_ok=True)
    for workdir in find_abandoned_runs():
        with suppress(OSError, NestorError):  # another user's, say
            if record := workdir.read_json("run.json"):  # not removed meanwhile
                workdir.write_json("run.json", {**record, "state": "stopped"})


def _read_record(path: Path) -> dict[str, Any] | None:
    """The record; None where it is damaged, as by a machine that lost its power."""
    try:
        record = json.loads(path.read_text("utf-8"))
        return {name: record[name] for name in ("host", "pid", "pid_start", "attempt")}
    except (ValueError, KeyError, TypeError):
        return None


def _locate_records() -> Path:
    """Where flow runs of this machine are written down."""
    return ROOT / "flows"


def close_flow_run(flow_run_id: str, state: State | None = None, attempt: int | None = None) -> None:
    """Sets the flow run, where it is at work, to the state, else to crashed, and the task runs in it to crashed. One
    unknown to Prefect, or that goes on in a later attempt, is well.

    Of the flow run that asks, a later attempt of the same one, only the tasks are closed, before it has any itself."""
    run_id = UUID(flow_run_id)
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        run = client.read_flow_run(run_id)
        if attempt not in (None, run.run_count):
            return
        if flow_run_id != str(flow_run.id) and run.state is not None and run.state.type in _AT_WORK:
            client.set_flow_run_state(run.id, state or Crashed(message=_MESSAGE), force=True)
        _close_tasks(client, run.id)


def _close_tasks(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    run_filter = FlowRunFilter.model_validate({"id": {"any_": [flow_run_id]}})
    task_filter = TaskRunFilter.model_validate({"state": {"type": {"any_": _OPEN}}})
    while task_runs := client.read_task_runs(flow_run_filter=run_filter, task_run_filter=task_filter):
        for task_run in task_runs:  # a page of them: closed ones are not found again
            client.set_task_run_state(task_run.id, Crashed(message="Its process is gone."), force=True)
