"""The beginning of a command: the server, MLflow's writer and the workers start at once; the stages before tuning are
run meanwhile, and the search begins. Nothing here imports Prefect, whose import alone takes seconds."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NoReturn

from flows.screen import ending
from flows.server import prefect_server
from models.config import Run
from models.errors import BudgetError
from tasks.context import RunContext, open_run
from tasks.evaluation.ensemble import refit_ahead
from tasks.execution import pool
from tasks.planning import load_and_seal
from tasks.planning.plan import make_plan
from tasks.run import events, ledger
from tasks.system import login, secret_addresses
from tasks.system.watching import keep_watch
from tasks.tuning.search import Search
from tasks.values import RunPlan

_PATIENCE = 10.0
"""Seconds that a command which is over its budget has for saying so, on the screen, in its folder and to Prefect."""


@dataclass(frozen=True)
class Beginning:
    """What this process has begun."""

    context: RunContext
    plan: RunPlan
    search: Search
    told: Sequence[events.TimedEvent]
    """What was told of the run so far: it grows."""
    handle: prefect_server.ServerHandle


_begun: ContextVar[Beginning | None] = ContextVar("begun", default=None)


def find_beginning() -> Beginning | None:
    """What this process has begun; None where a flow was called by itself."""
    return _begun.get()


def prepare(context: RunContext) -> RunPlan:
    """The stages before tuning, one after the other. They need no server."""
    table = load_and_seal.load_table(context)
    sealed = load_and_seal.seal_rows(table)
    load_and_seal.check_signal_of_table(sealed)
    return make_plan(sealed)


@contextmanager
def reach_server() -> Iterator[dict[str, str]]:
    """Prefect's settings for asking the begun run's server, once it answers; it is kept alive inside the block."""
    beginning = _begun.get()
    handle = beginning.handle if beginning else prefect_server.start_server()
    settings = handle.reach()
    if beginning is not None:
        beginning.context.afford_end()
    with handle.guard():
        yield settings


@contextmanager
def begin_run(run: Run, resume: str | None = None) -> Iterator[None]:
    """The flow called inside the block goes on with a run whose stages before tuning are done, and whose search is at
    work."""
    pool.refuse_daemon()
    pool.start_fork_server("skrub")  # its imports take seconds of a core that nothing else needs yet
    origin = ledger.find_start_time()
    handle = prefect_server.start_server()
    with (
        open_run(run, resume, origin) as context,
        _enforce_budget(context, handle),
        events.record_events() as told,
    ):
        with _serve_secrets(handle):
            plan = prepare(context)
        search = Search(plan, refit_ahead)
        token = _begun.set(Beginning(context, plan, search, told, handle))
        try:
            yield
        finally:
            _begun.reset(token)
            search.stop()


@contextmanager
def _serve_secrets(handle: prefect_server.ServerHandle) -> Iterator[None]:
    """Inside the block an address in a Secret block is asked of this server."""

    def ready() -> dict[str, str]:
        prefect_server.set_quiet_environment()  # Prefect reads its settings when it is imported
        return handle.reach()

    token = secret_addresses.server.set(ready)
    try:
        yield
    finally:
        secret_addresses.server.reset(token)


def _close_run(context: RunContext, handle: prefect_server.ServerHandle, reason: str) -> None:
    """Says why the run ends, and has Prefect show it as failed where it has begun there: nobody else can, once this
    process is gone. A later command closes what could not be closed now."""
    with suppress(Exception):
        ending.write_message(f"Error: {reason}")
    with suppress(Exception):  # a full disk, say
        context.write_state("stopped")
    with suppress(Exception):
        flow_run = (context.folder.read_json("run.json") or {}).get("flow_run")
        if flow_run is None:
            return
        from prefect.states import Failed

        from flows.server import gone

        with login.use_server_settings(handle.reach()):
            gone.close_flow_run(flow_run, Failed(message=reason))


def _end_process(context: RunContext, handle: prefect_server.ServerHandle, reason: str) -> NoReturn:
    """Ends this process with the exit code of a budget that is over, whatever hangs or fails meanwhile."""
    try:
        thread = threading.Thread(target=_close_run, args=[context, handle, reason], daemon=True, name="closing")
        thread.start()
        thread.join(_PATIENCE)
    finally:
        os._exit(BudgetError.exit_code)


def _enforce_budget(context: RunContext, handle: prefect_server.ServerHandle) -> AbstractContextManager[None]:
    """Inside the block a command that overruns its budget is ended: a last resort against what no worker process can be
    killed for, such as a table that takes minutes to read. Once there is something to deliver the run may take the
    time that its end needs."""
    limit = context.ledger.limit
    if limit is None or not ledger.is_command() or context.is_resumed_with_records:
        return nullcontext()
    slack = max(4.0, 0.04 * limit)

    def look() -> None:
        if context.ledger.left > -slack:
            return
        overtime = context.overtime()
        if context.ledger.left < -slack - (overtime or 0.0):
            cause = "the end hangs" if overtime is not None else "no model can be made of what is fitted so far"
            reason = (
                f"The budget of {limit:.0f} s is over, and {cause}. What is finished is kept: the same command with "
                "--resume and a larger --budget goes on."
            )
            _end_process(context, handle, reason)

    return keep_watch(look, "overtime")
