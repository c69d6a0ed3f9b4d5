"""How far a run is and how long it will take, as a progress artifact on Prefect's page."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.screen.board import Board
from flows.server.begin import find_beginning
from models.text.safe import shorten
from tasks.context import RunContext
from tasks.run import events
from tasks.run.stage import EVALUATE, STAGES, TUNE
from tasks.system.watching import keep_watch

EVERY = 3.0
"""Seconds between two looks; the page itself looks less often."""
log = logging.getLogger("nestor.meter")


@contextmanager
def show_progress(context: RunContext) -> Iterator[None]:
    """Inside the block the run's page shows how far it is. What the server does not take is left out: the run goes on
    at its own pace, since only a thread of its own waits for the server."""
    board = Board(context.ledger.origin, context.ledger.limit)
    artifact: list[UUID] = []
    outcome: list[str] = []
    seen = 0

    def draw() -> None:
        nonlocal seen
        for moment, event in told[seen:]:
            board.tell(event, moment)
            seen += 1
        share, text = compute_share_done(board, time.time()), board.summarize(time.time())
        if outcome:
            share, text = (1.0 if outcome == ["done"] else share), f"{text}: {outcome[0]}"
        try:
            if artifact:
                update_progress_artifact(artifact[0], 100 * share, text)
            else:
                artifact.append(cast(UUID, create_progress_artifact(100 * share, "nestor-progress", text)))
        except Exception as error:
            log.warning("Prefect does not take the progress: %s", shorten(error, 200))

    # The watch's context holds the flow run, whose artifact it is, and the server's address.
    with _find_record() as told, keep_watch(draw, "meter", EVERY, last=draw):
        try:
            yield
        except BaseException:
            outcome.append("stopped")
            raise
        outcome.append("done")


def _find_record() -> AbstractContextManager[Sequence[events.TimedEvent]]:
    """All that is told of the run: from its beginning on where a command has begun it before the flow."""
    beginning = find_beginning()
    return nullcontext(beginning.told) if beginning else events.record_events()


def compute_share_done(board: Board, moment: float) -> float:
    """The share that is done, 1 only at the very end."""
    shares = {stage.name: stage.begins for stage in STAGES if stage != TUNE}
    if board.budget is None and board.stage in shares:
        return shares[board.stage]
    progress = board.measure_done(moment)
    if progress is None:
        return TUNE.begins
    return min(0.99, progress[0] if board.budget else TUNE.begins + (EVALUATE.begins - TUNE.begins) * progress[0])
