"""The families: one file each, found by looking in this folder. A family is a search space and a way of fitting.

To add one, write a file with a module constant `FAMILY`; nothing else needs to know."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.errors import unknown
from models.table import Task

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class Needs:
    """What a family asks of the columns; families with equal needs share one preparation."""

    categories: Literal["codes", "onehot"]
    """`codes`: categories come as small integers; `onehot`: as 0/1 columns."""
    missing: bool
    """Whether NaN may stay."""
    scaled: bool
    """Whether numbers should have mean 0 and variance 1."""


@dataclass(frozen=True)
class Shape:
    """The table's shape, all that a search space or the shortlist may depend on."""

    rows: int
    """Rows of one training part."""
    columns: int
    task: Task
    classes: int = 0
    """Number of classes; 0 in regression."""


@dataclass(frozen=True, eq=False)
class Part:
    """Prepared training rows, and those cut from them to stop early on."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    shape: Shape
    categories: tuple[int, ...] = ()
    """Columns of X that hold category codes."""
    stop: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None
    """X, y and weight of the rows for early stopping; None in refits."""


@dataclass(frozen=True)
class Fitted:
    """A fitted library object, and how many rounds it found best where it stops early."""

    model: Any
    rounds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Family:
    """Everything the rest of Nestor may know about a family."""

    name: str
    suits: str
    """One sentence: for which tables it is a good choice."""
    cost: float
    """Cost of a default fit in core-seconds per million cells, on one core of a 2024 server; an order of magnitude."""
    needs: Needs
    default: Mapping[str, Any]
    """Parameters of trial 0; must lie in the space."""
    space: Callable[[BaseTrial, Shape], dict[str, Any]]
    """Names a configuration: asks the trial for each parameter and returns what `fit` takes."""
    fit: Callable[[Mapping[str, Any], Part, int, int], Fitted]
    """`fit(config, part, seed, threads)`; with `config["rounds"]` set, exactly so many rounds and no early stopping."""
    source: str
    """Where the ranges come from."""
    tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")
    stops_early: bool = False
    tunable: bool = True
    """False: there is only the default."""
    most_cells: float = float("inf")
    """Above so many cells in a training part it is not tried."""
    trusted: tuple[str, ...] = ()
    """Types beyond scikit-learn's plain ones that skops must be allowed to load."""


def patience(learning_rate: float) -> int:
    """Rounds without a gain after which a booster stops: slow learning needs more before "no better" means anything."""
    return int(min(75, max(15, 1.5 / learning_rate)))


@cache
def families() -> dict[str, Family]:
    """Every family in this folder by name, cheapest first."""
    found = [importlib.import_module(f"{__name__}.{m.name}").FAMILY for m in pkgutil.iter_modules(__path__)]
    names = [f.name for f in found]
    if len(set(names)) < len(names):
        raise ValueError(f"two families share a name: {sorted(names)}")
    return {f.name: f for f in sorted(found, key=lambda f: (f.cost, f.name))}


def family(name: str) -> Family:
    """The family of that name; InputError with the known ones otherwise."""
    if name not in families():
        raise unknown("family", name, families())
    return families()[name]
