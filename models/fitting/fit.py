"""A family fitted with a configuration: on the columns that it selects, the target as it asks for it, and along its
schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sklearn.pipeline import Pipeline

from models.fitting.family import Family, FittedModel, Shape, TrainingData
from models.fitting.log_target import aim_validation_targets, restore_target, transform_target
from models.fitting.ranges import BoundedTrial
from models.fitting.schedule import Checkpoint, fit_along_schedule
from models.fitting.selection import MANY, SHARES, select_columns

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def suggest_configuration(family: Family, trial: BaseTrial, shape: Shape) -> dict[str, Any]:
    """The configuration that the trial names, what is common to several families included."""
    if family.ranges:
        trial = BoundedTrial(trial, family.ranges)  # type: ignore[assignment]
    config = family.space(trial, shape)
    if family.selects and shape.columns >= MANY:
        config["selected"] = trial.suggest_categorical("selected", SHARES)
    if family.logs and shape.skewed and shape.task == "regression":
        config["log_target"] = trial.suggest_categorical("log_target", [False, True])
    return config


def fit_family(
    family: Family,
    config: Mapping[str, Any],
    part: TrainingData,
    seed: int,
    threads: int,
    begun: Checkpoint | None = None,
) -> FittedModel:
    """The family fitted on the part with a configuration of `suggest_configuration`: on the columns that it selects and
    the target as it asks for it, both of which stay parts of the model. Along its schedule where it has one, from the
    checkpoint `begun` of the same part where that is the schedule's beginning."""
    settings = dict(config)
    share, log = settings.pop("selected", 1.0), settings.pop("log_target", False)
    if log and part.y.min() >= 0:
        transformer, on_logs = transform_target(part)
        result = fit_family(family, {**settings, "selected": share}, on_logs, seed, threads, begun)
        return replace(result, model=restore_target(result.model, transformer, part))
    if share < 1:
        selection, narrow = select_columns(part, share)
        result = fit_family(family, settings, narrow, seed, threads, begun)
        return replace(result, model=Pipeline([("selected", selection), ("model", result.model)]))
    if "steps" in settings:
        return fit_along_schedule(family, settings, part, seed, threads, begun)
    return family.fit(settings, part, seed, threads)


def compute_hypergradient(
    family: Family, config: Mapping[str, Any], part: TrainingData, model: Any, judge: TrainingData, seed: int
) -> dict[str, float]:
    """The family's hypergradient for the model that `fitted` made of this configuration and part; empty where it has
    none, or where it is no finite number."""
    settings = dict(config)
    share, log = settings.pop("selected", 1.0), settings.pop("log_target", False)
    if log and part.y.min() >= 0:
        transformer, on_logs = transform_target(part)
        regressor = model.regressor_.estimator
        rows = aim_validation_targets(judge, transformer, regressor)
        return compute_hypergradient(family, {**settings, "selected": share}, on_logs, regressor, rows, seed)
    if share < 1:
        selection, part = select_columns(part, share)
        model, judge = model["model"], replace(judge, X=selection.transform(judge.X))
    slopes = family.hypergradient(settings, part, model, judge, seed) if family.hypergradient else {}
    return {name: float(slope) for name, slope in slopes.items() if math.isfinite(slope)}
