"""Takes one of the other searches, by rules over what is asked and what there is to search; says which, and why."""

from __future__ import annotations

import math
from functools import partial

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from models.tuning.fidelity import LEAST
from models.tuning.ladders import list_rungs
from models.tuning.portfolio import knows_family
from models.tuning.space import list_distributions, move_into_range, spread_values, walk_space
from models.tuning.strategy import MOST_TRIALS, STEPS, Strategy, View, make_random_sampler


def _choose_strategy(view: View) -> tuple[str, str]:
    """The strategy's name, and the reason in words."""
    if view.configurations:
        return "manual", "its configurations are listed in the settings"
    if view.steps:
        return "grid", "the steps of its grid are set"
    if 1 < (size := _count_choices(view)) < (MOST_TRIALS if view.room is None else view.room):
        return "grid", f"there are only {size:.0f} configurations, so all of them can be tried"
    if len(view.directions) == 1 and _tells_early(view):
        return "bohb", f"with {view.shape.rows:,} rows a part of its training already tells good settings from bad"
    if knows_family(view.family.name):
        return "portfolio", "started from settings that did well on similar tables"
    return "tpe", "there are no settings from other tables to start from"


def _tells_early(view: View) -> bool:
    """Whether the family is trained in rounds, and there are so many rows and so much room that ladders of parts are as
    long as they get: what was learned on other tables is of fewer rows."""
    return view.family.fidelity == "rounds" and list_rungs(view)[0] == LEAST


def _count_choices(view: View) -> float:
    """How many configurations there are at most; infinite where a grid would have but some of them."""
    default = walk_space(view.family, view.shape, partial(move_into_range, view.family.default)).distributions
    if not all(map(_count_values, default.values())):
        return math.inf  # as good as always, and all branches take long to look at
    return math.prod(
        _count_values(distribution) or math.inf for distribution in list_distributions(view.family, view.shape).values()
    )


def _count_values(distribution: BaseDistribution) -> int:
    """How many values there are, if a grid would try them all; else 0."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    tried = len(spread_values(distribution, STEPS))
    whole = distribution.single() or (
        isinstance(distribution, IntDistribution)
        and tried == (distribution.high - distribution.low) // distribution.step + 1
    )
    return tried if whole else 0


STRATEGY = Strategy(
    name="auto",
    suits="the default: takes the search that suits objectives, number of trials, space and family, and says which",
    cost="that of the search it takes",
    sampler=make_random_sampler,
    chooses=_choose_strategy,
    several=True,
    source="docs/results.md measures what it rests on",
)
