"""A family fitted with a configuration: on the columns that it selects, the target as it asks for it, and along its
schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sklearn.pipeline import Pipeline

from models.fitting.family import Family, Fitted, Part, Shape
from models.fitting.log_target import aimed, logged, turned_back
from models.fitting.ranges import Bounded
from models.fitting.schedule import Checkpoint, course
from models.fitting.selection import MANY, SHARES, selected

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def proposed(known: Family, trial: BaseTrial, shape: Shape) -> dict[str, Any]:
    """The configuration that the trial names, what is common to several families included."""
    if known.ranges:
        trial = Bounded(trial, known.ranges)  # type: ignore[assignment]
    config = known.space(trial, shape)
    if known.selects and shape.columns >= MANY:
        config["selected"] = trial.suggest_categorical("selected", SHARES)
    if known.logs and shape.skewed and shape.task == "regression":
        config["log_target"] = trial.suggest_categorical("log_target", [False, True])
    return config


def fitted(
    known: Family,
    config: Mapping[str, Any],
    part: Part,
    seed: int,
    threads: int,
    begun: Checkpoint | None = None,
) -> Fitted:
    """The family fitted on the part with a configuration of `proposed`: on the columns that it selects and the target
    as it asks for it, both of which stay parts of the model. Along its schedule where it has one, from the checkpoint
    `begun` of the same part where that is the schedule's beginning."""
    settings = dict(config)
    share, log = settings.pop("selected", 1.0), settings.pop("log_target", False)
    if log and part.y.min() >= 0:
        transformer, on_logs = logged(part)
        made = fitted(known, {**settings, "selected": share}, on_logs, seed, threads, begun)
        return replace(made, model=turned_back(made.model, transformer, part))
    if share < 1:
        selection, narrow = selected(part, share)
        made = fitted(known, settings, narrow, seed, threads, begun)
        return replace(made, model=Pipeline([("selected", selection), ("model", made.model)]))
    if "steps" in settings:
        return course(known, settings, part, seed, threads, begun)
    return known.fit(settings, part, seed, threads)


def hypergradient(
    known: Family, config: Mapping[str, Any], part: Part, model: Any, judge: Part, seed: int
) -> dict[str, float]:
    """The family's hypergradient for the model that `fitted` made of this configuration and part; empty where it has
    none, or where it is no finite number."""
    settings = dict(config)
    share, log = settings.pop("selected", 1.0), settings.pop("log_target", False)
    if log and part.y.min() >= 0:
        transformer, on_logs = logged(part)
        inner = model.regressor_.estimator
        rows = aimed(judge, transformer, inner)
        return hypergradient(known, {**settings, "selected": share}, on_logs, inner, rows, seed)
    if share < 1:
        selection, part = selected(part, share)
        model, judge = model["model"], replace(judge, X=selection.transform(judge.X))
    found = known.hypergradient(settings, part, model, judge, seed) if known.hypergradient else {}
    return {name: float(slope) for name, slope in found.items() if math.isfinite(slope)}
