"""A server asked over HTTP with no library: `nestor up` itself imports neither Prefect nor MLflow."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable
from typing import Any


def crash_flow_runs(api: str, login: str, runs: Iterable[str]) -> None:
    """Tells Prefect's server that these flow runs, and those that they called, are dead where it takes them to be
    alive."""
    for run in runs:
        children = (
            ask_server(f"{api}/flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}, login) or []
        )
        for flow_run in [*children, ask_server(f"{api}/flow_runs/{run}", login=login) or {}]:
            if flow_run.get("state_type") in ("PENDING", "RUNNING", "CANCELLING"):
                kind = "CANCELLED" if flow_run["state_type"] == "CANCELLING" else "CRASHED"
                message = "`nestor up` was ended while this ran. What is finished is kept: Retry goes on."
                state = {"type": kind, "message": message}
                ask_server(f"{api}/flow_runs/{flow_run['id']}/set_state", {"state": state, "force": True}, login)


def ask_server(url: str, body: Any = None, login: str = "", method: str | None = None) -> Any:
    """What the server answers, {} where that is no JSON; None where it does not answer or refuses. Where Prefect wants
    a token for what changes something (PREFECT_SERVER_CSRF_PROTECTION_ENABLED), that is asked for first."""
    headers = {"Content-Type": "application/json"}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        return _read_answer(request)
    except urllib.error.HTTPError as error:
        if error.code != 403 or request.get_method() == "GET":
            return None
    except (OSError, ValueError):
        return None
    try:
        api = url.partition("/api/")[0] + "/api"
        token = _read_answer(urllib.request.Request(f"{api}/csrf-token?client={_CLIENT}", headers=headers))
        request.headers.update({"Prefect-csrf-token": token["token"], "Prefect-csrf-client": _CLIENT})
        return _read_answer(request)
    except (OSError, ValueError, KeyError, TypeError):
        return None


_CLIENT = str(uuid.uuid4())
"""Whom Prefect's server gives its tokens to."""


def _read_answer(request: urllib.request.Request) -> Any:
    # no proxy: one that is set in the environment must not be asked for this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=3) as answer:
        text = answer.read()
    try:
        return json.loads(text)
    except ValueError:
        return {}
