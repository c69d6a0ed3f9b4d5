"""What a run says of its searches before they begin, and how much they will try."""

from __future__ import annotations

import math
from collections import defaultdict

from models.config import OfFamily
from models.errors import join_names
from models.families import load_family
from models.search import load_strategies
from models.studies.study import Study
from models.tuning.space import find_unasked, keep_one_range
from models.tuning.strategy import Strategy
from tasks.context import RunContext
from tasks.planning.studies import make_fold_shape, make_study
from tasks.values import RunPlan


def announce_searches(plan: RunPlan) -> None:
    """Says which search each family has, and why, where the settings leave that open; how much there is to try, where
    that is fixed; and which settings count for nothing."""
    taken: dict[tuple[str, str], list[str]] = defaultdict(list)
    sizes: dict[str, list[str]] = defaultdict(list)
    unread: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in (n for n in plan.scope.families if load_family(n).tunable):
        study = make_study(plan, name, next(iter(plan.folds)))
        taken[study.strategy.name, study.why] += [name]
        if study.size is not None:
            sizes[study.strategy.name] += [f"{study.size:,.0f} of {name}"]
        for setting in _list_unread(plan.context, name, study.strategy):
            unread[study.strategy.name, setting] += [name]
        for why, left in _list_idle(plan, study).items():
            plan.context.note(f"What is set for {join_names(left)} has no effect: {why}.")
    alone = 1 in (plan.scope.trials, plan.run.search.trials)  # the defaults and no more: nothing is searched
    for (search, why), names in taken.items():
        if why and not alone:
            plan.context.note(f"Search {search} for {join_names(names, 30)}: {why}.")
    for search, counts in sizes.items():
        plan.context.note(
            f"After the defaults, search {search} tries this many configurations: {join_names(counts, 30)}."
        )
    for (search, setting), names in unread.items():
        readers = join_names(
            [f"--search {known.name}" for known in load_strategies().values() if setting in known.reads]
        )
        plan.context.note(
            f"Search {search} does not use the {setting} set for {join_names(names, 30)}: they are for {readers}."
        )


def _list_unread(context: RunContext, family_name: str, search: Strategy) -> list[str]:
    """What the user set for the family and its search does not read."""
    told = context.run.families.get(family_name, OfFamily())
    known = sorted({setting for one in load_strategies().values() for setting in one.reads})
    return [setting for setting in known if getattr(told, setting) and setting not in search.reads]


def _list_idle(plan: RunPlan, study: Study) -> dict[str, list[str]]:
    """The hyperparameters that the user set something for and that are not searched, by the reason: the table's shape,
    or the user's other ranges, without which they would be."""
    known, there = study.family, make_fold_shape(plan, study.fold)
    told = plan.run.families.get(known.name, OfFamily())
    listed_too = (name for one in told.configurations for name in one)
    names = dict.fromkeys(name for name in (*told.space, *told.steps, *listed_too) if name)
    idle: dict[str, list[str]] = defaultdict(list)
    for name in find_unasked(known, there, names):
        here = f"{known.name} does not search it on a table like this"
        beside = f"it does not go together with the other settings of {known.name}"
        idle[here if find_unasked(keep_one_range(known, name), there, [name]) else beside] += [name]
    return idle


def count_configurations(plan: RunPlan, family_name: str, fold: str) -> float:
    """How many configurations the study has at most, the default among them; infinite where there is no end to them."""
    study = make_study(plan, family_name, fold)
    if study.settled:
        return 1
    return math.inf if study.size is None else 1 + study.size
