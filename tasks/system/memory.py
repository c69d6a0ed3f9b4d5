"""Memory: what is free, how much of it each worker gets, and a worker's own, watched: a fit that takes too much ends
alone."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil

from models.errors import InputError

BEYOND = 1.5
"""A worker may ask for so many times its limit: a sudden large request becomes MemoryError, not a dead machine."""

_SPARE = 1.2
"""What a worker must have, as a multiple of what it holds before it fits anything."""

_EASE = 2.0
"""What each worker gets where nobody says how many there are, as a multiple of what it must have."""

_PARENT_DEATH = 1
"""PR_SET_PDEATHSIG."""

_LIBC = ctypes.CDLL(None)

_FREE = 0.8
"""Share of the free memory that workers get."""


def measure_needed_memory() -> float:
    """MB that this process, a worker without a limit, must be allowed to fit anything at all."""
    return _SPARE * _measure_held_memory()


def _measure_held_memory() -> float:
    """The least limit, in MB, that this process is within."""
    usage = psutil.Process().memory_info()
    return max(usage.rss, getattr(usage, "data", 0) / BEYOND) / 1e6


def divide_memory(
    workers: int | None, limit_mb: float | None, needed_mb: float, free_mb: float, cores: int
) -> tuple[int, float]:
    """How many workers there are, and the MB that each may take: `workers` and `limit_mb` as asked for, else one for
    each core, as far as memory does for them, and an even share. InputError where it does for none."""
    room = _FREE * free_mb
    if limit_mb is not None and limit_mb < needed_mb:
        raise InputError(
            f"{_format_gb(limit_mb)} GB of memory are too little for one fit: what a worker loads before it fits "
            "anything "
            f"takes most of {_round_up_gb(needed_mb)} GB. Give at least --memory {_round_up_gb(needed_mb)}."
        )
    count = int(room / needed_mb)
    if count < max(1, workers or 1):
        minimum = _round_up_gb(needed_mb)
        raise InputError(
            f"Each worker needs at least {minimum} GB of memory, and {_format_gb(free_mb)} GB are free, of which "
            "workers get "
            f"{_FREE:.0%}: that does for {count} of them{f', not for {workers}' if workers else ''}. "
            + (f"Give at most --workers {count}." if count else "End other programs, or take a larger machine.")
        )
    if workers is None:
        workers = max(1, min(cores, int(room / max(_EASE * needed_mb, limit_mb or 0))))
    return workers, limit_mb or room / workers


def _format_gb(mb: float) -> str:
    return f"{mb / 1000:.3g}"


def _round_up_gb(mb: float) -> str:
    """GB of two digits, rounded up."""
    return f"{math.ceil(mb / 10) / 100:g}"


class MemoryWatch:
    """Samples this process's memory and ends it above the limit, so that a blow-up costs this fit alone."""

    EXIT = 77

    def __init__(self) -> None:
        """A watch that was not begun."""
        self.limit, self.peak = 0.0, 0.0

    def watch(self, limit_mb: float, driver: int) -> None:
        """Begins, in a thread of its own; ends the process above the limit, or when the driver is gone. One that is
        above it already ends at once: with so little it could not even start that thread."""
        # Not in __init__: that runs in the fork server, which is another process.
        if limit_mb and _measure_held_memory() > limit_mb:
            os._exit(self.EXIT)
        self.limit, self._process, self._driver = limit_mb, psutil.Process(), psutil.Process(driver)
        threading.Thread(target=self._watch, daemon=True, name="memory").start()

    def begin(self) -> None:
        """A fit begins: its peak counts from here."""
        self.peak = self.measure()

    def measure(self) -> float:
        """MB that this process holds."""
        return self._process.memory_info().rss / 1e6

    def _is_driver_alive(self) -> bool:
        try:
            return self._driver.is_running() and self._driver.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def _watch(self) -> None:
        # The worker's parent is the fork server, which lives as long as any worker does: the driver is asked for.
        while self._is_driver_alive():
            self.peak = max(self.peak, self.measure())
            if self.limit and self.peak > self.limit:
                os._exit(self.EXIT)
            time.sleep(0.2)
        os._exit(1)


def end_with_parent() -> None:
    """Has the kernel end this process with its parent, the fork server, and that one end with the driver: a fit that
    lets no other thread have a turn keeps the watch from it. Each worker holds the pipe that keeps the fork server
    alive, so that it could have workers of its own; it has none."""
    server: Any = forkserver._forkserver  # pyright: ignore[reportAttributeAccessIssue]
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None
    if sys.platform == "linux":
        _LIBC.prctl(_PARENT_DEATH, signal.SIGKILL)


peak = MemoryWatch()


_MANY = 100_000


def give_back_memory(rows: int) -> None:
    """Gives the system back what was freed, once so many rows were worked with that it is worth the milliseconds; else
    it stays with this process, in pieces too small for the next large thing."""
    if rows >= _MANY and hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def measure_free_memory() -> float:
    """Bytes that this process can still get: of the machine, of its container, of its own limit."""
    amounts = [float(psutil.virtual_memory().available), *_measure_container_memory(Path("/sys/fs/cgroup"))]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        amounts.append(float(soft - psutil.Process().memory_info().vms))
    return max(0.0, min(amounts))


def _measure_container_memory(root: Path) -> list[float]:
    """What a container leaves, by the second version of control groups and by the first; pages of files that it could
    give back count as left."""
    amounts = []
    for limit, used, idle in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError, KeyError):
            ceiling = float((root / limit).read_text())  # `max` where there is none
            lines = (root / limit).with_name("memory.stat").read_text().splitlines()
            pages = float(dict(line.split(" ", 1) for line in lines)[idle])
            amounts.append(ceiling - float((root / used).read_text()) + pages)
    return amounts
