"""The stages of training as Prefect tasks: names, retries, and what Prefect's page shows of each. The work itself is
done by the plain functions of the other modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled

from models.errors import NestorError
from tasks import conclude as concluding
from tasks import shortlist, tune
from tasks.publish import publish
from tasks.session import Session


def _worth_a_retry(task: Any, run: Any, state: Any) -> bool:
    """What the user did wrong is wrong again; a full disk or a lost connection may not be."""
    return not isinstance(state.result(raise_on_failure=False), NestorError)


@task(cache_policy=NO_CACHE, persist_result=False)
def early(session: Session, name: str, stage: Callable[[Session], None]) -> None:
    """A stage before tuning, unless the command ran it while the server started; shows what it found."""
    session.once(name, stage)
    if name in _SHOW:
        _SHOW[name](session)


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


_SHOW = {"seal": _show_seal, "check the signal": _show_findings, "shortlist": _show_plan}
"""What Prefect's page shows of a stage; the findings of both checks stand in one table."""


@task(
    name="tune",
    task_run_name="{family}/{fold}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=1,
    retry_condition_fn=_worth_a_retry,
)
def tune_one(session: Session, family: str, fold: str) -> Any:
    """One family on one outer fold."""
    tune.tune(session, family, fold)
    if session.stopped:
        return Cancelled(message="Stopped; what is finished is kept.")
    return f"{len(session.trials[family, fold])} trials"


@task(name="conclude", task_run_name="conclude", cache_policy=NO_CACHE, persist_result=False)
def conclude(session: Session) -> Any:
    """Weighs, judges, and opens the sealed rows once."""
    concluded = concluding.conclude(session)
    rows = [
        {
            "family": f.name,
            "estimate": f.estimate and f.estimate.value,
            "inner": f.inner,
            "trials": f.trials,
            "weight": f.weight,
        }
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
