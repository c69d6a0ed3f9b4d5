"""Population-based training: four members train side by side, and after every step the weaker take up the training of
the stronger and go on with other settings. Jaderberg et al. 2017, arXiv:1711.09846.

Every trial is a member after a step, and a whole configuration: the schedule up to there, which a refit follows. So
the best member of the best generation wins, however much later ones were spoiled by too many rounds, and a search that
is ended early has a result."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from models.tuning.space import list_distributions, to_nearest, to_value
from models.tuning.strategy import BATCH, Proposal, Strategy, View, make_random_sampler
from models.tuning.trial import Trial

_GENERATIONS = 10
"""Steps of a population where nobody knows how many configurations there will be."""

_MOST_GENERATIONS = 20
"""With more configurations than these make, another population begins."""

_FACTORS = (0.8, 1.25)
"""Of one step of exploring (Jaderberg et al.: 0.8 and 1.2; as these two cancel out, no direction is favoured)."""

_ANEW = 0.25
"""Chance that a setting is drawn anew instead."""

_LONGER = 3.0
"""Rounds of the whole training, in those after which the default stopped: slower learning may pay."""

_USUAL_ROUNDS = 200
"""Where neither the default nor the family says how many there are."""

_LEAST_STEP = 5
"""Rounds: fewer tell nothing of a setting."""


def _plan(view: View) -> list[Proposal]:
    """A new population's first step, or the next step of its members."""
    generations = _count_steps(view)
    draw = np.random.default_rng(view.seed)
    step = max(_LEAST_STEP, round(_count_rounds(view) / generations))
    begun = (len(view.told) - 1) // BATCH
    members = [_take_better(view, trial) for trial in view.told[-BATCH:]] if begun % generations else []
    distinct = {
        m.number: m for m in members if m
    }.values()  # several may go back to one: it has one place among the best
    ranked = sorted(distinct, key=view.ahead, reverse=True)
    if not ranked:
        return _draw_population(view, draw, step, first=begun == 0)
    last = {trial.number for trial in view.told[-BATCH:]}
    strong = ranked[: max(1, BATCH // 2)]
    weak = [strong[place] for place in draw.integers(len(strong), size=BATCH - len(strong))]
    proposals = [_propose_next(view, m, step, None if m.number in last else draw) for m in strong]
    return proposals + [_propose_next(view, m, step, draw) for m in weak]


def _count_steps(view: View) -> int:
    """Steps of one population."""
    if view.room is None:
        return _GENERATIONS
    batches = max(1, math.ceil((view.room - 1) / BATCH))
    return math.ceil(batches / math.ceil(batches / _MOST_GENERATIONS))


def _count_rounds(view: View) -> float:
    """Rounds of a member's whole training."""
    rounds = view.told[0].rounds
    if rounds:
        longest = _LONGER * sum(rounds) / len(rounds)
        return min(longest, view.family.most_rounds or longest)
    return view.family.most_rounds or _USUAL_ROUNDS


def _take_better(view: View, trial: Trial) -> Trial | None:
    """The trial, or the one that it went on from where its score has fallen; None where neither has one."""
    origin = next((t for t in view.told if trial.goes_on and t.number == trial.parent), None)
    candidates = [t for t in (origin, trial) if t is not None and t.inner is not None and math.isfinite(t.inner)]
    return max(candidates, key=view.ahead, default=None)


def _draw_population(view: View, draw: np.random.Generator, step: int, first: bool) -> list[Proposal]:
    """Members spread evenly over each explored hyperparameter (a latin hypercube). What can't change while training
    goes on is the default's in the first population, and drawn in later ones."""
    explored = {n: d for n, d in list_distributions(view.family, view.shape).items() if n in view.family.explores}
    places = {n: (draw.permutation(BATCH) + draw.random(BATCH)) / BATCH for n in explored}
    fixed = dict(view.family.default) if first else {}
    return [
        Proposal({**fixed, **{n: to_value(explored[n], places[n][i]) for n in explored}}, rounds=step)
        for i in range(BATCH)
    ]


def _propose_next(view: View, member: Trial, step: int, draw: np.random.Generator | None) -> Proposal:
    """The member's next step: with its settings, or with others where there is something to draw them from."""
    params = dict(member.params)
    if draw is not None:
        distributions = {n: member.distributions[n] for n in view.family.explores if n in member.distributions}
        params |= {n: _explore_value(d, params[n], draw) for n, d in distributions.items()}
    return Proposal(params, parent=member.number, goes_on=True, rounds=step)


def _explore_value(distribution: BaseDistribution, value: Any, draw: np.random.Generator) -> Any:
    """A value nearby, or now and then any."""
    if draw.random() < _ANEW:
        return to_value(distribution, draw.random())
    if isinstance(distribution, CategoricalDistribution):
        return value
    neighbour = value * _FACTORS[draw.integers(2)]
    if isinstance(distribution, IntDistribution):
        neighbour = math.floor(neighbour) if neighbour < value else math.ceil(neighbour)  # a small number moves too
    return to_nearest(distribution, neighbour)


def _explain_unsuited(view: View) -> str:
    family = view.family
    if family.steps is None:
        return "it does not train step by step"
    spaces = list_distributions(family, view.shape)
    if all(spaces[name].single() for name in family.explores if name in spaces):
        return "nothing that may change while it trains is left to be searched"
    return ""


STRATEGY = Strategy(
    name="pbt",
    suits="boosting and networks, where settings such as the learning rate should change while they train",
    cost="four trainings of three times the default's rounds, in as many steps as there are batches; from 21 trials on",
    sampler=make_random_sampler,
    plan=_plan,
    unsuited=_explain_unsuited,
    source="Jaderberg et al. 2017, arXiv:1711.09846; that the better half of so few goes on, and that who got "
    "worse goes back, is ours",
)
