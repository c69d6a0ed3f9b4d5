"""Bayesian optimization with a Gaussian process: a model of the scores so far, which knows where it is unsure, says
where the largest gain is to be expected."""

from __future__ import annotations

from typing import Any

from optuna.samplers import GPSampler
from threadpoolctl import threadpool_limits

from models.tuning.strategy import Strategy, View


class _OneThreadSampler(GPSampler):
    """GPSampler without torch's further threads, which only wait for each other over matrices this small."""

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        with threadpool_limits(1, user_api="openmp"):
            return super().sample_relative(study, trial, search_space)


def _make_sampler(view: View) -> GPSampler:
    return _OneThreadSampler(seed=view.seed, n_startup_trials=5, warn_independent_sampling=False)


STRATEGY = Strategy(
    name="gp",
    suits="costly fits, few trials, and hyperparameters that are mostly numbers; what only some choices bring is drawn",
    cost="0.1 to 2 seconds a trial, most with many choices; pays from about twenty trials on where these take longer",
    sampler=_make_sampler,
    several=True,
    stopped=False,
    package="torch",
    extra="bayes",
    source="Snoek et al. 2012, NeurIPS; log expected improvement: Ament et al. 2023, arXiv:2310.20708; Optuna's "
    "GPSampler",
)
