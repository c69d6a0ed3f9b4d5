"""Fits that two outer folds share: asked for by one of them, done once, and taken over by the other.

Fold k's inner split that is judged on B_j is trained without B_k and B_j, as is fold j's split that is judged on B_k.
Where both try the same configuration one fit serves both, and each is shown the score on its own validation rows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from models.splitting.split import Fold, Part
from tasks.execution.job import FitJob, FitResult

_Key = tuple[str, Part, float, str]
"""Family, training rows, share and configuration."""


class SharedFits:
    """The fits of a plan that another fold may take over. Thread-safe."""

    def __init__(self) -> None:
        """No fit was asked for."""
        self._fits: dict[_Key, tuple[FitJob, Future[FitResult] | None]] = {}
        self._lock = threading.Lock()

    def remember(self, job: FitJob, fold: Fold) -> None:
        """Notes a fit that is done, of an earlier attempt."""
        with self._lock:
            self._fits.setdefault(_make_key(job, fold), (job, None))

    def submit(self, job: FitJob, fold: Fold, submit: Callable[[FitJob], Future[FitResult]]) -> Future[FitResult]:
        """The job's fit, by `submit`; where the fold that shares it has asked for it before, that one's as soon as it
        is there. Where that one failed the job is fitted anew."""
        with self._lock:
            other, future = self._fits.get(key := _make_key(job, fold), (job, None))
            if other.fold == job.fold:
                future = submit(job)
                self._fits[key] = job, future
                return future
        taken = replace(job, again=other.file, partner=True)
        return submit(taken) if future is None else _follow(future, lambda: submit(taken))


def _make_key(job: FitJob, fold: Fold) -> _Key:
    config = json.dumps(job.config, sort_keys=True, default=repr)
    return job.family, fold.identify_part(job.inner), job.share, config


def _follow(first: Future[FitResult], submit: Callable[[], Future[FitResult]]) -> Future[FitResult]:
    """The future of what is submitted once the first one has ended, however it ended."""
    promise: Future[FitResult] = Future()
    promise.set_running_or_notify_cancel()

    def hand_on(done: Future[FitResult]) -> None:
        error = done.exception()
        promise.set_exception(error) if error else promise.set_result(done.result())

    def go_on(_: Future[FitResult]) -> None:
        try:
            submit().add_done_callback(hand_on)
        except BaseException as error:  # else whoever waits would wait for ever
            promise.set_exception(error)

    first.add_done_callback(go_on)
    return promise
