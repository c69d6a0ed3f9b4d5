"""Tries the user's own list: the configurations of the settings, in order, and then no more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from models.tuning.space import complete_configuration, skip_tried
from models.tuning.strategy import BATCH, MOST_TRIALS, Proposal, Strategy, View, make_random_sampler


def _list_configurations(view: View) -> list[dict[str, Any]]:
    """The user's configurations, whole; InputError for one that can't be."""
    return [
        complete_configuration(view.family, view.shape, configuration, f"configuration {number} of {view.family.name}")
        for number, configuration in enumerate(view.configurations, 1)
    ]


def _explain_unsuited(view: View) -> str:
    listed, name = len(_list_configurations(view)), view.family.name
    if not listed:
        return (
            f"no configuration of it is listed: give families.{name}.configurations, or --configuration {name}.H=VALUE"
        )
    if listed >= (view.expected or MOST_TRIALS + 1):
        return f"{listed} configurations are listed, and the default goes first: give --trials {listed + 1}"
    return ""


def _plan(view: View) -> Sequence[Proposal]:
    """The next of the list."""
    return [Proposal(params) for params in islice(skip_tried(view, _list_configurations(view)), BATCH)]


STRATEGY = Strategy(
    name="manual",
    suits="a handful of configurations that you know, such as those of a paper, judged like any other search",
    cost="none; ends with the list",
    sampler=make_random_sampler,
    plan=_plan,
    size=lambda view: len(view.configurations),
    unsuited=_explain_unsuited,
    reads=("configurations",),
    several=True,
    source="the settings: `families.NAME.configurations`, `--configuration`",
)
