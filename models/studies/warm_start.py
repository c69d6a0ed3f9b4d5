"""Warm starts: which configurations of an earlier run are tried first, and what that saved.

Only configurations cross over, never scores or anything fitted; the default stays trial 0 and competes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FixedTrial

from models.fitting.family import Family, Shape
from models.fitting.fit import suggest_configuration
from models.metrics.metric import Metric
from models.tuning.goal import Goal, find_best_trial
from models.tuning.trial import Trial

MOST = 3
"""Configurations of a family that are handed over. They share the first batch: one place is left to the sampler."""
NEAR = 0.001
"""Share of the best inner score within which a score counts as the best one: differences that nobody would pay for."""


@dataclass(frozen=True)
class WarmStart:
    """What an earlier run hands over."""

    source: str
    """Its run id."""
    configurations: dict[str, list[dict[str, Any]]]
    """Family -> params to try right after the default."""
    until: dict[str, list[float]]
    """Family -> configurations, and seconds of fitting, until its studies were near their best, on average."""


def explain_misfit(family: Family, shape: Shape, params: Mapping[str, Any]) -> str:
    """Why these params are no configuration of the family for a table of this shape; empty where they are one."""
    trial = FixedTrial(dict(params))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a value out of range is told below
            suggest_configuration(family, trial, shape)
    except ValueError as error:
        return str(error)
    missing = [name for name in params if name not in trial.distributions]
    if missing:
        return f"there is no hyperparameter {missing[0]!r} any more"
    out = [n for n, range_ in trial.distributions.items() if not range_._contains(range_.to_internal_repr(params[n]))]
    return f"{out[0]} = {params[out[0]]} is out of range" if out else ""


def choose_initial_params(
    studies: Mapping[str, Sequence[Trial]],
    metric: Metric,
    default: Mapping[str, Any],
    most: int = MOST,
    goal: Goal | None = None,
) -> tuple[dict[str, Any], ...]:
    """The params of one family's earlier studies, by fold, that are worth trying first: each fold's best, the one that
    beat its fold's default by most first, each once and never the default itself. `goal`: what is best, where that
    is more than the metric."""
    ranked = []
    for fold, trials in studies.items():
        # A schedule's last settings alone are another configuration than the one that was scored.
        best = (goal or Goal(metric)).pick_best([t for t in trials if "steps" not in t.config])
        if best is not None:
            baseline = trials[0].inner
            margin = metric.gain(best.inner or 0.0) - metric.gain(baseline) if baseline is not None else 0.0
            ranked.append((-margin, fold, dict(best.params)))
    configurations: list[dict[str, Any]] = []
    for _, _, params in sorted(ranked, key=lambda r: r[:2]):
        if params not in configurations and not params.items() <= dict(default).items():
            configurations.append(params)
    return tuple(configurations[:most])


def count_until_best(trials: Sequence[Trial], metric: Metric) -> tuple[int, float] | None:
    """How many trials, and seconds of fitting, until a score was within `NEAR` of the best; None without one."""
    best = find_best_trial(trials, metric)
    if best is None or best.inner is None:
        return None
    threshold = metric.gain(best.inner) - NEAR * abs(best.inner)
    seconds = 0.0
    for count, trial in enumerate(trials, 1):
        seconds += trial.seconds
        if trial.inner is not None and metric.gain(trial.inner) >= threshold:
            return count, seconds
    return None
