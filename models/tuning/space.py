"""Search spaces as values: which hyperparameters a family has on a table of this shape, the user's own ranges in place
of the family's, and walks through a space that is only known by being asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from models.config import OfFamily, Run
from models.data.hashes import derive_seed
from models.errors import InputError, join_names, make_unknown_error
from models.fitting.family import Family, Shape
from models.fitting.fit import suggest_configuration
from models.fitting.ranges import Range
from models.metrics.metric import Metric
from models.tuning.goal import make_goal
from models.tuning.strategy import View

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


def walk_space(family: Family, shape: Shape, choose: Choose) -> Walk:
    """The walk through the family's space that takes the values of `choose`: its params and their distributions."""
    walk = Walk(choose)
    suggest_configuration(family, walk, shape)  # pyright: ignore[reportArgumentType]
    return walk


def list_distributions(family: Family, shape: Shape) -> dict[str, BaseDistribution]:
    """Every hyperparameter that the family has on a table of this shape, those that only some choices bring too; in the
    order in which they are asked."""
    distributions: dict[str, BaseDistribution] = {}
    for number in range(_WALKS):
        distributions |= walk_space(
            family, shape, lambda n, d, number=number: to_value(d, _draw_uniform(number, n))
        ).distributions
    return distributions


def _draw_uniform(*parts: object) -> float:
    return derive_seed(*parts) / 2**31


def to_value(distribution: BaseDistribution, place: float) -> Any:
    """The value at this place in [0, 1) of the distribution, on its own scale."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(len(distribution.choices) - 1, int(place * len(distribution.choices)))]
    return to_nearest(distribution, to_number(distribution, place))


def to_number(distribution: BaseDistribution, place: float) -> float:
    """The number at this place of a range of numbers, before it is made whole."""
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high = _find_ends(distribution)
    return low * (high / low) ** place if distribution.log else low + place * (high - low)


@lru_cache
def spread_values(distribution: BaseDistribution, steps: int) -> tuple[Any, ...]:
    """So many values from end to end of a range of numbers, on its own scale; of whole numbers those that differ."""
    places = [i / (steps - 1) for i in range(steps)] if steps > 1 else [0.5]
    return tuple(dict.fromkeys(to_value(distribution, place) for place in places))


def to_place(distribution: BaseDistribution, value: Any) -> float:
    """The place in [0, 1] of a value, on the distribution's own scale; of choices, whole numbers and steps the middle
    of what is theirs: `at` goes back."""
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high = _find_ends(distribution)
    if high <= low:
        return 0.5
    place = math.log(value / low) / math.log(high / low) if distribution.log else (value - low) / (high - low)
    return min(1.0, max(0.0, place))


def _find_ends(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """Where a range of numbers begins and ends: with whole numbers and steps half a step further out, so that every
    value has an equal share of it."""
    half = (distribution.step or 0.0) / 2
    return distribution.low - half, distribution.high + half


def to_nearest(distribution: BaseDistribution, value: Any) -> Any:
    """The value of the distribution that is nearest to a number; a choice that is none becomes the first one."""
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices else distribution.choices[0]
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    step = distribution.step
    if step:
        value = distribution.low + round((value - distribution.low) / step) * step
    value = min(distribution.high, max(distribution.low, value))
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def skip_tried(view: View, configurations: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of the configurations that nothing told has tried, each once."""
    keys = {make_key(trial.params) for trial in view.told}
    for params in configurations:
        if (key := make_key(params)) not in keys:
            keys.add(key)
            yield params


def make_key(params: Mapping[str, Any]) -> str:
    """Text that is the same for equal params, in whatever order."""
    return repr(sorted(params.items()))


def apply_ranges(family: Family, ranges: Mapping[str, Range], shape: Shape) -> Family:
    """The family with the user's ranges in place of its own, and the default moved into them; what only the moved one
    brings is at the middle of its range.

    InputError for a hyperparameter that it has not, or a range that can't be one."""
    if not ranges:
        return family
    narrow = replace(family, ranges=dict(ranges))
    _check_known(narrow, shape, ranges)
    list_distributions(narrow, shape)  # every branch is asked for, so that a wrong range is told before any fit

    return replace(
        narrow, default={**family.default, **walk_space(narrow, shape, partial(move_into_range, family.default)).params}
    )


def find_unasked(family: Family, shape: Shape, names: Iterable[str]) -> list[str]:
    """Those of these hyperparameters that the family leaves out on a table of this shape."""
    keys = list(names)
    distributions = list_distributions(family, shape) if keys else {}
    return [name for name in keys if name not in distributions]


def move_into_range(values: Mapping[str, Any], name: str, distribution: BaseDistribution) -> Any:
    """The given value moved into the distribution; the middle where none is given."""
    return to_nearest(distribution, values[name]) if name in values else to_value(distribution, 0.5)


def keep_one_range(family: Family, name: str) -> Family:
    """The family with none of the user's ranges but that of this hyperparameter."""
    return replace(family, ranges={n: range_ for n, range_ in family.ranges.items() if n == name})


def _check_known(family: Family, shape: Shape, names: Iterable[str]) -> None:
    """InputError for a hyperparameter that the family has neither with the user's ranges nor without the others: one of
    them may bring it, such as `l1_ratio` on large tables, or leave it out."""
    for name in (n for n in names if n not in family.default):  # mostly none: each costs two hundred walks
        distributions = list_distributions(family, shape) | list_distributions(keep_one_range(family, name), shape)
        if name not in distributions:
            raise make_unknown_error(f"hyperparameter of {family.name}", name, distributions)


def complete_configuration(family: Family, shape: Shape, values: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The whole configuration of which a part is given: the rest is the default's. What this table does not ask for is
    left out.

    InputError for a value that can't be, one that no other goes with, or one that is needed and not there."""

    def chosen(name: str, distribution: BaseDistribution) -> Any:
        if name not in values and name not in family.default:
            raise InputError(f"{label} needs {name} too, {describe_range(distribution)}.")
        value = values.get(name, family.default.get(name))
        if not _holds(distribution, value):
            wider = f"; --space {family.name}.{name}=RANGE makes that wider"
            hint = "" if isinstance(distribution, CategoricalDistribution) else wider
            raise InputError(f"{label}: {name} can be {describe_range(distribution)}, not {value!r}{hint}.")
        return to_nearest(distribution, value)

    params = walk_space(family, shape, chosen).params
    extra = [name for name in values if name not in params and name not in family.default]
    if extra:
        _check_known(family, shape, extra)
        raise InputError(f"{label}: {extra[0]} does not go with the rest of it, {params}.")
    return params


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    whole = float(value).is_integer() or not isinstance(distribution, IntDistribution)
    return whole and distribution._contains(float(value))


def describe_range(distribution: BaseDistribution) -> str:
    """The values of a hyperparameter, in words."""
    if isinstance(distribution, CategoricalDistribution):
        return "one of " + join_names(distribution.choices)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    return f"from {distribution.low:g} to {distribution.high:g}"


def make_view(family: Family, shape: Shape, metric: Metric, run: Run) -> View:
    """What a search of the family may know before its first trial; InputError as `apply_ranges`."""
    entry, goal = run.families.get(family.name, OfFamily()), make_goal(metric, run.search)
    narrow = apply_ranges(family, entry.space, shape)
    _check_known(narrow, shape, (name for name in entry.steps if name))
    return View(
        narrow, shape, metric, (), run.seed, run.seed, expected=run.search.trials,
        directions=goal.directions, limited=bool(goal.limits), configurations=entry.configurations, steps=entry.steps,
        goal=goal,
    )  # fmt: skip
