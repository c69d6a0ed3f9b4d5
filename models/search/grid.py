"""Grid search: tries every combination of a few values of each hyperparameter, in random order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from models.tuning.space import Walk, skip_tried, spread_values, walk_space
from models.tuning.strategy import BATCH, MOST_TRIALS, STEPS, Proposal, Strategy, View, make_random_sampler

_MOST_WALKS = 2_000
"""Branches that are counted one by one."""

_ABSURD = 10_000
"""A grid of more is not to be had by a larger `--trials`."""


def _list_values(view: View, name: str, distribution: BaseDistribution) -> Sequence[Any]:
    """All choices, or as many numbers as the user wants."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return spread_values(distribution, view.steps.get(name, view.steps.get("", STEPS)))


def _walk_grid(view: View, held: tuple[type, ...] = (), end: int = 0) -> Iterator[Walk]:
    """Every way through the space by the values of the grid: what only some choices bring varies under these alone.
    Of the kinds that are `held` each stays at its first value, or with an `end` of -1 at its last."""
    path: list[int] = []
    while True:
        counts: list[int] = []

        def choose(name: str, distribution: BaseDistribution, counts: list[int] = counts) -> Any:
            values = _list_values(view, name, distribution)
            if isinstance(distribution, held):
                values = (values[end],)
            if len(counts) == len(path):
                path.append(0)
            counts.append(len(values))
            return values[path[len(counts) - 1]]

        yield walk_space(view.family, view.shape, choose)
        while path and path[-1] + 1 == counts[len(path) - 1]:
            path.pop()
        if not path:
            return
        path[-1] += 1


def _count_configurations(view: View) -> float:
    """How many configurations the grid has, where no condition hangs on a fraction; at least so many, where there are
    more branches than are counted."""
    return _measure_grid(view)[0]


def _measure_grid(view: View) -> tuple[int, bool]:
    """The size, and whether it is that of the whole grid. With many branches those of choices alone are walked, once
    with all numbers at their lower ends, once at their upper: the same size twice, and no condition hangs on them."""
    count, whole = _count_branches(view, (FloatDistribution,))
    if whole:
        return count, True
    numbers = (FloatDistribution, IntDistribution)
    ends = [_count_branches(view, numbers, end) for end in (0, -1)]
    sizes = [size for size, _ in ends]
    return max(count, min(sizes)), all(whole for _, whole in ends) and len(set(sizes)) == 1


def _count_branches(view: View, held: tuple[type, ...], end: int = 0) -> tuple[int, bool]:
    """How many configurations there are on the first `_MOST_WALKS` branches, and whether these are all."""
    count = 0
    for number, walk in enumerate(_walk_grid(view, held, end)):
        if number == _MOST_WALKS:
            return count, False
        count += math.prod(len(_list_values(view, n, d)) for n, d in walk.distributions.items() if isinstance(d, held))
    return count, True


def _explain_unsuited(view: View) -> str:
    (size, whole), name = _measure_grid(view), view.family.name
    limit = (view.expected or MOST_TRIALS) - 1
    if whole and size <= limit:
        return ""
    number = f"{size:,}" if whole else f"at least {size:,}"
    room = f"--trials {view.expected} leaves" if view.expected else "a study tries without --trials"
    raised = f"give --trials {size + 1}, or " if whole and size <= _ABSURD else ""
    return (
        f"its grid has {number} configurations, more than the {limit:,} that {room} beside the default: {raised}"
        f"take fewer steps (--steps {name}=2, --steps {name}.HYPERPARAMETER=1) or fix some hyperparameters "
        f"(--space {name}.HYPERPARAMETER=VALUE)"
    )


def _plan(view: View) -> Sequence[Proposal]:
    """The next of the combinations. In random order, so that a search cut short has seen all of the space."""
    points = [walk.params for walk in _walk_grid(view)]
    order = np.random.default_rng(view.study_seed).permutation(len(points))
    return [Proposal(params) for params in islice(skip_tried(view, (points[i] for i in order)), BATCH)]


STRATEGY = Strategy(
    name="grid",
    suits="one to three hyperparameters whose every combination is to be seen",
    cost="none, but its size multiplies with each hyperparameter; ends when all are tried",
    sampler=make_random_sampler,
    plan=_plan,
    size=_count_configurations,
    unsuited=_explain_unsuited,
    reads=("steps",),
    several=True,
    source="the full factorial design; its order is random, as in Optuna's GridSampler",
)
