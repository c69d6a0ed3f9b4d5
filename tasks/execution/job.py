"""What fits are told, and what comes of them: the values that pass between the driver and its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.columns import count_many_levels
from models.config import Run
from models.data.table import Table, Task
from models.fitting.family import Shape
from models.fitting.log_target import is_skewed
from models.metrics import fairness
from models.metrics.class_weight import ClassWeights, encode_class_weights
from models.metrics.costs import Priced
from models.metrics.metric import Metric, make_metric
from models.splitting.split import Fold, Part
from models.tuning.goal import Goal, make_goal
from tasks.run.folder import Workdir


@dataclass(frozen=True, eq=False)
class FitContext:
    """What every fit of a plan shares; workers read it once from the run's folder."""

    plan: str
    """Such as `5x4`."""
    task: Task
    classes: tuple[Any, ...]
    metric: str | None
    kinds: dict[str, str]
    folds: dict[str, Fold]
    threads: int
    seed: int
    grid: tuple[int, ...] = ()
    monotone: Mapping[str, int] = field(default_factory=dict)
    """Column -> 1 or -1."""
    time: bool = False
    season: str | None = None
    """The column that holds the target one season ago."""
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Ordered category -> its levels, lowest first."""
    many: int = 0
    """Columns of many levels."""
    group: np.ndarray | None = None
    """Each work row's group, in grouped plans."""
    units: np.ndarray | None = None
    """The group, point or block of time that each work row is a part of; None where each is one of its own."""
    past: tuple[str, ...] = ()
    """The columns that hold the target at earlier times, the latest first."""
    costs: Priced = field(default_factory=dict)
    class_weight: ClassWeights = ()
    skewed: frozenset[Part] = frozenset()
    """The parts, as folds identify them, whose own training rows have a target with a long tail."""
    goal: Goal | None = None
    """What is measured beside the metric."""
    subgroups: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Column -> the code of each work row's subgroup, where subgroups are compared."""

    def make_shape(self, rows: int, columns: int, part: Part = ()) -> Shape:
        """What a family may know of so many training rows and columns of a part; () for what holds in all."""
        metric, season = self.scorer, self.season is not None
        return Shape(
            rows, columns, self.task, len(self.classes), metric.loss, metric.level, self.grid, self.time, season,
            bool(self.monotone), part in self.skewed, self.many, len(self.past),
        )  # fmt: skip

    @property
    def scorer(self) -> Metric:
        """The metric as a value."""
        return make_metric(self.metric, self.task, self.classes, self.costs)


def make_fit_context(table: Table, run: Run, whole: Table) -> FitContext:
    """What fits are told of the table of work rows, and families may know of it, before there is a plan. How many
    levels columns have is of the form of the `whole` table, as their kinds are: no row that judges has a say in it."""
    cells = table.rows * table.features.shape[1]
    threads = 1 if cells < 20_000_000 else 2
    subgroups = pd.DataFrame() if table.subgroups is None else table.subgroups
    return FitContext(
        "", table.task, table.classes, run.metric, table.kinds, {}, threads, run.seed, run.places,
        {c: 1 if direction == "rising" else -1 for c, direction in run.monotone.items()}, run.split.time is not None,
        table.season, costs=run.costs, class_weight=encode_class_weights(run.class_weight, table.classes),
        orders=table.orders, many=count_many_levels(whole.features, whole.kinds), past=table.past, group=table.group,
        goal=make_goal(make_metric(run.metric, table.task, table.classes, run.costs), run.search),
        subgroups={str(name): fairness.encode_subgroups(column) for name, column in subgroups.items()},
    )  # fmt: skip


def add_folds(brief: FitContext, plan: str, folds: dict[str, Fold], table: Table) -> FitContext:
    """The brief of a plan with these folds of the table's rows."""
    parts = {
        fold.identify_part(inner): fold.train if inner is None else fold.inner[inner][0]
        for fold in folds.values()
        for inner in (None, *range(len(fold.inner)))
    }
    logs = table.task == "regression" and table.history is None
    skewed = (part for part, rows in parts.items() if logs and is_skewed(table.target[rows]))
    return replace(brief, plan=plan, folds=folds, skewed=frozenset(skewed))


@dataclass(frozen=True)
class FitJob:
    """One fit: a configuration on one inner fold, or (inner None) refitted on the fold's whole training part."""

    workdir: str
    plan: str
    """Names the brief: fits of another plan lie elsewhere."""
    family: str
    fold: str
    trial: int
    config: dict[str, Any]
    inner: int | None = None
    share: float = 1.0
    """Fidelity: the part of its rounds or rows that the fit is given."""
    again: str | None = None
    """Where the result of an earlier fit lies, of the same configuration and rows: if it was whole it stands."""
    partner: bool = False
    """Whether that is another fold's fit of the same share, which has judged this fold's validation rows too."""
    goes_on: int | None = None
    """The trial whose training of the same inner fold this one takes up; None: from nothing."""
    gradient: bool = False
    """Whether the loss on the validation rows is differentiated by the hyperparameters."""
    with_sealed: bool = False
    """Refit on work and sealed rows together (`final.rows: all`)."""

    @property
    def file(self) -> str:
        """Where the result lies, without ending."""
        part = "all_rows" if self.with_sealed else "refit" if self.inner is None else str(self.inner)
        return f"fits/{self.plan}/{self.family}/{self.fold}/{self.trial}/{part}"


@dataclass(frozen=True)
class FitResult:
    """What came of a fit."""

    score: float | None
    """On the validation rows, or on B_k in a refit; None where there are none to judge."""
    rounds: int | None
    seconds: float
    """Of fitting, predicting and scoring."""
    preparing: float
    """Seconds of preparing the columns; near none where another fit has done it."""
    peak_mb: float
    start: float
    end: float
    model_mb: float = 0.0
    """Size of a default configuration's model, or of a refit, with its columns: what registering costs depends on
    it."""
    gradient: dict[str, float] | None = None
    """Derivative of the validation loss by hyperparameter, where it was asked for."""
    measures: dict[str, float] = field(default_factory=dict)
    """What the plan's objectives and limits ask beside the score."""
    whole: bool = False
    """Whether it would be the same with a larger share of its rounds or rows."""
    taken: bool = False
    """Whether an earlier fit stands for it, so that it cost nothing."""
    arrays: int = 0
    """How many arrays that model is made of: what registering costs depends on that even more."""
    for_partner: dict[str, Any] | None = None
    """Score and measures on the validation rows of the fold that shares the fit; None where no fold does, or where it
    must fit anew."""


@cache
def _read_context(path: str, plan: str) -> FitContext:
    return Workdir(Path(path)).read_pickle(f"briefs/{plan}")


@cache
def _read_rows(path: str) -> tuple[Any, np.ndarray, np.ndarray | None]:
    workdir = Workdir(Path(path))
    target = workdir.read_array("target")
    assert target is not None
    return workdir.read_frame("work"), target, workdir.read_array("weight")


def load_fit_inputs(path: str, plan: str) -> tuple[FitContext, Any, np.ndarray, np.ndarray | None]:
    """The plan's brief, work features, target and weight; read once in each process."""
    return _read_context(path, plan), *_read_rows(path)
