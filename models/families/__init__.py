"""The families: one file each, found by looking in this folder. A family is a search space and a way of fitting.

To add one, write a file with a module constant `FAMILY`; nothing else needs to know. A file imports without the
package that its family needs, which `fit` imports late: without it the family is listed with what to install."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from models.errors import InputError, make_unknown_error
from models.fitting.family import Family


@cache
def load_families() -> dict[str, Family]:
    """Every family in this folder by name, cheapest first, those whose package is missing too."""
    families = [importlib.import_module(f"{__name__}.{m.name}").FAMILY for m in pkgutil.iter_modules(__path__)]
    names = [f.name for f in families]
    if len(set(names)) < len(names):
        raise ValueError(f"two families share a name: {sorted(names)}")
    return {f.name: f for f in sorted(families, key=lambda f: (f.cost, f.name))}


def load_family(name: str) -> Family:
    """The family of that name; InputError with the known ones otherwise."""
    if name not in load_families():
        raise make_unknown_error("family", name, load_families())
    return load_families()[name]


def require_family(name: str) -> Family:
    """The family of that name; InputError with what to do where something that it needs is missing."""
    family = load_family(name)
    if family.lack:
        raise InputError(f"The family {name} can't be used here: {family.lack}")
    return family
