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
    plan: RunPlan, chosen: dict[str, FoldEnsemble], outer: Sequence[tuple[str, Fold3]]
) -> ConformalScores | None:
    """The scores of those folds whose members are delivered; all of them around the one model where there is one. None
    without outer rows: inner ones chose the configuration, their scores would flatter."""
    refit = ALL if ALL in chosen else None
    rows = [(k, target, said) for k, (target, said, _) in outer if refit is not None or _has_all_classes(plan, k)]
    return make_conformal_scores(plan.work_rows.task, rows, refit)


def _has_all_classes(plan: RunPlan, fold: str) -> bool:
    """Whether the fold's training part holds every class: members that lack one are not delivered."""
    known = np.unique(plan.work_rows.target[plan.folds[fold].train])
    return plan.work_rows.task == "regression" or len(known) == len(plan.work_rows.classes)


def measure_sealed_coverage(
    plan: RunPlan, chosen: dict[str, FoldEnsemble], kept: ConformalScores | None
) -> tuple[Coverage, ...]:
    """What is covered of the sealed rows, once the tested models have predicted them."""
    if kept is None or plan.sealed_rows is None:
        return ()
    arrays = {one.fold: np.asarray(plan.context.folder.read_array(f"sealed/{one.fold}")) for one in kept.folds}
    said = [chosen[fold].finish.odds(array) for fold, array in arrays.items()]
    return measure_coverage(kept, said, plan.sealed_rows.target)
