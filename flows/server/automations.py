"""Puts the automations of deployments/automations.yaml on Prefect's server: a step of `prefect deploy`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from flows.options.command_input import read_yaml_file
from models.config.written import apply_yaml_types
from models.errors import InputError

FILE = Path(__file__).parents[2] / "deployments" / "automations.yaml"
NOTIFY = "NESTOR_NOTIFY"
_SUBJECT = "{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.name }}"
_BODY = "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"


def apply(file: str | None = None) -> dict[str, list[str]]:
    """The names of the automations, which are on the server now: made, or changed where they were there already.
    Raises InputError where NESTOR_NOTIFY names a block that there is not."""
    automations = apply_yaml_types(read_yaml_file(Path(file or FILE), "Automations"))["automations"]
    with get_client(sync_client=True) as client:
        notice = _make_notification(client, os.environ.get(NOTIFY))
        for automation in automations:
            _put_automation(client, AutomationCore.model_validate(_fill_automation(automation, notice)))
    return {"automations": [automation["name"] for automation in automations]}


def _fill_automation(automation: dict[str, Any], notice: dict[str, Any] | None) -> dict[str, Any]:
    """The automation with this server's heartbeat and the notification in it."""
    trigger = automation["trigger"]
    if trigger["posture"] == "Proactive":
        trigger = {**trigger, "within": 3 * (get_current_settings().flows.heartbeat_frequency or 180) + 30}
    actions = [notice if notice and action["type"] == "do-nothing" else action for action in automation["actions"]]
    return {**automation, "trigger": trigger, "actions": actions}


def _make_notification(client: SyncPrefectClient, block: str | None) -> dict[str, Any] | None:
    """The action that tells a notification block, such as `slack-webhook/team`; None without one."""
    if not block:
        return None
    kind, _, name = block.partition("/")
    try:
        document = client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise InputError(
            f"{NOTIFY}: there is no block {block!r} on this server. Make it on Prefect's page under Blocks and give "
            "its kind and name, such as slack-webhook/team."
        ) from None
    return {"type": "send-notification", "block_document_id": document.id, "subject": _SUBJECT, "body": _BODY}


def _put_automation(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Makes the automation, or changes the one of that name; one more of that name is taken away."""
    body = automation.model_dump(mode="json", exclude_unset=True)
    query = {"automations": {"name": {"any_": [automation.name]}}}
    automations: list[dict[str, Any]] = client.request("POST", "/automations/filter", json=query).json()
    if not automations:
        client.request("POST", "/automations/", json=body).raise_for_status()
        return
    first, *others = automations
    body |= _keep_user_choices(body, first)
    client.request("PUT", "/automations/{id}", path_params={"id": first["id"]}, json=body).raise_for_status()
    for duplicate in others:
        client.request("DELETE", "/automations/{id}", path_params={"id": duplicate["id"]}).raise_for_status()


def _keep_user_choices(body: Mapping[str, Any], automation: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody has chosen on the page and keeps: that it is off, and what is done where the file says nothing."""
    is_idle = all(action["type"] == "do-nothing" for action in body["actions"])
    return {"enabled": automation["enabled"]} | ({"actions": automation["actions"]} if is_idle else {})
