"""How far a run is and how long it will take, as a progress artifact on Prefect's page."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.screen.board import Board
from models.text.safe import shorten
from tasks.planning import plan
from tasks.run import events
from tasks.session import Session

EVERY = 3.0
"""Seconds between two looks; the page itself looks less often."""
_LATER = {"conclude": 0.93, "register": 0.97}
"""How far these stages are where trials are counted: tuning is the first nine tenths."""

log = logging.getLogger("nestor.meter")


@contextmanager
def shown(session: Session) -> Iterator[None]:
    """Inside the block the run's page shows how far it is. What the server does not take is left out: the run goes on
    at its own pace, since only a thread of its own waits for the server."""
    board, lock, over = Board(session.ledger.origin, session.ledger.limit), threading.Lock(), threading.Event()
    if hasattr(session, "level"):  # the command has planned before the flow began
        board.tell(plan.planned(session))
    ended = ["stopped"]

    def told(event: events.Event) -> None:
        with lock:
            board.tell(event)

    def draw() -> None:
        artifact: UUID | None = None
        while True:
            last = over.wait(EVERY if artifact else 0.0)
            with lock:
                share, text = share_done(board, time.time()), board.summary(time.time())
            if last:
                share, text = (1.0, f"{text}: done") if ended[0] == "done" else (share, f"{text}: {ended[0]}")
            try:
                if artifact is None:
                    artifact = cast(UUID, create_progress_artifact(100 * share, "nestor-progress", text))
                else:
                    update_progress_artifact(artifact, 100 * share, text)
            except Exception as error:
                log.warning("Prefect does not take the progress: %s", shorten(error, 200))
                over.wait(EVERY)
            if last:
                return

    # The context holds the flow run, whose artifact it is, and the server's address.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(draw,), daemon=True, name="meter")
    thread.start()
    try:
        with events.listening(told):
            yield
        ended[0] = "done"
    finally:
        over.set()
        thread.join(2.0)


def share_done(board: Board, now: float) -> float:
    """The share that is done, 1 only at the very end."""
    if board.budget is None and board.stage in _LATER:
        return _LATER[board.stage]
    done = board.done(now)
    if done is None:
        return 0.02
    return min(0.99, done[0] if board.budget else 0.02 + 0.88 * done[0])
