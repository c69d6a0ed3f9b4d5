"""What is its owner's alone: folders and files that no other user of this machine may look into."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def make_private_folder(folder: Path) -> Path:
    """The folder, made where it is missing. What had to be made is its owner's alone; what was there stays as it was:
    its owner may have opened it."""
    for path in reversed((folder, *folder.parents)):
        if not path.exists():
            path.mkdir(0o700, exist_ok=True)
    return folder


def restrict_to_owner(*paths: Path) -> None:
    """Takes the rights of all others away from these files and folders, where they are there and ours."""
    for path in paths:
        with suppress(OSError):
            os.chmod(path, path.stat().st_mode & 0o700)


def write_private_text(path: Path, text: str) -> None:
    """Makes the file appear with this text, whole or not at all, for its owner alone."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, path)
