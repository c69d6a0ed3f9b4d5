"""Conformal scores of the outer rows, what they cover of the sealed rows, and the file that a version keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.evaluation.conformal import ConformalScores, make_conformal_scores, measure_coverage
from models.metrics.metric import Fold3
from models.outcome import Coverage
from models.splitting.split import ALL
from tasks.values import RunPlan

if TYPE_CHECKING:
    from tasks.evaluation.ensemble import FoldEnsemble


def make_conformal(
    plan: RunPlan, ensembles: dict[str, FoldEnsemble], outer: Sequence[tuple[str, Fold3]]
) -> ConformalScores | None:
    """The scores of those folds whose members are delivered; all of them around the one model where there is one. None
    without outer rows: inner ones chose the configuration, their scores would flatter."""
    refit = ALL if ALL in ensembles else None
    rows = [
        (k, target, prediction)
        for k, (target, prediction, _) in outer
        if refit is not None or _has_all_classes(plan, k)
    ]
    return make_conformal_scores(plan.work_rows.task, rows, refit)


def _has_all_classes(plan: RunPlan, fold: str) -> bool:
    """Whether the fold's training part holds every class: members that lack one are not delivered."""
    classes = np.unique(plan.work_rows.target[plan.folds[fold].train])
    return plan.work_rows.task == "regression" or len(classes) == len(plan.work_rows.classes)


def measure_sealed_coverage(
    plan: RunPlan, ensembles: dict[str, FoldEnsemble], scores: ConformalScores | None
) -> tuple[Coverage, ...]:
    """What is covered of the sealed rows, once the tested models have predicted them."""
    if scores is None or plan.sealed_rows is None:
        return ()
    arrays = {part.fold: np.asarray(plan.context.folder.read_array(f"sealed/{part.fold}")) for part in scores.folds}
    predictions = [ensembles[fold].finish.calibrate(array) for fold, array in arrays.items()]
    return measure_coverage(scores, predictions, plan.sealed_rows.target)
