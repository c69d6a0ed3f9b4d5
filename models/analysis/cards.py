"""What a family declares, and what a search strategy does, in words: for `nestor families`, `nestor searches` and the
docs pages."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import optuna

from models import search
from models.fitting.family import Family, Shape
from models.fitting.fit import suggest_configuration
from models.tuning.strategy import Strategy

_DRAWS = 30
"""Random configurations that are enough to meet every branch of a space."""

_CATEGORIES = {
    "codes": "as whole numbers; with many levels the target's means",
    "onehot": "as 0/1 columns; with many levels the target's means",
    "levels": "as whole numbers, however many",
}


def describe_family(family: Family) -> dict[str, str]:
    """Heading -> what the family declares of it, in the order in which people ask."""
    categories = _CATEGORIES[family.needs.categories]
    losses = [name for name in family.losses if name != "squared"] if "regression" in family.tasks else []
    return {
        "suits": family.suits,
        "tasks": ", ".join(family.tasks),
        "cost": f"{family.cost:g}",
        "comes with": f"extra {family.extra}" if family.extra else "the base",
        "categories": categories,
        "missing values": "stay" if family.needs.missing else "filled in",
        "numbers": "scaled" if family.needs.scaled else "as they are",
        "early stopping": _format_flag(family.stops_early),
        "row weights": _format_flag(family.weights),
        "monotone columns": _format_flag(family.monotone),
        "also fits": ", ".join(losses),
        "selects columns": _format_flag(family.selects),
        "derivatives by hyperparameters": _format_flag(family.hypergradient is not None),
        "tried": "where it is named, or where the search goes by gradients" if family.many else "",
        "threads": _format_flag(family.threads),
        "GPU": "where there is one; then it repeats to some digits only" if family.gpu else "no",
        "kept in time": {1: "longest", 2: "middling", 3: "first to go"}[family.priority],
        "at most": _format_limits(family),
        "stored by": "skops" if family.safe else "pickle, marked unsafe",
        "source": family.source,
    }


def _format_limits(family: Family) -> str:
    limits = ((family.most_cells, "cells"), (family.most_classes, "classes, unless it is named"))
    return "; ".join(f"{limit:,.0f} {unit}" for limit, unit in limits if limit < float("inf"))


def _format_flag(value: bool) -> str:
    return "yes" if value else "no"


def list_hyperparameters(family: Family) -> Iterator[tuple[str, str, str]]:
    """(name, range, default) of every hyperparameter that the space ever names, over tasks and branches."""
    by_task = {task: _collect_distributions(family, _make_wide_shape(task)) for task in family.tasks}
    distributions = {name: distribution for space in by_task.values() for name, distribution in space.items()}
    for name, distribution in distributions.items():
        tasks = [task for task, space in by_task.items() if name not in space]
        note = f" (not in {', '.join(tasks)})" if tasks else ""
        default = str(family.default[name]) if name in family.default else ""
        yield name, _describe_range(distribution) + note, default


def _make_wide_shape(task: Any) -> Shape:
    """A table on which nothing is left out of a space for want of rows or columns."""
    return Shape(1_000, 64, task, 0 if task == "regression" else 2, grid=(8, 8), time=True, season=True, past=4)


def _collect_distributions(family: Family, shape: Shape) -> dict[str, Any]:
    """Name -> Optuna's distribution."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    distributions: dict[str, Any] = {}
    for _ in range(_DRAWS):
        trial = study.ask()
        suggest_configuration(family, trial, shape)
        distributions = {**trial.distributions, **distributions}
    return distributions


def _describe_range(distribution: Any) -> str:
    if hasattr(distribution, "choices"):
        return ", ".join(str(c) for c in distribution.choices)
    suffix = ", whole" if "Int" in type(distribution).__name__ else ""
    return f"{distribution.low:g} to {distribution.high:g}{', log scale' if distribution.log else ''}{suffix}"


def describe_strategy(strategy: Strategy) -> str:
    """What a strategy does: the first sentence of its file."""
    files = (importlib.import_module(f"{search.__name__}.{m.name}") for m in pkgutil.iter_modules(search.__path__))
    docstring = next((file.__doc__ for file in files if file.STRATEGY is strategy), None)
    return re.split(r"(?<=[.]) (?=[A-Z])", " ".join((docstring or "").split()))[0]
