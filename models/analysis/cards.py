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


def describe_family(known: Family) -> dict[str, str]:
    """Heading -> what the family declares of it, in the order in which people ask."""
    categories = _CATEGORIES[known.needs.categories]
    losses = [name for name in known.losses if name != "squared"] if "regression" in known.tasks else []
    return {
        "suits": known.suits,
        "tasks": ", ".join(known.tasks),
        "cost": f"{known.cost:g}",
        "comes with": f"extra {known.extra}" if known.extra else "the base",
        "categories": categories,
        "missing values": "stay" if known.needs.missing else "filled in",
        "numbers": "scaled" if known.needs.scaled else "as they are",
        "early stopping": _format_flag(known.stops_early),
        "row weights": _format_flag(known.weights),
        "monotone columns": _format_flag(known.monotone),
        "also fits": ", ".join(losses),
        "selects columns": _format_flag(known.selects),
        "derivatives by hyperparameters": _format_flag(known.hypergradient is not None),
        "tried": "where it is named, or where the search goes by gradients" if known.many else "",
        "threads": _format_flag(known.threads),
        "GPU": "where there is one; then it repeats to some digits only" if known.gpu else "no",
        "kept in time": {1: "longest", 2: "middling", 3: "first to go"}[known.priority],
        "at most": f"{known.most_cells:,.0f} cells" if known.most_cells < float("inf") else "",
        "stored by": "skops" if known.safe else "pickle, marked unsafe",
        "source": known.source,
    }


def _format_flag(value: bool) -> str:
    return "yes" if value else "no"


def list_hyperparameters(known: Family) -> Iterator[tuple[str, str, str]]:
    """(name, range, default) of every hyperparameter that the space ever names, over tasks and branches."""
    by_task = {task: _collect_distributions(known, _make_wide_shape(task)) for task in known.tasks}
    every = {name: one for found in by_task.values() for name, one in found.items()}
    for name, one in every.items():
        without = [task for task, found in by_task.items() if name not in found]
        note = f" (not in {', '.join(without)})" if without else ""
        default = str(known.default[name]) if name in known.default else ""
        yield name, _describe_range(one) + note, default


def _make_wide_shape(task: Any) -> Shape:
    """A table on which nothing is left out of a space for want of rows or columns."""
    return Shape(1_000, 64, task, 0 if task == "regression" else 2, grid=(8, 8), time=True, season=True, past=4)


def _collect_distributions(known: Family, shape: Shape) -> dict[str, Any]:
    """Name -> Optuna's distribution."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found: dict[str, Any] = {}
    for _ in range(_DRAWS):
        trial = study.ask()
        suggest_configuration(known, trial, shape)
        found = {**trial.distributions, **found}
    return found


def _describe_range(one: Any) -> str:
    if hasattr(one, "choices"):
        return ", ".join(str(c) for c in one.choices)
    whole = ", whole" if "Int" in type(one).__name__ else ""
    return f"{one.low:g} to {one.high:g}{', log scale' if one.log else ''}{whole}"


def describe_strategy(known: Strategy) -> str:
    """What a strategy does: the first sentence of its file."""
    files = (importlib.import_module(f"{search.__name__}.{m.name}") for m in pkgutil.iter_modules(search.__path__))
    said = next((file.__doc__ for file in files if file.STRATEGY is known), None)
    return re.split(r"(?<=[.]) (?=[A-Z])", " ".join((said or "").split()))[0]
