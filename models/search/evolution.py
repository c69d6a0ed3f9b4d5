"""Regularised evolution of a network's architecture: members of a population age and fall out of it, however good they
were; the best of a few drawn ones gets a child that differs in one thing.

Members are trained shortly; who is among the best is trained longer, as in successive halving. What is not
architecture stays at the default."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from models.tuning.ladders import Ladder, list_rungs
from models.tuning.space import list_distributions, to_nearest, to_place, to_value, walk_space
from models.tuning.strategy import BATCH, Proposal, Strategy, View, make_random_sampler
from models.tuning.trial import Trial

_POPULATION, _DRAWN = 16, 4
"""Members, and how many of them compete for a child: one in four, as in Real et al., who had 100 and 25."""

_STEP = 0.3
"""Most that a mutation moves a number, as a share of its range."""

_TRIES = 20
"""Mutations until one is an architecture that was not tried yet."""


def _plan(view: View) -> list[Proposal]:
    """Who is trained longer, and for the other places children, or members of the first population."""
    shares, draw = list_rungs(view), np.random.default_rng(view.seed)
    longer = Ladder(shares, tuple(view.told[1:])).list_survivors(view.ahead)[:BATCH]
    members = [t for t in view.told[1:] if t.share == shares[0]]
    configurations = [dict(t.params) for t in view.told]
    for number in range(len(members), len(members) + BATCH - len(longer)):
        parent = _pick_winner(view, members[-_POPULATION:], draw) if number >= _POPULATION else None
        child = _make_child(view, parent, configurations, draw)
        configurations.append(child)
        longer.append(Proposal(child, share=shares[0], parent=parent.number if parent else None))
    return longer


def _pick_winner(view: View, population: list[Trial], draw: np.random.Generator) -> Trial | None:
    """The best of some members drawn with replacement; None where all of these failed."""
    members = [population[n] for n in draw.integers(len(population), size=_DRAWN)]
    scored = [t for t in members if t.score is not None]
    return max(scored, key=view.ahead, default=None)


def _make_child(
    view: View, parent: Trial | None, configurations: list[dict[str, Any]], draw: np.random.Generator
) -> dict[str, Any]:
    """A mutated parent, or where there is none a random architecture; one that is not known yet, if it can be found."""
    child: dict[str, Any] = {}
    for _ in range(_TRIES):
        child = _mutate_parent(view, parent, draw) if parent else _draw_architecture(view, draw)
        if child not in configurations:
            break
    return child


def _draw_architecture(view: View, draw: np.random.Generator) -> dict[str, Any]:
    def choose(name: str, distribution: BaseDistribution) -> Any:
        if name in view.family.architecture:
            return to_value(distribution, draw.random())
        return to_nearest(distribution, view.family.default[name])

    return walk_space(view.family, view.shape, choose).params


def _mutate_parent(view: View, parent: Trial, draw: np.random.Generator) -> dict[str, Any]:
    """The parent's params with another value of one that is architecture. What only that value brings is drawn."""
    names = [n for n in view.family.architecture if n in parent.params and not parent.distributions[n].single()]
    target = names[draw.integers(len(names))] if names else ""

    def choose(name: str, distribution: BaseDistribution) -> Any:
        if name == target:
            return _draw_other(distribution, parent.params[name], draw)
        if name in parent.params:
            return to_nearest(distribution, parent.params[name])
        return to_value(distribution, draw.random())

    return walk_space(view.family, view.shape, choose).params


def _draw_other(distribution: BaseDistribution, value: Any, draw: np.random.Generator) -> Any:
    """Another choice, or a number nearby that is another one."""
    if isinstance(distribution, CategoricalDistribution):
        others = [choice for choice in distribution.choices if choice != value]
        return others[draw.integers(len(others))]
    neighbour = value
    for _ in range(_TRIES):
        place = to_place(distribution, value) + draw.uniform(-_STEP, _STEP)
        neighbour = to_value(distribution, min(max(place, 0.0), 1.0 - 1e-9))
        if neighbour != value:
            break
    return neighbour


def _explain_unsuited(view: View) -> str:
    if not view.family.architecture:
        return "it has no architecture to search; take tpe for it"
    spaces = list_distributions(view.family, view.shape)
    if all(spaces[name].single() for name in view.family.architecture if name in spaces):
        return "nothing of its architecture is left to be searched"
    return ""


STRATEGY = Strategy(
    name="evolution",
    suits="the architecture of a network: depth, width, activation and the like; the rest stays at the default",
    cost="next to nothing; pays from about ten trials' worth",
    sampler=make_random_sampler,
    plan=_plan,
    unsuited=_explain_unsuited,
    source="regularised evolution: Real et al. 2019, AAAI (arXiv:1802.01548); who is trained longer as in ASHA (Li et "
    "al. 2020, MLSys)",
)
