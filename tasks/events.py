"""What Nestor tells Prefect's server, for automations to act on: events about a model, one function for each.

Every event is about the resource `nestor.model.NAME`; the payload's shape is the function's arguments, and `name` is
always in it. They go as one request that the server has answered when the function returns: Prefect's own
`emit_event` leaves them to a thread, which a process that ends may not wait for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from models.errors import shortened

log = logging.getLogger("nestor.events")

DRIFT = "nestor.drift"
PROMOTED = "nestor.promoted"
KEPT = "nestor.kept"
FAILED = "nestor.failed"
ARRIVED = "nestor.data.arrived"

MOST = 20
"""Columns named in an event."""


def drift(
    name: str, *, version: int, data: str, columns: Sequence[str], psi: float, performance: float | None,
    sentence: str, run_id: str | None = None,
) -> bool:  # fmt: skip
    """`nestor.drift`: later rows look otherwise. `columns` that drift, worst first; the largest `psi`; `performance`:
    z of the score's loss where labels are known; `run_id` of the watch in MLflow."""
    return _sent(
        DRIFT, name, version=version, data=data, columns=[shortened(c, 100) for c in columns[:MOST]],
        count=len(columns), psi=psi, performance=performance, sentence=sentence, run_id=run_id,
    )  # fmt: skip


def promoted(name: str, *, version: int, before: int | None, who: str, why: str, run_id: str | None = None) -> bool:
    """`nestor.promoted`: another version is the champion, by the gate, a person or a rollback."""
    return _sent(PROMOTED, name, version=version, before=before, who=who, why=why, run_id=run_id)


def kept(name: str, *, version: int | None, challenger: int | None, why: str, run_id: str | None = None) -> bool:
    """`nestor.kept`: the champion `version` (None: there is none) stays; `challenger`: the version that did not win,
    None where nothing was trained."""
    return _sent(KEPT, name, version=version, challenger=challenger, why=why, run_id=run_id)


def failed(name: str, *, flow: str, why: str, run_id: str | None = None) -> bool:
    """`nestor.failed`: a run of the flow `flow` (train, retrain, score, watch) ended without its result."""
    return _sent(FAILED, name, flow=flow, why=why, run_id=run_id)


def arrived(name: str, *, data: str) -> bool:
    """`nestor.data.arrived`: there is new data for the model; mostly told by whoever brings it."""
    return _sent(ARRIVED, name, data=data)


def resource(name: str) -> dict[str, str]:
    """What the events of a model are about."""
    return {"prefect.resource.id": f"nestor.model.{name}", "prefect.resource.name": name}


def _sent(event: str, name: str, **payload: Any) -> bool:
    """Whether the server has it. A run that did its work does not fail because nobody could be told."""
    from prefect.client.orchestration import get_client
    from prefect.events import Event, RelatedResource
    from prefect.runtime import flow_run

    said = {key: shortened(value, 1000) if isinstance(value, str) else value for key, value in payload.items()}
    ours = [{"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}]
    related = [RelatedResource.model_validate(one) for one in ours if flow_run.id]
    one = Event.model_validate(
        {"event": event, "resource": resource(name), "related": related, "payload": {"name": name, **said}}
    )
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[one.model_dump(mode="json")]).raise_for_status()
    except Exception as error:
        log.warning("The event %s of %s could not be sent: %s", event, name, shortened(error, 200))
        return False
    return True
