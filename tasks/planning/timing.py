"""What one default fit of each family costs here, measured before anything is planned."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from models.families import load_family
from models.fitting.family import Family
from models.splitting.budget import LEAST_TRIALS
from tasks.execution import worker
from tasks.execution.job import Fit
from tasks.execution.pool import SEARCH, FitError
from tasks.planning.studies import default_job
from tasks.session import Session

_WARM = 1.0
"""Seconds of first fits beside which what libraries load late does not matter."""

SHARE = 0.12
"""Share of the whole time that one first default fit may take."""

_ALL_SHARE = 0.25
"""Share of the whole time that all first default fits may take; never less than twice the limit of one."""


def probed(session: Session, kept: list[Family]) -> tuple[dict[str, float], dict[str, FitError]]:
    """Seconds of each family's default on a first inner fold, and why others have none.

    Two folds, the quicker counts: a worker's very first fit of a family pays for what libraries load late. Both are
    fits of trial 0, which its studies will find on disk. All together they may take a quarter of the time; what can't
    be tuned needs no such haste, it is the last resort."""
    limit = max(5.0, SHARE * (session.ledger.limit or 0))
    over = threading.Timer(max(2 * limit, _ALL_SHARE * (session.ledger.limit or 0)), _ended, [session])
    over.start()
    try:
        return _measured(session, kept, limit)
    finally:
        over.cancel()


def _ended(session: Session) -> None:
    session.fits.cancel(lambda priority: priority[0] == SEARCH and priority[1] > 0)


def _measured(session: Session, kept: list[Family], limit: float) -> tuple[dict[str, float], dict[str, FitError]]:
    first, none = {}, {}
    for fold in list(session.folds)[:2]:
        waiting = {f.name: _default(session, f.name, fold, limit) for f in kept if f.name not in none}
        for name, future in waiting.items():
            try:
                first[name] = min(_cost(session, name, future.result()), first.get(name, float("inf")))
            except FitError as error:
                if error.state == "timeout" and name in first:
                    continue  # the first fold has measured it
                none[name] = error
                first.pop(name, None)
        if sum(first.values()) > _WARM * session.workers:
            break
    return first, none


def _default(session: Session, name: str, fold: str, limit: float) -> Future[Fit]:
    job = default_job(session, name, fold)
    # What can't be tuned costs nothing and is the last resort: it is never too slow.
    timeout = limit if load_family(name).tunable else session.refit_limit()
    place = load_family(name).priority if load_family(name).tunable else 0
    return session.fits.submit(worker.run, job, priority=(SEARCH, place), timeout=timeout)


def _cost(session: Session, name: str, done: Fit) -> float:
    """Core-seconds of one configuration on one inner fold: columns are prepared once for all configurations."""
    session.model_mb[name] = done.model_mb
    return done.seconds + done.preparing / LEAST_TRIALS
