"""One retraining of a model at a time, over all workers of a Prefect server: a global concurrency limit per model.

The slot is held by a lease that is renewed while the retraining lives. A process that is killed leaves it to run out,
a minute later; on the machine where it ran the next retraining sees that it is gone, and need not wait. A slot that is
taken although no other retraining runs is stale (a server that is started anew forgets its leases) and is cleared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, StateType
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.server import gone
from models.errors import SkippedRunError
from tasks.run import events
from tasks.run.fingerprint import to_folder_name
from tasks.run.folder import Workdir
from tasks.run.resume import ROOT
from tasks.system import process
from tasks.system.watching import keep_watch

LEASE = 60.0
"""Seconds that a lease lasts; the server allows no less."""
EVERY = 15.0
"""Seconds between two renewals."""
POLL = 5.0
"""Seconds between two looks of who waits."""
_AT_WORK = [StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]


@contextmanager
def take_turn(name: str, overlap: Literal["refuse", "queue"], flow_run_id: str) -> Iterator[None]:
    """Inside the block no other retraining of this model runs. Skipped where one is at work and none may wait.

    Slots of retrainings whose process is gone are given back first."""
    _release_dead_slots()
    limit = f"nestor-retrain-{to_folder_name(name)}"
    with get_client(sync_client=True) as client:
        _ensure_limit(client, limit)
        lease = _await_slot(client, name, limit, overlap, flow_run_id)
    file = _locate_records() / f"{flow_run_id}.json"
    _write_record(file, name, limit, lease, flow_run_id)
    try:
        with keep_watch(lambda: _renew(lease), "lease", EVERY):
            yield
    finally:
        # a server that is gone by now must not cost the result: the next retraining clears the slot
        with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
            client.release_concurrency_slots_with_lease(lease)
        file.unlink(missing_ok=True)


def _release_dead_slots() -> None:
    """Gives the slots back of retrainings on this machine whose process is gone."""
    for path in _locate_records().glob("*.json"):
        record = Workdir(path.parent).try_json(path.name)
        if not record:
            path.unlink(missing_ok=True)  # damaged: whoever waits for the slot clears it
        elif process.is_owner_gone(record):
            with get_client(sync_client=True) as client:
                client.release_concurrency_slots_with_lease(UUID(record["lease"]))
            path.unlink(missing_ok=True)


def _locate_records() -> Path:
    """Where this machine's retrainings at work are written down."""
    return ROOT / "retrain" / "running"


def _write_record(path: Path, name: str, limit: str, lease: UUID, flow_run_id: str) -> None:
    Workdir(path.parent).write_json(
        path.name,
        {**process.identify_process(), "name": name, "limit": limit, "lease": str(lease), "flow_run": flow_run_id},
    )


def _ensure_limit(client: SyncPrefectClient, limit: str) -> None:
    """Makes the limit unless it is there."""
    try:
        client.read_global_concurrency_limit_by_name(limit)
    except ObjectNotFound:
        with suppress(ObjectAlreadyExists, httpx.HTTPStatusError):  # another has just made it
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=limit, limit=1))


def _await_slot(client: SyncPrefectClient, name: str, limit: str, overlap: str, flow_run_id: str) -> UUID:
    """The lease on the model's only slot, once it is free."""
    holder, has_noted = ConcurrencyLeaseHolder(type="flow_run", id=UUID(flow_run_id)), False
    while True:
        try:
            answer = client.increment_concurrency_slots_with_lease([limit], 1, "concurrency", LEASE, holder)
            return UUID(answer.json()["lease_id"])
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.LOCKED:
                raise
        gone.close_abandoned()
        _release_dead_slots()
        if not _has_other_retraining(client, name, flow_run_id):
            client.update_global_concurrency_limit(limit, GlobalConcurrencyLimitUpdate(active_slots=0))
            continue
        if overlap == "refuse":
            raise SkippedRunError(
                f"Another retraining of {name} is at work: nothing was trained. Wait until it is done, or let this one "
                "wait (overlap: queue)."
            )
        if not has_noted:
            events.emit(events.NoteEvent(f"Another retraining of {name} is at work; this one waits for its end."))
            has_noted = True
        time.sleep(POLL)


def _renew(lease: UUID) -> None:
    """Renews the lease. A server that does not answer for a while costs the slot, not the run."""
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        client.renew_concurrency_lease(lease, LEASE)


def _has_other_retraining(client: SyncPrefectClient, name: str, flow_run_id: str) -> bool:
    """Whether another retraining of this model is at work, as far as Prefect knows."""
    flow_filter = FlowFilter.model_validate({"name": {"any_": ["retrain"]}})
    run_filter = FlowRunFilter.model_validate({"name": {"any_": [name]}, "state": {"type": {"any_": _AT_WORK}}})
    runs = client.read_flow_runs(flow_filter=flow_filter, flow_run_filter=run_filter)
    return any(str(run.id) != flow_run_id for run in runs)
