"""Where tuning helps: every family's default against its tuned self, by nested estimates over the same folds:
`python -m benchmarks.tuning TABLE:TARGET ... [--trials 9] [--families a,b]`.

Two runs for each table, alike but for the count of configurations: one (the default) and `--trials` (the default among
them). Both estimates are outer scores, so that a tuning which only fits the inner rows shows as no gain or a loss."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import run_nestor, stop_server
from benchmarks.stamp import print_table
from benchmarks.tables import format_interval
from models.families import load_families
from models.metrics.metric import make_metric

HEAD = ("table", "metric", "family", "default", "tuned", "gain", "trials", "core-seconds")


def main() -> None:
    """Prints one table; a table's rows are also told on standard error as soon as they are there."""
    asked = _parse_arguments()
    rows = []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for place in asked.tables:
            for row in _compare_on_table(place, asked, Path(folder)):
                rows.append(row)
                print(" | ".join(row), file=sys.stderr, flush=True)
        stop_server(Path(folder))
    print_table(f"Default against tuned, {asked.trials} configurations", HEAD, rows)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", help="files with their targets: FILE:TARGET")
    parser.add_argument("--trials", type=int, default=9)
    parser.add_argument("--inner", default="2")
    parser.add_argument("--families", default=",".join(n for n, f in load_families().items() if f.available and f.safe))
    parser.add_argument("--timeout", type=float, default=3600)
    return parser.parse_args()


def _compare_on_table(place: str, asked: argparse.Namespace, folder: Path) -> Iterator[tuple[str, ...]]:
    file, _, target = place.rpartition(":")
    first, tuned = (_run_training(Path(file), target, trials, asked, folder) for trials in (1, asked.trials))
    defaults = {f["name"]: f["estimate"] for f in first["families"]}
    metric = make_metric(first["metric"], first["task"], ())
    for one in sorted(tuned["families"], key=lambda f: f["name"]):
        before, after = defaults[one["name"]], one["estimate"]
        gain = f"{metric.gain(after['value']) - metric.gain(before['value']):+.4g}" if before and after else ""
        yield (
            Path(file).stem, tuned["metric"], one["name"], format_interval(before), format_interval(after), gain,
            str(one["trials"]), f"{one['seconds']:.0f}",
        )  # fmt: skip


def _run_training(file: Path, target: str, trials: int, asked: argparse.Namespace, folder: Path) -> Mapping[str, Any]:
    done = run_nestor(
        "train", str(file.resolve()), "--target", target, "--trials", str(trials), "--families", asked.families,
        "--outer", "5", "--inner", asked.inner, "--name", f"{file.stem}-{trials}", "--json", "--quiet",
        folder=folder, timeout=asked.timeout,
    )  # fmt: skip
    if done.report is None:
        raise SystemExit(f"{file.name}: exit {done.code}: {done.err[-2000:]}")
    return done.report


if __name__ == "__main__":
    main()
