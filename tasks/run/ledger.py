"""The ledger of seconds: where a run's time went, what the end still needs, and when tuning must stop.

The promise is about the whole command, from the start of its process to the return of the prompt."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from models.errors import BudgetError

EXIT = 3.0
"""Seconds from the last stage to the prompt: closing the pool, the tracker and the interpreter."""

REGISTRATION = 4.0
"""Seconds that registering a small model takes: writing, describing and aliasing a version, the report."""

PER_MEMBER = 0.1
"""Seconds more for each pipeline in the delivered model: skops writes every column's steps down."""

PER_MB = 0.05
"""Seconds more for each MB of a pipeline."""

PER_ARRAY = 0.0003
"""Seconds more for each array of a pipeline: skops writes each as a file, and looks at each for its type."""

HANGS = 3600.0
"""Seconds after which a fit is held to hang where no clock may decide."""

_origin: list[float] = []


def mark_command_start() -> None:
    """Says that this process is a command of its own: its budget counts from the start of the process."""
    _origin.append(psutil.Process().create_time())


def is_command() -> bool:
    """Whether this process is a command of its own."""
    return bool(_origin)


def find_start_time() -> float:
    """When the command began (Unix seconds): the process's start for a command, else now."""
    return _origin[-1] if _origin else time.time()


class Ledger:
    """Times of one run. Thread-safe."""

    def __init__(self, limit: float | None, origin: float, used: float = 0.0):
        """A ledger of `limit` seconds from `origin` on, `used` of which are gone already."""
        self.limit, self.start, self.origin = limit, origin, origin - used
        self.stages: dict[str, float] = defaultdict(float)
        self.fitting: dict[str, float] = defaultdict(float)
        self.registration = REGISTRATION
        self.preparing = 0.0
        """Core-seconds of preparing columns so far."""
        self.recalled = 0.0
        """Core-seconds of fits that earlier attempts made."""
        self.model_sizes: dict[str, tuple[float, int]] = {}
        """Family -> megabytes and arrays of its largest model so far, as far as fits told it."""
        self._booked: set[str] = set()
        self._open: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def elapsed(self) -> float:
        """Seconds since the command began, those of interrupted attempts included."""
        return time.time() - self.origin

    @property
    def left(self) -> float:
        """Seconds until the prompt must be back; infinite without a limit."""
        return float("inf") if self.limit is None else self.limit - self.elapsed

    def extend(self, seconds: float) -> None:
        """Moves the limit, where there is one, by so many seconds."""
        self.limit = None if self.limit is None else self.limit + seconds

    def estimate_writing(self, family: str, model_mb: float) -> float:
        """Seconds that writing a member of this family takes; `model_mb` is its size where no fit has told it."""
        size, arrays = self.model_sizes.get(family, (model_mb, 0))
        return PER_MEMBER + PER_MB * size + PER_ARRAY * arrays

    def weigh_model(self, writing: float) -> None:
        """Learns how many seconds writing all members of the delivered model is likely to take."""
        self.registration = REGISTRATION + writing

    @contextmanager
    def book_stage(self, name: str) -> Iterator[None]:
        """Books the block's wall time under `name`."""
        self._open[name] = time.time()
        try:
            yield
        finally:
            self.stages[name] += time.time() - self._open.pop(name)

    def sum_stage(self, stage: str) -> float:
        """Seconds that a stage has taken so far; 0 where it has not begun."""
        return self.stages[stage] + (time.time() - self._open[stage] if stage in self._open else 0.0)

    def book_fit(
        self, family: str, seconds: float, preparing: float, ended: float, file: str | None = None,
        model_mb: float = 0.0, arrays: int = 0,
    ) -> None:  # fmt: skip
        """Books a fit's core-seconds, those of preparing its columns included: the end prepares as much again. One that
        ended before this process began was read from disk. A fit that is asked for more than once, as refits are where
        limits are looked at, is known by its `file` and booked once. `model_mb`: 0 where it was not weighed."""
        with self._lock:
            if model_mb:
                size, count = self.model_sizes.get(family, (0.0, 0))
                self.model_sizes[family] = max(size, model_mb), max(count, arrays)
            if file in self._booked:
                return
            if file is not None:
                self._booked.add(file)
            self.fitting[family] += seconds + preparing
            self.preparing += preparing
            self.recalled += (seconds + preparing) * (ended < self.start)

    def limit_refit(self) -> float:
        """Seconds that one refit may take."""
        return HANGS if self.limit is None else max(2.0, self.left - self.registration)

    def limit_sealed(self) -> float:
        """Seconds that predicting the sealed rows may take: without them there is no result, so it has some always."""
        return max(30.0, self.limit_refit())

    def may_judge(self) -> bool:
        """Whether there is time for more than registering and the way out."""
        return self.left > self.registration + EXIT

    def reserve(self, refits: float, longest: float, workers: int) -> float:
        """Wall seconds that the end needs, when its refits are `refits` core-seconds, the longest one `longest`."""
        return 1.4 * refits / workers + longest + self.registration + EXIT

    def afford(self, needed: float) -> None:
        """Raises BudgetError where less than `needed` seconds and the way out are left."""
        if self.limit is not None and self.left < needed + EXIT:
            budget = 1.5 * (self.elapsed + needed + EXIT)
            raise BudgetError(
                f"A budget of {self.limit:.0f} s is too little: {self.elapsed:.0f} s were needed to start and to read, "
                f"and the end needs {needed + EXIT:.0f} s. Give at least --budget {budget:.0f}s."
            )
