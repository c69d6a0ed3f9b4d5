"""Search spaces as values: which hyperparameters a family has on a table of this shape, the user's own ranges in place
of the family's, and walks through a space that is only known by being asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from models.config import OfFamily, Run
from models.errors import unknown
from models.families import Family, Shape, proposed
from models.metric import Metric
from models.ranges import Range
from models.search import View, seed_for

Choose = Callable[[str, BaseDistribution], Any]
"""The value of a hyperparameter of that name and distribution."""

_WALKS = 100
"""Random walks after which every branch of a space has been seen."""


@dataclass
class Walk:
    """A trial whose values come from a function. Behaves as Optuna's trials do where spaces ask them."""

    choose: Choose
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number between the bounds."""
        return self._chosen(name, FloatDistribution(low, high, log=log, step=step))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number between the bounds."""
        return self._chosen(name, IntDistribution(low, high, log=log, step=step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        return self._chosen(name, CategoricalDistribution(choices))

    def _chosen(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self.params:
            self.distributions[name] = distribution
            self.params[name] = self.choose(name, distribution)
        return self.params[name]


def walked(known: Family, shape: Shape, choose: Choose) -> Walk:
    """The walk through the family's space that takes the values of `choose`: its params and their distributions."""
    walk = Walk(choose)
    proposed(known, walk, shape)  # pyright: ignore[reportArgumentType]
    return walk


def distributions(known: Family, shape: Shape) -> dict[str, BaseDistribution]:
    """Every hyperparameter that the family has on a table of this shape, those that only some choices bring too; in the
    order in which they are asked."""
    found: dict[str, BaseDistribution] = {}
    for number in range(_WALKS):
        found |= walked(known, shape, lambda n, d, number=number: at(d, _uniform(number, n))).distributions
    return found


def _uniform(*parts: object) -> float:
    return seed_for(*parts) / 2**31


def at(distribution: BaseDistribution, place: float) -> Any:
    """The value at this place in [0, 1) of the distribution, on its own scale."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(len(distribution.choices) - 1, int(place * len(distribution.choices)))]
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high = float(distribution.low), float(distribution.high)
    whole = isinstance(distribution, IntDistribution)
    low, high = (low - 0.5, high + 0.5) if whole else (low, high)
    value = math.exp(math.log(low) + place * math.log(high / low)) if distribution.log else low + place * (high - low)
    return nearest(distribution, value)


def place(distribution: BaseDistribution, value: Any) -> float:
    """The place in [0, 1] of a value, on the distribution's own scale; of a choice its middle."""
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high = float(distribution.low), float(distribution.high)
    if high <= low:
        return 0.5
    found = math.log(value / low) / math.log(high / low) if distribution.log else (value - low) / (high - low)
    return min(1.0, max(0.0, found))


def nearest(distribution: BaseDistribution, value: Any) -> Any:
    """The value of the distribution that is nearest to a number; a choice that is none becomes the first one."""
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices else distribution.choices[0]
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    step = distribution.step
    if step:
        value = distribution.low + round((value - distribution.low) / step) * step
    value = min(distribution.high, max(distribution.low, value))
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def bounded(known: Family, ranges: Mapping[str, Range], shape: Shape) -> Family:
    """The family with the user's ranges in place of its own, and the default moved into them.

    InputError for a hyperparameter that it has not, or a range that can't be one."""
    if not ranges:
        return known
    whole = distributions(known, shape)
    for name in ranges:
        if name not in whole and name not in known.default:
            raise unknown(f"hyperparameter of {known.name}", name, whole)
    narrow = replace(known, ranges=dict(ranges))
    inside = distributions(narrow, shape)
    default = {n: nearest(inside[n], v) if n in ranges and n in inside else v for n, v in known.default.items()}
    return replace(narrow, default=default)


def view_of(known: Family, shape: Shape, metric: Metric, run: Run) -> View:
    """What a search of the family may know before its first trial; InputError as `bounded`."""
    asked = run.families.get(known.name, OfFamily())
    return View(
        bounded(known, asked.space, shape), shape, metric, (), run.seed, run.seed, expected=run.search.trials,
        configurations=asked.configurations, steps=asked.steps,
    )  # fmt: skip
