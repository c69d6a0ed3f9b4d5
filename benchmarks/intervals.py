"""How often the 95 % interval of a test score holds the truth: `python -m benchmarks.intervals [--draws 1000]`.

Scores of both classes are normal, so that the area under the curve is known (Hanley & McNeil 1982, Radiology 143:29).
Each draw is a sealed set of its own; the interval is what `estimate.test_interval` makes of it, beside the straight one
of the same standard error, cut at the bounds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from scipy.special import expit, ndtri

from benchmarks.stamp import print_table
from models.evaluation.estimate import Z95, estimate_test_score, recover_error
from models.metrics.metric import Fold3, Metric, make_metric

AUC = make_metric("roc_auc", "binary", (0, 1))
AREAS, POSITIVES, ROWS = (0.95, 0.98), (8, 25, 100), 500


def main() -> None:
    """Prints one table, a row for each area and number of positives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    head = ("roc_auc", f"positives of {ROWS} rows", "straight holds it in", "logit holds it in", "straight", "logit")
    rows = [(f"{area:g}", many, *_measure_coverage(area, many, draws)) for area in AREAS for many in POSITIVES]
    print_table(f"Intervals of a test score, {draws:,} draws each; mean length last", head, rows)


def _measure_coverage(area: float, positives: int, draws: int) -> tuple[str, ...]:
    """In what share of the draws each interval holds the area, and how long each is on average."""
    ends = np.array([_make_intervals(AUC, fold, seed) for seed, fold in enumerate(_draw_folds(area, positives, draws))])
    held = ((ends[:, :, 0] <= area) & (area <= ends[:, :, 1])).mean(axis=0)
    length = (ends[:, :, 1] - ends[:, :, 0]).mean(axis=0)
    return (*(f"{100 * share:.1f} %" for share in held), *(f"{one:.3f}" for one in length))


def _draw_folds(area: float, positives: int, draws: int) -> Iterator[Fold3]:
    """So many sealed sets with a fixed model's probabilities."""
    draw = np.random.default_rng(round(1000 * area) + positives)
    target = (np.arange(ROWS) < positives).astype(int)
    for _ in range(draws):
        odds = expit(np.sqrt(2) * ndtri(area) * target + draw.normal(size=ROWS))
        yield target, np.column_stack([1 - odds, odds]), None


def _make_intervals(metric: Metric, fold: Fold3, seed: int) -> tuple[tuple[float, float], ...]:
    """(low, high), straight and as Nestor makes it."""
    found = estimate_test_score(metric, fold, np.arange(len(fold[0])), seed)
    assert found.low is not None
    assert found.high is not None
    # Of a perfect score the bootstrap has no error.
    half = 0.0 if found.value == metric.high else Z95 * (recover_error(metric, found) or 0.0)
    straight = max(metric.low, found.value - half), min(metric.high, found.value + half)
    return straight, (found.low, found.high)


if __name__ == "__main__":
    main()
