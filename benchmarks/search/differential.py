"""Differential evolution (Storn & Price 1997, Journal of Global Optimization 11:341) as a strategy: to be measured in
the race, not one of Nestor's.

A member is moved along the difference of two others from a third (rand/1/bin), and replaced by what is better. Places
in hyperparameters' ranges are what is moved; of choices too, whose order then has to mean something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.tuning.space import list_distributions, to_place, to_value, walk_space
from models.tuning.strategy import BATCH, Proposal, Strategy, View, make_random_sampler
from models.tuning.trial import Trial

_MEMBERS, _WEIGHT, _CROSSING = 12, 0.5, 0.5
"""Weight and crossing as Awad, Mallik & Hutter 2021 (DEHB, IJCAI) have them; members for sixty trials."""


def _plan_proposals(view: View) -> list[Proposal]:
    """The first population by chance, then a child of each member in turn."""
    draw, tried = np.random.default_rng(view.seed), view.told[1:]
    numbers = range(len(tried), len(tried) + BATCH)
    members = [_find_best(view, tried[slot::_MEMBERS]) for slot in range(_MEMBERS)]
    return [_make_child(view, members, n % _MEMBERS, draw) if n >= _MEMBERS else Proposal() for n in numbers]


def _find_best(view: View, tried: Sequence[Trial]) -> Trial | None:
    return max((t for t in tried if t.score is not None), key=view.ahead, default=None)


def _make_child(view: View, members: list[Trial | None], slot: int, draw: np.random.Generator) -> Proposal:
    old, others = members[slot], [m for n, m in enumerate(members) if m is not None and n != slot]
    if old is None or len(others) < 3:
        return Proposal()
    base, one, two = (others[n] for n in draw.choice(len(others), 3, replace=False))
    names = list(list_distributions(view.family, view.shape))
    spot = {n: [_find_place(t, n, draw) for t in (old, base, one, two)] for n in names}
    taken = {n for n in names if draw.random() < _CROSSING} | {names[draw.integers(len(names))]}
    child = {n: p[1] + _WEIGHT * (p[2] - p[3]) if n in taken else p[0] for n, p in spot.items()}
    bounded = {n: min(max(value, 0.0), 1.0 - 1e-9) for n, value in child.items()}
    params = walk_space(
        view.family, view.shape, lambda name, distribution: to_value(distribution, bounded[name])
    ).params
    return Proposal(params, parent=old.number)


def _find_place(trial: Trial, name: str, draw: np.random.Generator) -> float:
    """Where the trial is in the range; anywhere where a condition keeps it from having one."""
    return to_place(trial.distributions[name], trial.params[name]) if name in trial.params else draw.random()


STRATEGY = Strategy(
    name="differential",
    suits="numbers, many of them and many trials",
    cost="next to nothing",
    sampler=make_random_sampler,
    plan=_plan_proposals,
    source="Storn & Price 1997; settings after Awad, Mallik & Hutter 2021",
)
