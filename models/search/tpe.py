"""Tree-structured Parzen estimators: propose where good configurations are dense and bad ones are not.

Multivariate: how hyperparameters go together counts. Grouped: those that only some choices bring too."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler

from models.search import Strategy, View


def _sampler(view: View) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=view.seed, n_startup_trials=9, multivariate=True, group=True)


STRATEGY = Strategy(
    name="tpe",
    suits="numbers, choices and conditions alike; good from about ten configurations on",
    cost="milliseconds a trial; pays from about ten trials",
    sampler=_sampler,
    several=True,
    source="Bergstra et al. 2011, NeurIPS; Watanabe 2023, arXiv:2304.11127; several objectives: MOTPE, Ozaki et al. "
    "2022, JAIR 73:1209; Optuna's TPESampler",
)
