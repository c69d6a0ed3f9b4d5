"""The user's own ranges of hyperparameters, in place of a family's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InputError, join_names

Range = Sequence[Any] | float | int | str | bool
"""`[low, high]`, `[low, high, "log"]`, `[low, high, "linear"]`, a list of choices, or one fixed value."""


def has_user_range(trial: Any, *names: str) -> bool:
    """Whether the user has a range for one of these hyperparameters of the trial: then they are asked for, whatever
    that costs."""
    return isinstance(trial, BoundedTrial) and not trial.ranges.keys().isdisjoint(names)


@dataclass
class BoundedTrial:
    """A trial that is asked for the family's ranges and asks on for the user's."""

    trial: Any
    ranges: Mapping[str, Range]

    def suggest_float(self, name: str, low: float, high: float, **options: Any) -> float:
        """A number between the user's bounds, where there are any."""
        return self.trial.suggest_float(name, *self._find_bounds(name, low, high, options), **options)

    def suggest_int(self, name: str, low: int, high: int, **options: Any) -> int:
        """A whole number between the user's bounds, where there are any."""
        first, last = self._find_bounds(name, low, high, options)
        if not (float(first).is_integer() and float(last).is_integer()):
            raise InputError(f"{name} is a whole number: its range can't be from {first:g} to {last:g}.")
        return self.trial.suggest_int(name, int(first), int(last), **options)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the user's choices, where there are any."""
        bounds = self.ranges.get(name, choices)
        values = list(bounds) if isinstance(bounds, (list, tuple)) else [bounds]
        for value in values:
            if value not in choices:
                raise InputError(f"{name} can be one of {join_names(choices)}, not {value!r}.")
        return self.trial.suggest_categorical(name, values)

    def _find_bounds(self, name: str, low: float, high: float, options: dict[str, Any]) -> tuple[float, float]:
        if name not in self.ranges:
            return low, high
        low, high, scale = _parse_range(name, self.ranges[name])
        options["log"] = options.get("log", False) if scale is None else scale == "log"
        if low == high <= 0:  # one fixed value has no scale: no penalty at all is 0
            options["log"] = False
        if options["log"] and low <= 0:
            raise InputError(f"{name} is searched on a log scale: its range must lie above 0, not begin at {low:g}.")
        return low, high


def _parse_range(name: str, bounds: Range) -> tuple[float, float, str | None]:
    parts: list[Any] = list(bounds) if isinstance(bounds, (list, tuple)) else [bounds, bounds]
    scale = parts.pop() if len(parts) == 3 and parts[2] in ("log", "linear") else None
    numbers = [p for p in parts if isinstance(p, (int, float)) and not isinstance(p, bool) and math.isfinite(p)]
    if len(numbers) != 2 or len(parts) != 2 or numbers[0] > numbers[1]:
        raise InputError(
            f"{name} is a number: give one value, [low, high] or [low, high, log], such as [0.01, 0.1, log], "
            f"not {bounds!r}."
        )
    return numbers[0], numbers[1], scale
