"""Quasi-random search: tries the points of a scrambled Sobol sequence, which lie more evenly than by chance."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from scipy.stats import qmc

from models.tuning.space import list_distributions, skip_tried, to_value, walk_space
from models.tuning.strategy import BATCH, Proposal, Strategy, View, make_random_sampler

_SPARE = 8
"""Points that are looked at for each configuration wanted: in a small space of choices many are alike."""

_alone = threading.Lock()
"""SciPy fills a table that all engines share when the first one is made."""


def _draw_points(view: View) -> Iterator[dict[str, Any]]:
    """The sequence through the space: a point has a place for every hyperparameter, also for those not asked there."""
    names = list(list_distributions(view.family, view.shape))
    for point in _draw_cube(len(names), _SPARE * (len(view.told) + BATCH), view.study_seed):
        places = dict(zip(names, point, strict=True))
        yield walk_space(view.family, view.shape, lambda n, d, places=places: to_value(d, places[n])).params


def _draw_cube(dimensions: int, least: int, seed: int) -> list[list[float]]:
    with _alone:
        engine = qmc.Sobol(dimensions, scramble=True, rng=seed)
        return engine.random_base2(math.ceil(math.log2(least))).tolist()


def _plan(view: View) -> Sequence[Proposal]:
    """The sequence's next points."""
    return [Proposal(params) for params in islice(skip_tried(view, _draw_points(view)), BATCH)]


STRATEGY = Strategy(
    name="sobol",
    suits="to see a whole space evenly before narrowing it, and as a better random search where trials are few",
    cost="milliseconds a batch; pays at once",
    sampler=make_random_sampler,
    plan=_plan,
    several=True,
    source="Sobol' 1967, USSR Comp. Math. 7:86; scrambled after Owen 1998, J. Complexity 14:466; scipy.stats.qmc",
)
