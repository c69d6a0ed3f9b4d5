"""Tries the user's own list: the configurations of the settings, in order, and then no more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from models.tuning.space import completed, untried
from models.tuning.strategy import BATCH, MOST_TRIALS, Proposal, Strategy, View, by_chance


def _listed(view: View) -> list[dict[str, Any]]:
    """The user's configurations, whole; InputError for one that can't be."""
    return [
        completed(view.family, view.shape, given, f"configuration {number} of {view.family.name}")
        for number, given in enumerate(view.configurations, 1)
    ]


def _unsuited(view: View) -> str:
    listed, name = len(_listed(view)), view.family.name
    if not listed:
        return (
            f"no configuration of it is listed: give families.{name}.configurations, or --configuration {name}.H=VALUE"
        )
    if listed >= (view.expected or MOST_TRIALS + 1):
        return f"{listed} configurations are listed, and the default goes first: give --trials {listed + 1}"
    return ""


def _plan(view: View) -> Sequence[Proposal]:
    """The next of the list."""
    return [Proposal(params) for params in islice(untried(view, _listed(view)), BATCH)]


STRATEGY = Strategy(
    name="manual",
    suits="a handful of configurations that you know, such as those of a paper, judged like any other search",
    cost="none; ends with the list",
    sampler=by_chance,
    plan=_plan,
    size=lambda view: len(view.configurations),
    unsuited=_unsuited,
    reads=("configurations",),
    several=True,
    source="the settings: `families.NAME.configurations`, `--configuration`",
)
