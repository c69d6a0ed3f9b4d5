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


def time_defaults(plan: RunPlan, suiting: list[Family]) -> Measured:
    """What each family's default costs on a first inner fold, and why others have no such fit.

    Two folds, the quicker counts: a worker's very first fit of a family pays for what libraries load late. Both are
    fits of trial 0, which its studies will find on disk. All together they may take a quarter of the time; what can't
    be tuned needs no such haste, it is the last resort."""
    limit = max(5.0, SHARE * (plan.context.ledger.limit or 0))
    over = threading.Timer(
        max(2 * limit, _ALL_SHARE * (plan.context.ledger.limit or 0)), _cancel_first_fits, [plan.context]
    )
    over.start()
    try:
        return _time_families(plan, suiting, limit)
    finally:
        over.cancel()


def _cancel_first_fits(context: RunContext) -> None:
    context.pool.cancel(lambda priority: priority[0] == SEARCH and priority[1] > 0)


def _time_families(plan: RunPlan, suiting: list[Family], limit: float) -> Measured:
    first, model_mb, none = {}, {}, {}
    for fold in list(plan.folds)[:2]:
        waiting = {f.name: _submit_default(plan, f.name, fold, limit) for f in suiting if f.name not in none}
        for name, future in waiting.items():
            try:
                done = future.result()
                model_mb[name] = done.model_mb
                # Columns are prepared once for all configurations.
                seconds = done.seconds + done.preparing / LEAST_TRIALS
                first[name] = min(seconds, first.get(name, float("inf")))
            except FitError as error:
                if error.state == "timeout" and name in first:
                    continue  # the first fold has measured it
                none[name] = error
                first.pop(name, None)
        if sum(first.values()) > _WARM * plan.context.workers:
            break
    return first, model_mb, none


def _submit_default(plan: RunPlan, name: str, fold: str, limit: float) -> Future[FitResult]:
    job = make_default_job(plan, name, fold)
    # What can't be tuned costs nothing and is the last resort: it is never too slow.
    timeout = limit if load_family(name).tunable else plan.context.ledger.refit_limit()
    place = load_family(name).priority if load_family(name).tunable else 0
    return plan.context.pool.submit(worker.run_fit, job, priority=(SEARCH, place), timeout=timeout)
