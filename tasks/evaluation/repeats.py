"""Scores taken apart: on rows whose features training held (seen points), and on all others (new points)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.evaluation import estimate
from models.metrics.metric import Fold3, select_rows
from models.outcome import Interval, RepeatedRows, SeenAndNewScores, SubsetScore
from models.splitting.repeats import SOME, measure_repeat_share
from models.splitting.seal import LEAST_ROWS
from models.splitting.split import ALL
from tasks.values import RunPlan


def evaluate_repeats(plan: RunPlan, outer: Sequence[tuple[str, Fold3]], test: Fold3 | None) -> RepeatedRows | None:
    """What is said of rows that repeat; None where hardly any do, and where a series' past becomes columns, which no
    other row has. `outer` are the rows of each outer fold, `test` the sealed ones, as they were judged."""
    share = measure_repeat_share(plan.division.points)
    if share < SOME or plan.table.history is not None:
        return None
    repeats = plan.division.repeats
    mask = np.isin(plan.division.points, np.array(repeats.cut, np.uint64))
    return RepeatedRows(
        repeats.unit, repeats.reason, share, len(repeats.cut), int(mask.sum()),
        _score_outer_rows(plan, outer) if outer else None, None if test is None else _score_test_rows(plan, test),
    )  # fmt: skip


def _score_outer_rows(plan: RunPlan, outer: Sequence[tuple[str, Fold3]]) -> SeenAndNewScores:
    points = plan.division.points[plan.division.work_places]
    parts = [plan.folds[k] for k, _ in outer if k != ALL]
    seen = [np.isin(points[fold.judge], points[fold.train]) for fold in parts]

    def score(masks: Sequence[np.ndarray]) -> Interval | None:
        rows = [select_rows(fold, mask) for (_, fold), mask in zip(outer, masks, strict=True)]
        keys = [plan.keys[fold.judge][mask] for fold, mask in zip(parts, masks, strict=True)]
        # Training parts overlap as they do for whole folds, however few rows of a fold are looked at.
        sizes = [len(fold.train) * mask.mean() for fold, mask in zip(parts, masks, strict=True)]
        interval = estimate.estimate_score(plan.metric, rows, keys, sizes, plan.run.seed)
        return estimate.keep_defined_interval(interval, plan.find_unit(plan.keys))

    return _score_seen_and_new(seen, score)


def _score_test_rows(plan: RunPlan, test: Fold3) -> SeenAndNewScores:
    seen = np.isin(plan.division.points[plan.division.sealed_places], plan.division.points[plan.division.work_places])

    def score(masks: Sequence[np.ndarray]) -> Interval | None:
        rows, keys = select_rows(test, masks[0]), plan.sealed_keys[masks[0]]
        interval = estimate.estimate_test_score(plan.metric, rows, keys, plan.run.seed)
        return estimate.keep_defined_interval(interval, plan.find_unit(plan.sealed_keys))

    return _score_seen_and_new([seen], score)


def _score_seen_and_new(
    seen: Sequence[np.ndarray], score: Callable[[Sequence[np.ndarray]], Interval | None]
) -> SeenAndNewScores:
    total = sum(len(mask) for mask in seen)

    def part(masks: Sequence[np.ndarray]) -> SubsetScore:
        rows = int(sum(mask.sum() for mask in masks))
        return SubsetScore(rows, rows / total, score(masks) if rows >= LEAST_ROWS else None)

    return SeenAndNewScores(part(seen), part([~mask for mask in seen]))
