"""The search strategies: one file each, found by looking in this folder.

A strategy names an Optuna sampler. It is made afresh for each batch from (history, seed), so what it proposes depends
on the told trials alone and never on when or where they ran."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from models.errors import unknown

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """What the rest of Nestor may know about a strategy."""

    name: str
    suits: str
    """One sentence: when to use it."""
    sampler: Callable[[int], BaseSampler]
    """A fresh sampler for a seed."""
    source: str


@cache
def strategies() -> dict[str, Strategy]:
    """Every strategy in this folder by name."""
    found = [importlib.import_module(f"{__name__}.{m.name}").STRATEGY for m in pkgutil.iter_modules(__path__)]
    return {s.name: s for s in sorted(found, key=lambda s: s.name)}


def strategy(name: str) -> Strategy:
    """The strategy of that name; InputError with the known ones otherwise."""
    if name not in strategies():
        raise unknown("search strategy", name, strategies())
    return strategies()[name]


def seed_for(*parts: object) -> int:
    """A seed in 0..2**31-1 from a hash of the parts: the same on every machine and in every session."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
