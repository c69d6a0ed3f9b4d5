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
from tasks.monitoring import events
from tasks.retrain import attempt, data, gate, outcome, settings
from tasks.retrain import notify as notice
from tasks.retrain.data import RetrainInputs
from tasks.run import events as progress
from tasks.stages import artifacts
from tasks.stages.options import PLAIN

log = logging.getLogger("nestor.retrain")


@task(name="load", task_run_name="load", **PLAIN)
def load(retrain: Retrain) -> RetrainInputs:
    """The new data, the last run and the champion."""
    progress.emit(progress.Began("read", "new data"))
    found = data.load_retrain_inputs(retrain)
    artifacts.show_markdown("nestor-retrain-data", data.describe_inputs(found))
    return found


@task(name="check the schema", task_run_name="check the schema", **PLAIN)
def check(one: RetrainInputs) -> tuple[Finding, ...]:
    """The new table's columns beside the champion's; InputError with all that forbids to go on."""
    progress.emit(progress.Began("check", "columns"))
    found = outcome.compare_schema(one)
    for finding in found:
        progress.emit(progress.FindingEvent(finding))
    stops = [f.message for f in found if f.verdict == "stop"]
    if stops:
        raise InputError(f"The new table of {one.name} is not like the champion's. " + " ".join(stops))
    return found


@task(name="look at drift", task_run_name="look at drift", **PLAIN)
def drift(one: RetrainInputs) -> tuple[Drift | None, str]:
    """The new rows against the champion's training profile: told, never an end."""
    found, why = outcome.compare_new_rows(one)
    if why:
        progress.emit(progress.NoteEvent(why))
    if found is not None and found.drifted:
        progress.emit(progress.NoteEvent(f"Columns that drift: {', '.join(c.name for c in found.alarms[:8])}."))
    return found, why


@task(name="anything new", task_run_name="anything new?", **PLAIN)
def compare(one: RetrainInputs) -> tuple[Run, tuple[str, ...]]:
    """The Run to train, and what differs from the last one."""
    run = settings.make_next_run(one)
    table = read_table(run)
    return settings.pin_kinds(one, run, table), attempt.find_changes(one, run, table.fingerprint)


@task(name="meet the champion", task_run_name="meet the champion", **PLAIN)
def meet(one: RetrainInputs, report: Report) -> Verdict | None:
    """The gate's verdict; None where there is no champion to meet."""
    progress.emit(progress.Began("gate", "challenger meets champion"))
    return outcome.compare_with_champion(one, report)


@task(name="settle", task_run_name="settle", **PLAIN)
def settle(verdict: Verdict | None, approved: bool | None, who: str | None, why: str) -> bool:
    """Moves the alias or keeps it; whether the challenger is champion now."""
    return verdict is not None and gate.settle_verdict(verdict, approved, who, why) is not None


@task(name="report", task_run_name="report", **PLAIN)
def report(result: RetrainReport, before: str | None) -> RetrainReport:
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
    artifacts.show_markdown(key, outcome.to_markdown(result, before), result.sentence[:300])
    return result


def send_ending_event(result: RetrainReport) -> bool:
    """Sends the event that says how it ended; whether the server has it."""
    more = {"why": result.sentence, "run_id": result.run_id}
    if result.ending in ("promoted", "first") and result.champion is not None:
        before = (result.verdict or {}).get("champion_version")
        who = "the gate" if result.approved is None else "a person"
        return events.send_promoted(result.name, version=result.champion, before=before, who=who, **more)
    return events.send_kept(result.name, version=result.champion, challenger=result.challenger, **more)


@task(name="notify", task_run_name="notify", **PLAIN)
def notify(block: str, subject: str, body: str) -> str:
    """Tells the notification block; what went wrong, if it did."""
    said = notice.send_notification(block, subject, body)
    if said:
        progress.emit(progress.NoteEvent(said))
    return said
