"""A run that is cancelled in Prefect's page stops within seconds, whoever started it.

A worker sends the run's process a signal, late where the machine is busy; a run that a command started has nobody who
would send one. So the run itself asks for its state every few seconds. What follows is the same: `TerminationSignal`
is raised in the main thread, once, every stage ends what it has started, and the run is Cancelled."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from uuid import UUID

import httpx
from prefect import get_client
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.runtime import flow_run

from tasks.system.watching import keep_watch

EVERY = 1.0
"""Seconds between two looks at the run's state."""
SENTENCE = "Cancelled. What is finished is kept: Retry on this page, or the same command with --resume, goes on."


@contextmanager
def obey_cancellation() -> Iterator[None]:
    """Inside the block a cancelled run's main thread gets a TerminationSignal; so does one that is told to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old_handler, ids = signal.getsignal(signal.SIGTERM), _list_own_ids()

    def look() -> bool:
        cancelled = is_cancelled(ids)
        if cancelled:
            signal.raise_signal(signal.SIGTERM)  # Python runs the handler in the main thread
        return cancelled

    signal.signal(signal.SIGTERM, _make_once_handler())
    try:
        with keep_watch(look, "cancel", EVERY):
            yield
    finally:
        signal.signal(signal.SIGTERM, old_handler)


def _make_once_handler():
    """A handler that raises at the first signal only: the second must not disturb the tidying up after the first."""
    flag = threading.Event()

    def handler(number: int, _: FrameType | None) -> None:
        if not flag.is_set():
            flag.set()
            raise TerminationSignal(signal=number)

    return handler


def is_cancelled(ids: tuple[UUID, ...] | None = None) -> bool:
    """Whether this flow run, or the one that it is a part of, is cancelled or about to be."""
    with suppress(httpx.HTTPError, PrefectException), get_client(sync_client=True) as client:
        states = [client.read_flow_run(run_id).state for run_id in (_list_own_ids() if ids is None else ids)]
        return any(state is not None and (state.is_cancelling() or state.is_cancelled()) for state in states)
    return False


def _list_own_ids() -> tuple[UUID, ...]:
    ids = {flow_run.id, flow_run.root_flow_run_id} - {None}
    return tuple(UUID(str(run_id)) for run_id in ids)
