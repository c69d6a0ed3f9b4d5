"""A disk that is full: how it is seen, whoever says it, and what is said of it."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

from models.errors import NestorError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SQLITE = "database or disk is full"
_SAID = re.compile(rf"OSError: \[Errno (?:{'|'.join(map(str, sorted(_FULL)))})\]|{_SQLITE}")
"""How a process of ours, and SQLite, say it. A server of others that says it has a disk of its own."""


class FullDiskError(NestorError):
    """Nothing more can be written."""


def is_full(error: BaseException | str | None) -> bool:
    """Whether the error, one that led to it, or what a process said of its end, tells of a full disk."""
    if error is None or isinstance(error, str):
        return bool(error and _SAID.search(error))
    hit = (
        isinstance(error, FullDiskError) or (isinstance(error, OSError) and error.errno in _FULL) or is_full(str(error))
    )
    return hit or is_full(error.__cause__ or error.__context__)


def make_full_disk_error(error: BaseException | str) -> FullDiskError:
    """What was lost, what is kept, and how to go on."""
    if isinstance(error, FullDiskError):
        return error
    file = getattr(error, "filename", None) or "mlruns"
    return FullDiskError(
        f"Nothing more can be written: the disk with {Path(file).absolute()}{_describe_free_space(file)} is full, or "
        "a quota or limit "
        "is reached. What was just being written is lost; every fit that was finished, every trial and every "
        "registered version is kept. Make room, then go on with the same command and --resume."
    )


def _describe_free_space(file: str) -> str:
    """` (0.2 MB free)`, where that can be told."""
    folder = next((p for p in (Path(file), *Path(file).absolute().parents) if p.is_dir()), None)
    try:
        return f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB free)" if folder else ""
    except OSError:
        return ""
