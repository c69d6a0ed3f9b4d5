"""Weights by class: rows of a class count more in fits, and never in scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from models.data.labels import find_class_code
from models.errors import InputError

ClassWeights = tuple[float, ...] | Literal["balanced"]
"""A factor for each class, or `balanced`; empty: all count the same."""


def encode_class_weights(weights: Mapping[str, float] | str | None, classes: Sequence[Any]) -> ClassWeights:
    """What a person asks for, by codes; labels that are not named keep 1. InputError for an unknown label."""
    if not weights:
        return ()
    if not classes:
        raise InputError("A class weight goes with labels: a regression target has none.")
    if isinstance(weights, str):
        return "balanced"
    factors = [1.0] * len(classes)
    for label, factor in weights.items():
        factors[find_class_code(label, classes, "class weights")] = factor
    return tuple(factors)


def apply_class_weights(weight: np.ndarray | None, y: np.ndarray, factors: ClassWeights) -> np.ndarray | None:
    """The row weights of a training part times those of their classes; `balanced`: so that every class weighs the same
    in these rows and the mean factor is 1 (scikit-learn's `class_weight`, King & Zeng 2001, Political Analysis 9:137).
    `y` has a code for each row; weights are (rows,), or None where rows have none."""
    if not len(factors):
        return weight
    weights = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    if factors == "balanced":
        mass = np.bincount(y, weights=weights)
        present = mass > 0
        by_class = np.divide(mass.sum() / present.sum(), mass, out=np.zeros(len(mass)), where=present)
        return weights * by_class[y]
    return weights * np.array(factors)[y]
