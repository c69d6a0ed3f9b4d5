"""Conformal scores of the outer rows, what they cover of the sealed rows, and the file that a version keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.evaluation.conformal import ConformalScores, make_conformal_scores, measure_coverage
from models.metrics.metric import Fold3
from models.outcome import Coverage
from models.splitting.split import ALL
from tasks.session import Session

if TYPE_CHECKING:
    from tasks.evaluation.ensemble import Chosen


def scores(session: Session, chosen: dict[str, Chosen], outer: Sequence[tuple[str, Fold3]]) -> ConformalScores | None:
    """The scores of those folds whose members are delivered; all of them around the one model where there is one. None
    without outer rows: inner ones chose the configuration, their scores would flatter."""
    refit = ALL if ALL in chosen else None
    rows = [(k, target, said) for k, (target, said, _) in outer if refit is not None or _knows_all(session, k)]
    return make_conformal_scores(session.work.task, rows, refit)


def _knows_all(session: Session, fold: str) -> bool:
    """Whether the fold's training part holds every class: members that lack one are not delivered."""
    known = np.unique(session.work.target[session.folds[fold].train])
    return session.work.task == "regression" or len(known) == len(session.work.classes)


def on_sealed(session: Session, chosen: dict[str, Chosen], kept: ConformalScores | None) -> tuple[Coverage, ...]:
    """What is covered of the sealed rows, once the tested models have predicted them."""
    if kept is None or session.sealed is None:
        return ()
    arrays = {one.fold: np.asarray(session.workdir.read_array(f"sealed/{one.fold}")) for one in kept.folds}
    said = [chosen[fold].finish.odds(array) for fold, array in arrays.items()]
    return measure_coverage(kept, said, session.sealed.target)
