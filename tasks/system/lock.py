"""One at a time among this machine's processes: the lock is the system's, so it ends with its process, however that
ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold_lock(path: Path) -> Iterator[float]:
    """Waits while another has the lock that this file is, which is made if missing; yields the seconds waited."""
    start = time.monotonic()
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield time.monotonic() - start
