"""`python -m flows.stack.prefect_worker worker start ...`: Prefect's own command, whose process worker runs only what
is allowed (`flows/stack/allowed.py`). Another run has crashed, with a sentence that says why."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from flows.stack.allowed import explain_not_allowed

_run = ProcessWorker.run
_TOLD = ("PREFECT__WORKER_", "PREFECT__FLOW_NAME", "PREFECT__DEPLOYMENT_NAME")
"""Variables by which a run's requests say where they come from; a worker's id may change meanwhile."""


async def run_if_allowed(
    self: ProcessWorker, flow_run: FlowRun, configuration: ProcessJobConfiguration, task_status: Any = None
) -> ProcessWorkerResult:
    """The run, where it is allowed."""
    deployment = await self.client.read_deployment(flow_run.deployment_id) if flow_run.deployment_id else None
    baseline = await _make_own_configuration(self, flow_run, deployment)
    folder = Path(os.path.expanduser(os.environ.get("NESTOR_HOME") or "."))
    reason = explain_not_allowed(
        folder.resolve(), deployment, _find_foreign_settings(configuration, baseline), flow_run.parameters
    )
    if reason is None:
        return await _run(self, flow_run, configuration, task_status)
    self.get_flow_run_logger(flow_run).warning(reason)
    await self._propose_crashed_state(flow_run, reason)
    if task_status is not None:
        task_status.started(0)  # no process
    return ProcessWorkerResult(status_code=0, identifier="none")


async def _make_own_configuration(worker: ProcessWorker, flow_run: FlowRun, deployment: Any) -> ProcessJobConfiguration:
    """What this run would be given without any settings on the server."""
    configuration, flow = ProcessJobConfiguration(), await worker.client.read_flow(flow_run.flow_id)
    configuration.prepare_for_flow_run(flow_run, deployment, flow, worker.work_pool, worker.name, worker.backend_id)
    return configuration


def _find_foreign_settings(configuration: ProcessJobConfiguration, baseline: ProcessJobConfiguration) -> dict[str, Any]:
    """What is not the worker's own."""
    names = {*configuration.env, *baseline.env}
    differences = [k for k in names if configuration.env.get(k) != baseline.env.get(k) and not k.startswith(_TOLD)]
    env = {k: configuration.env.get(k) for k in sorted(differences)}
    command = configuration.command if configuration.command != baseline.command else None
    working_dir = str(configuration.working_dir) if configuration.working_dir else None
    settings = {"command": command, "working_dir": working_dir, "env": env}
    return {name: value for name, value in settings.items() if value}


if __name__ == "__main__":
    ProcessWorker.run = run_if_allowed
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
