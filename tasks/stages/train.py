"""The stages of training as Prefect tasks: names, retries, and what Prefect's page shows of each. The work itself is
done by the plain functions of the other modules.

Those before tuning are given the plan, where the command has made it while Prefect's server started: then there is
nothing to do but to show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.states import Cancelled
from prefect.tasks import Task
from prefect.utilities.annotations import quote

from models.outcome import Report
from tasks.context import RunContext
from tasks.evaluation import evaluate as evaluating
from tasks.evaluation.evaluate import Evaluation
from tasks.planning import load_and_seal
from tasks.planning import plan as planning
from tasks.reporting.publish import publish
from tasks.run.stage import CHECK, EVALUATE, PLAN, READ, REGISTER, SEAL, TUNE, Stage
from tasks.stages import artifacts
from tasks.stages.options import PLAIN
from tasks.tuning.search import Search
from tasks.values import LoadedTable, RunPlan, SealedTable, Studies


class _StageTask(Task[Any, Any]):
    """A task that is handed its values as they are: Prefect would look for futures in every trial of them."""

    def __call__(self, *values: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the stage hands on."""
        return super().__call__(*map(quote, values))


def _make_stage_task(stage: Stage) -> Callable[[Callable[..., Any]], _StageTask]:
    """Makes a function a Prefect task of this stage's name."""
    return lambda function: _StageTask(
        function, name=stage.name, task_run_name=stage.name, description=stage.words, **PLAIN
    )


@_make_stage_task(READ)
def load(context: RunContext, early_plan: RunPlan | None) -> LoadedTable:
    """The table, read and checked."""
    return early_plan or load_and_seal.load_table(context)


@_make_stage_task(SEAL)
def seal(loaded: LoadedTable, early_plan: RunPlan | None) -> SealedTable:
    """The table with its rows divided."""
    sealed = early_plan or load_and_seal.seal_rows(loaded)
    artifacts.show_seal(sealed)
    return sealed


@_make_stage_task(CHECK)
def check(sealed: SealedTable, early_plan: RunPlan | None) -> None:
    """Looks at the features and the target of the work rows; shows what all checks found."""
    if early_plan is None:
        load_and_seal.check_signal_of_table(sealed)
    artifacts.show_checks(sealed.context)


@_make_stage_task(PLAN)
def make_plan(sealed: SealedTable, early_plan: RunPlan | None) -> RunPlan:
    """Families and folds."""
    plan = early_plan or planning.make_plan(sealed)
    artifacts.show_plan(plan)
    return plan


@task(name=TUNE.name, description=TUNE.words, task_run_name="{family}/{fold}", **PLAIN)
def tune_one(search: Search, family: str, fold: str) -> Any:
    """One family on one outer fold, which the search has at work."""
    count = search.await_study(family, fold)
    return Cancelled(message="Stopped; what is finished is kept.") if search.running.stopped else f"{count} trials"


@_make_stage_task(EVALUATE)
def evaluate(studies: Studies) -> Evaluation:
    """Every number of the run, and what is delivered; the sealed rows are opened once."""
    return evaluating.evaluate(studies)


@_make_stage_task(REGISTER)
def register(evaluation: Evaluation) -> Report:
    """A version in the registry, and the report of the run."""
    return publish(evaluation)
