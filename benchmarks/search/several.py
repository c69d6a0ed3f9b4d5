"""Two objectives, the score and the seconds of training, against the surrogates: `python -m benchmarks.search.several
[--only tpe,random] [--trials 200] [--seeds 3] [--problems lightgbm-car] [--workers 2] [--data DATA]`.

What is compared is the volume that a front dominates (Zitzler & Thiele 1999, IEEE TEC 3:257): the score against the
logarithm of seconds, both from the median of the collected configurations on, as a share of what the best front of all
strategies and seeds of a problem has. Prints its table in markdown."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.search.problem import FOLD, prepare_process
from benchmarks.search.surrogate import DATA, Surrogate, fit_surrogate
from benchmarks.stamp import print_table
from models.search import load_strategies
from models.studies.study import Study
from models.tuning.goal import mark_front
from models.tuning.strategy import BATCH
from models.tuning.trial import Trial

OBJECTIVE = "seconds"
AT = (20, 60, 200)
"""After so many configurations beside the default fronts are compared."""


def main() -> None:
    """Prints one table."""
    asked = _parse_arguments()
    able = [n for n, s in load_strategies().items() if s.several and s.available and not (s.chooses or s.remembers)]
    names = asked.only.split(",") if asked.only else able
    places = [
        p for p in sorted(asked.data.glob("*.parquet")) if not asked.problems or p.stem in asked.problems.split(",")
    ]
    todo = list(product(places, names, range(asked.seeds)))
    with ProcessPoolExecutor(asked.workers, get_context("spawn"), prepare_process, (os.getpid(),)) as pool:
        rows = list(pool.map(_run_search, todo, [asked.trials] * len(todo)))
    found = pd.DataFrame([row for row in rows if row])
    _print_volumes(found, [n for n in AT if n <= asked.trials])


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names of strategies")
    parser.add_argument("--trials", type=int, default=max(AT), help="beside the default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--problems", default="", help="such as lightgbm-car")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA)
    return parser.parse_args()


def _run_search(one: tuple[Path, str, int], trials: int) -> dict[str, object]:
    """The volumes of a strategy's fronts on a problem, and what proposing took; empty where it can't search there."""
    place, name, seed = one
    known = fit_surrogate(place)
    study = Study(known.view(seed, trials, objectives=(OBJECTIVE,)), FOLD, name)
    if study.unsuited:
        return {}
    asking = 0.0
    while (left := trials + 1 - len(study.told)) > 0:
        began = time.process_time()
        asked = study.ask(min(BATCH, left))
        asking += time.process_time() - began
        if not asked:
            break
        study.tell([_run_trial(known, trial) for trial in asked])
    print(f"{name} on {known.name}, seed {seed}: {len(study.told)} trials", file=sys.stderr, flush=True)
    gains = _scale_gains(known, np.array([study.goal.gains(trial) for trial in study.told]))
    volumes = {f"{n}": compute_volume(gains[: n + 1]) for n in AT if n <= trials}
    return {"problem": known.name, "strategy": name, "seed": seed, "asking": asking / len(study.told), **volumes}


def _run_trial(known: Surrogate, trial: Trial) -> Trial:
    scores, seconds = known.told(trial.params)
    measures = {OBJECTIVE: float(seconds.mean())}
    return replace(trial, state="complete", scores=tuple(map(float, scores)), measures=measures)


def _scale_gains(known: Surrogate, gains: np.ndarray) -> np.ndarray:
    """The score's gain and minus the logarithm of seconds: 0 at the median of what was collected, 1 at its best."""
    scores, seconds = (part.mean(axis=1) for part in known.all(known.places))
    there = np.column_stack([[known.metric.gain(score) for score in scores], -np.log(seconds)])
    here = np.column_stack([gains[:, 0], -np.log(-gains[:, 1])])
    usual, best = np.median(there, axis=0), there.max(axis=0)
    return (here - usual) / np.maximum(best - usual, 1e-12)


def compute_volume(gains: np.ndarray) -> float:
    """What two gains each dominate together above 0: steps of the front, from the best first gain down."""
    inside = gains[(gains > 0).all(axis=1)]
    ahead = inside[mark_front(inside)] if len(inside) else inside
    ahead = ahead[np.argsort(-ahead[:, 0])]
    return float(np.sum(ahead[:, 0] * np.diff(ahead[:, 1], prepend=0.0)))


def _print_volumes(found: pd.DataFrame, at: Sequence[int]) -> None:
    """The share of the best volume that is left to gain, on average, and mean ranks after the last count."""
    last = [str(n) for n in at]
    whole = found.groupby("problem")[last].transform("max").max(axis=1)
    left = found.assign(**{n: 1 - found[n] / whole for n in last})
    mean = left.groupby(["strategy", "problem"])[last].mean()
    ranks = mean[last[-1]].unstack("strategy").rank(axis=1).mean()
    shown = mean.groupby("strategy").mean().sort_values(last[-1])
    head = ("strategy", *(f"left after {n}" for n in last), "mean rank", "proposing, ms a trial")
    asking = 1000 * found.groupby("strategy")["asking"].mean()
    rows = [
        (n, *(f"{v:.3f}" for v in row), f"{ranks[n]:.1f}", f"{asking[n]:.0f}")
        for n, row in zip(shown.index, shown.to_numpy(), strict=True)
    ]
    seeds, problems = found["seed"].nunique(), found["problem"].nunique()
    print_table(f"Score and seconds of training: {problems} problems, {seeds} seeds", head, rows)


if __name__ == "__main__":
    main()
