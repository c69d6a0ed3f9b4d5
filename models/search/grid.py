"""Grid search: every combination of a few values of each hyperparameter, in random order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from models.search import BATCH, MOST_TRIALS, STEPS, Proposal, Strategy, View, by_chance
from models.space import Walk, at, untried, walked

_MOST_WALKS = 2_000
"""Branches that are counted one by one; a grid with more is refused whatever its size."""


def _values(view: View, name: str, distribution: BaseDistribution) -> Sequence[Any]:
    """All choices, or as many numbers as the user wants."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return _apart(distribution, view.steps.get(name, view.steps.get("", STEPS)))


@lru_cache
def _apart(distribution: BaseDistribution, steps: int) -> Sequence[Any]:
    """So many numbers from end to end on the distribution's own scale."""
    places = [i / (steps - 1) for i in range(steps)] if steps > 1 else [0.5]
    return tuple(dict.fromkeys(at(distribution, place) for place in places))


def _walks(view: View, floats: bool = True) -> Iterator[Walk]:
    """Every way through the space by the values of the grid: what only some choices bring varies under these alone.
    Without `floats` each of them stays at its first value."""
    taken: list[int] = []
    while True:
        counts: list[int] = []

        def choose(name: str, distribution: BaseDistribution, counts: list[int] = counts) -> Any:
            values = _values(view, name, distribution)
            if len(counts) == len(taken):
                taken.append(0)
            counts.append(len(values) if floats or not isinstance(distribution, FloatDistribution) else 1)
            return values[taken[len(counts) - 1]]

        yield walked(view.family, view.shape, choose)
        while taken and taken[-1] + 1 == counts[len(taken) - 1]:
            taken.pop()
        if not taken:
            return
        taken[-1] += 1


def _size(view: View) -> float:
    """How many configurations the grid has, where no condition hangs on a fraction; infinite where there are so many
    that counting takes long."""
    found = 0
    for number, walk in enumerate(_walks(view, floats=False)):
        if number == _MOST_WALKS:
            return math.inf
        fractions = [(n, d) for n, d in walk.distributions.items() if isinstance(d, FloatDistribution)]
        found += math.prod(len(_values(view, n, d)) for n, d in fractions)
    return found


def _unsuited(view: View) -> str:
    size, name = _size(view), view.family.name
    most = (view.expected or MOST_TRIALS) - 1
    if size <= most:
        return ""
    said = f"over {_MOST_WALKS:,}" if math.isinf(size) else f"{size:,}"
    room = f"--trials {view.expected} leaves" if view.expected else "a study tries without --trials"
    raised = "" if math.isinf(size) else f"give --trials {size + 1:.0f}, or "
    return (
        f"its grid has {said} configurations, more than the {most:,} that {room} beside the default: {raised}"
        f"take fewer steps (--steps {name}=2, --steps {name}.HYPERPARAMETER=1) or fix some hyperparameters "
        f"(--space {name}.HYPERPARAMETER=VALUE)"
    )


def _plan(view: View) -> Sequence[Proposal]:
    """The next of the combinations. In random order, so that a search cut short has seen all of the space."""
    points = [walk.params for walk in _walks(view)]
    order = np.random.default_rng(view.study_seed).permutation(len(points))
    return [Proposal(params) for params in islice(untried(view, (points[i] for i in order)), BATCH)]


STRATEGY = Strategy(
    name="grid",
    suits="one to three hyperparameters whose every combination is to be seen",
    cost="none, but its size multiplies with each hyperparameter; ends when all are tried",
    sampler=by_chance,
    plan=_plan,
    size=_size,
    unsuited=_unsuited,
    several=True,
    source="the full factorial design; its order is random, as in Optuna's GridSampler",
)
