"""What a default fit of each family costs, before anything is planned: foretold, and corrected by a first few."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from models.columns.width import estimate_width
from models.families import load_family
from models.fitting.family import Family
from models.splitting.budget import LEAST_TRIALS
from models.tuning.costs import Work, estimate_speed, foretell_mb, foretell_seconds
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


@dataclass
class DefaultCosts:
    """What each family's default costs on one inner fold, and why that is not known of others."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Family -> core-seconds, a share of preparing columns included where it was fitted: who has the same needs finds
    them prepared."""
    fitting: dict[str, float] = field(default_factory=dict)
    """Family -> core-seconds of the fit alone, where it was made."""
    model_mb: dict[str, float] = field(default_factory=dict)
    """Family -> megabytes of that model."""
    errors: dict[str, FitError] = field(default_factory=dict)
    """Families whose fit gave no result."""
    too_slow: dict[str, float] = field(default_factory=dict)
    """Families that are not fitted because a fit is foretold to take so many seconds."""

    def explain(self) -> dict[str, str]:
        """Why families are left out, in words."""
        failed = {f: f"its first fit, with default settings, failed: {e.reason}" for f, e in self.errors.items()}
        slow = {
            f: f"one fit is expected to take about {seconds:,.0f} s, too long for the time that there is"
            for f, seconds in self.too_slow.items()
        }
        return failed | slow

    @property
    def slow(self) -> bool:
        """Whether more time might have given more families a result."""
        return bool(self.too_slow) or any(error.state == "timeout" for error in self.errors.values())


def foretell_defaults(plan: RunPlan, families: list[Family]) -> DefaultCosts:
    """What each family's default costs on a first inner fold.

    Most is foretold by formulas learned on other tables (`models/tuning/costs.py`). Fitted now are what can't be tuned,
    which is the last resort, the quickest of the first priority, which tells how fast this machine is, what no formula
    knows, and what is named and foretold to be too slow. All are fits of trial 0, which its studies will find on
    disk."""
    limit = max(5.0, SHARE * (plan.context.ledger.limit or 0))
    work = {f.name: _describe_work(plan, f) for f in families if f.tunable}
    foretold = {name: seconds for name, one in work.items() if (seconds := foretell_seconds(name, one)) is not None}
    is_named = bool(plan.run.search.families)
    first = [f for f in families if f.name not in foretold or (is_named and foretold[f.name] > limit)]
    if foretold:
        quickest = min(foretold, key=lambda name: (load_family(name).priority, foretold[name]))
        first += [f for f in families if f.name == quickest and f not in first]
    costs = _time_defaults(plan, first, limit)
    speed = estimate_speed((name, foretold[name], costs.fitting[name]) for name in foretold if name in costs.seconds)
    for name in (n for n in foretold if n not in costs.seconds and n not in costs.errors):
        seconds = speed * foretold[name]
        if seconds > limit and not is_named:
            costs.too_slow[name] = seconds
        else:
            costs.seconds[name] = seconds
            costs.model_mb[name] = foretell_mb(name, work[name]) or 0.0
    return costs


def _describe_work(plan: RunPlan, family: Family) -> Work:
    """A fit of the family on the first inner fold."""
    brief, fold = plan.fit_context, next(iter(plan.folds.values()))
    classes = len(brief.classes)
    width = estimate_width(plan.work_rows.features, brief.kinds, family.needs, classes)
    return Work(len(fold.inner[0][0]), width, brief.task, classes)


def _time_defaults(plan: RunPlan, families: list[Family], limit: float) -> DefaultCosts:
    """The costs of these families' defaults, measured, and why some have none.

    Two folds, the quicker counts: a worker's very first fit of a family pays for what libraries load late. All together
    they may take a quarter of the time; what can't be tuned needs no such haste, it is the last resort."""
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


def _time_families(plan: RunPlan, families: list[Family], limit: float) -> DefaultCosts:
    costs = DefaultCosts()
    for fold in list(plan.folds)[:2]:
        futures = {f.name: _submit_default(plan, f.name, fold, limit) for f in families if f.name not in costs.errors}
        for name, future in futures.items():
            try:
                result = future.result()
                costs.model_mb[name] = result.model_mb
                # Columns are prepared once for all configurations.
                seconds = result.seconds + result.preparing / LEAST_TRIALS
                costs.seconds[name] = min(seconds, costs.seconds.get(name, float("inf")))
                costs.fitting[name] = min(result.seconds, costs.fitting.get(name, float("inf")))
            except FitError as error:
                if error.state == "timeout" and name in costs.seconds:
                    continue  # the first fold has measured it
                costs.errors[name] = error
                costs.seconds.pop(name, None)
        if sum(costs.seconds.values()) > _WARM * plan.context.workers:
            break
    return costs


def _submit_default(plan: RunPlan, name: str, fold: str, limit: float) -> Future[FitResult]:
    job = make_default_job(plan, name, fold)
    # What can't be tuned costs nothing and is the last resort: it is never too slow.
    timeout = limit if load_family(name).tunable else plan.context.ledger.limit_refit()
    place = load_family(name).priority if load_family(name).tunable else 0
    return plan.context.pool.submit(worker.run_fit, job, priority=(SEARCH, place), timeout=timeout)
