"""The handle of the process that mirrors the journal in MLflow (`tasks.tracking`), and the calls that are under way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.errors import InputError, NestorError

FIRST_GUESS = 0.01
"""Seconds to mirror one record, until some were."""


def to_plain_json(value: Any) -> Any:
    """A value that JSON can hold: numpy's numbers and arrays as Python's, the rest as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


class TrackerGoneError(NestorError):
    """The tracker's process has ended."""


class Tracker:
    """The child process that writes to MLflow, and the calls that are under way."""

    def __init__(self, workdir: Path, address: str) -> None:
        """Starts the process, which needs some seconds before it answers, for the store at that address."""
        self.mirrored, self.per_record = 0, FIRST_GUESS
        self.trouble: str | None = None
        self._number, self._calls, self._lock = 0, dict[int, Future[Any]](), threading.Lock()
        self._ended = False
        # -P: a `tasks` folder in the user's current directory must not shadow ours. A session of its own: Ctrl-C is
        # for the parent, whose death closes the pipe.
        command = [sys.executable, "-P", "-m", "tasks.tracking", str(workdir)]
        with (workdir / "tracker.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "NESTOR_STORE": address},  # not in the journal: it may have a password
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                start_new_session=True,
                umask=0o077,
            )
        self._log = workdir / "tracker.log"
        threading.Thread(target=self._listen, name="tracker", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def call(self, name: str, timeout: float | None, args: Mapping[str, Any]) -> Any:
        """What the function returns; NestorError (InputError) with its sentence, or when it takes over `timeout`."""
        answer: Future[Any] = Future()
        with self._lock:
            if self._ended:
                raise self._make_gone_error()
            self._number += 1
            number = self._number
            self._send({"id": number, "call": name, "args": args})
            self._calls[number] = answer
        try:
            return answer.result(timeout)
        except Late:
            raise NestorError(f"MLflow's writer did not answer `{name}` within {timeout:.0f} s.") from None
        finally:
            self._calls.pop(number, None)

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(message, default=to_plain_json) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._make_gone_error() from None

    def _make_gone_error(self) -> TrackerGoneError:
        return TrackerGoneError(f"MLflow's writer ended; {self._log} says why.")

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with suppress(ValueError):  # a kill may cut the last line short
                self._hear(json.loads(line))
        with self._lock:
            self._ended = True
            for answer in list(self._calls.values()):  # who is woken takes its own out
                answer.set_exception(self._make_gone_error())
            self._calls.clear()

    def _hear(self, message: Mapping[str, Any]) -> None:
        if "id" in message:
            self._answer(message)
        else:
            self.mirrored, self.per_record = message["mirrored"], message["per_record"]
            self.trouble = message["trouble"]

    def _answer(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            answer = self._calls.pop(message["id"], None)
        if answer is None:
            return
        error: Callable[[str], NestorError] = InputError if message.get("input") else NestorError
        if "error" in message:
            answer.set_exception(error(message["error"]))
        else:
            answer.set_result(message["result"])

    def stop(self, timeout: float) -> None:
        """Ends the child, by force after `timeout` seconds."""
        assert self._process.stdin
        try:
            with self._lock:
                self._send({"id": 0, "call": "stop", "args": {}})
                self._process.stdin.close()
        except (NestorError, OSError):
            pass
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
