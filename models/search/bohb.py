"""BOHB: like Hyperband it gives many configurations a part of a fit and the best ones more, but proposes new ones by a
Parzen estimator, where good ones are dense, instead of by chance.

The estimator learns from one share alone, the largest that enough configurations were given: scores of different
shares don't compare. A third of the configurations is drawn at random all the same."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, create_trial

from models.tuning.goal import Goal
from models.tuning.ladders import climb_ladders, find_richest_rung
from models.tuning.optuna_trials import to_optuna
from models.tuning.parzen import make_parzen_sampler
from models.tuning.space import list_distributions
from models.tuning.strategy import Strategy, View
from models.tuning.trial import Trial

_AT_RANDOM = 1 / 3
_MORE = 3
"""Trials beyond the number of hyperparameters from which on the estimator is asked (Falkner et al.: d + 1 for each of
its two densities' least, and 2 more)."""


class _OneShareSampler(BaseSampler):
    """A Parzen estimator over the trials of one share, which stand in a study of their own."""

    def __init__(self, view: View):
        trials = find_richest_rung(view, len(list_distributions(view.family, view.shape)) + _MORE)
        self._study = optuna.create_study(direction="maximize")
        self._study.add_trials([_to_whole_trial(view, trial) for trial in trials])
        self._estimator = make_parzen_sampler(view, startup=1, liar=False)
        self._random, self._draw = RandomSampler(seed=view.seed), np.random.default_rng(view.seed)
        self._known = bool(trials)
        self._now: Any = self._random

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        # Asked once for each configuration, before anything else of it is.
        self._now = self._estimator if self._known and self._draw.random() >= _AT_RANDOM else self._random
        return self._now.infer_relative_search_space(self._study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._raise_error_if_multi_objective(study)
        return self._now.sample_relative(self._study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        self._raise_error_if_multi_objective(study)
        return self._now.sample_independent(self._study, trial, param_name, param_distribution)


def _to_whole_trial(view: View, trial: Trial) -> FrozenTrial:
    """A part of a trial as if it were the whole, as all are; a whole one as it ended: where it was stopped after some
    inner folds, its scores are those of no others."""
    goal = view.goal or Goal(view.metric)
    if trial.share == 1:
        return to_optuna(trial, goal)
    assert trial.score is not None
    return create_trial(
        value=view.metric.gain(trial.score), params=dict(trial.params), distributions=dict(trial.distributions),
        constraints=goal.constraints(trial) or None,
    )  # fmt: skip


STRATEGY = Strategy(
    name="bohb",
    suits="slow families and large tables, from some tens of trials on",
    cost="milliseconds a trial; pays from about thirty trials' worth",
    sampler=_OneShareSampler,
    plan=partial(climb_ladders, several=True),
    source="Falkner, Klein & Hutter 2018, ICML (PMLR 80), with Optuna's multivariate TPESampler as the estimator",
)
