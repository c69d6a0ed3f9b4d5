"""What a process and all that it started use: the most memory at once, and core-seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import psutil

EVERY = 0.2
"""Seconds between two looks."""


class Watch:
    """Looks at a process, its descendants and some others, as long as it is entered."""

    def __init__(
        self, pid: int, find_others: Callable[[], list[int]] = list, counts: Callable[[], bool] = lambda: True
    ):
        """What is used while `counts` says no is left out."""
        self.pid, self._find_others, self._counts = pid, find_others, counts
        self.peak_mb = 0.0
        """The largest sum of resident memory; pages that processes share count in each of them."""
        self._used: dict[psutil.Process, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> Watch:
        """Begins to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Looks no more."""
        self._over.set()
        self._thread.join()

    @property
    def core_seconds(self) -> float:
        """User and system time of all that was seen; what ran shorter than the time between two looks is missing."""
        return sum(self._used.values())

    def list_seen(self) -> list[psutil.Process]:
        """Every process that was seen, known by its start too: no later one that has its number is meant."""
        return list(self._used)

    def _loop(self) -> None:
        self._look()
        while not self._over.wait(EVERY):
            self._look()

    def _look(self) -> None:
        memory, counts = 0, self._counts()
        for process in self._list_processes():
            with suppress(psutil.Error):
                times, resident = process.cpu_times(), process.memory_info().rss
                self._used[process] = times.user + times.system if counts else self._used.get(process, 0.0)
                memory += resident
        if counts:
            self.peak_mb = max(self.peak_mb, memory / 1e6)

    def _list_processes(self) -> list[psutil.Process]:
        found: dict[int, psutil.Process] = {}
        for pid in [self.pid, *self._find_others()]:
            with suppress(psutil.Error):
                own = psutil.Process(pid)
                found |= {p.pid: p for p in [own, *own.children(recursive=True)]}
        return list(found.values())
