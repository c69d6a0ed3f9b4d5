"""The process that follows WORKDIR/events.jsonl, answers calls on its standard input and ends when that closes."""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from models.errors import InputError, NestorError, make_unknown_error
from tasks.system.lock import hold_lock
from tasks.system.secret_addresses import PasswordHidingStream
from tasks.tracking.mirror.writer import MlflowMirror
from tasks.tracking.orphans import close_orphans
from tasks.tracking.store import call_patiently, describe_error

log = logging.getLogger("nestor.tracking")

POLL = 2.0
"""Seconds between two looks at the journal. Trials that ended meanwhile share a transaction."""
GRACE = 5.0
"""Seconds that the tracker outlives its parent, to close the runs that are open."""
CALLS = {
    "seal_settings": "tasks.tracking.seal:seal_settings",
    "keep_seal_settings": "tasks.tracking.seal:keep_seal_settings",
    "count_opening": "tasks.tracking.seal:count_opening",
    "past": "tasks.tracking.past:past",
    "similar": "tasks.tracking.past:similar",
    "register": "tasks.registry.register:register",
    "prepare": "tasks.registry.register:prepare",
}
"""What `Journal.call` may ask for, beside `drain` and `stop`: functions of (tracker's `Mirror`, **args)."""


class TrackerServer:
    """Answers the parent's calls and follows the journal between them."""

    def __init__(self, workdir: Path, answers: IO[str]) -> None:
        """Listens from now on, also while MLflow is being imported."""
        self.workdir, self.answers, self.parent = workdir, answers, os.getppid()
        self.requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self.requests.put(json.loads(line))
        self.requests.put(None)
        # Whatever the main thread waits for (a lock, a server), the process must not outlive its parent for long.
        time.sleep(GRACE)
        os._exit(1)

    def run(self) -> None:
        """Works until it is told to stop or the parent is gone."""
        # The tracker of an earlier attempt may still be closing what its dead parent left.
        with hold_lock(self.workdir / "tracker.lock"):
            mirror = MlflowMirror(self.workdir, self._send)
            try:
                close_orphans(mirror.client, but=mirror.run_key)
            except Exception as error:
                log.warning("could not look for orphans", exc_info=error)
            while (request := self._read_call(mirror)) is not None and request["call"] != "stop":
                self._send(self._answer(mirror, request))
            self._end(mirror)

    def _read_call(self, mirror: MlflowMirror) -> dict[str, Any] | None:
        """The next call; None when the parent is gone."""
        while os.getppid() == self.parent:
            backlog = mirror.follow()
            with suppress(queue.Empty):
                return self.requests.get(block=not backlog, timeout=None if backlog else POLL)
        return None

    def _end(self, mirror: MlflowMirror) -> None:
        try:
            mirror.drain(GRACE - 1)
            mirror.close_open()
        except Exception as error:
            log.warning("could not close what was open", exc_info=error)

    def _answer(self, mirror: MlflowMirror, request: dict[str, Any]) -> dict[str, Any]:
        functions = {"drain": MlflowMirror.drain}
        try:
            function = functions.get(request["call"]) or _resolve_call(request["call"])
            return {"id": request["id"], "result": call_patiently(lambda: function(mirror, **request["args"]))}
        except NestorError as error:
            return {"id": request["id"], "error": str(error), "input": isinstance(error, InputError)}
        except Exception as error:
            log.error("%s failed", request["call"], exc_info=error)
            return {"id": request["id"], "error": f"MLflow: {request['call']} failed: {describe_error(error)}"}

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(OSError):
            self.answers.write(json.dumps(message, default=str) + "\n")
            self.answers.flush()


def _resolve_call(name: str) -> Callable[..., Any]:
    if name not in CALLS:
        raise make_unknown_error("call", name, CALLS)
    module, _, function = CALLS[name].partition(":")
    return getattr(importlib.import_module(module), function)


def main() -> None:
    """Follows the journal in the folder that the command line names."""
    os.nice(10)
    # Standard output belongs to the answers; what libraries print goes where standard error goes, to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr = PasswordHidingStream(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    TrackerServer(Path(sys.argv[1]), answers).run()
    answers.flush()
    # Threads of libraries (connection pools, telemetry) must not hold the parent's end up.
    os._exit(0)


if __name__ == "__main__":
    main()
