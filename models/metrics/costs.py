"""What decisions cost: a number for each pair of actual and predicted label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from models.data.labels import find_class_code
from models.errors import InputError, join_names

Priced = Mapping[str, Mapping[str, float]]
"""Actual label -> predicted label -> cost, as a person gives it."""

Costs = tuple[tuple[float, ...], ...]
"""The same for codes: a row for each actual class."""


def build_cost_matrix(costs: Priced, classes: Sequence[Any]) -> Costs:
    """The costs by codes; a pair that nobody priced costs 1, a right label 0.

    InputError for an unknown label, and where one label is cheapest whatever is true: then nothing is to be learned
    (what Elkan 2001, IJCAI, calls unreasonable)."""
    codes = range(len(classes))
    table = [[float(i != j) for j in codes] for i in codes]
    for actual, row in costs.items():
        for predicted, cost in row.items():
            table[find_class_code(actual, classes, "costs")][find_class_code(predicted, classes, "costs")] = (
                _check_cost(cost, actual, predicted)
            )
    best = [j for j in codes if all(row[j] <= min(row) for row in table)]
    if best:
        raise InputError(
            f"With these costs {str(classes[best[0]])!r} is the cheapest prediction whatever is true, so there is "
            f"nothing to learn. Give costs for the labels {join_names(classes)}, such as --cost ACTUAL:PREDICTED=5."
        )
    return tuple(map(tuple, table))


def _check_cost(cost: object, actual: object, predicted: object) -> float:
    value = float(cost)  # type: ignore[arg-type]
    if not math.isfinite(value):
        raise InputError(f"The cost of taking {actual} for {predicted} must be a finite number, not {value}.")
    return value


def compute_bayes_threshold(costs: Costs) -> float:
    """From which probability of the positive class on saying so costs less (Elkan 2001, equation 2)."""
    (right_no, false_yes), (false_no, right_yes) = costs
    return (false_yes - right_no) / (false_yes - right_no + false_no - right_yes)
