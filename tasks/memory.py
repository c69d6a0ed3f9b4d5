"""A worker's memory, watched: a fit that takes too much ends alone."""

from __future__ import annotations

import os
import threading
import time

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
