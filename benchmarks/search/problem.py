"""A problem: one family on the inner folds of one table's first outer fold, as a run has them."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from models.config import Run
from models.families import load_family
from models.fitting.family import Family, Shape
from models.metrics.metric import Metric
from models.tuning.space import make_view
from models.tuning.strategy import View
from tasks.execution import worker
from tasks.execution.worker import FitContext, FitJob
from tasks.run.folder import Workdir

OUTER, INNER, FOLD = 5, 4, "1"
PLAN = f"{OUTER}x{INNER}"
FAMILIES = "lightgbm,linear,mlp"
_PREPARED = 0.005
"""Seconds of preparing from which a fit is made again, so that what is counted is the fit."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A family on a table that is laid out in a folder."""

    table: str
    family: Family
    folder: Path
    """Where the table lies as workers find it."""

    @property
    def name(self) -> str:
        """Such as `lightgbm-car`."""
        return f"{self.family.name}-{self.table}"

    @cached_property
    def brief(self) -> FitContext:
        """What every fit of it shares."""
        return Workdir(self.folder).read_pickle(f"briefs/{PLAN}")

    @cached_property
    def shape(self) -> Shape:
        """What the search space depends on, as in a run."""
        features = Workdir(self.folder).read_frame("work")
        return self.brief.make_shape(len(self.brief.folds[FOLD].inner[0][0]), features.shape[1], (FOLD, "refit"))

    @property
    def metric(self) -> Metric:
        """What it is judged by."""
        return self.brief.scorer

    def view(self, seed: int, trials: int) -> View:
        """What a search of so many trials may know before the first one."""
        run = Run(data="", seed=seed, search={"trials": trials})  # type: ignore[arg-type]
        return make_view(self.family, self.shape, self.metric, run)

    def fitted(self, config: Mapping[str, Any], inner: int, share: float = 1.0) -> tuple[float | None, float]:
        """The score of one fit on an inner fold, None where it failed, and its seconds of processor time."""
        job = FitJob(str(self.folder), PLAN, self.family.name, FOLD, os.getpid(), dict(config), inner, share)
        try:
            done, seconds = _run_fit(job)
            if done.preparing > _PREPARED:
                done, seconds = _run_fit(job)
        except Exception as error:  # a failed configuration is a result
            warnings.warn(f"{self.name}: {error!r}", stacklevel=2)
            return None, 0.0
        return (done.score if done.score is not None and np.isfinite(done.score) else None), seconds


def _run_fit(job: FitJob) -> tuple[worker.FitResult, float]:
    """The fit and its processor seconds; nothing of it stays on disk but the prepared columns."""
    began = time.process_time()
    try:
        return worker.run_fit(job), time.process_time() - began
    finally:
        shutil.rmtree(Path(job.workdir, job.file).parent, ignore_errors=True)


def prepare_process(driver: int) -> None:
    """Prepares this process for fits: one core, columns kept in memory, an end when the driving process ends."""
    threadpool_limits(1)
    warnings.simplefilter("ignore")
    worker.peak.watch(0, driver)
    worker.parts.room = 1e9


def list_problems(folder: Path, families: list[str], only: list[str] | None = None) -> Iterator[Problem]:
    """Each of these families on each table that is laid out in the folder, or on those of these names."""
    for place in sorted(p for p in folder.iterdir() if not only or p.name in only):
        for name in families:
            yield Problem(place.name, load_family(name), place)
