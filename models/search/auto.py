"""The search that suits what is asked: says which it took, and why."""

from __future__ import annotations

from models.portfolio import knows
from models.search import Strategy, View, by_chance

_GENERATIONS = 200
"""Trials from which on a population has time to evolve."""


def _chosen(view: View) -> tuple[str, str]:
    """The strategy's name, and the reason in words."""
    expected = view.expected or 0
    if view.configurations:
        return "manual", "configurations are listed"
    if view.steps:
        return "grid", "the steps of a grid are given"
    if len(view.directions) > 1 and expected >= _GENERATIONS:
        return "genetic", f"there are {len(view.directions)} objectives and {expected} configurations to try"
    if len(view.directions) > 1:
        return "tpe", f"there are {len(view.directions)} objectives"
    if knows(view.family.name):
        return "portfolio", "other tables have taught where to begin"
    return "tpe", "there is one objective, and nothing learned of the family on other tables"


STRATEGY = Strategy(
    name="auto",
    suits="the default: takes the search that suits the objectives, their trials and the family, and says which",
    cost="that of the search it takes",
    sampler=by_chance,
    chooses=_chosen,
    several=True,
    source="docs/results.md measures what it rests on",
)
