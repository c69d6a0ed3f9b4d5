"""Strategies with real fits: `python -m benchmarks.search.rerun --folder OUT --strategies tpe,random [--trials 60]
[--seeds 3] [--problems lightgbm-car] [--families lightgbm,linear,mlp] [--workers 2]`.

On the tables that `benchmarks.search.collect` laid out in OUT, with the fidelity that each family declares. OUT/real
gets a parquet file for each strategy, problem and seed; what is there is not run again."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from benchmarks.search.drive import UnsupportedRequest, drive_study
from benchmarks.search.problem import FAMILIES, Problem, list_problems, prepare_process
from benchmarks.search.race import locate_trials, write_trials
from models.families import load_family
from models.tuning.trial import Trial


def main() -> None:
    """Runs what is missing, seed by seed."""
    asked = _parse_arguments()
    wanted = [
        p for p in list_problems(asked.folder / "tables", asked.families.split(","))
        if not asked.problems or p.name in asked.problems.split(",")
    ]  # fmt: skip
    todo = [(s, p, n) for n in range(asked.seeds) for p in wanted for s in asked.strategies.split(",")]
    with ProcessPoolExecutor(asked.workers, get_context("spawn"), prepare_process, (os.getpid(),)) as pool:
        running = [
            pool.submit(_run_strategy, s, p.family.name, p.folder, n, asked.trials, asked.folder)
            for s, p, n in todo
            if not locate_trials(asked.folder, f"{s}-{n}", p.name, "real").exists()
        ]
        for future in as_completed(running):
            print(future.result(), file=sys.stderr, flush=True)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--strategies", required=True)
    parser.add_argument("--trials", type=int, default=60, help="beside the default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--families", default=FAMILIES)
    parser.add_argument("--problems", default="", help="such as lightgbm-car")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def _run_strategy(strategy: str, family_name: str, place: Path, seed: int, trials: int, folder: Path) -> str:
    """Runs a strategy on a problem with a seed and writes its trials down; a line for the screen."""
    one = Problem(place.name, load_family(family_name), place)

    def fit(trial: Trial, inner: int, share: float) -> tuple[float | None, float]:
        return one.fitted(trial.config, inner, share)

    try:
        rows = drive_study(one.view(seed, trials), strategy, fit, trials)
    except UnsupportedRequest as lack:
        return f"{strategy} on {one.name}: left out: it asks for {lack}"
    frame = pd.DataFrame(rows).assign(strategy=strategy, problem=one.name, seed=seed)
    write_trials(frame, locate_trials(folder, f"{strategy}-{seed}", one.name, "real"))
    return f"{strategy} on {one.name}, seed {seed}: {len(rows)} trials"


if __name__ == "__main__":
    main()
