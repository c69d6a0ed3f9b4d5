"""How long a user waits before anything happens: `python -m benchmarks.startup`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.command import NESTOR, stop_server
from benchmarks.stamp import print_table

TIMES = 5


def main() -> None:
    """Prints one table."""
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        place = Path(folder)
        rows = [
            ("`nestor --version`", *_repeat_call(lambda: _time_nestor(place, "--version"))),
            ("`nestor --help`", *_repeat_call(lambda: _time_nestor(place, "--help"))),
            ("`nestor families`", *_repeat_call(lambda: _time_nestor(place, "families"))),
            ("`nestor check sklearn:iris`", *_repeat_call(lambda: _time_nestor(place, "check", "sklearn:iris"))),
            *_time_server(place),
        ]
    print_table("Startup", ("what", "median, s", "least, s", "times"), rows)


def _repeat_call(call: Callable[[], float]) -> tuple[str, str, str]:
    seconds = [call() for _ in range(TIMES)]
    return f"{statistics.median(seconds):.2f}", f"{min(seconds):.2f}", str(TIMES)


def _time_nestor(folder: Path, *arguments: str) -> float:
    return _time_command([str(NESTOR), *arguments], folder, None)


def _time_server(place: Path) -> list[tuple[str, str, str, str]]:
    """The local server: the first on this machine, the first of a project, and one that is there."""
    cache = place / "cache"
    script = "from flows.server import prefect_server; prefect_server.start_server('mlruns', 120).wait_until_ready()"
    found = []
    for number, what in enumerate(("the first on this machine", "the first of another project", "found alive")):
        folder = place / str(min(number, 1))
        folder.mkdir(exist_ok=True)
        seconds = _time_command([sys.executable, "-P", "-c", script], folder, cache)
        found.append((f"Prefect server answers, {what}", f"{seconds:.2f}", f"{seconds:.2f}", "1"))
    for number in (0, 1):
        stop_server(place / str(number))
    return found


def _time_command(command: list[str], folder: Path, cache: Path | None) -> float:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "NESTOR_"))}
    environment |= {"XDG_CACHE_HOME": str(cache)} if cache else {}
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
