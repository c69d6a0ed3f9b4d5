"""Memory: what is free, and a worker's, watched: a fit that takes too much ends alone."""

from __future__ import annotations

import os
import resource
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil


class Peak:
    """Samples this process's memory and ends it above the limit, so that a blow-up costs this fit alone."""

    EXIT = 77

    def __init__(self) -> None:
        """A watch that was not begun."""
        self.limit, self.peak = 0.0, 0.0

    def watch(self, limit_mb: float, driver: int) -> None:
        """Begins, in a thread of its own; ends the process above the limit, or when the driver is gone."""
        # Not in __init__: that runs in the fork server, which is another process.
        self.limit, self._process, self._driver = limit_mb, psutil.Process(), psutil.Process(driver)
        threading.Thread(target=self._loop, daemon=True, name="memory").start()

    def begin(self) -> None:
        """A fit begins: its peak counts from here."""
        self.peak = self.now()

    def now(self) -> float:
        """MB that this process holds."""
        return self._process.memory_info().rss / 1e6

    def _driver_lives(self) -> bool:
        try:
            return self._driver.is_running() and self._driver.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def _loop(self) -> None:
        # The worker's parent is the fork server, which lives as long as any worker does: the driver is asked for.
        while self._driver_lives():
            self.peak = max(self.peak, self.now())
            if self.limit and self.peak > self.limit:
                os._exit(self.EXIT)
            time.sleep(0.2)
        os._exit(1)


peak = Peak()


def free() -> float:
    """Bytes that this process can still get: of the machine, of its container, of its own limit."""
    found = [float(psutil.virtual_memory().available), *_of_container(Path("/sys/fs/cgroup"))]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        found.append(float(soft - psutil.Process().memory_info().vms))
    return max(0.0, min(found))


def _of_container(root: Path) -> list[float]:
    """What a container leaves, by the second version of control groups and by the first; pages of files that it could
    give back count as left."""
    found = []
    for limit, used, idle in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError, KeyError):
            most = float((root / limit).read_text())  # `max` where there is none
            lines = (root / limit).with_name("memory.stat").read_text().splitlines()
            pages = float(dict(line.split(" ", 1) for line in lines)[idle])
            found.append(most - float((root / used).read_text()) + pages)
    return found
