"""What parts of trials save: seconds of fitting until a search has the score that random search has at its end:
`python -m benchmarks.fidelity TABLE:TARGET ... [--family lightgbm] [--trials 60] [--seeds 3] [--searches a,b]`.

Every search has the same folds, and as many trials' worth. A study is one family on one outer fold; its score is the
best mean inner score of a whole trial. The sealed rows and the outer folds play no part."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.command import run_nestor, stop_server
from benchmarks.stamp import print_table
from models.metrics.metric import Metric, make_metric

HEAD = ("table", "search", "studies that got there", "seconds until then", "times as fast", "seconds in all", "ahead")

Course = Sequence[tuple[float, float]]
"""Of one study: (seconds of fitting so far, gain) of each whole trial."""


@dataclass(frozen=True)
class FidelitySettings:
    """What is run."""

    family: str
    trials: int
    seeds: int
    searches: tuple[str, ...]
    outer: int
    more: tuple[str, ...] = ()
    """Further options of `nestor train`."""


def main() -> None:
    """Prints one table; a table's rows are also told on standard error as soon as they are there."""
    tables, asked = parse_arguments("random,tpe,halving,hyperband,bohb", "lightgbm")
    title = f"Until random search's score after {asked.trials} trials: {asked.family}, {asked.seeds} seeds"
    compare_searches(title, tables, asked)


def compare_searches(title: str, tables: Sequence[str], asked: FidelitySettings) -> None:
    """Runs all searches on all tables and prints what came of it."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for place in tables:
            for row in _compare_on_table(place, asked, Path(folder)):
                rows.append(row)
                print(" | ".join(row), file=sys.stderr, flush=True)
        stop_server(Path(folder))
    print_table(title, HEAD, rows)


def parse_arguments(searches: str, family: str) -> tuple[list[str], FidelitySettings]:
    """The tables, and what to run on them, from the command line; searches and family are what is run by default."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("tables", nargs="+", help="files with their targets: FILE:TARGET")
    parser.add_argument("--family", default=family)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outer", type=int, default=2)
    parser.add_argument("--searches", default=searches)
    found = parser.parse_args()
    names = tuple(dict.fromkeys(["random", *found.searches.split(",")]))
    return found.tables, FidelitySettings(found.family, found.trials, found.seeds, names, found.outer)


def _compare_on_table(place: str, asked: FidelitySettings, folder: Path) -> list[tuple[str, ...]]:
    """A row for each search, over all seeds and folds."""
    found = {
        name: [c for seed in range(asked.seeds) for c in measure_courses(place, name, seed, asked, folder)]
        for name in asked.searches
    }
    return [
        _make_row(Path(place.rpartition(":")[0]).stem, name, found[name], found["random"]) for name in asked.searches
    ]


def _make_row(table: str, name: str, ours: Sequence[Course], random: Sequence[Course]) -> tuple[str, ...]:
    goals = [max(gain for _, gain in course) for course in random]
    until = [_find_seconds_until(course, goal) for course, goal in zip(ours, goals, strict=True)]
    reached = [seconds for seconds in until if seconds is not None]
    faster = [whole[-1][0] / s for s, whole in zip(until, random, strict=True) if s is not None]
    ahead = [max(gain for _, gain in course) - goal for course, goal in zip(ours, goals, strict=True)]
    return (
        table, name, f"{len(reached)} of {len(ours)}", _format_median(reached, ".1f"), _format_median(faster, ".1f"),
        _format_median([course[-1][0] for course in ours], ".1f"), _format_median(ahead, "+.2g"),
    )  # fmt: skip


def _find_seconds_until(course: Course, goal: float) -> float | None:
    return next((seconds for seconds, gain in course if gain >= goal), None)


def _format_median(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}}" if values else ""


def measure_courses(place: str, search: str, seed: int, asked: FidelitySettings, folder: Path) -> list[Course]:
    """The course of every study of one run."""
    file, _, target = place.rpartition(":")
    name = f"{Path(file).stem}-{asked.family}-{search}-{seed}"
    done = run_nestor(
        "train", str(Path(file).resolve()), "--target", target, "--families", asked.family, "--search", search,
        "--trials", str(asked.trials), "--seed", str(seed), "--outer", str(asked.outer), "--workers", "1",
        "--name", name, "--json", "--quiet", *asked.more, folder=folder, timeout=6 * 3600,
    )  # fmt: skip
    if done.report is None:
        raise SystemExit(f"{name}: exit {done.code}: {done.err[-2000:]}")
    work = next(folder.glob(f"mlruns/work/{name}-*"))
    trials = pd.read_parquet(next(folder.glob(f"mlruns/artifacts/**/{done.report['run_id']}/**/trials.parquet")))
    metric = make_metric(done.report["metric"], done.report["task"], ())
    return [_measure_course(work, asked.family, fold, part, metric) for fold, part in trials.groupby("fold", sort=True)]


def _measure_course(work: Path, family: str, fold: object, trials: pd.DataFrame, metric: Metric) -> Course:
    seconds, found = 0.0, []
    for trial in trials.sort_values("number").itertuples():
        for file in work.glob(f"fits/*/{family}/{fold}/{trial.number}/[0-9]*.json"):
            seconds += _compute_cost(json.loads(file.read_text()))
        if trial.state == "complete":
            found.append((seconds, metric.gain(float(str(trial.inner)))))
    return found


def _compute_cost(fit: Mapping[str, float]) -> float:
    """What an earlier trial's fit stands for cost nothing."""
    return 0.0 if fit["taken"] else fit["seconds"]


if __name__ == "__main__":
    main()
