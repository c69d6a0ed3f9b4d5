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
from tasks.monitoring import events
from tasks.retrain import attempt, outcome
from tasks.retrain.data import RetrainInputs
from tasks.stages import retrain as stages


def _retrain(retrain: Retrain) -> RetrainReport:
    """Trains a challenger on new data, where anything is new, and lets it meet the champion."""
    pool.refuse_daemon()
    with _report_failure(retrain), turn.take_turn(retrain.name, retrain.overlap, str(flow_run.id)):
        result = _run_stages(retrain)
    if retrain.notify:
        said = stages.notify(retrain.notify, f"{retrain.name}: {result.ending}", result.sentence)
        result = replace(result, notes=(*result.notes, *([said] if said else [])))
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
        why = str(error) if isinstance(error, NestorError) else f"{type(error).__name__}: {error}"
        events.send_failed(retrain.name, flow="retrain", why=why)
        if retrain.notify:
            with suppress(Exception):
                stages.notify(retrain.notify, f"{retrain.name}: retraining failed", why)
        raise


def _run_stages(retrain: Retrain) -> RetrainReport:
    one = stages.load(retrain)
    findings = stages.check(one)
    drift, note = stages.drift(one)
    more: dict[str, Any] = {
        "findings": findings, "drift": drift and drift.as_json(), "notes": (note,) if note else (),
    }  # fmt: skip
    run, changed = stages.compare(one)
    before = attempt.find_waiting_report(one)
    if not changed and not retrain.force and before is None:
        if retrain.needs_new:
            raise NestorError(outcome.explain_nothing_new(one))
        return stages.report(replace(outcome.make_unchanged_report(one), **more), None)
    report, resumed = (before, True) if before and not changed and not retrain.force else _train_challenger(one, run)
    return _judge_challenger(one, report, changed=changed, resumed=resumed, **more)


def _train_challenger(one: RetrainInputs, run: Any) -> tuple[Report, bool]:
    """The report of the training, and whether it took up one that was broken off."""
    resume = attempt.find_resumable_run(one, run)
    attempt.record_attempt(one, run)
    return train(run, resume), resume is not None


def _judge_challenger(one: RetrainInputs, report: Report, **more: Any) -> RetrainReport:
    """What came of the challenger."""
    verdict = stages.meet(one, report)
    asked = approval.NOBODY
    if verdict is not None and one.retrain.gate.approval == "manual":
        asked = approval.ask_for_approval(verdict, one.retrain.gate)
    promoted = stages.settle(verdict, asked.promote, asked.who, asked.why)
    notes = (*more.pop("notes"), *([asked.note] if asked.note else []))
    result = outcome.make_retrain_report(one, report, verdict, promoted, approved=asked.promote, notes=notes, **more)
    result = stages.report(result, one.past.run_id if one.past else None)
    attempt.close_attempt(one)
    return result


def _make_run_name() -> str:
    """The model's name: what is looked for among flow runs."""
    asked = flow_run.parameters["retrain"]
    return asked.name if isinstance(asked, Retrain) else "retrain"


retrain = ServedFlow(
    _retrain,
    name="retrain",
    flow_run_name=_make_run_name,
    persist_result=False,
)
