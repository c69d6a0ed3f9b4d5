"""The pool of light worker processes that fit models.

pebble's pool (a dead worker costs its own task only, a hung one is killed at its time-out) over a fork server that has
`models` loaded already: a killed worker is replaced in milliseconds. Here are added the order in which fits are run
(breadth first) and what an ended process means (time, memory, crash). A fit whose process was killed from outside is
done once more before it counts as failed: it says nothing of the fit."""

from __future__ import annotations

import heapq
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import forkserver, popen_forkserver, spawn
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from pebble import ProcessExpired, ProcessPool

from models.errors import InputError, NestorError
from models.text.safe import shorten
from tasks.execution import worker
from tasks.system import memory

LAST, JUDGE, SEARCH = -1, 0, 1
"""First part of a fit's priority: judging goes before searching, and the only model before that."""

_LAUNCH = threading.Lock()
_SILENT = "ignore::UserWarning:multiprocessing.resource_tracker"
"""After a kill Python's own tracker cleans up and tells the user's terminal of it; it takes its filters from here."""

NEVER_RUN = "the time was up before it began"

STARTS = 5
"""How often workers may die before one of them has begun a fit that is next; then it is given up."""

_KILLED = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT, signal.SIGTERM, 255)
"""Exit codes of a worker that was killed from outside. The last two: pebble's for SIGTERM, and the one of workers whose
fork server was killed with them. SIGSEGV, SIGABRT and their like are the fit's own doing."""


class FitError(Exception):
    """A fit that gave no result: `state` is failed, timeout or memory."""

    def __init__(self, state: str, reason: str):
        """`reason` in words."""
        super().__init__(reason)
        self.state, self.reason = state, reason


class _Popen(popen_forkserver.Popen):
    """Starts a worker without running the user's main script in it: a script of two lines needs no `__main__` guard."""

    def _launch(self, process_obj: Any) -> None:
        with _LAUNCH:
            original = spawn.get_preparation_data
            spawn.get_preparation_data = lambda name: {
                k: v for k, v in original(name).items() if not k.startswith("init_main")
            }
            try:
                super()._launch(process_obj)  # pyright: ignore[reportAttributeAccessIssue]
            finally:
                spawn.get_preparation_data = original


class _Process(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> _Popen:
        return _Popen(process_obj)


class _Context(ForkServerContext):
    Process = _Process  # type: ignore[assignment]


def refuse_daemon() -> None:
    """InputError in a daemonic process: Python lets it start no other, and training needs some."""
    if multiprocessing.current_process().daemon:
        raise InputError(
            "This is a daemonic process, which can't start others, and training needs worker processes. Start it with "
            "daemon=False (the workers of multiprocessing.Pool are daemonic, those of "
            "concurrent.futures.ProcessPoolExecutor are not), or run `nestor train` in it."
        )


def start_fork_server(*modules: str) -> None:
    """Starts the fork server, which loads `models` and these modules once, while the caller does something else."""
    if _SILENT not in sys.warnoptions:
        sys.warnoptions.append(_SILENT)
    os.environ["NESTOR_DRIVER"] = str(os.getpid())
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tasks.execution.preload", *modules])
    forkserver.ensure_running()


@dataclass(order=True)
class _QueuedFit:
    """One fit that was asked for."""

    priority: tuple[float, ...]
    place: int
    promise: Future = field(compare=False)
    work: Callable[..., Any] = field(compare=False)
    args: tuple = field(compare=False)
    timeout: float | None = field(compare=False)
    begun: bool = field(default=True, compare=False)
    """Whether a worker was at it, where it is cancelled."""
    starts: int = field(default=0, compare=False)
    """How often all workers died before one of them was at it."""
    killed: bool = field(default=False, compare=False)
    """Whether a worker was killed from outside while it was at it."""

    def may_retry(self, error: BaseException | None) -> bool:
        """Whether it is to be done once more after this error, which is noted here."""
        if isinstance(error, BrokenProcessPool):
            self.starts += 1
            return self.starts < STARTS
        if _is_killed(error) and not self.killed:
            self.killed = True
            return True
        return False


def measure_worker_memory() -> float:
    """MB that a worker must be allowed to fit anything at all, as a worker without a limit says. NestorError where none
    can be started."""
    start_fork_server()
    try:
        with _make_processes(1, 0.0, 1) as pool:
            return pool.schedule(memory.measure_needed_memory).result()
    except (BrokenProcessPool, ProcessExpired) as error:
        raise NestorError(f"No worker process could be started to fit models: {_describe_cause(error)}.") from None


def _make_processes(workers: int, limit_mb: float, threads: int) -> ProcessPool:
    arguments = (limit_mb, threads, os.getpid())
    return ProcessPool(workers, initializer=worker.prepare_worker, initargs=arguments, context=_Context())  # type: ignore[arg-type]


class FitPool:
    """Runs fits in the order of their priority, `workers` at a time."""

    def __init__(self, workers: int, limit_mb: float, threads: int):
        """A pool of processes with so many MB of memory and threads each; they start with the first fit."""
        start_fork_server()
        self.workers = workers
        self._each = (limit_mb, threads)
        self._pool = _make_processes(workers, *self._each)
        self._lock = threading.RLock()
        self._waiting: list[_QueuedFit] = []
        self._places = itertools.count()
        self._running: dict[Future, _QueuedFit] = {}
        self._open = True

    def submit(
        self, work: Callable[..., Any], *args: Any, priority: tuple[float, ...], timeout: float | None = None
    ) -> Future:
        """The future of `work(*args)` in a worker; smaller priorities run first. It raises FitError."""
        order = _QueuedFit(priority, next(self._places), Future(), work, args, timeout)
        order.promise.set_running_or_notify_cancel()
        with self._lock:
            if self._open:
                heapq.heappush(self._waiting, order)
                self._dispatch()
                return order.promise
        order.promise.set_exception(FitError("timeout", NEVER_RUN))
        return order.promise

    def _dispatch(self) -> None:
        # One more than there are workers lies ready, so that no worker waits for the driver.
        while self._waiting and len(self._running) < self.workers + 1:
            order = heapq.heappop(self._waiting)
            try:
                task = self._schedule(order)
            except RuntimeError as error:
                order.promise.set_exception(_make_start_error(error))
                continue
            self._running[task] = order
            task.add_done_callback(self._finish)

    def _schedule(self, order: _QueuedFit) -> Future:
        try:
            return self._pool.schedule(order.work, args=order.args, timeout=order.timeout)
        except RuntimeError:
            # A worker died while none was at work: pebble gives its pool up, we do not.
            self._pool.stop()
            # in a thread of its own: this may be one of those that are waited for
            threading.Thread(target=self._pool.join, daemon=True, name="retire").start()
            self._pool = _make_processes(self.workers, *self._each)
            return self._pool.schedule(order.work, args=order.args, timeout=order.timeout)

    def _finish(self, task: Future) -> None:
        with self._lock:
            order = self._running.pop(task)
            if self._open and order.may_retry(_read_error(task)):
                heapq.heappush(self._waiting, order)
                order = None
            if self._open:
                self._dispatch()
        if order is not None:
            _deliver_result(order, task)

    def cancel(self, chosen: Callable[[tuple[float, ...]], bool]) -> None:
        """Drops waiting fits and kills running ones whose priority is `chosen`; they end as `timeout`."""
        with self._lock:
            orders = [order for order in self._waiting if chosen(order.priority)]
            self._waiting = [order for order in self._waiting if not chosen(order.priority)]
            heapq.heapify(self._waiting)
            tasks = {task: order for task, order in self._running.items() if chosen(order.priority)}
        for order in orders:
            order.promise.set_exception(FitError("timeout", NEVER_RUN))
        for task, order in tasks.items():
            order.begun = task.running()  # one lies ready beside those that workers are at
            task.cancel()

    def close(self) -> None:
        """Ends every worker at once."""
        with self._lock:
            self._open = False
        self.cancel(lambda _: True)
        self._pool.stop()
        self._pool.join()


def _read_error(task: Future) -> BaseException | None:
    return None if task.cancelled() else task.exception()


def _deliver_result(order: _QueuedFit, task: Future) -> None:
    """Hands the result on, or what the end of its process means."""
    promise = order.promise
    try:
        promise.set_result(task.result())
    except CancelledError:
        promise.set_exception(FitError("timeout", "stopped: the time was up" if order.begun else NEVER_RUN))
    except TimeoutError as error:
        promise.set_exception(FitError("timeout", f"stopped after {_read_limit(error):.0f} s, the limit of one fit"))
    except MemoryError:
        promise.set_exception(FitError("memory", "asked for more memory than one fit may have"))
    except ProcessExpired as error:
        promise.set_exception(_make_expired_error(error))
    except BrokenProcessPool as error:
        promise.set_exception(_make_start_error(error))
    except BaseException as error:  # a fit's SystemExit must not end the thread that all fits are handed back by
        promise.set_exception(FitError("failed", f"{type(error).__name__}: {error}"[:500]))


def _is_killed(error: BaseException | None) -> bool:
    """Whether its worker was killed, and not by Nestor: what that ends has timed out or is cancelled."""
    return isinstance(error, ProcessExpired) and error.exitcode in _KILLED


def _describe_cause(error: BaseException) -> str:
    return shorten(error.__cause__ or error, 200)


def _make_start_error(error: BaseException) -> FitError:
    return FitError("failed", f"no worker process could be started: {_describe_cause(error)}")


def _read_limit(error: BaseException) -> float:
    return float(error.args[1]) if len(error.args) > 1 else 0.0


def _make_expired_error(error: ProcessExpired) -> FitError:
    if error.exitcode == worker.peak.EXIT:
        return FitError("memory", "its process grew over the memory limit of one fit and was ended")
    suffix = ", as it was done once more too" if _is_killed(error) else ""
    return FitError("failed", f"its process died (exit code {error.exitcode}{suffix})")
