"""What it saves to do things once for an inner training part and not once for each fit:
`python -m benchmarks.caching TABLE:TARGET ... [--configurations 12] [--families a,b]`.

Every family fits its default and random configurations on one inner fold in three ways: each fit prepares the columns
(`nothing`); the columns are prepared once (`columns`); the training part and the binned datasets made of it are kept
too, as a worker does (`all`). The three take turns, so that the machine is as busy for one as for the others, and
processor time is counted: compare ratios."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from threadpoolctl import threadpool_limits

from benchmarks.stamp import print_table
from models.config import Run
from models.data.hashes import derive_seed
from models.families import load_families
from models.fitting.family import Family
from models.fitting.fit import suggest_configuration
from models.splitting.budget import suggest_fold_counts
from models.splitting.split import build_folds, make_split_plan
from tasks.data import read_table
from tasks.execution import worker
from tasks.execution.cache import TrainingCache
from tasks.execution.job import FitContext, FitJob
from tasks.planning.checks import check_form
from tasks.run.folder import Workdir

WAYS = ("nothing", "columns", "all")
WARM = "warm"
"""A first fit that is not counted: it pays for what libraries load late."""
HEAD = (
    "table", "family", "fits", "fits per core-second: nothing kept", "columns kept", "all kept",
    "columns against nothing", "all against columns",
)  # fmt: skip


def main() -> None:
    """Prints one table; each row is also told on standard error as soon as it is there."""
    asked = _parse_arguments()
    worker.peak.watch(0, os.getpid())
    threadpool_limits(1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for number, place in enumerate(asked.tables):  # a folder each: what is read of one is kept by its path
            for row in _measure_table(place, asked, Path(folder) / str(number)):
                rows.append(row)
                print(" | ".join(row), file=sys.stderr, flush=True)
    print_table(f"Kept between fits, {asked.configurations} configurations on one inner fold", HEAD, rows)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", help="files with their targets: FILE:TARGET")
    parser.add_argument("--configurations", type=int, default=12)
    parser.add_argument("--families", default=",".join(n for n, f in load_families().items() if f.available and f.safe))
    parser.add_argument("--longest", type=float, default=60.0, help="core-seconds of one way, after which it ends")
    return parser.parse_args()


def _measure_table(place: str, asked: argparse.Namespace, folder: Path) -> Iterator[tuple[str, ...]]:
    file, _, target = place.rpartition(":")
    run = Run(data=str(Path(file).resolve()), target=target)
    table = check_form(read_table(run), run)
    plan, _ = make_split_plan(table, run)
    outer, inner = suggest_fold_counts(table.rows, run.split)
    folds = {f.name: f for f in build_folds(plan, np.arange(table.rows), outer, inner, with_all=False)}
    brief = FitContext(f"{outer}x{inner}", table.task, table.classes, None, table.kinds, folds, threads=1, seed=0)
    for name in asked.families.split(","):
        known = load_families()[name]
        shape = brief.make_shape(len(folds["1"].inner[0][0]), table.features.shape[1])
        if not known.unsuited(shape) and table.task in known.tasks:
            for way in (*WAYS, WARM):
                _lay_out_run(Workdir(folder / way), table, brief)
            yield (Path(file).stem, name, *_compare_ways(known, shape, brief, asked, folder))


def _lay_out_run(workdir: Workdir, table: Any, brief: FitContext) -> None:
    """A run's folder as workers find it, with nothing prepared or fitted."""
    shutil.rmtree(workdir.path, ignore_errors=True)
    workdir.write_frame("work", table.features)
    workdir.write_array("target", table.target)
    if table.weight is not None:
        workdir.write_array("weight", table.weight)
    workdir.write_pickle(f"briefs/{brief.plan}", brief)


def _compare_ways(
    known: Family, shape: Any, brief: FitContext, asked: argparse.Namespace, folder: Path
) -> tuple[str, ...]:
    kept = {way: TrainingCache() for way in (*WAYS, WARM)}
    kept["all"].room = 1e9
    configs = list(_draw_configurations(known, shape, asked.configurations if known.tunable else 1))
    _score_fit(known, brief, configs[0], 0, folder / WARM, kept[WARM])
    spent = dict.fromkeys(WAYS, 0.0)
    count = 0
    for number, config in enumerate(configs, 1):
        scores = set()
        for way in WAYS:
            if way == "nothing":
                shutil.rmtree(folder / way / "columns", ignore_errors=True)
            began = time.process_time()
            scores.add(_score_fit(known, brief, config, number, folder / way, kept[way]))
            spent[way] += time.process_time() - began
        assert len(scores) == 1, f"{known.name}: what is kept changed a score: {scores}"
        count += 1
        if min(spent.values()) > asked.longest:
            break
    speed = {way: count / seconds for way, seconds in spent.items()}
    ratios = speed["columns"] / speed["nothing"], speed["all"] / speed["columns"]
    return (str(count), *(f"{speed[way]:.3g}" for way in WAYS), *(f"{ratio:.2f}" for ratio in ratios))


def _score_fit(
    known: Family, brief: FitContext, config: dict[str, Any], number: int, folder: Path, kept: TrainingCache
) -> Any:
    """The score of one fit, as a worker makes it that keeps these parts."""
    worker.parts = kept
    return worker.run_fit(FitJob(str(folder), brief.plan, known.name, "1", number, config, inner=0)).score


def _draw_configurations(known: Family, shape: Any, count: int) -> Iterator[dict[str, Any]]:
    """The default and random ones, the same in every run."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=derive_seed("caching", known.name)))
    study.enqueue_trial(dict(known.default))
    for _ in range(count):
        yield suggest_configuration(known, study.ask(), shape)


if __name__ == "__main__":
    main()
