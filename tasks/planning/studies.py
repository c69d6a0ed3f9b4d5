"""The studies of a run before their first trial: what each may know, and the fit that all begin with."""

from __future__ import annotations

from dataclasses import replace

import optuna

from models.config import Run
from models.families import load_family
from models.fitting.family import Shape
from models.splitting.split import Fold
from models.studies.study import Study
from models.tuning.space import make_view
from models.tuning.strategy import View
from tasks.execution.job import FitContext, FitJob
from tasks.values import RunPlan

# A study is made for each batch: Optuna would tell of every one.
optuna.logging.set_verbosity(optuna.logging.ERROR)


def make_fold_view(family_name: str, fold: Fold, brief: FitContext, columns: int, run: Run) -> View:
    """What a search knows of a family in a fold of a table with so many columns."""
    view = make_view(load_family(family_name), _make_shape(fold, brief, columns), brief.scorer, run)
    return replace(view, inner=len(fold.inner))


def make_study(plan: RunPlan, family_name: str, fold: str) -> Study:
    """The study of a family on a fold, before its first trial."""
    initial = plan.warm_start.configurations.get(family_name, ()) if plan.warm_start else ()
    view = make_fold_view(family_name, plan.folds[fold], plan.fit_context, plan.work_rows.features.shape[1], plan.run)
    view = replace(view, affords=plan.scope.configurations.get(family_name))
    return Study(view, fold, plan.run.search.strategy, initial)


def make_default_job(plan: RunPlan, family_name: str, fold: str) -> FitJob:
    """Trial 0 on the first inner fold: the very fit that the study will ask for."""
    trial = make_study(plan, family_name, fold).ask()[0]
    gradient = trial.gradient is not None
    return plan.make_job(family_name, fold, 0, trial.config, inner=0, gradient=gradient)


def make_fold_shape(plan: RunPlan, fold: str) -> Shape:
    """What a search space may depend on in this fold."""
    return _make_shape(plan.folds[fold], plan.fit_context, plan.work_rows.features.shape[1])


def _make_shape(fold: Fold, brief: FitContext, columns: int) -> Shape:
    return brief.make_shape(len(fold.inner[0][0]), columns, fold.identify_part(None))
