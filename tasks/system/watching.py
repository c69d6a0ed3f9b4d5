"""Something looked at again and again, beside the work that it is about."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 0.2
"""Seconds between two looks."""
_PATIENCE = 2.0


@contextmanager
def keep_watch(
    look: Callable[[], object], name: str, every: float = EVERY, last: Callable[[], object] | None = None
) -> Iterator[None]:
    """Inside the block `look` is called at once and then every so many seconds, until it says True, in a daemon thread
    of that name with the caller's context variables. After the block that thread does what is `last`, which is waited
    for two seconds at most."""
    end = threading.Event()

    def look_on() -> None:
        while look() is not True and not end.wait(every):
            pass
        if last is not None:
            end.wait()
            last()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(look_on,), daemon=True, name=name)
    thread.start()
    try:
        yield
    finally:
        end.set()
        if last is not None:
            thread.join(_PATIENCE)
