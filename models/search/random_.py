"""Random search: draws every configuration by itself, evenly over the space."""

from __future__ import annotations

from models.tuning.strategy import Strategy, make_random_sampler

STRATEGY = Strategy(
    name="random",
    suits="the yardstick for every other search, and where scores are mostly noise",
    cost="none; pays at once",
    sampler=make_random_sampler,
    several=True,
    source="Bergstra & Bengio 2012, JMLR 13:281; Optuna's RandomSampler",
)
