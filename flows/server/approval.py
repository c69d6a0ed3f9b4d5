"""A person's answer: the flow pauses, and Prefect's page shows a form with the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from prefect import get_client, pause_flow_run
from prefect.exceptions import FlowPauseTimeout
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Running
from pydantic import Field

from models.config import Gate
from models.evaluation.gate import Verdict
from tasks.run import events

POLL = 3
"""Seconds between two looks for the answer."""


class ApprovalForm(RunInput):
    """The form."""

    promote: bool = Field(False, title="Promote", description="Make the challenger champion.")
    who: str = Field("", title="Who", description="Your name: it is written down with the move.")
    why: str = Field("", title="Why", description="The reason: it is written down with the move.")


@dataclass(frozen=True)
class Approval:
    """What came back."""

    promote: bool | None
    """None: nobody was asked."""
    who: str | None = None
    why: str = ""
    note: str = ""


NOBODY = Approval(None)


def ask_for_approval(verdict: Verdict, gate: Gate) -> Approval:
    """A person's answer; no promotion where none came in time."""
    text = f"{verdict.sentence}\n\nShall version {verdict.challenger_version} be champion of {verdict.name}?"
    form = ApprovalForm.with_initial_data(description=text, promote=verdict.promoted is True)
    events.emit(events.NoteEvent("Waiting for a person: Prefect's page shows the run as paused, with a form (Resume)."))
    try:
        answer = pause_flow_run(wait_for_input=form, timeout=round(gate.wait), poll_interval=POLL)
    except FlowPauseTimeout:
        _mark_running()
        return Approval(False, note=f"Nobody answered within {gate.wait / 3600:.3g} h: the champion stays.")
    return Approval(answer.promote, answer.who or None, answer.why)


def _mark_running() -> None:
    """The run is running again: Prefect would leave it paused."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(str(flow_run.id)), Running(), force=True)
