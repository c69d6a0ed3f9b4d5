"""Random search: every configuration is drawn by itself, evenly over the space."""

from __future__ import annotations

from optuna.samplers import RandomSampler

from models.search import Strategy, View


def _sampler(view: View) -> RandomSampler:
    return RandomSampler(seed=view.seed)


STRATEGY = Strategy(
    name="random",
    suits="the yardstick for every other search, and where scores are mostly noise",
    cost="none; pays at once",
    sampler=_sampler,
    several=True,
    source="Bergstra & Bengio 2012, JMLR 13:281; Optuna's RandomSampler",
)
