"""The rows of runs: a line of json for each, added as it comes, and reused where nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
KEY = ("system", "version", "table", "split", "seed", "budget", "cores", "machine")
"""What must be the same so that a row is not made anew."""
NO_RUN = "not installed"
"""The state of a row that tells of no run: it is tried again."""


def make_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a row from others."""
    return tuple(row[name] for name in KEY)


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, of each key the last; none where there is no file. A line that a kill has cut off is none."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found: dict[tuple[Any, ...], Row] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[make_key(row)] = row
    return list(found.values())


def list_done(rows: Iterable[Mapping[str, Any]], retry: bool = False) -> set[tuple[Any, ...]]:
    """Keys that need no run: those with a result and, unless they are to be tried again, those that failed."""
    return {make_key(row) for row in rows if row["state"] == "done" or not (retry or row["state"] == NO_RUN)}


def append_row(path: Path, row: Row) -> None:
    """Adds a line, after the end of one that a kill has cut off."""
    text = path.read_text("utf-8") if path.exists() else ""
    with path.open("a", encoding="utf-8") as file:
        file.write(("" if not text or text.endswith("\n") else "\n") + json.dumps(row) + "\n")
