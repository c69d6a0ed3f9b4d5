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
from tasks.retrain.data import Asked
from tasks.run import events as progress
from tasks.stages import artifacts
from tasks.stages.options import PLAIN

log = logging.getLogger("nestor.retrain")


@task(name="load", task_run_name="load", **PLAIN)
def load(retrain: Retrain) -> Asked:
    """The new data, the last run and the champion."""
    progress.emit(progress.Began("read", "new data"))
    found = data.asked(retrain)
    artifacts.markdown("nestor-retrain-data", data.summary(found))
    return found


@task(name="check the schema", task_run_name="check the schema", **PLAIN)
def check(one: Asked) -> tuple[Finding, ...]:
    """The new table's columns beside the champion's; InputError with all that forbids to go on."""
    progress.emit(progress.Began("check", "columns"))
    found = outcome.schema(one)
    for finding in found:
        progress.emit(progress.Saw(finding))
    stops = [f.message for f in found if f.verdict == "stop"]
    if stops:
        raise InputError(f"The new table of {one.name} is not like the champion's. " + " ".join(stops))
    return found


@task(name="look at drift", task_run_name="look at drift", **PLAIN)
def drift(one: Asked) -> tuple[Drift | None, str]:
    """The new rows against the champion's training profile: told, never an end."""
    found, why = outcome.drift(one)
    if why:
        progress.emit(progress.Said(why))
    if found is not None and found.drifted:
        progress.emit(progress.Said(f"Columns that drift: {', '.join(c.name for c in found.alarms[:8])}."))
    return found, why


@task(name="anything new", task_run_name="anything new?", **PLAIN)
def compare(one: Asked) -> tuple[Run, tuple[str, ...]]:
    """The Run to train, and what differs from the last one."""
    run = settings.settings(one)
    table = read_table(run)
    return settings.pinned(one, run, table), attempt.changes(one, run, table.fingerprint)


@task(name="meet the champion", task_run_name="meet the champion", **PLAIN)
def meet(one: Asked, report: Report) -> Verdict | None:
    """The gate's verdict; None where there is no champion to meet."""
    progress.emit(progress.Began("gate", "challenger meets champion"))
    return outcome.met(one, report)


@task(name="settle", task_run_name="settle", **PLAIN)
def settle(verdict: Verdict | None, approved: bool | None, who: str | None, why: str) -> bool:
    """Moves the alias or keeps it; whether the challenger is champion now."""
    return verdict is not None and gate.settle(verdict, approved, who, why) is not None


@task(name="report", task_run_name="report", **PLAIN)
def report(result: RetrainReport, before: str | None) -> RetrainReport:
    """How it ended, told to automations, on the run in MLflow and on Prefect's page. The alias has moved by now, or
    stays: what can't be told is noted and fails nothing."""
    told(result)
    try:
        outcome.write_down(result)
    except Exception as error:
        note = f"How it ended does not stand on its run in MLflow: {shorten(error, 300)}"
        log.warning(note, exc_info=error)
        result = replace(result, notes=(*result.notes, note))
    key = artifacts.of_model("retrain", result.name)
    artifacts.markdown(key, outcome.markdown(result, before), result.sentence[:300])
    return result


def told(result: RetrainReport) -> bool:
    """Sends the event that says how it ended; whether the server has it."""
    more = {"why": result.sentence, "run_id": result.run_id}
    if result.ending in ("promoted", "first") and result.champion is not None:
        before = (result.verdict or {}).get("champion_version")
        who = "the gate" if result.approved is None else "a person"
        return events.promoted(result.name, version=result.champion, before=before, who=who, **more)
    return events.kept(result.name, version=result.champion, challenger=result.challenger, **more)


@task(name="notify", task_run_name="notify", **PLAIN)
def notify(block: str, subject: str, body: str) -> str:
    """Tells the notification block; what went wrong, if it did."""
    said = notice.tell(block, subject, body)
    if said:
        progress.emit(progress.Said(said))
    return said
