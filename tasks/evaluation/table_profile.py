"""The profile of a run's training table and of its model's predictions, which the version keeps for `watch`."""

from __future__ import annotations

import math

import numpy as np

from models.evaluation.estimate import recover_error
from models.monitoring.table_profile import Performance, TableProfile, profile_table, to_prediction_columns
from tasks.evaluation.evaluate import Evaluation, average_sealed_predictions


def profile_run(evaluation: Evaluation) -> TableProfile:
    """The work rows, and the tested model's predictions on rows that it was not trained on: the sealed ones, else those
    of the outer folds."""
    # Later rows are met as they come: by the source's own columns, not by those made of a history.
    work = evaluation.table.take(evaluation.division.work_places)
    predictions, source = _find_reference(evaluation)
    unit = evaluation.find_unit(evaluation.keys)
    alike = unit in ("group", "point")
    return profile_table(
        work.features,
        work.kinds,
        None if predictions is None else to_prediction_columns(predictions, work.classes),
        source,
        _make_performance(evaluation),
        (evaluation.run.split.time,) if evaluation.run.split.time else (),
        evaluation.keys if alike else None,
        _find_reference_keys(evaluation) if alike else None,
        unit if alike else "row",
    )


def _find_reference(evaluation: Evaluation) -> tuple[np.ndarray | None, str | None]:
    if evaluation.test is not None:
        return average_sealed_predictions(evaluation.context, evaluation.chosen), "sealed"
    if evaluation.outer:
        return np.concatenate([prediction for _, (_, prediction, _) in evaluation.outer]), "outer"
    return None, None


def _find_reference_keys(evaluation: Evaluation) -> np.ndarray | None:
    if evaluation.test is not None:
        return evaluation.sealed_keys
    keys = [evaluation.keys[evaluation.folds[k].judge] for k, _ in evaluation.outer]
    return np.concatenate(keys) if keys else None


def _make_performance(evaluation: Evaluation) -> Performance | None:
    """The published score: the test's, else the estimate."""
    score = evaluation.test or evaluation.estimate
    if score is None or not math.isfinite(score.value):
        return None
    rows, split = (
        evaluation.sealed_rows if evaluation.test and evaluation.sealed_rows else evaluation.work_rows,
        evaluation.run.split,
    )
    return Performance(
        metric=evaluation.run.metric or evaluation.metric.name,
        value=score.value,
        error=recover_error(evaluation.metric, score),
        rows=rows.rows,
        of="test" if evaluation.test else "estimate",
        weight=evaluation.run.weight,
        group=split.group,
        time=split.time,
        costs=evaluation.run.costs,
        threshold=evaluation.threshold,
    )
