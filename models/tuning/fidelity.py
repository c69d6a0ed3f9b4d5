"""Multi-fidelity: a part of a trial that tells early how good the whole one will be.

A share of a trial is first a share of its inner folds. One whole fold ranks configurations better than a part of a fit
on each of them, at the same cost; and its fits are the first fits of the whole trial, so that who goes on loses
nothing. What is less than one fold is a part of a fit: of its rounds, or of the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.fitting.family import Family, Shape, TrainingData

ETA = 3
"""From one rung to the next a third goes on, with three times as much (Li et al. 2018, JMLR 18:185, who advise 3 or
4)."""

_LEAST_ROWS = 250
"""A training part's rows for each time that its share is divided: shares of fewer tell little."""

_MOST_DIVIDED = 3

LEAST = 1 / ETA**_MOST_DIVIDED
"""The least share of a trial that there is, on many rows."""


def list_shares(family: Family, shape: Shape, inner: int | None = None) -> tuple[float, ...]:
    """The shares of a trial that tell enough of it, the least first; the last is 1. What counts in folds alone, and
    small tables, have a third only; what counts in folds has no parts where one fold is more than a third of them."""
    times = int(math.log(max(1.0, shape.rows / _LEAST_ROWS), ETA) + 1e-9)
    by_folds = 0 if inner is not None and inner < ETA else 1
    times = by_folds if family.fidelity == "folds" else min(_MOST_DIVIDED, max(1, times))
    return tuple(1 / ETA**n for n in range(times, -1, -1))


def divide_share(family: Family, share: float, inner: int) -> tuple[int, float]:
    """On how many of the inner folds a trial of this share is fitted, and the share of a fit on each of them."""
    count = min(inner, max(1, math.floor(share * inner + 1e-9)))
    return count, 1.0 if family.fidelity == "folds" or share >= 1 else min(1.0, share * inner / count)


def reduce_fit(
    family: Family, config: Mapping[str, Any], part: TrainingData, share: float, seed: int
) -> tuple[Mapping[str, Any], TrainingData]:
    """The configuration and the training rows for this share of a fit, in rounds or in rows as the family declares.

    Rows for early stopping stay what they are, so rounds may end before their share is over; without such rows it is
    the family's share of what it takes then. Smaller shares of the rows are some of those of larger ones."""
    if share >= 1 or family.fidelity == "folds":
        return config, part
    if family.fidelity == "rounds":
        return config, replace(part, share=share)
    rows = np.flatnonzero(_choose_latest(part, share) if part.shape.time else _draw_rows(part, share, seed))
    weight = None if part.weight is None else part.weight[rows]
    group = None if part.group is None else part.group[rows]
    return config, replace(part, X=part.X[rows], y=part.y[rows], weight=weight, group=group, kept={})


def _choose_latest(part: TrainingData, share: float) -> np.ndarray:
    """Which rows stay where they are in order of time: the latest, and of each class the latest two."""
    mask = np.zeros(len(part.y), bool)
    mask[-_count_rows(share, len(part.y)) :] = True
    for members in _split_classes(part):
        mask[np.flatnonzero(members)[-2:]] = True
    return mask


def _draw_rows(part: TrainingData, share: float, seed: int) -> np.ndarray:
    """Which rows stay, drawn so that every class keeps its share of them. Groups stay whole: each class has those that
    come first until they hold its share."""
    units = np.arange(len(part.y)) if part.group is None else np.unique(part.group, return_inverse=True)[1]
    place = np.random.default_rng(seed).permutation(units.max() + 1)[units]
    mask = np.zeros(len(place), bool)
    for members in _split_classes(part):
        ranked = np.sort(place[members])
        mask[place[members & (place <= ranked[_count_rows(share, len(ranked)) - 1])]] = True
    return mask[place]


def _split_classes(part: TrainingData) -> list[np.ndarray]:
    """The rows of each class; in regression all rows."""
    if part.shape.task == "regression":
        return [np.ones(len(part.y), bool)]
    return [part.y == label for label in np.unique(part.y)]


def _count_rows(share: float, rows: int) -> int:
    return min(rows, max(2, math.ceil(share * rows)))
