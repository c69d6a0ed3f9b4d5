"""The learning-rate schedules that population-based training finds, against the best constant learning rate:
`python -m benchmarks.pbt CATALOG --only phoneme,abalone [--families lightgbm,mlp] [--generations 10] [--seeds 3]
[--constants 8] [--rows 3000] [--workers 2] [--figures FOLDER]`.

Everything but the learning rate stays at the family's default. The constants lie evenly (by logarithm) over its range
and are trained in as many steps of as many rounds as the population's members; of either the best generation is taken
by the mean score of four inner folds, refitted on the outer fold's training part and judged once on the rows of that
fold. A seed is an outer fold with its own draws. So the constants have `--constants` trainings to choose from, the
population four."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.lay_out import lay_out
from benchmarks.search.problem import INNER, PLAN, Problem, prepare_process
from benchmarks.stamp import print_table
from benchmarks.tables import list_tables
from models.analysis import plots
from models.families import load_family
from models.fitting.family import Family
from models.fitting.schedule import count_rounds, extend_schedule
from models.studies.study import Study
from models.tuning.goal import find_best_trial
from models.tuning.space import apply_ranges, list_distributions, to_value
from models.tuning.strategy import BATCH
from models.tuning.trial import Trial
from tasks.execution import worker
from tasks.execution.job import FitJob, FitResult

HEAD = ("table", "metric", "family", "seed", "rounds", "default", "best constant", "its rate", "pbt", "pbt's schedule")
_SEARCHED = "learning_rate"


@dataclass(frozen=True, eq=False)
class FoldRuns:
    """Fits of one family on one outer fold, in worker processes."""

    problem: Problem
    fold: str
    pool: ProcessPoolExecutor

    def judged(self, batch: Sequence[Trial]) -> list[Trial]:
        """The trials with their scores on all inner folds."""
        waiting = [[self.pool.submit(worker.run_fit, self._job(t, j)) for j in range(INNER)] for t in batch]
        return [_add_fits(trial, [f.result() for f in futures]) for trial, futures in zip(batch, waiting, strict=True)]

    def outer(self, trial: Trial) -> float:
        """The score of its configuration, refitted on the fold's training part, on the fold's rows."""
        found = self.pool.submit(
            worker.run_fit, replace(self._job(trial, 0), inner=None, config=trial.refit_config)
        ).result()
        assert found.score is not None, "every outer fold has rows to judge"
        return found.score

    def _job(self, trial: Trial, inner: int) -> FitJob:
        goes_on = trial.parent if trial.goes_on else None
        name, folder = self.problem.family.name, str(self.problem.folder)
        return FitJob(folder, PLAN, name, self.fold, trial.number, dict(trial.config), inner, goes_on=goes_on)


def _add_fits(trial: Trial, fits: Sequence[FitResult]) -> Trial:
    counts = tuple(f.rounds for f in fits if f.rounds is not None)
    return replace(trial, scores=tuple(float(f.score or 0.0) for f in fits), rounds=counts)


def main() -> None:
    """Prints one table; its rows are also told on standard error as soon as they are there."""
    asked = _parse_arguments()
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="nestor-") as folder,
        ProcessPoolExecutor(asked.workers, get_context("spawn"), prepare_process, (os.getpid(),)) as pool,
    ):
        for file, target, options in list_tables(asked.catalog.resolve(), asked.only.split(",")):
            place = lay_out(file, target, _parse_split(options), asked.rows, Path(folder))
            for name in asked.families.split(","):
                for row in _make_rows(Problem(place.name, load_family(name), place), asked, pool):
                    rows.append(row)
                    print(" | ".join(row), file=sys.stderr, flush=True)
    title = f"Schedules of the learning rate, {asked.generations} steps, {asked.constants} constants"
    print_table(title, HEAD, rows)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalog", type=Path, help="a folder, or a csv file that lists tables")
    parser.add_argument("--only", default="phoneme,abalone", help="names of tables")
    parser.add_argument("--families", default="lightgbm,mlp")
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 6))
    parser.add_argument("--constants", type=int, default=8)
    parser.add_argument("--rows", type=int, default=3000, help="drawn from larger tables")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--figures", type=Path, help="a folder for a picture of each")
    return parser.parse_args()


def _parse_split(options: list[str]) -> dict[str, str]:
    """`--group mouse` as the settings of a split."""
    words = shlex.split(" ".join(options))
    return {flag.removeprefix("--"): value for flag, value in zip(words[::2], words[1::2], strict=True)}


def _make_rows(problem: Problem, asked: argparse.Namespace, pool: ProcessPoolExecutor) -> Iterator[tuple[str, ...]]:
    """A row for each seed, and the mean of them."""
    found = []
    for seed in range(asked.seeds):
        runs = FoldRuns(problem, str(seed + 1), pool)
        population = _run_population(runs, seed, 1 + BATCH * asked.generations)
        constants = _train_constants(runs, population, asked.constants)
        best = [find_best_trial(trials, problem.metric) for trials in (population[:1], constants, population[1:])]
        default, constant, pbt = (b for b in best if b is not None)
        outer = [runs.outer(trial) for trial in (default, constant, pbt)]
        found.append(outer)
        if asked.figures:
            _draw_schedules(asked.figures, f"{problem.name}-{seed}", population, pbt, constant)
        rate = f"{constant.config['steps'][0][1][_SEARCHED]:.3g}, {count_rounds(constant.config)} rounds"
        yield _make_row(
            problem,
            str(seed),
            str(max(count_rounds(t.config) for t in population)),
            outer,
            rate,
            _format_schedule(pbt.config),
        )
    yield _make_row(problem, "mean", "", [float(mean) for mean in np.mean(found, axis=0)], "", "")


def _make_row(
    problem: Problem, seed: str, most: str, outer: Sequence[float], rate: str, schedule: str
) -> tuple[str, ...]:
    default, constant, pbt = (f"{score:.4f}" for score in outer)
    return (problem.table, problem.metric.name, problem.family.name, seed, most, default, constant, rate, pbt, schedule)


def _run_population(runs: FoldRuns, seed: int, trials: int) -> list[Trial]:
    """The trials of a search by population-based training, the default first."""
    problem = runs.problem
    view = replace(problem.view(seed, trials), family=_hold_others(problem))
    study = Study(view, runs.fold, "pbt")
    while len(study.told) < trials and (asked := study.ask(trials - len(study.told))):
        study.tell(runs.judged(asked))
    return study.told


def _hold_others(problem: Problem) -> Family:
    """The family with every hyperparameter but the learning rate held at its default."""
    default = problem.family.default
    held = {n: default[n] for n in list_distributions(problem.family, problem.shape) if n != _SEARCHED}
    return apply_ranges(problem.family, held, problem.shape)


def _train_constants(runs: FoldRuns, population: Sequence[Trial], count: int) -> list[Trial]:
    """As many steps of as many rounds as the population had, at so many constant learning rates; the trials of all
    steps."""
    problem, first = runs.problem, population[1]
    step, steps = first.config["steps"][0][0], (len(population) - 1) // BATCH
    whole = list_distributions(problem.family, problem.shape)[_SEARCHED]
    rates = [to_value(whole, place) for place in np.linspace(0, 1, count)]
    base = {name: value for name, value in first.config.items() if name != "steps"}
    found, last = [], {}
    for generation in range(steps):
        number = len(population) + generation * count
        batch = [_make_step(problem, base, rate, step, number + i, last.get(i)) for i, rate in enumerate(rates)]
        last = dict(enumerate(runs.judged(batch)))
        found += last.values()
    return found


def _make_step(
    problem: Problem, base: Mapping[str, Any], rate: float, step: int, number: int, before: Trial | None
) -> Trial:
    config = extend_schedule(problem.family, {**base, _SEARCHED: rate}, step, before.config if before else None)
    return Trial(number, {}, config, parent=before.number if before else None, goes_on=before is not None)


def _format_schedule(config: Mapping[str, Any]) -> str:
    """Each step's learning rate."""
    return " ".join(f"{settings[_SEARCHED]:.3g}" for _, settings in config["steps"])


def _draw_schedules(folder: Path, name: str, population: Sequence[Trial], pbt: Trial, constant: Trial) -> None:
    """The picture of one search: all members thin, the chosen one thick, the best constant dashed."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [t.config["steps"] for t in population[1:]]
    with plots.apply_style():
        drawn = plots.plot_schedules(_SEARCHED, lines, [pbt.config["steps"]], [constant.config["steps"]])
        drawn.savefig(folder / f"{name}.svg")


if __name__ == "__main__":
    main()
