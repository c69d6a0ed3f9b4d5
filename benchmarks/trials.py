"""How fast trials go and what telling MLflow of one costs: `python -m benchmarks.trials [--trials 20]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import run_nestor, stop_server
from benchmarks.stamp import print_table

FAMILIES = "constant,linear,lightgbm,xgboost,random_forest"


def main() -> None:
    """Prints one table: a row for each family, then MLflow's share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", default="8")
    parser.add_argument("--data", default="sklearn:breast_cancer")
    asked = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for family in FAMILIES.split(","):
            rows += _measure_family(family, asked.data, asked.trials, Path(folder))
        stop_server(Path(folder))
    head = ("family", "trials", "trials per s of tuning", "fitting, ms per trial", "tracker, core-ms per trial")
    print_table(f"Trials: {asked.data}, --trials {asked.trials}, 5 outer folds", head, rows)


def _measure_family(family: str, data: str, trials: str, folder: Path) -> Iterator[tuple[str, ...]]:
    arguments = ["train", data, "--trials", trials, "--families", family, "--name", family, "--json", "--quiet"]
    done = run_nestor(*arguments, folder=folder, timeout=600)
    report = done.report
    if report is None:
        print(f"{family}: exit code {done.code}: {done.err.strip()[-300:]}", file=sys.stderr)
        return
    count, seconds = sum(report["trials"].values()), report["seconds"]
    tracker = done.core_seconds.get("tracker", 0.0)
    yield (
        family,
        str(count),
        f"{count / max(seconds['tune'], 1e-9):.1f}",
        f"{1000 * seconds['fitting'] / count:.0f}",
        f"{1000 * tracker / count:.0f}, start and registration included",
    )


if __name__ == "__main__":
    main()
