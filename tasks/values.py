"""What the stages of a training hand on, each value frozen: a loaded table, a sealed table, a plan, its studies.

Each is the one before it and what its stage found out, so the type of a parameter says from which stage on a function
can be called: what takes a `RunPlan` can be given `Studies` too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from models.config import Run
from models.data.table import Table
from models.metrics.metric import Metric
from models.outcome import Unit
from models.splitting.budget import SearchScope
from models.splitting.division import Division
from models.splitting.split import Fold
from models.studies.warm_start import WarmStart
from models.tuning.goal import Goal
from models.tuning.trial import Trial
from tasks.context import RunContext
from tasks.execution.job import FitContext, FitJob

Trials = Mapping[tuple[str, str], Sequence[Trial]]
"""(family, fold) -> the trials of that study, in order."""

TrialsOfFold = Mapping[str, Sequence[Trial]]
"""Family -> its trials in one fold."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedTable:
    """A table that was read and checked, and what models of it are judged by."""

    context: RunContext
    table: Table
    metric: Metric
    goal: Goal
    """The metric and what else counts: objectives, limits."""

    @property
    def run(self) -> Run:
        """The settings."""
        return self.context.run


@dataclass(frozen=True, eq=False, kw_only=True)
class SealedTable(LoadedTable):
    """A loaded table whose rows are divided into work rows and sealed rows."""

    division: Division
    work_rows: Table
    sealed_rows: Table | None
    """None where no row is sealed."""
    keys: np.ndarray
    """What a bootstrap of the work rows draws: one key for each of them."""
    sealed_keys: np.ndarray
    """The same of the sealed rows; empty where there are none."""
    seal_id: str | None
    """What openings of the seal are counted under."""

    def find_unit(self, keys: np.ndarray) -> Unit:
        """What a bootstrap draws by these keys."""
        if self.work_rows.group is not None:
            return "group"
        if self.work_rows.time is not None:
            return "block"
        return "point" if len(np.unique(keys)) < len(keys) else "row"

    @property
    def joins_sealed(self) -> bool:
        """Whether the fixed configuration is fitted once more, with the sealed rows."""
        rows = self.run.final.rows
        wanted = rows == "all" or (rows == "auto" and self.run.split.time is not None)
        return wanted and self.sealed_rows is not None


@dataclass(frozen=True, eq=False, kw_only=True)
class RunPlan(SealedTable):
    """A sealed table and how it is trained on: which families, in which folds, from which configurations on."""

    scope: SearchScope
    """How many folds, which families, and how many configurations the time is enough for."""
    folds: Mapping[str, Fold]
    """By name: "1", "2", ..., and "all" for the search on all work rows."""
    fit_context: FitContext
    """What every fit is told."""
    default_seconds: Mapping[str, float] = field(default_factory=dict)
    """Family -> core-seconds of its default on one inner fold, foretold or measured; empty without a budget."""
    model_mb: Mapping[str, float] = field(default_factory=dict)
    """Family -> megabytes of that model, until a trial tells it."""
    warm_start: WarmStart | None = None
    """What an earlier run hands over."""
    guesses: dict[str, float] = field(default_factory=dict, repr=False)
    """Fold -> mean inner score of the best constant prediction: filled as it is asked for, the same for whoever
    asks."""

    def make_job(self, family_name: str, fold: str, trial: int, config: Any, **options: Any) -> FitJob:
        """A fit of this plan."""
        folder = str(self.context.folder.path)
        return FitJob(folder, self.fit_context.plan, family_name, fold, trial, dict(config), **options)


@dataclass(frozen=True, eq=False, kw_only=True)
class Studies(RunPlan):
    """A plan and the trials of its studies so far; once tuning is over, all of them."""

    trials: Trials
    broken: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(family, fold) -> why that study ended with an error."""

    def list_family_trials(self, family_name: str) -> Mapping[str, Sequence[Trial]]:
        """The family's trials by fold."""
        return {fold: trials for (name, fold), trials in self.trials.items() if name == family_name}

    def list_trials(self, fold: str) -> TrialsOfFold:
        """The fold's trials by family, in the order of the plan, which decides what is equal, and not who was
        first."""
        return list_trials_of_fold(self, self.trials, fold)


def list_trials_of_fold(plan: RunPlan, trials: Trials, fold: str) -> TrialsOfFold:
    """The fold's trials by family, in the plan's order; families whose study has not begun are left out."""
    studies = {name: trials.get((name, fold)) for name in plan.scope.families}
    return {name: tuple(study) for name, study in studies.items() if study is not None}


Stage = TypeVar("Stage", bound=LoadedTable)


def advance(kind: type[Stage], value: LoadedTable, **changes: Any) -> Stage:
    """The next stage's value: the one before, and what that stage found out. TypeError where a field is missing."""
    values = {field.name: getattr(value, field.name) for field in fields(kind) if hasattr(value, field.name)}
    return kind(**{**values, **changes})
