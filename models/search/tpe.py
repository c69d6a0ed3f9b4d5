"""Tree-structured Parzen estimators: propose where good configurations are dense and bad ones are not."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler

from models.search import Strategy, View


def _sampler(view: View) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=view.seed, n_startup_trials=9, multivariate=True, constant_liar=True)


STRATEGY = Strategy(
    name="tpe",
    suits="the default: good from about ten configurations on, with numbers, choices and conditions",
    cost="milliseconds a trial",
    sampler=_sampler,
    several=True,
    source="Bergstra et al. 2011, NeurIPS; Watanabe 2023, arXiv:2304.11127; Optuna's TPESampler",
)
