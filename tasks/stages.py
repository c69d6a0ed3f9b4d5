"""The stages as Prefect tasks: names, retries, and what Prefect's page shows of each. The work itself is done by the
plain functions of the other modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from models.errors import NestorError
from tasks import conclude as concluding
from tasks import intake, shortlist, tune
from tasks.publish import publish
from tasks.session import Session

EARLY: tuple[tuple[str, Callable[[Session], None]], ...] = (
    ("read and check", intake.take_in),
    ("seal", intake.seal),
    ("check the signal", intake.signal),
    ("shortlist", shortlist.shortlist),
)
"""The stages before tuning, in order. They need no server, so a command runs them while its server starts."""


def prepare(session: Session) -> None:
    """Runs the early stages that were not run yet."""
    for name, stage in EARLY:
        session.once(name, stage)


def _worth_a_retry(task: Any, run: Any, state: Any) -> bool:
    """What the user did wrong is wrong again; a full disk or a lost connection may not be."""
    return not isinstance(state.result(raise_on_failure=False), NestorError)


def _early(name: str, stage: Callable[[Session], None], show: Callable[[Session], None]) -> Any:
    @task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)
    def run(session: Session) -> None:
        session.once(name, stage)
        show(session)

    return run


def _show_findings(session: Session) -> None:
    rows = [
        {"check": f.check, "verdict": f.verdict, "what": f.message, "columns": ", ".join(f.columns)[:200]}
        for f in session.findings
    ]
    create_table_artifact(table=rows, key="nestor-checks", description=f"Checks of {session.name}")


def _show_seal(session: Session) -> None:
    rows = session.sealed.rows if session.sealed is not None else 0
    create_markdown_artifact(f"{rows} rows sealed, {session.work.rows} rows to work with.", key="nestor-seal")


def _show_plan(session: Session) -> None:
    left = "".join(f"\n- {name} left out: {why}" for name, why in session.level.left_out.items())
    text = f"{shortlist.named(session.level.how)}; families: {', '.join(session.level.families)}.{left}"
    create_markdown_artifact(text, key="nestor-plan")


def _show_nothing(session: Session) -> None:
    """The signal's findings stand in the same table as the form's."""


_SHOW = (_show_findings, _show_seal, _show_findings, _show_plan)

early = [_early(name, stage, show) for (name, stage), show in zip(EARLY, _SHOW, strict=True)]


@task(
    name="tune",
    task_run_name="{family}/{fold}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=1,
    retry_condition_fn=_worth_a_retry,
)
def tune_one(session: Session, family: str, fold: str) -> str:
    """One family on one outer fold."""
    tune.tune(session, family, fold)
    return f"{len(session.trials[family, fold])} trials"


@task(name="conclude", task_run_name="conclude", cache_policy=NO_CACHE, persist_result=False)
def conclude(session: Session) -> Any:
    """Weighs, judges, and opens the sealed rows once."""
    concluded = concluding.conclude(session)
    rows = [
        {"family": f.name, "estimate": f.estimate and f.estimate.value, "inner": f.inner, "trials": f.trials, "weight": f.weight}
        for f in concluded.families
    ]
    create_table_artifact(table=rows, key="nestor-leaderboard", description=f"Leaderboard of {session.name}")
    return concluded


@task(name="register", task_run_name="register", cache_policy=NO_CACHE, persist_result=False)
def register(session: Session, concluded: Any) -> Any:
    """Makes a version in the registry and the report of the run."""
    report = publish(session, concluded)
    create_markdown_artifact(report.sentence, key="nestor-verdict")
    return report
