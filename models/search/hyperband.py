"""Hyperband: several successive halvings side by side that begin with a small, a larger and a whole part of a fit, for
when it is not known how much a part tells."""

from __future__ import annotations

from functools import partial

from models.tuning.ladders import climb_ladders
from models.tuning.strategy import Strategy, make_random_sampler

STRATEGY = Strategy(
    name="hyperband",
    suits="as halving, where it is not known how much a part of a fit tells: some configurations are whole at once",
    cost="next to nothing; pays from about twenty trials' worth",
    sampler=make_random_sampler,
    plan=partial(climb_ladders, several=True),
    source="Li et al. 2018, JMLR 18:185; its brackets side by side, who goes on as in ASHA (Li et al. 2020, MLSys)",
)
