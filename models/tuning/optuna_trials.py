"""Trials as Optuna stores them, and back."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState, create_trial

from models.metrics.metric import Metric
from models.tuning.goal import Goal
from models.tuning.trial import Trial

_KEPT = ("number", "config", "state", "scores", "rounds", "seconds", "peak_mb", "reason", "start", "end", "share",
         "parent", "goes_on", "gradient", "measures", "marks")  # fmt: skip
"""Fields of a trial that Optuna has no place for; its params and distributions have one."""


def to_optuna(trial: Trial, goal: Goal | Metric) -> optuna.trial.FrozenTrial:
    """The trial as Optuna stores it: objectives as values, limits as constraints; everything that `thawed` needs is in
    its user attributes."""
    goal = Goal(goal) if isinstance(goal, Metric) else goal
    whole = bool(goal.complete([trial]))
    ended = TrialState.PRUNED if trial.state == "pruned" else TrialState.FAIL
    state = TrialState.COMPLETE if whole else ended
    return create_trial(
        state=state,
        values=goal.gains(trial) if whole else None,
        params=dict(trial.params),
        distributions=dict(trial.distributions),
        intermediate_values={}
        if state == TrialState.FAIL or goal.several
        else _to_intermediate_values(trial, goal.metric),
        user_attrs={f"nestor.{name}": getattr(trial, name) for name in _KEPT},
        system_attrs=dict(trial.marks),
        constraints=goal.constraints(trial) or None,
    )


def _to_intermediate_values(trial: Trial, metric: Metric) -> dict[int, float]:
    """The score of each inner fold, by its place; of a part of a fit its mean, by the share in thousandths. A study of
    several objectives has none: which of two configurations is ahead is not to be said."""
    if trial.share < 1 and trial.scores:
        return {round(1000 * trial.share): metric.gain(sum(trial.scores) / len(trial.scores))}
    return {i: metric.gain(s) for i, s in enumerate(trial.scores)}


def from_optuna(stored: optuna.trial.FrozenTrial) -> Trial:
    """The trial that `frozen` stored."""
    fields = {name: stored.user_attrs[f"nestor.{name}"] for name in _KEPT}
    fields |= {name: tuple(fields[name]) for name in ("scores", "rounds")}
    return Trial(params=stored.params, distributions=stored.distributions, **fields)
