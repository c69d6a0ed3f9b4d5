"""The stages of retraining as Prefect tasks; the work is done by the plain functions of `tasks/retrain`."""

from __future__ import annotations

import logging
from dataclasses import replace

from prefect import task

from models.config import Retrain, Run
from models.data.table import Finding
from models.errors import InputError
from models.evaluation.gate import Verdict
from models.monitoring.drift import Drift
from models.outcome import Report, RetrainReport
from models.text.safe import shorten
from tasks.data import read_table
from tasks.monitoring import prefect_events
from tasks.retrain import attempt, data, gate, outcome, settings
from tasks.retrain.data import RetrainInputs
from tasks.retrain.notify import send_notification
from tasks.run import events
from tasks.stages import artifacts
from tasks.stages.options import PLAIN

log = logging.getLogger("nestor.retrain")


@task(name="load", task_run_name="load", **PLAIN)
def load(retrain: Retrain) -> RetrainInputs:
    """The new data, the last run and the champion."""
    events.emit(events.Began("read", "new data"))
    inputs = data.load_retrain_inputs(retrain)
    artifacts.show_markdown("nestor-retrain-data", data.describe_inputs(inputs))
    return inputs


@task(name="check the schema", task_run_name="check the schema", **PLAIN)
def check(inputs: RetrainInputs) -> tuple[Finding, ...]:
    """The new table's columns beside the champion's; InputError with all that forbids to go on."""
    events.emit(events.Began("check", "columns"))
    findings = outcome.compare_schema(inputs)
    for finding in findings:
        events.emit(events.FindingEvent(finding))
    stops = [f.message for f in findings if f.verdict == "stop"]
    if stops:
        raise InputError(f"The new table of {inputs.name} is not like the champion's. " + " ".join(stops))
    return findings


@task(name="look at drift", task_run_name="look at drift", **PLAIN)
def drift(inputs: RetrainInputs) -> tuple[Drift | None, str]:
    """The new rows against the champion's training profile: told, never an end."""
    comparison, reason = outcome.compare_new_rows(inputs)
    if reason:
        events.emit(events.NoteEvent(reason))
    if comparison is not None and comparison.drifted:
        events.emit(events.NoteEvent(f"Columns that drift: {', '.join(c.name for c in comparison.alarms[:8])}."))
    return comparison, reason


@task(name="anything new", task_run_name="anything new?", **PLAIN)
def compare(inputs: RetrainInputs) -> tuple[Run, tuple[str, ...]]:
    """The Run to train, and what differs from the last one."""
    run = settings.make_next_run(inputs)
    table = read_table(run)
    return settings.pin_kinds(inputs, run, table), attempt.find_changes(inputs, run, table.fingerprint)


@task(name="meet the champion", task_run_name="meet the champion", **PLAIN)
def meet(inputs: RetrainInputs, report: Report) -> Verdict | None:
    """The gate's verdict; None where there is no champion to meet."""
    events.emit(events.Began("gate", "challenger meets champion"))
    return outcome.compare_with_champion(inputs, report)


@task(name="settle", task_run_name="settle", **PLAIN)
def settle(verdict: Verdict | None, approved: bool | None, who: str | None, reason: str) -> bool:
    """Moves the alias or keeps it; whether the challenger is champion now."""
    return verdict is not None and gate.settle_verdict(verdict, approved, who, reason) is not None


@task(name="report", task_run_name="report", **PLAIN)
def report(result: RetrainReport, old_version: str | None) -> RetrainReport:
    """How it ended, told to automations, on the run in MLflow and on Prefect's page. The alias has moved by now, or
    stays: what can't be told is noted and fails nothing."""
    send_ending_event(result)
    try:
        outcome.record_outcome(result)
    except Exception as error:
        note = f"How it ended does not stand on its run in MLflow: {shorten(error, 300)}"
        log.warning(note, exc_info=error)
        result = replace(result, notes=(*result.notes, note))
    key = artifacts.make_model_key("retrain", result.name)
    artifacts.show_markdown(key, outcome.to_markdown(result, old_version), result.sentence[:300])
    return result


def send_ending_event(result: RetrainReport) -> bool:
    """Sends the event that says how it ended; whether the server has it."""
    values = {"why": result.sentence, "run_id": result.run_id}
    if result.ending in ("promoted", "first") and result.champion is not None:
        old_version = (result.verdict or {}).get("champion_version")
        approver = "the gate" if result.approved is None else "a person"
        return prefect_events.send_promoted(
            result.name, version=result.champion, before=old_version, who=approver, **values
        )
    return prefect_events.send_kept(result.name, version=result.champion, challenger=result.challenger, **values)


@task(name="notify", task_run_name="notify", **PLAIN)
def notify(block: str, subject: str, body: str) -> str:
    """Tells the notification block; what went wrong, if it did."""
    problem = send_notification(block, subject, body)
    if problem:
        events.emit(events.NoteEvent(problem))
    return problem
