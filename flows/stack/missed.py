"""Slots of a schedule that went by while no server was up.

Prefect keeps a run for each of the next slots and starts all that are late one after another: three weekly trainings
over the same table. Data are read when a run starts, so the newest slot stands for those before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from flows.stack.health import ask_prefect
from flows.stack.plan import StackPlan

PAGE = 200
"""The most runs that Prefect tells at once."""


def skip_missed(plan: StackPlan) -> int:
    """Cancels all but the newest missed slot of each schedule; how many."""
    runs = list(choose_skipped(_read_late(plan)))
    for run in runs:
        message = "Missed while nothing was up: a later slot of the same schedule is run in its place."
        state = {"type": "CANCELLED", "message": message}
        ask_prefect(plan, f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    return len(runs)


def _read_late(plan: StackPlan) -> Iterable[dict[str, Any]]:
    """The flow runs that a schedule made and whose time is over, the newest first."""
    condition = {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
    }
    query = {"flow_runs": condition, "sort": "EXPECTED_START_TIME_DESC", "limit": PAGE}
    offset = 0
    while page := ask_prefect(plan, "/flow_runs/filter", {**query, "offset": offset}):
        yield from page
        offset += len(page)


def choose_skipped(runs: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Of runs, the newest first, those that a later one of the same schedule stands for."""
    schedules = set()
    for run in runs:
        maker = run.get("created_by") or {}
        if maker.get("type") != "SCHEDULE":
            continue
        if maker["id"] in schedules:
            yield run
        schedules.add(maker["id"])
