"""What Nestor tells Prefect's server, for automations to act on: events about a model, one function for each.

Every event is about the resource `nestor.model.NAME`; the payload's shape is the function's arguments, and `name` is
always in it. They go as one request that the server has answered when the function returns: Prefect's own
`emit_event` leaves them to a thread, which a process that ends may not wait for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.text.safe import shorten

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

log = logging.getLogger("nestor.events")

DRIFT = "nestor.drift"
PROMOTED = "nestor.promoted"
KEPT = "nestor.kept"
FAILED = "nestor.failed"
ARRIVED = "nestor.data.arrived"

MOST = 20
"""Columns named in an event."""

NO_SOURCE = {"data": "", "query": "", "bound": "[]"}
"""Where a table is: data and query as a retraining takes them, and the query's values as a JSON list of `name=value`.
All empty: nothing that may be trained on."""


class ExactText(str):
    """A text that is sent as it is; others are shortened, which is for people."""


def send_drift(
    name: str, *, version: int, data: str, columns: Sequence[str], psi: float, performance: float | None,
    sentence: str, run_id: str | None = None, source: Mapping[str, str] = NO_SOURCE,
) -> bool:  # fmt: skip
    """`nestor.drift`: later rows look otherwise. `columns` that drift, worst first; the largest `psi`; `performance`:
    z of the score's loss where labels are known; `run_id` of the watch in MLflow; `source` of the rows, where a
    retraining may read and learn from them: as `NO_SOURCE`, to the letter."""
    extras = {
        "columns": [shorten(c, 100) for c in columns[:MOST]],
        **{f"train_{k}": ExactText(v) for k, v in source.items()},
    }
    return _send_event(
        DRIFT, name, version=version, data=data, count=len(columns), psi=psi, performance=performance,
        sentence=sentence, run_id=run_id, **extras,
    )  # fmt: skip


def send_promoted(
    name: str, *, version: int, before: int | None, who: str, why: str, run_id: str | None = None
) -> bool:
    """`nestor.promoted`: another version is the champion, by the gate, a person or a rollback."""
    return _send_event(PROMOTED, name, version=version, before=before, who=who, why=why, run_id=run_id)


def send_kept(name: str, *, version: int | None, challenger: int | None, why: str, run_id: str | None = None) -> bool:
    """`nestor.kept`: the champion `version` (None: there is none) stays; `challenger`: the version that did not win,
    None where nothing was trained."""
    return _send_event(KEPT, name, version=version, challenger=challenger, why=why, run_id=run_id)


def send_failed(name: str, *, flow: str, why: str, run_id: str | None = None) -> bool:
    """`nestor.failed`: a run of the flow `flow` (train, retrain, score, watch) ended without its result."""
    return _send_event(FAILED, name, flow=flow, why=why, run_id=run_id)


def send_arrived(name: str, *, data: str) -> bool:
    """`nestor.data.arrived`: there is new data for the model; mostly told by whoever brings it."""
    return _send_event(ARRIVED, name, data=data)


def make_resource(name: str) -> dict[str, str]:
    """What the events of a model are about."""
    return {"prefect.resource.id": f"nestor.model.{name}", "prefect.resource.name": name}


def _send_event(event: str, name: str, **payload: Any) -> bool:
    """Whether the server has it, and acts on it; else the reason is a warning. A run that did its work does not fail
    because nobody could be told."""
    reason = _post_event(event, name, payload)
    if reason:
        log.warning("Nobody was told of %s of %s: %s", event, name, reason)
    return not reason


def _post_event(event: str, name: str, payload: Mapping[str, Any]) -> str:
    """Why the event could not be sent; empty where it was."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():  # Prefect would start a server for this one question
        return "no Prefect server is named here. Set PREFECT_API_URL to the address that `nestor up` prints."
    try:
        with get_client(sync_client=True) as client:
            if not _runs_automations(client):
                return (
                    "the small server of a command keeps no events and runs no automations. Start `nestor up` in this "
                    "folder."
                )
            client.request("POST", "/events", json=[_make_event(event, name, payload)]).raise_for_status()
    except Exception as error:
        return shorten(error, 200)
    return ""


def _runs_automations(client: SyncPrefectClient) -> bool:
    """Whether the server keeps events and runs automations; one that does not say so does."""
    import httpx

    try:
        services = client.request("GET", "/admin/settings").json()["server"]["services"]
    except (httpx.HTTPStatusError, ValueError, KeyError):
        return True
    return services.get("triggers", {}).get("enabled") is not False


def _make_event(event: str, name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The event as JSON values, with the flow run that tells of it."""
    from prefect.events import Event, RelatedResource
    from prefect.runtime import flow_run

    resources = [{"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}]
    related = [RelatedResource.model_validate(resource) for resource in resources if flow_run.id]
    values = {key: _shorten_value(value) for key, value in payload.items()}
    return Event.model_validate(
        {"event": event, "resource": make_resource(name), "related": related, "payload": {"name": name, **values}}
    ).model_dump(mode="json")


def _shorten_value(value: Any) -> Any:
    if isinstance(value, ExactText):
        return str(value)
    return shorten(value, 1000) if isinstance(value, str) else value
