"""Genetic algorithms: the better half of each generation are the parents of the next, whose configurations are mixed
from theirs and changed a little. NSGA-II for one objective or two, NSGA-III for more."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseGASampler, BaseSampler, NSGAIIISampler, NSGAIISampler
from optuna.samplers.nsgaii import SBXCrossover
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from models.data.hashes import derive_seed
from models.tuning.strategy import Strategy, View

_GENERATIONS = 5
"""How many there are about in a study, so that small ones are more than their first, random generation."""

_LEAST, _MOST, _USUAL = 8, 48, 12
"""Configurations in a generation: at least, at most, and where nobody knows how many there will be."""


_MUTATED = 0.2
"""Share of what only some parents have that is drawn anew."""

_ANEW = 10
"""Children that are made, at most, to find one that nobody has tried."""


class _ConditionalSampler(BaseGASampler):
    """What Optuna's genetic samplers lack here: inheriting what only some parents have, and the default among the first
    generation. The rest of what they know, a trial's generation, is in its marks."""

    seed = 0

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every hyperparameter that was ever asked for, where its range is always the same."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        space = {name: d for t in complete for name, d in t.distributions.items() if not d.single()}
        varying = {name for t in complete for name, d in t.distributions.items() if space.get(name) != d}
        return {name: d for name, d in space.items() if name not in varying}

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The trials of that generation; the default and what was handed over are of the first."""
        members = super().get_population(study, generation)
        if generation:
            return members
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [t for t in complete if self._get_generation_key() not in t.system_attrs] + members

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A child of two parents; nothing in the first generation, which is drawn by chance."""
        parents = self.get_parent_population(study, self.get_trial_generation(study, trial))
        shared = {n: d for n, d in search_space.items() if all(n in p.params for p in parents)}
        tried = [t.params for t in study.get_trials(deepcopy=False) if t.params]
        draw = np.random.default_rng([self.seed, trial.number])
        child: dict[str, Any] = {}
        for _ in range(_ANEW):
            child = super().sample_relative(study, trial, shared)  # pyright: ignore[reportAbstractUsage]
            child |= self._inherit([n for n in search_space if n not in shared], parents, draw)
            if not any(params.items() <= child.items() for params in tried):
                break
        return child

    def _inherit(self, names: list[str], parents: list[FrozenTrial], draw: np.random.Generator) -> dict[str, Any]:
        """What only some parents have, each from one of them; now and then left out, so that it is drawn anew."""
        params = {}
        for name in names:
            values = [p.params[name] for p in parents if name in p.params]
            if values and draw.random() > _MUTATED:
                params[name] = values[draw.integers(len(values))]
        return params


class Genetic(_ConditionalSampler, NSGAIISampler):
    """NSGA-II in spaces with conditions."""


class GeneticOfMany(_ConditionalSampler, NSGAIIISampler):
    """NSGA-III in spaces with conditions, whose parents are the same in all batches of a generation."""

    study_seed = 0

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The parents of that generation. NSGA-III draws among equals: here by a chance of the generation's own."""
        chance = self._rng.rng
        state = chance.get_state()
        chance.seed(derive_seed(self.study_seed, generation))
        try:
            return super().select_parent(study, generation)
        finally:
            chance.set_state(state)


def _make_sampler(view: View) -> BaseSampler:
    trials = view.room or _USUAL * _GENERATIONS
    population = min(_MOST, max(_LEAST, 4 * round(trials / _GENERATIONS / 4)))
    kind = GeneticOfMany if len(view.directions) > 2 else Genetic
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = kind(population_size=population, crossover=SBXCrossover(), seed=view.seed)
    sampler.seed = view.seed
    if isinstance(sampler, GeneticOfMany):
        sampler.study_seed = view.study_seed
    return sampler


STRATEGY = Strategy(
    name="genetic",
    suits="several objectives, and rough spaces with many trials; the last to use where trials are few",
    cost="milliseconds a trial; pays after a generation, 8 to 48 trials by how many there will be",
    sampler=_make_sampler,
    several=True,
    stopped=False,
    source="NSGA-II: Deb et al. 2002, IEEE TEC 6:182; NSGA-III: Deb & Jain 2014, IEEE TEC 18:577; Optuna's samplers",
)
