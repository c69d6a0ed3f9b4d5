"""From a table to a registered model with an honest estimate.

read and check -> seal -> check the signal -> shortlist -> tune every family in every fold -> conclude -> register

In Python: `from flows.train import train; report = train(Run(data=frame, target="y"))`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flows.server import begin
from flows.server.called import Called  # before Prefect: it reads its settings when it is imported

# isort: split
from prefect.futures import as_completed
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.server import gone, meter
from models.config import Run
from models.config.form import shorten_schema
from models.config.run import FIRST
from models.errors import NestorError
from models.outcome import Report
from tasks.run import events, ledger
from tasks.run.resume import finished, model_name, of_flow_run
from tasks.session import Session, opened
from tasks.stages import artifacts
from tasks.stages import train as stages
from tasks.tuning.tune import stop_in_time


class Training(Called):
    """The stages before tuning are run while the server starts."""

    def __call__(self, run: Run, resume: str | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The flow's result."""
        if resume is not None and (report := finished(run, resume)):
            return report
        if begin.now() is None:
            with begin.begun(run, resume):
                return self(run, resume)
        return super().__call__(run, resume)


@contextmanager
def _session(run: Run, resume: str | None) -> Iterator[Session]:
    """The session that a call has begun, else one of this flow's own."""
    if (begun := begin.now()) is not None:
        yield begun[0]
        return
    # Prefect's page offers to retry a run that was cancelled or crashed, and Prefect may do so itself.
    again = None if flow_run.id is None else of_flow_run(flow_run.id)
    with opened(run, again if resume is None else resume, ledger.started()) as session:
        yield session


def _train(run: Run, resume: str | None = None) -> Report:
    """Trains, estimates and registers a model of this table."""
    with _session(run, resume) as session, meter.shown(session):
        _own(session)
        for name, stage in begin.EARLY:
            stages.early.with_options(name=name, task_run_name=name)(session, name, stage)
        _tune(session)
        session.grant_end()
        with session.ledger.stage("conclusion"):
            concluded = stages.conclude(session)
        # Shown by the flow and not by a stage: Prefect's page puts these first.
        artifacts.leaderboard(session, concluded)
        report = stages.register(session, concluded)
        artifacts.verdict(report)
        return report


def _own(session: Session) -> None:
    """Notes which flow run this is, and closes the tasks that an earlier attempt at it left open."""
    session.own(flow_run=str(flow_run.id))
    gone.close(str(flow_run.id))


def _tune(session: Session) -> None:
    """Every family on every fold, side by side; ends what still runs when the time is up or the run is stopped."""
    events.emit(events.Stage("tune"))
    over = threading.Event()
    threading.Thread(target=stop_in_time, args=(session, over), daemon=True).start()
    try:
        with session.ledger.stage("tuning"):
            order = [(f, k) for f in session.level.families for k in session.folds]
            futures = [stages.tune_one.submit(session, f, k) for f, k in order]
            session.journal.prepare()
            for future in as_completed(futures):
                future.result()
    except BaseException:
        session.stop()
        raise
    finally:
        over.set()
    events.emit(events.Stage("conclude"))


def _run_name() -> str:
    """The model's name: what is looked for among flow runs."""
    run = flow_run.parameters["run"]
    with suppress(NestorError):  # what is wrong with the settings is said once the flow runs
        return model_name(run) if isinstance(run, Run) else "train"
    return "train"


def _flow(**forms: dict[str, Any]) -> Training:
    return Training(
        _train,
        name="train",
        flow_run_name=_run_name,
        task_runner=ThreadPoolTaskRunner(max_workers=512),  # pyright: ignore[reportArgumentType]
        persist_result=False,
        hidden=("resume",),
        forms=forms,
    )


train = _flow(run=shorten_schema(Run.model_json_schema(), FIRST))
train_advanced = _flow()
"""The same flow; its form has every setting."""
