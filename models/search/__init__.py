"""The search strategies: one file each, found by looking in this folder.

To add one, write a file with a module constant `STRATEGY` (models/tuning/strategy.py); nothing else needs to know."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from models.errors import InputError, make_unknown_error
from models.tuning.strategy import Strategy


@cache
def load_strategies() -> dict[str, Strategy]:
    """Every strategy in this folder by name, those whose package is missing too."""
    strategies = [importlib.import_module(f"{__name__}.{m.name}").STRATEGY for m in pkgutil.iter_modules(__path__)]
    return {s.name: s for s in sorted(strategies, key=lambda s: s.name)}


def require_strategy(name: str) -> Strategy:
    """The strategy of that name; InputError with the known ones, or with what to install, otherwise."""
    if name not in load_strategies():
        raise make_unknown_error("search strategy", name, load_strategies())
    strategy = load_strategies()[name]
    if not strategy.available:
        raise InputError(
            f"The search {name} can't be used here: the package {strategy.package} is missing: {strategy.install}"
        )
    return strategy
