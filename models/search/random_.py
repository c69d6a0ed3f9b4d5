"""Random search: draws every configuration by itself, evenly over the space."""

from __future__ import annotations

from models.tuning.strategy import Strategy, by_chance

STRATEGY = Strategy(
    name="random",
    suits="the yardstick for every other search, and where scores are mostly noise",
    cost="none; pays at once",
    sampler=by_chance,
    several=True,
    source="Bergstra & Bengio 2012, JMLR 13:281; Optuna's RandomSampler",
)
