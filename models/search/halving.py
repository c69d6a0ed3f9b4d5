"""Successive halving: all configurations begin with a small part of a fit, the best third gets three times as much, the
best third of those again, up to whole fits."""

from __future__ import annotations

from functools import partial

from models.tuning.ladders import climb_ladders
from models.tuning.strategy import Strategy, make_random_sampler

STRATEGY = Strategy(
    name="halving",
    suits="many configurations of which a part of a fit tells much: large tables, slow families",
    cost="next to nothing; pays from about ten trials' worth",
    sampler=make_random_sampler,
    plan=partial(climb_ladders, several=False),
    source="Jamieson & Talwalkar 2016, AISTATS; who goes on as in ASHA (Li et al. 2020, MLSys), by batches",
)
