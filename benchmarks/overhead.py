"""Where the core-seconds of a run go, alone and with a server already running:
`python -m benchmarks.overhead [DATA] [--target COL] [--budget 120s]`.

Every process of the run is watched; what the cores did not do for it is idle (or somebody else's)."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import psutil

from benchmarks.command import CommandResult, compute_patience, run_nestor, stop_server
from benchmarks.stamp import print_table

ROLES = (
    ("command", "the command: reading, sealing, search, conclusion, Prefect's client"),
    ("workers", "workers, their start included"),
    ("tracker", "the tracker: MLflow, registration"),
    ("server", "the Prefect server"),
)


def main() -> None:
    """Runs twice in one folder and prints a table for both."""
    asked = _parse_arguments()
    data = asked.data if asked.data.startswith("sklearn:") else str(Path(asked.data).resolve())
    arguments = ["train", data, "--budget", asked.budget, "--json", "--quiet"]
    arguments += ["--target", asked.target] if asked.target else []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        place, limit = Path(folder), compute_patience(asked.budget)
        alone = run_nestor(*arguments, folder=place, timeout=limit)
        beside = run_nestor(*arguments, folder=place, timeout=limit)
        stop_server(place)
    title = f"Core-seconds of {Path(asked.data).name}, --budget {asked.budget}"
    print_table(title, ("", "alone", "share", "server running", "share"), _make_rows(alone, beside))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", default="sklearn:breast_cancer")
    parser.add_argument("--target")
    parser.add_argument("--budget", default="120s")
    return parser.parse_args()


def _make_rows(*runs: CommandResult) -> list[tuple[str, ...]]:
    columns = [_make_column(run) for run in runs]
    return [(name, *(cell for column in columns for cell in column[name])) for name in columns[0]]


def _make_column(run: CommandResult) -> dict[str, tuple[str, str]]:
    """Label -> seconds and share of what the cores could have done."""
    cores = psutil.cpu_count() or 1
    whole = cores * run.wall
    report = run.report or {}
    fitting = report.get("seconds", {}).get("fitting", float("nan"))
    used = {label: run.core_seconds.get(role, 0.0) for role, label in ROLES}
    used["idle"] = whole - sum(used.values())
    used["**whole** (wall x cores)"] = whole
    used["of it inside fits (wall of each fit, as the report books it)"] = fitting
    plain = {
        "exit code": (str(run.code), ""),
        "wall, s": (f"{run.wall:.1f}", ""),
        "trials": (str(sum(report.get("trials", {}).values())), ""),
    }
    return plain | {label: (f"{value:.1f}", f"{value / whole:.0%}") for label, value in used.items()}


if __name__ == "__main__":
    main()
