"""The beginning of a command: the server, MLflow's writer and the workers start at once, and the stages before tuning
are run meanwhile. Nothing here imports Prefect, whose import alone takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flows import server
from models.config import Run
from tasks import budget, intake, shortlist
from tasks.session import Session, opened

EARLY = (
    ("read and check", intake.take_in),
    ("seal", intake.seal),
    ("check the signal", intake.signal),
    ("shortlist", shortlist.shortlist),
)
"""The stages before tuning, in order. They need no server."""

_begun: ContextVar[tuple[Session, server.Handle] | None] = ContextVar("begun", default=None)


def now() -> tuple[Session, server.Handle] | None:
    """The session that this process has begun, and its server."""
    return _begun.get()


@contextmanager
def begun(run: Run, resume: str | None = None) -> Iterator[Session]:
    """A session whose early stages are done; the flow called inside the block goes on with it."""
    origin = budget.started()
    handle = server.start()
    with opened(run, resume, origin) as session:
        for name, stage in EARLY:
            session.once(name, stage)
        token = _begun.set((session, handle))
        try:
            yield session
        finally:
            _begun.reset(token)
