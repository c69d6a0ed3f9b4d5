"""The pool of light worker processes that fit models.

pebble's pool (a dead worker costs its own task only, a hung one is killed at its time-out) over a fork server that has
`models` loaded already: a killed worker is replaced in milliseconds. Here are added the order in which fits are run
(breadth first) and what an ended process means (time, memory, crash)."""

from __future__ import annotations

import heapq
import itertools
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, TimeoutError
from multiprocessing import forkserver, popen_forkserver, spawn
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from pebble import ProcessExpired, ProcessPool

from tasks import fit

_LAUNCH = threading.Lock()
NEVER_RUN = "the time was up before it began"


class FitError(Exception):
    """A fit that gave no result: `state` is failed, timeout or memory."""

    def __init__(self, state: str, reason: str):
        super().__init__(reason)
        self.state, self.reason = state, reason


class _Popen(popen_forkserver.Popen):
    """Starts a worker without running the user's main script in it: a script of two lines needs no `__main__` guard."""

    def _launch(self, process_obj: Any) -> None:
        with _LAUNCH:
            whole = spawn.get_preparation_data
            spawn.get_preparation_data = lambda name: {
                k: v for k, v in whole(name).items() if not k.startswith("init_main")
            }
            try:
                super()._launch(process_obj)
            finally:
                spawn.get_preparation_data = whole


class _Process(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> _Popen:
        return _Popen(process_obj)


class _Context(ForkServerContext):
    Process = _Process  # type: ignore[assignment]


class Pool:
    """Runs fits in the order of their priority, `workers` at a time."""

    def __init__(self, workers: int, limit_mb: float, threads: int):
        multiprocessing.get_context("forkserver").set_forkserver_preload(["tasks.preload"])
        self.workers = workers
        self._pool = ProcessPool(
            workers, initializer=fit.begin, initargs=(limit_mb, threads), context=_Context()  # type: ignore[arg-type]
        )
        self._lock = threading.RLock()
        self._waiting: list[tuple[tuple[int, ...], int, Future, Callable[..., Any], tuple, float | None]] = []
        self._count = itertools.count()
        self._running: dict[Future, tuple[Future, tuple[int, ...]]] = {}
        self._open = True

    def start(self) -> None:
        """Starts the fork server, which loads `models` once, while the caller does something else."""
        forkserver.ensure_running()

    def submit(self, work: Callable[..., Any], *args: Any, priority: tuple[int, ...], timeout: float | None = None) -> Future:
        """The future of `work(*args)` in a worker; smaller priorities run first. It raises FitError."""
        promise: Future = Future()
        with self._lock:
            if not self._open:
                promise.set_exception(FitError("timeout", NEVER_RUN))
                return promise
            heapq.heappush(self._waiting, (priority, next(self._count), promise, work, args, timeout))
            self._dispatch()
        return promise

    def _dispatch(self) -> None:
        # One more than there are workers lies ready, so that no worker waits for the driver.
        while self._waiting and len(self._running) < self.workers + 1:
            priority, _, promise, work, args, timeout = heapq.heappop(self._waiting)
            if not promise.set_running_or_notify_cancel():
                continue
            task = self._pool.schedule(work, args=args, timeout=timeout)
            self._running[task] = (promise, priority)
            task.add_done_callback(self._done)

    def _done(self, task: Future) -> None:
        with self._lock:
            promise, _ = self._running.pop(task)
            self._dispatch()
        try:
            promise.set_result(task.result())
        except CancelledError:
            promise.set_exception(FitError("timeout", "stopped: the time for tuning was up"))
        except TimeoutError as error:
            promise.set_exception(FitError("timeout", f"stopped after {_limit(error):.0f} s, the limit of one fit"))
        except MemoryError:
            promise.set_exception(FitError("memory", "asked for more memory than one fit may have"))
        except ProcessExpired as error:
            promise.set_exception(_expired(error))
        except Exception as error:
            promise.set_exception(FitError("failed", f"{type(error).__name__}: {error}"[:500]))

    def cancel(self, chosen: Callable[[tuple[int, ...]], bool]) -> None:
        """Drops waiting fits and kills running ones whose priority is `chosen`; they end as `timeout`."""
        with self._lock:
            kept = [w for w in self._waiting if not chosen(w[0])]
            dropped = [w for w in self._waiting if chosen(w[0])]
            running = [task for task, (_, priority) in self._running.items() if chosen(priority)]
            self._waiting = kept
            heapq.heapify(self._waiting)
        for _, _, promise, *_ in dropped:
            promise.set_exception(FitError("timeout", NEVER_RUN))
        for task in running:
            task.cancel()

    def close(self) -> None:
        """Ends every worker at once."""
        with self._lock:
            self._open = False
        self.cancel(lambda _: True)
        self._pool.stop()
        self._pool.join()


def _limit(error: BaseException) -> float:
    return float(error.args[1]) if len(error.args) > 1 else 0.0


def _expired(error: ProcessExpired) -> FitError:
    if error.exitcode == fit.peak.EXIT:
        return FitError("memory", "its process grew over the memory limit of one fit and was ended")
    return FitError("failed", f"its process died (exit code {error.exitcode})")
