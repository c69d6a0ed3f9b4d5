"""Optuna's tree-structured Parzen estimator, as the strategies share it that leave proposals to it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from models.tuning.strategy import View

if TYPE_CHECKING:
    from optuna.samplers import TPESampler


def make_parzen_sampler(view: View, startup: int = 9, liar: bool = True) -> TPESampler:
    """A fresh sampler, random until so many trials are told: proposes where good configurations are dense and bad ones
    are not (Bergstra et al. 2011, NeurIPS; Watanabe 2023, arXiv:2304.11127). Multivariate: how hyperparameters go
    together counts. Grouped: those that only some choices bring too. A liar takes what runs beside it for poor."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=view.seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=liar)
