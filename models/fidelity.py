"""Multi-fidelity: a part of a fit that tells early how good the whole one will be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.families import Family, Part


def lessened(
    known: Family, config: Mapping[str, Any], part: Part, share: float, seed: int
) -> tuple[Mapping[str, Any], Part]:
    """The configuration and the training rows for this share of a fit, whichever of rounds and rows the family counts
    in. Smaller shares take some of the rows of larger ones; every class keeps its share of them."""
    if share >= 1 or known.fidelity == "folds":
        return config, part
    if known.fidelity == "rounds":
        return {**config, "rounds": max(1, round(share * known.most_rounds))}, part
    rows = _some(part, share, seed)
    weight = None if part.weight is None else part.weight[rows]
    group = None if part.group is None else part.group[rows]
    return config, replace(part, X=part.X[rows], y=part.y[rows], weight=weight, group=group, kept={})


def _some(part: Part, share: float, seed: int) -> np.ndarray:
    """Places of the kept rows, ascending: drawn within each class; in order of time the latest."""
    if part.shape.time:
        return np.arange(len(part.y))[-max(2, math.ceil(share * len(part.y))) :]
    order = np.random.default_rng(seed).permutation(len(part.y))
    labels = part.y[order] if part.shape.task != "regression" else np.zeros(len(order))
    kept = [order[labels == one][: max(2, math.ceil(share * (labels == one).sum()))] for one in np.unique(labels)]
    return np.sort(np.concatenate(kept))


def folds(known: Family, share: float, inner: int) -> int:
    """How many of the inner folds this share of a trial is fitted on."""
    return max(1, math.ceil(share * inner)) if known.fidelity == "folds" else inner
