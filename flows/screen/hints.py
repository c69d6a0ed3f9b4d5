"""What a user may do next, as it can be typed where he stands: `nestor` is on nobody's PATH in a project's own
environment, and pages are at an address while `nestor up` runs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from shlex import quote

from models.text.address import locate_pages

_COMMANDS = r"train|retrain|check|score|watch|promote|rollback|runs|report|families|searches|explain|up"
_TYPED = re.compile(rf"(?<![\w./@:-])(?:(nestor)(?= (?:{_COMMANDS})\b)|(mlflow)(?= ui\b))")


@cache
def find_program(name: str = "nestor") -> str:
    """How a program of this environment is called from here: by its name where PATH leads to it, else by its path."""
    path = Path(sys.executable).with_name(name)
    match = shutil.which(name)
    if not path.is_file() or (match and os.path.samefile(match, path)):
        return name
    return quote(min(os.path.relpath(path), str(path), key=len))


def as_typed(text: str) -> str:
    """The text with the commands in it as they can be typed here."""
    return _TYPED.sub(lambda match: find_program(match[0]), text)


def find_mlflow_page(address: str) -> str:
    """Where a person looks at what an MLflow store holds: the page of this folder's `nestor up` where it runs, a
    server's own address, else the command that shows a file."""
    from flows.server import prefect_server

    record = prefect_server.read_record(Path("mlruns/prefect"))
    if record.get("up") and prefect_server.find_recorded_process(record) is not None:
        return record["mlflow"]
    return as_typed(locate_pages(address))
