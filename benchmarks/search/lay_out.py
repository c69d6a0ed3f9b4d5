"""Tables divided as a run divides them, in folders as workers find them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.problem import INNER, OUTER, PLAN
from models.columns import count_many_levels
from models.config import Run
from models.splitting.split import build_folds, make_split_plan
from tasks.data import read_table
from tasks.execution.job import FitContext, add_folds
from tasks.planning.checks import check_form
from tasks.run.folder import Workdir


def lay_out(file: Path, target: str, options: Mapping[str, Any], rows: int, folder: Path) -> Path:
    """The folder of a table of which at most so many rows, drawn at random, are divided as a run does; made once."""
    workdir = Workdir(folder / file.stem)
    if workdir.has(f"briefs/{PLAN}.pkl"):
        return workdir.path
    run = Run(data=str(file), target=target, split=options)  # type: ignore[arg-type]
    table = check_form(read_table(run), run)
    if table.rows > rows:
        table = check_form(table.take(np.sort(np.random.default_rng(0).permutation(table.rows)[:rows])), run)
    plan, _ = make_split_plan(table, run)
    folds = {f.name: f for f in build_folds(plan, np.arange(table.rows), OUTER, INNER, with_all=False)}
    brief = FitContext(
        PLAN, table.task, table.classes, None, table.kinds, {}, threads=1, seed=0, orders=table.orders,
        group=table.group, many=count_many_levels(table.features, table.kinds),
    )  # fmt: skip
    brief = add_folds(brief, PLAN, folds, table)
    workdir.write_frame("work", table.features)
    workdir.write_array("target", table.target)
    workdir.write_pickle(f"briefs/{PLAN}", brief)
    return workdir.path
