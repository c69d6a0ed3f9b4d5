"""Covariance matrix adaptation: configurations are drawn from a normal distribution, which moves, stretches and turns
towards where scores are good. A margin keeps whole numbers and choices from being given up for good."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from models.data.hashes import derive_seed
from models.tuning.space import list_distributions, to_place, to_value
from models.tuning.strategy import BATCH, Strategy, View

if TYPE_CHECKING:
    from cmaes import CatCMAwM

_SIGMA = 0.3
"""Standard deviation at the start, in widths of a range: Hansen 2016, arXiv:1604.00772, section B.2."""

_WHOLE = 64
"""Whole numbers with more values than this are treated as fractions: a margin is for steps that are wide."""

_MARK = "cmaes"


class CmaEsSampler(BaseSampler):
    """CatCMA with margin. Its distribution is made anew from the generations that are told, each as it was drawn: from
    the trials' marks and the order of their scores."""

    def __init__(self, seed: int, study_seed: int, space: Mapping[str, BaseDistribution], start: Mapping[str, Any]):
        """`space` has every hyperparameter, those too that only some choices bring; `start` is the first mean."""
        self._seed, self._study_seed = seed, study_seed
        self._space = {n: d for n, d in space.items() if not d.single()}
        self._start = start
        self._independent = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space, as it was given."""
        return self._space

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """By chance: what the space did not name."""
        self._raise_error_if_multi_objective(study)
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Drawn from the distribution that the told generations leave."""
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        numbers, wholes, choices = _split_space(search_space)
        model = self._adapt(study, search_space)
        model.reseed_rng(derive_seed(self._seed, trial.number))
        sample = model.ask()
        marks = {"generation": model.generation, "v": _to_list(sample._v_raw), "c": _to_list(sample.c)}
        study._storage.set_trial_system_attr(trial._trial_id, _MARK, marks)
        values = {n: to_value(d, float(x)) for (n, d), x in zip(numbers.items(), _or_empty(sample.x), strict=True)}
        values |= {
            n: _list_values(d)[_find_nearest(_list_levels(d), z)]
            for (n, d), z in zip(wholes.items(), _or_empty(sample.z), strict=True)
        }
        return values | {
            n: d.choices[np.argmax(c)] for (n, d), c in zip(choices.items(), _or_empty(sample.c), strict=True)
        }

    def _adapt(self, study: Study, space: Mapping[str, BaseDistribution]) -> CatCMAwM:
        from cmaes import CatCMAwM

        model = self._start_anew(space)
        trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and _MARK in t.system_attrs]
        for generation in itertools.count():
            members = [t for t in trials if t.system_attrs[_MARK]["generation"] == generation][: model.population_size]
            if len(members) < model.population_size:
                return model
            ranked = sorted(members, key=lambda t: _rank_trial(study, t))
            marks = [t.system_attrs[_MARK] for t in ranked]
            solutions = [CatCMAwM.Solution(c=_to_array(m["c"], bool), _v_raw=_to_array(m["v"], float)) for m in marks]
            model.tell([(solution, float(order)) for order, solution in enumerate(solutions)])
        raise AssertionError("unreachable")

    def _start_anew(self, space: Mapping[str, BaseDistribution]) -> CatCMAwM:
        from cmaes import CatCMAwM

        numbers, wholes, choices = _split_space(space)
        axes = {**numbers, **wholes}
        mean = [to_place(d, self._start[n]) if n in self._start else 0.5 for n, d in axes.items()]
        # A whole batch more or less: what is asked beyond a generation's size is fitted for nothing.
        population = BATCH * math.ceil((4 + 3 * math.log(len(space))) / BATCH)
        return CatCMAwM(
            x_space=[[0.0, 1.0]] * len(numbers) or None,
            z_space=[_list_levels(d) for d in wholes.values()] or None,
            c_space=[len(d.choices) for d in choices.values()] or None,
            population_size=population,
            mean=np.array(mean) if axes else None,
            sigma=_SIGMA if axes else None,
            cov=np.eye(len(axes)) if axes else None,
            seed=self._study_seed,
        )


def _split_space(space: Mapping[str, BaseDistribution]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Numbers, whole numbers of few values, and choices."""
    choices = {n: d for n, d in space.items() if isinstance(d, CategoricalDistribution)}
    wholes = {n: d for n, d in space.items() if isinstance(d, IntDistribution) and len(_list_values(d)) <= _WHOLE}
    return {n: d for n, d in space.items() if n not in choices and n not in wholes}, wholes, choices


def _list_values(distribution: IntDistribution) -> range:
    return range(distribution.low, distribution.high + 1, distribution.step)


def _list_levels(distribution: IntDistribution) -> list[float]:
    return [to_place(distribution, value) for value in _list_values(distribution)]


def _find_nearest(levels: list[float], value: float) -> int:
    return int(np.argmin(np.abs(np.array(levels) - value)))


def _rank_trial(study: Study, trial: FrozenTrial) -> tuple[float, float, int]:
    """Feasible ones by their score, then the others by how far they are off, then what failed."""
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return math.inf, 0.0, trial.number
    violated = sum(max(0.0, v) for v in trial.constraints.values())
    return violated, trial.value if study.direction.name == "MINIMIZE" else -trial.value, trial.number


def _to_list(array: np.ndarray | None) -> list[Any] | None:
    return None if array is None else array.tolist()


def _to_array(values: list[Any] | None, kind: type) -> np.ndarray | None:
    return None if values is None else np.array(values, kind)


def _or_empty(array: np.ndarray | None) -> Any:
    return () if array is None else array


def _make_sampler(view: View) -> CmaEsSampler:
    return CmaEsSampler(view.seed, view.study_seed, list_distributions(view.family, view.shape), view.family.default)


STRATEGY = Strategy(
    name="cmaes",
    suits="many trials over numbers that depend on each other; one objective",
    cost="milliseconds a trial; pays after some generations of 8 to 16 trials",
    sampler=_make_sampler,
    stopped=False,
    package="cmaes",
    source="CMA-ES: Hansen & Ostermeier 2001, Evol. Comp. 9:159; CatCMA with margin: Hamano et al. 2025, "
    "arXiv:2504.07884; the package cmaes",
)
