"""From a table to a registered model with an honest estimate.

read -> seal -> check -> plan -> tune every family in every fold -> evaluate -> register

In Python: `from flows.train import train; report = train(Run(data=frame, target="y"))`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flows.server import begin
from flows.server.called import ServedFlow, leave_tags  # before Prefect: it reads its settings when it is imported

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
from tasks.context import RunContext, open_run
from tasks.evaluation.ensemble import refit_ahead
from tasks.run import ledger
from tasks.run.resume import choose_model_name, find_flow_run_folder, read_finished_report
from tasks.stages import artifacts
from tasks.stages import train as stages
from tasks.tuning.search import Search
from tasks.values import RunPlan, Studies


class TrainingFlow(ServedFlow):
    """The stages before tuning are run while the server starts."""

    def __call__(self, run: Run, resume: str | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The flow's result."""
        if resume is not None and (report := read_finished_report(run, resume)):
            return report
        if begin.find_beginning() is None:
            with begin.begin_run(run, resume):
                return self(run, resume)
        return super().__call__(run, resume)


@contextmanager
def _open_context(run: Run, resume: str | None) -> Iterator[tuple[RunContext, RunPlan | None]]:
    """The services of the run, and its plan where a command has made it already."""
    if (beginning := begin.find_beginning()) is not None:
        yield beginning.context, beginning.plan
        return
    # Prefect's page offers to retry a run that was cancelled or crashed, and Prefect may do so itself.
    folder = None if flow_run.id is None else find_flow_run_folder(flow_run.id)
    with open_run(run, folder if resume is None else resume, ledger.find_start_time()) as context:
        yield context, None


def _train(run: Run, resume: str | None = None) -> Report:
    """Trains, estimates and registers a model of this table."""
    with _open_context(run, resume) as (context, early), meter.show_progress(context), leave_tags():
        _note_flow_run(context)
        table = stages.load(context, early)
        sealed = stages.seal(table, early)
        stages.check(sealed, early)
        plan = stages.make_plan(sealed, early)
        studies = _tune(plan)
        evaluation = stages.evaluate(studies)
        # Shown by the flow and not by a stage: Prefect's page puts these first.
        artifacts.show_leaderboard(evaluation)
        report = stages.register(evaluation)
        artifacts.show_verdict(report)
        return report


def _note_flow_run(context: RunContext) -> None:
    """Notes which flow run this is, and closes the tasks that an earlier attempt at it left open."""
    context.write_state(flow_run=str(flow_run.id))
    gone.close_flow_run(str(flow_run.id))


def _tune(plan: RunPlan) -> Studies:
    """The studies of every family on every fold, side by side, which a command has begun already; what still runs when
    the run is stopped is ended."""
    beginning = begin.find_beginning()
    search = beginning.search if beginning else Search(plan, refit_ahead)
    try:
        futures = [stages.tune_one.submit(search, name, fold) for name in plan.scope.families for fold in plan.folds]
        plan.context.journal.prepare()
        for future in as_completed(futures):
            future.result()
        return search.end()
    except BaseException:
        search.stop()
        raise


def _make_run_name() -> str:
    """The model's name: what is looked for among flow runs."""
    run = flow_run.parameters["run"]
    with suppress(NestorError):  # what is wrong with the settings is said once the flow runs
        return choose_model_name(run) if isinstance(run, Run) else "train"
    return "train"


def _make_flow(**forms: dict[str, Any]) -> TrainingFlow:
    return TrainingFlow(
        _train,
        name="train",
        flow_run_name=_make_run_name,
        task_runner=ThreadPoolTaskRunner(max_workers=512),  # pyright: ignore[reportArgumentType]
        persist_result=False,
        hidden=("resume",),
        forms=forms,
    )


train = _make_flow(run=shorten_schema(Run.model_json_schema(), FIRST))
train_advanced = _make_flow()
"""The same flow; its form has every setting."""
