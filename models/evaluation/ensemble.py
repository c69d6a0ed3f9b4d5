"""Greedy weights over configurations, chosen on inner out-of-fold predictions only.

Forward selection with replacement (Caruana et al. 2004, ICML): start from the best, add whichever configuration makes
the average better, stop when none does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.metrics.metric import Metric

MOST_PER_FAMILY = 3
MOST_MEMBERS = 5
_ROUNDS = 25
_GAIN = 1e-4
"""A smaller relative gain on inner rows is not worth another model to serve."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One configuration with its inner out-of-fold predictions."""

    family: str
    trial: int
    folds: tuple[np.ndarray, ...]
    """Predictions on each inner fold's validation rows."""
    inner: float


@dataclass(frozen=True)
class EnsembleMember:
    """A configuration in the ensemble."""

    family: str
    trial: int
    weight: float


def shortlist_candidates(candidates: Sequence[Candidate], metric: Metric) -> list[Candidate]:
    """At most three configurations of each family, best first."""
    ranking = sorted(candidates, key=lambda c: (-metric.gain(c.inner), c.family, c.trial))
    return [c for i, c in enumerate(ranking) if sum(d.family == c.family for d in ranking[:i]) < MOST_PER_FAMILY]


def weigh_candidates(
    candidates: Sequence[Candidate],
    targets: Sequence[np.ndarray],
    weights: Sequence[np.ndarray | None],
    metric: Metric,
    keeps: Callable[[Sequence[Candidate], Sequence[np.ndarray]], bool] | None = None,
) -> tuple[tuple[EnsembleMember, ...], float]:
    """The members with weights that sum to one, and the ensemble's inner score. With `keeps` only such members go
    together that, with their mean predictions, keep it; each candidate alone has to. `targets` and `weights` are
    (rows,) for each inner fold. InputError where there are row weights and the metric takes none."""
    pool = shortlist_candidates(candidates, metric)

    def score(total: Sequence[np.ndarray], size: int) -> float:
        return metric.score_folds([(y, p / size, w) for y, p, w in zip(targets, total, weights, strict=True)])

    def fits(place: int, size: int) -> bool:
        """Whether the ensemble may take one more of this candidate."""
        if keeps is None:
            return True
        mean = [(t + p) / size for t, p in zip(total, pool[place].folds, strict=True)]
        return keeps([pool[i] for i in sorted({*counts, place})], mean)

    counts = {0: 1}
    total = list(pool[0].folds)
    best = score(total, 1)
    for size in range(2, _ROUNDS + 1):
        places = range(len(pool)) if len(counts) < MOST_MEMBERS else sorted(counts)
        places = [i for i in places if fits(i, size)]
        if not places:
            break
        trials = [(score([t + p for t, p in zip(total, pool[i].folds, strict=True)], size), i) for i in places]
        value, choice = max(trials, key=lambda t: (metric.gain(t[0]), -t[1]))
        if metric.gain(value) <= metric.gain(best) + _GAIN * abs(best) / size:
            break
        counts[choice] = counts.get(choice, 0) + 1
        total = [t + p for t, p in zip(total, pool[choice].folds, strict=True)]
        best = value
    rounds = sum(counts.values())
    members = tuple(EnsembleMember(pool[i].family, pool[i].trial, n / rounds) for i, n in sorted(counts.items()))
    return members, best
