"""The stages of training as Prefect tasks: names, retries, and what Prefect's page shows of each. The work itself is
done by the plain functions of the other modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled

from models.errors import NestorError
from models.outcome import Report
from tasks import conclude as concluding
from tasks import tune
from tasks.conclude import Concluded
from tasks.publish import publish
from tasks.session import Session
from tasks.stages import artifacts


def _worth_a_retry(task: Any, run: Any, state: Any) -> bool:
    """What the user did wrong is wrong again; a full disk or a lost connection may not be."""
    return not isinstance(state.result(raise_on_failure=False), NestorError)


@task(cache_policy=NO_CACHE, persist_result=False)
def early(session: Session, name: str, stage: Callable[[Session], None]) -> None:
    """A stage before tuning, unless the command ran it while the server started; shows what it found."""
    session.once(name, stage)
    if name in _SHOW:
        _SHOW[name](session)


_SHOW = {"seal": artifacts.seal, "check the signal": artifacts.checks, "shortlist": artifacts.plan}
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
def conclude(session: Session) -> Concluded:
    """Weighs, judges, and opens the sealed rows once."""
    return concluding.conclude(session)


@task(name="register", task_run_name="register", cache_policy=NO_CACHE, persist_result=False)
def register(session: Session, concluded: Concluded) -> Report:
    """Makes a version in the registry and the report of the run."""
    return publish(session, concluded)
