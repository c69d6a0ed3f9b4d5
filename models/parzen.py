"""Optuna's tree-structured Parzen estimator, as strategies share it that plan some proposals and leave others."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.samplers import TPESampler

    from models.search import View


def parzen(view: View) -> TPESampler:
    """A fresh sampler for the batch; random until ten trials are told (Bergstra et al. 2011, NeurIPS; Watanabe 2023,
    arXiv:2304.11127)."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=view.seed, n_startup_trials=9, multivariate=True, constant_liar=True)
