"""Processes: whose something on disk is, whether that one is alive, and which give way to others."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import psutil

_GIVES_WAY = 5
"""Nice level: about a third of what a process of the usual level gets beside it."""
_NEAR = 2.0
"""Seconds between two starts that are one: the first may have been written down with fewer digits."""


def identify_process() -> dict[str, Any]:
    """What tells this process from every other: host, pid, and when it started (Unix seconds)."""
    process = psutil.Process()
    return {"host": platform.node(), "pid": process.pid, "pid_start": process.create_time()}


def find_process(pid: int, started: float) -> psutil.Process | None:
    """The process of this machine that had this pid and start; None where it has ended: the pid alone may have been
    given to another since."""
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - started) < _NEAR and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, TypeError, ValueError, OverflowError):  # the last three: no process was written down
        return None
    return process if is_same else None


def is_other_process(owner: Mapping[str, Any]) -> bool:
    """Whether the owner is another process of this machine, alive or not."""
    return owner.get("host") == platform.node() and owner.get("pid") != os.getpid()


def is_owner_alive(owner: Mapping[str, Any]) -> bool:
    """Whether the owner is another process, and lives on this machine."""
    return is_other_process(owner) and find_process(owner["pid"], owner["pid_start"]) is not None


def is_owner_gone(owner: Mapping[str, Any]) -> bool:
    """Whether the owner was another process of this machine and has ended."""
    return is_other_process(owner) and not is_owner_alive(owner)


def lower_priority() -> None:
    """Has this process give way to others where cores are short: what serves a run takes none from its fits. On
    Windows nothing changes."""
    if hasattr(os, "nice"):
        os.nice(_GIVES_WAY)
