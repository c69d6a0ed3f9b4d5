"""New data for a model that exists: a challenger is trained and meets the champion.

load -> check the schema -> look at drift -> anything new? -> train -> meet the champion -> (a person) -> report, notice

In Python: `from flows.retrain import retrain; retrained = retrain(Retrain(name="loans"))`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from flows.server.called import ServedFlow  # before Prefect: it reads its settings when it is imported

# isort: split
from prefect.runtime import flow_run

from flows.server import approval, turn
from flows.train import train
from models.config import Retrain
from models.errors import NestorError, SkippedRunError
from models.outcome import Report, RetrainReport
from tasks.execution import pool
from tasks.monitoring import prefect_events
from tasks.retrain import attempt, outcome
from tasks.retrain.data import RetrainInputs
from tasks.stages import retrain as stages


def _retrain(retrain: Retrain) -> RetrainReport:
    """Trains a challenger on new data, where anything is new, and lets it meet the champion."""
    pool.refuse_daemon()
    with _report_failure(retrain), turn.take_turn(retrain.name, retrain.overlap, str(flow_run.id)):
        result = _run_stages(retrain)
    if retrain.notify:
        note = stages.notify(retrain.notify, f"{retrain.name}: {result.ending}", result.sentence)
        result = replace(result, notes=(*result.notes, *([note] if note else [])))
    return result


@contextmanager
def _report_failure(retrain: Retrain) -> Iterator[None]:
    """Whoever is to be told is told of a failure too; the champion stays as it was."""
    try:
        yield
    except SkippedRunError as error:
        if retrain.needs_new:  # the data that ask for it would be forgotten
            raise NestorError(str(error)) from None
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, NestorError) else f"{type(error).__name__}: {error}"
        prefect_events.send_failed(retrain.name, flow="retrain", why=reason)
        if retrain.notify:
            with suppress(Exception):
                stages.notify(retrain.notify, f"{retrain.name}: retraining failed", reason)
        raise


def _run_stages(retrain: Retrain) -> RetrainReport:
    inputs = stages.load(retrain)
    findings = stages.check(inputs)
    drift, note = stages.drift(inputs)
    extras: dict[str, Any] = {
        "findings": findings, "drift": drift and drift.as_json(), "notes": (note,) if note else (),
    }  # fmt: skip
    run, changes = stages.compare(inputs)
    past_report = attempt.find_waiting_report(inputs)
    if not changes and not retrain.force and past_report is None:
        if retrain.needs_new:
            raise NestorError(outcome.explain_nothing_new(inputs))
        return stages.report(replace(outcome.make_unchanged_report(inputs), **extras), None)
    report, resumed = (
        (past_report, True) if past_report and not changes and not retrain.force else _train_challenger(inputs, run)
    )
    return _judge_challenger(inputs, report, changed=changes, resumed=resumed, **extras)


def _train_challenger(inputs: RetrainInputs, run: Any) -> tuple[Report, bool]:
    """The report of the training, and whether it took up one that was broken off."""
    resume = attempt.find_resumable_run(inputs, run)
    attempt.record_attempt(inputs, run)
    return train(run, resume), resume is not None


def _judge_challenger(inputs: RetrainInputs, report: Report, **extras: Any) -> RetrainReport:
    """What came of the challenger."""
    verdict = stages.meet(inputs, report)
    answer = approval.NOBODY
    if verdict is not None and inputs.retrain.gate.approval == "manual":
        answer = approval.ask_for_approval(verdict, inputs.retrain.gate)
    promoted = stages.settle(verdict, answer.promote, answer.who, answer.why)
    notes = (*extras.pop("notes"), *([answer.note] if answer.note else []))
    result = outcome.make_retrain_report(
        inputs, report, verdict, promoted, approved=answer.promote, notes=notes, **extras
    )
    result = stages.report(result, inputs.past.run_id if inputs.past else None)
    attempt.close_attempt(inputs)
    return result


def _make_run_name() -> str:
    """The model's name: what is looked for among flow runs."""
    settings = flow_run.parameters["retrain"]
    return settings.name if isinstance(settings, Retrain) else "retrain"


retrain = ServedFlow(
    _retrain,
    name="retrain",
    flow_run_name=_make_run_name,
    persist_result=False,
)
