"""Successive halving: all begin with little, and the best third of each rung is given three times as much."""

from __future__ import annotations

from functools import partial

from models.rungs import climbed
from models.search import Strategy, by_chance

STRATEGY = Strategy(
    name="halving",
    suits="many configurations of which a part of a fit tells much: large tables, slow families",
    cost="next to nothing; pays from about ten trials' worth",
    sampler=by_chance,
    plan=partial(climbed, several=False),
    source="Jamieson & Talwalkar 2016, AISTATS; who goes on as in ASHA (Li et al. 2020, MLSys), by batches",
)
