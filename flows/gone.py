"""Flow runs whose process is gone: Prefect would show them, and the tasks in them, running on."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Crashed

from tasks.earlier import abandoned

_OPEN = [StateType.RUNNING, StateType.PENDING, StateType.PAUSED, StateType.SCHEDULED]


def close_abandoned() -> None:
    """Closes the flow runs of trainings on this machine that were never closed, and writes down that they stopped."""
    for workdir in abandoned():
        kept = workdir.read_json("run.json")
        close(kept["flow_run"], "`nestor train ... --resume` goes on.")
        workdir.write_json("run.json", {**kept, "state": "stopped"})


def close(flow_run_id: str, more: str = "") -> None:
    """Sets the flow run and the task runs in it to crashed, where they did not end. One unknown to Prefect is well.

    Of the flow run that asks, a later attempt of the same one, only the tasks are closed, before it has any itself."""
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        run = client.read_flow_run(UUID(flow_run_id))
        message = f"Its process is gone. {more}".strip()
        if flow_run_id != str(flow_run.id) and (run.state is None or not run.state.is_final()):
            client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        _close_tasks(client, run.id, message)


def _close_tasks(client: SyncPrefectClient, flow_run_id: UUID, message: str) -> None:
    inside = FlowRunFilter.model_validate({"id": {"any_": [flow_run_id]}})
    still = TaskRunFilter.model_validate({"state": {"type": {"any_": _OPEN}}})
    while found := client.read_task_runs(flow_run_filter=inside, task_run_filter=still):
        for task_run in found:  # a page of them: closed ones are not found again
            client.set_task_run_state(task_run.id, Crashed(message=message), force=True)
