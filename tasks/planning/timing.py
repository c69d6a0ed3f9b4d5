"""What one default fit of each family costs here, measured before anything is planned."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from models.families import load_family
from models.fitting.family import Family
from models.splitting.budget import LEAST_TRIALS
from tasks.context import RunContext
from tasks.execution import worker
from tasks.execution.job import FitResult
from tasks.execution.pool import SEARCH, FitError
from tasks.planning.studies import make_default_job
from tasks.values import RunPlan

_WARM = 1.0
"""Seconds of first fits beside which what libraries load late does not matter."""

SHARE = 0.12
"""Share of the whole time that one first default fit may take."""

_ALL_SHARE = 0.25
"""Share of the whole time that all first default fits may take; never less than twice the limit of one."""


Measured = tuple[dict[str, float], dict[str, float], dict[str, FitError]]
"""Family -> core-seconds of its default on one inner fold; megabytes of that model; why there are none."""


def time_defaults(plan: RunPlan, families: list[Family]) -> Measured:
    """What each family's default costs on a first inner fold, and why others have no such fit.

    Two folds, the quicker counts: a worker's very first fit of a family pays for what libraries load late. Both are
    fits of trial 0, which its studies will find on disk. All together they may take a quarter of the time; what can't
    be tuned needs no such haste, it is the last resort."""
    limit = max(5.0, SHARE * (plan.context.ledger.limit or 0))
    timer = threading.Timer(
        max(2 * limit, _ALL_SHARE * (plan.context.ledger.limit or 0)), _cancel_first_fits, [plan.context]
    )
    timer.start()
    try:
        return _time_families(plan, families, limit)
    finally:
        timer.cancel()


def _cancel_first_fits(context: RunContext) -> None:
    context.pool.cancel(lambda priority: priority[0] == SEARCH and priority[1] > 0)


def _time_families(plan: RunPlan, families: list[Family], limit: float) -> Measured:
    default_seconds, model_mb, errors = {}, {}, {}
    for fold in list(plan.folds)[:2]:
        futures = {f.name: _submit_default(plan, f.name, fold, limit) for f in families if f.name not in errors}
        for name, future in futures.items():
            try:
                result = future.result()
                model_mb[name] = result.model_mb
                # Columns are prepared once for all configurations.
                seconds = result.seconds + result.preparing / LEAST_TRIALS
                default_seconds[name] = min(seconds, default_seconds.get(name, float("inf")))
            except FitError as error:
                if error.state == "timeout" and name in default_seconds:
                    continue  # the first fold has measured it
                errors[name] = error
                default_seconds.pop(name, None)
        if sum(default_seconds.values()) > _WARM * plan.context.workers:
            break
    return default_seconds, model_mb, errors


def _submit_default(plan: RunPlan, name: str, fold: str, limit: float) -> Future[FitResult]:
    job = make_default_job(plan, name, fold)
    # What can't be tuned costs nothing and is the last resort: it is never too slow.
    timeout = limit if load_family(name).tunable else plan.context.ledger.limit_refit()
    place = load_family(name).priority if load_family(name).tunable else 0
    return plan.context.pool.submit(worker.run_fit, job, priority=(SEARCH, place), timeout=timeout)
