"""From which probability on the positive class is said: chosen on inner rows, for metrics that judge labels.

Half is right for accuracy of true probabilities and for little else: the best threshold for F1 lies below it (Lipton,
Elkan & Naryanaswamy 2014, ECML), that for balanced accuracy at the share of the positive class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from models.metrics.costs import compute_bayes_threshold
from models.metrics.metric import COST, Fold3, Metric

LEAST = 50
"""Below so many rows half stays (AutoGluon's `calibrate_decision_threshold` draws the same lines)."""
LEAST_PLAIN = 10_000
"""The same for accuracy and cost, whose threshold is known: only probabilities that are off leave a gain."""

_EDGES = 200
_DRAWS, _CELLS = 100, 20_000_000


def find_plain_threshold(metric: Metric) -> float:
    """The threshold of the plain decision between two classes: the likelier one, or the cheaper one."""
    return compute_bayes_threshold(metric.costs) if len(metric.costs) == 2 else 0.5


def chooses_threshold(metric: Metric, rows: int) -> bool:
    """Whether a threshold is chosen for this metric on so many rows."""
    minimum = LEAST_PLAIN if metric.source in ("accuracy", COST) else LEAST
    return metric.needs == "label" and len(metric.classes) == 2 and rows >= minimum


def choose_threshold(metric: Metric, folds: Sequence[Fold3], keys: Sequence[np.ndarray], seed: int) -> float | None:
    """The threshold, a probability, that is best for the metric over these folds of probabilities (rows, 2), averaged
    over bootstrap samples, since the best of one sample is mostly noise; None where the plain decision is as good.
    `keys`: for each fold a key for each row; rows of one key are drawn together, since of a group's hundred rows one
    more says nothing new. InputError where there are row weights and the metric takes none."""
    rows = sum(len(target) for target, _, _ in folds)
    if not chooses_threshold(metric, rows) or any(len(np.unique(target)) < 2 for target, _, _ in folds):
        return None
    edges = _list_thresholds(np.concatenate([odds[:, 1] for _, odds, _ in folds]), find_plain_threshold(metric))
    generator, count = np.random.Generator(np.random.PCG64(seed)), max(1, min(_DRAWS, _CELLS // rows))
    counts = [_draw_counts(pd.factorize(part)[0], count, generator) for part in keys]
    scores = _score_thresholds(metric, folds, counts, edges)
    threshold = float(edges[np.nan_to_num(scores, nan=-np.inf).argmax(axis=1)].mean())
    plain_score, score = (_score_at(metric, folds, edge) for edge in (find_plain_threshold(metric), threshold))
    return threshold if score > plain_score else None


def _draw_counts(codes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """How often each row's key was drawn (replicate, row)."""
    distinct = int(codes.max()) + 1
    return generator.multinomial(distinct, np.full(distinct, 1 / distinct), size=count).astype(float)[:, codes]


def _score_at(metric: Metric, folds: Sequence[Fold3], edge: float) -> float:
    return float(
        _score_thresholds(metric, folds, [np.ones((1, len(target))) for target, _, _ in folds], np.array([edge]))[0, 0]
    )


def _list_thresholds(odds: np.ndarray, plain: float) -> np.ndarray:
    """Where thresholds may lie: between neighbouring quantiles, and at the plain one."""
    levels = np.unique(np.quantile(odds, np.linspace(0, 1, _EDGES + 1)))
    return np.unique([*(levels[1:] + levels[:-1]) / 2, plain])


def _score_thresholds(
    metric: Metric, folds: Sequence[Fold3], counts: Sequence[np.ndarray], edges: np.ndarray
) -> np.ndarray:
    """How good the metric is (replicate, threshold), greater is better."""
    tables = [_count_confusions(fold, count, edges) for fold, count in zip(folds, counts, strict=True)]
    unweighted = all(weight is None for _, _, weight in folds)
    parts = [sum(tables)] if metric.kind == "mean" else tables  # a mean is pooled over folds, all else averaged
    values = [metric.score_tables(part.reshape(-1, 2, 2), unweighted).reshape(part.shape[:2]) for part in parts]  # type: ignore[union-attr]
    return np.mean(values, axis=0) * metric.gain(1.0)


def _count_confusions(fold: Fold3, counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Confusion matrices (replicate, threshold, true, said) of one fold."""
    target, odds, weight = fold
    ranks, size = np.searchsorted(edges, odds[:, 1], side="right"), len(edges) + 1
    place = target * size + ranks
    by_place = sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(2 * size, len(place)))
    mass = np.asarray(by_place @ (counts if weight is None else counts * weight).T).T.reshape(len(counts), 2, size)
    negatives = np.cumsum(mass, axis=2)[:, :, :-1]
    positives = mass.sum(axis=2, keepdims=True) - negatives
    return np.stack([negatives, positives], axis=3).transpose(0, 2, 1, 3)
