"""The stages of training as Prefect tasks: names, retries, and what Prefect's page shows of each. The work itself is
done by the plain functions of the other modules."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.runtime import task_run
from prefect.states import Cancelled

from models.errors import NestorError
from models.outcome import Report
from tasks.evaluation import evaluate as concluding
from tasks.evaluation.evaluate import Concluded
from tasks.reporting.publish import publish
from tasks.session import Session
from tasks.stages import artifacts
from tasks.stages.options import PLAIN, RETRIED
from tasks.system.disk import full, is_full
from tasks.tuning import tune

log = logging.getLogger("nestor.stages")


@task(**PLAIN)
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
    **RETRIED,
)
def tune_one(session: Session, family: str, fold: str) -> Any:
    """One family on one outer fold. What breaks twice ends here and costs no other."""
    try:
        tune.tune(session, family, fold)
    except NestorError:
        raise
    except Exception as error:
        if is_full(error):
            raise full(error) from None
        if task_run.run_count <= RETRIED["retries"]:
            raise
        log.warning("%s/%s ended early.", family, fold, exc_info=True)
        tune.broke(session, family, fold, error)
    if session.stopped:
        return Cancelled(message="Stopped; what is finished is kept.")
    return f"{len(session.trials.get((family, fold), ()))} trials"


@task(name="conclude", task_run_name="conclude", **PLAIN)
def conclude(session: Session) -> Concluded:
    """Weighs, judges, and opens the sealed rows once."""
    return concluding.conclude(session)


@task(name="register", task_run_name="register", **PLAIN)
def register(session: Session, concluded: Concluded) -> Report:
    """Makes a version in the registry and the report of the run."""
    return publish(session, concluded)
