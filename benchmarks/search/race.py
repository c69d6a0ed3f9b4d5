"""Every strategy against the surrogates: `python -m benchmarks.search.race --folder OUT [--trials 60] [--seeds 15]
[--only tpe,random] [--problems lightgbm-car] [--workers 2] [--data DATA]`.

OUT/race gets a parquet file for each strategy and problem, with a row for each trial; what is there is not run again.
A strategy that is not at hand, does not suit a family or asks for more than scores is left out, and it is said why. A
part of a fit is so many inner folds, whatever the family declares: every fold's score is known, that of fewer rounds or
rows is not."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache, lru_cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from benchmarks.search import differential
from benchmarks.search.drive import UnsupportedRequest, drive_study
from benchmarks.search.problem import prepare_process
from benchmarks.search.surrogate import DATA, Surrogate, fit_surrogate
from models.errors import InputError
from models.search import load_strategies
from models.tuning.space import list_distributions
from models.tuning.strategy import Strategy, View
from models.tuning.trial import Trial


def main() -> None:
    """Runs what is missing; says on standard error what was left out."""
    asked = _parse_arguments()
    names = asked.only.split(",") if asked.only else list(load_contestants())
    places = sorted(asked.data.glob("*.parquet"))
    wanted = [p for p in places if not asked.problems or p.stem in asked.problems.split(",")]
    todo = [(n, p) for p in wanted for n in names if not locate_trials(asked.folder, n, p.stem).exists()]
    # Started anew, not forked: LightGBM's and torch's threads do not survive a fork.
    with ProcessPoolExecutor(asked.workers, get_context("spawn"), prepare_process, (os.getpid(),)) as pool:
        running = [pool.submit(_run_strategy, n, p, asked.trials, asked.seeds, asked.folder) for n, p in todo]
        for future in as_completed(running):
            print(future.result(), file=sys.stderr, flush=True)


def load_contestants() -> dict[str, Strategy]:
    """Nestor's strategies by name, and what is only measured beside them."""
    return load_strategies() | {differential.STRATEGY.name: differential.STRATEGY}


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=60, help="beside the default")
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--only", default="", help="names of strategies")
    parser.add_argument("--problems", default="", help="such as lightgbm-car")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA)
    return parser.parse_args()


def locate_trials(folder: Path, name: str, problem: str, kind: str = "race") -> Path:
    """Where the trials of a strategy on a problem lie."""
    return folder / kind / f"{name}--{problem}.parquet"


@cache
def _load_surrogate(path: Path) -> Surrogate:
    return fit_surrogate(path)


def _run_strategy(name: str, path: Path, trials: int, seeds: int, folder: Path) -> str:
    """Runs a strategy on a problem with every seed and writes its trials down; a line for the screen."""
    one, strategy = _load_surrogate(path), load_contestants()[name]
    if not strategy.available:
        return f"{name}: left out: {strategy.package} is missing"
    steps = choose_coarsest_steps(one.view(0, trials), strategy)
    if why := strategy.unsuited(replace(one.view(0, trials), steps=steps)):
        return f"{name} on {one.name}: left out: {why}"

    told = lru_cache(maxsize=8)(lambda items: one.told(dict(items)))

    def fit(trial: Trial, inner: int, share: float) -> tuple[float, float]:
        scores, seconds = told(tuple(trial.params.items()))
        return float(scores[inner]), float(seconds[inner])

    rows = []
    try:
        for seed in range(seeds):
            view = replace(one.view(seed, trials), steps=steps)
            rows += [row | {"seed": seed} for row in drive_study(view, strategy, fit, trials)]
    except UnsupportedRequest as lack:
        return f"{name} on {one.name}: left out: it asks for {lack}, and a surrogate has scores"
    except InputError as error:
        return f"{name} on {one.name}: left out: {error}"
    write_trials(pd.DataFrame(rows).assign(strategy=name, problem=one.name), locate_trials(folder, name, one.name))
    return f"{name} on {one.name}: {len(rows)} trials"


def choose_coarsest_steps(view: View, strategy: Strategy) -> dict[str, int]:
    """Steps of a grid that fits into the trials: each hyperparameter in turn gets two values, then three, where the
    strategy takes that; the others stay at one. Empty where it needs none."""
    steps: dict[str, int] = {}
    if strategy.unsuited(view) and not strategy.unsuited(replace(view, steps={"": 1})):
        steps = {"": 1}
        for count, name in product((2, 3), list_distributions(view.family, view.shape)):
            more = steps | {name: count}
            steps = steps if strategy.unsuited(replace(view, steps=more)) else more
    return steps


def write_trials(rows: pd.DataFrame, path: Path) -> None:
    """Writes the trials as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(beside := path.with_suffix(".part"), compression="zstd")
    beside.replace(path)


if __name__ == "__main__":
    main()
