"""What stands beside every number: commit, date, machine; and how a benchmark prints its table."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
LOAD = os.getloadavg()[0]


def make_stamp() -> str:
    """`commit 1a2b3c4 (changed files), 2026-11-21, 2 cores of AMD EPYC, 24 GB, Linux, Python 3.11.7, nestor 0.1.0`."""
    return (
        f"commit {describe_commit()}, {time.strftime('%Y-%m-%d')}, {describe_machine()}, "
        f"Python {platform.python_version()}, "
        f"nestor {version('nestor')}; load average when it began: {LOAD:.1f}"
    )


def describe_machine() -> str:
    """`2 cores of AMD EPYC, 24 GB, Linux`."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores of {_find_processor()}, {memory:.0f} GB, {platform.system()}"


def describe_commit() -> str:
    """`1a2b3c4`, or `1a2b3c4 with changed files`; `unknown` without git."""
    try:
        commit = _run_git("rev-parse", "--short", "HEAD")
        return f"{commit} with changed files" if _run_git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _run_git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _find_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a section with its stamp and table, in markdown."""
    from benchmarks.pages import to_markdown_table

    print(
        f"## {title}\n\n{make_stamp()}\n\n{to_markdown_table(head, [[str(cell) for cell in row] for row in rows])}\n",
        flush=True,
    )
