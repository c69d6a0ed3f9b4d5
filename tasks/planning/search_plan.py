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
    choices: dict[tuple[str, str], list[str]] = defaultdict(list)
    sizes: dict[str, list[str]] = defaultdict(list)
    unread: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in (n for n in plan.scope.families if load_family(n).tunable):
        study = make_study(plan, name, next(iter(plan.folds)))
        choices[study.strategy.name, study.why] += [name]
        if study.size is not None:
            sizes[study.strategy.name] += [f"{study.size:,.0f} of {name}"]
        for setting in _list_unread(plan.context, name, study.strategy):
            unread[study.strategy.name, setting] += [name]
        for reason, names in _list_idle(plan, study).items():
            plan.context.note(f"What is set for {join_names(names)} has no effect: {reason}.")
    defaults_only = 1 in (plan.scope.trials, plan.run.search.trials)  # the defaults and no more: nothing is searched
    for (search, reason), names in choices.items():
        if reason and not defaults_only:
            plan.context.note(f"Search {search} for {join_names(names, 30)}: {reason}.")
    for search, counts in sizes.items():
        plan.context.note(
            f"After the defaults, search {search} tries this many configurations: {join_names(counts, 30)}."
        )
    for (search, setting), names in unread.items():
        readers = join_names(
            [f"--search {strategy.name}" for strategy in load_strategies().values() if setting in strategy.reads]
        )
        plan.context.note(
            f"Search {search} does not use the {setting} set for {join_names(names, 30)}: they are for {readers}."
        )


def _list_unread(context: RunContext, family_name: str, search: Strategy) -> list[str]:
    """What the user set for the family and its search does not read."""
    settings = context.run.families.get(family_name, OfFamily())
    names = sorted({setting for strategy in load_strategies().values() for setting in strategy.reads})
    return [setting for setting in names if getattr(settings, setting) and setting not in search.reads]


def _list_idle(plan: RunPlan, study: Study) -> dict[str, list[str]]:
    """The hyperparameters that the user set something for and that are not searched, by the reason: the table's shape,
    or the user's other ranges, without which they would be."""
    family, shape = study.family, make_fold_shape(plan, study.fold)
    settings = plan.run.families.get(family.name, OfFamily())
    parameters = (name for configuration in settings.configurations for name in configuration)
    names = dict.fromkeys(name for name in (*settings.space, *settings.steps, *parameters) if name)
    idle: dict[str, list[str]] = defaultdict(list)
    for name in find_unasked(family, shape, names):
        reason = f"{family.name} does not search it on a table like this"
        other_reason = f"it does not go together with the other settings of {family.name}"
        idle[reason if find_unasked(keep_one_range(family, name), shape, [name]) else other_reason] += [name]
    return idle


def count_configurations(plan: RunPlan, family_name: str, fold: str) -> float:
    """How many configurations the study has at most, the default among them; infinite where there is no end to them."""
    study = make_study(plan, family_name, fold)
    if study.settled:
        return 1
    return math.inf if study.size is None else 1 + study.size
