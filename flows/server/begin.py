"""The beginning of a command: the server, MLflow's writer and the workers start at once, and the stages before tuning
are run meanwhile. Nothing here imports Prefect, whose import alone takes seconds."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import NoReturn

from flows.screen import ending
from flows.server import prefect_server
from models.config import Run
from models.errors import BudgetError
from tasks.execution import pool
from tasks.planning import load_and_seal, plan
from tasks.run import ledger
from tasks.session import Session, opened
from tasks.system import login, secret_addresses

EARLY = (
    ("read and check", load_and_seal.take_in),
    ("seal", load_and_seal.seal),
    ("check the signal", load_and_seal.signal),
    ("shortlist", plan.shortlist),
)
"""The stages before tuning, in order. They need no server."""

_PATIENCE = 10.0
"""Seconds that a command which is over its budget has for saying so, on the screen, in its folder and to Prefect."""

_begun: ContextVar[tuple[Session, prefect_server.Handle] | None] = ContextVar("begun", default=None)


def now() -> tuple[Session, prefect_server.Handle] | None:
    """The session that this process has begun, and its server."""
    return _begun.get()


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """Prefect's settings for asking the begun session's server, once it answers; it is kept alive inside the block."""
    session, handle = _begun.get() or (None, prefect_server.start())
    settings = handle.reached()
    if session is not None:
        session.afford_end()
    with handle.guarded():
        yield settings


@contextmanager
def begun(run: Run, resume: str | None = None) -> Iterator[Session]:
    """A session whose early stages are done; the flow called inside the block goes on with it."""
    pool.refuse_daemon()
    origin = ledger.started()
    handle = prefect_server.start()
    with opened(run, resume, origin) as session, _held_to_time(session, handle):
        with _secrets(handle):
            for name, stage in EARLY:
                session.once(name, stage)
        token = _begun.set((session, handle))
        try:
            yield session
        finally:
            _begun.reset(token)


@contextmanager
def _secrets(handle: prefect_server.Handle) -> Iterator[None]:
    """Inside the block an address in a Secret block is asked of this server."""

    def ready() -> dict[str, str]:
        prefect_server.quiet_environment()  # Prefect reads its settings when it is imported
        return handle.reached()

    token = secret_addresses.server.set(ready)
    try:
        yield
    finally:
        secret_addresses.server.reset(token)


def _close(session: Session, handle: prefect_server.Handle, why: str) -> None:
    """Says why the run ends, and has Prefect show it as failed where it has begun there: nobody else can, once this
    process is gone. A later command closes what could not be closed now."""
    with suppress(Exception):
        ending.say(f"Error: {why}")
    with suppress(Exception):  # a full disk, say
        session.own("stopped")
    with suppress(Exception):
        flow_run = (session.workdir.read_json("run.json") or {}).get("flow_run")
        if flow_run is None:
            return
        from prefect.states import Failed

        from flows.server import gone

        with login.asking(handle.reached()):
            gone.close(flow_run, Failed(message=why))


def _end(session: Session, handle: prefect_server.Handle, why: str) -> NoReturn:
    """Ends this process with the exit code of a budget that is over, whatever hangs or fails meanwhile."""
    try:
        closing = threading.Thread(target=_close, args=[session, handle, why], daemon=True, name="closing")
        closing.start()
        closing.join(_PATIENCE)
    finally:
        os._exit(BudgetError.exit_code)


@contextmanager
def _held_to_time(session: Session, handle: prefect_server.Handle) -> Iterator[None]:
    """Inside the block a command that overruns its budget is ended: a last resort against what no worker process can be
    killed for, such as a table that takes minutes to read. Once there is something to deliver the run may take the
    time that its end needs."""
    over = threading.Event()

    def watch(limit: float) -> None:
        while not over.wait(0.2):
            if session.ledger.left < 0 and session.ledger.left < -session.overtime:
                late = "the end hangs" if session.deliverable else "no model can be made of what is fitted so far"
                why = (
                    f"The budget of {limit:.0f} s is over, and {late}. What is finished is kept: the same command with "
                    "--resume and a larger --budget goes on."
                )
                _end(session, handle, why)

    if session.ledger.limit is not None and ledger.is_command() and not session.recorded:
        threading.Thread(target=watch, args=[session.ledger.limit], daemon=True, name="overtime").start()
    try:
        yield
    finally:
        over.set()
