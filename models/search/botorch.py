"""Bayesian optimization by the library BoTorch: a Gaussian process models the scores so far, and the next configuration
is where it expects the largest gain. That is log expected improvement, and for several objectives the noisy expected
gain of hypervolume."""
# pyright: reportMissingImports=false

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from models.tuning.strategy import Strategy, View

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

_alone = threading.Lock()
"""BoTorch draws from torch's one generator, which is seeded for each proposal: studies take turns."""


def _make_sampler(view: View) -> BaseSampler:
    from optuna.exceptions import ExperimentalWarning
    from optuna_integration.botorch import BoTorchSampler, qlogei_candidates_func, qnehvi_candidates_func

    class InTurn(BoTorchSampler):
        """BoTorchSampler, one proposal at a time and on one thread: over matrices this small more only wait."""

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            with _alone, threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return super().sample_relative(study, trial, search_space)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return InTurn(
            candidates_func=qnehvi_candidates_func if len(view.directions) > 1 else qlogei_candidates_func,
            n_startup_trials=5,
            consider_running_trials=True,
            seed=view.seed,
        )


STRATEGY = Strategy(
    name="botorch",
    suits="as gp, by the library that research on Bayesian optimization uses; several objectives with noise",
    cost="a second or two a trial; with one objective no better than random search where it was measured",
    sampler=_make_sampler,
    several=True,
    stopped=False,
    package="botorch",
    extra="bayes",
    source="Balandat et al. 2020, arXiv:1910.06403; several objectives: qNEHVI, Daulton et al. 2021, arXiv:2105.08195; "
    "optuna-integration's BoTorchSampler",
)
