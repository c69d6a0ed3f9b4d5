"""The profile of a run's training table and of its model's predictions, which the version keeps for `watch`."""

from __future__ import annotations

import math

import numpy as np

from models.evaluation.estimate import recover_error
from models.monitoring.table_profile import Performance, TableProfile, profile_table, to_prediction_columns
from tasks.evaluation.evaluate import Concluded, on_sealed
from tasks.session import Session


def profiled(session: Session, concluded: Concluded) -> TableProfile:
    """The work rows, and the tested model's predictions on rows that it was not trained on: the sealed ones, else those
    of the outer folds."""
    # Later rows are met as they come: by the source's own columns, not by those made of a history.
    work = session.table.take(session.work_places)
    found, of = _reference(session, concluded)
    unit = session.unit(session.keys)
    alike = unit in ("group", "point")
    return profile_table(
        work.features,
        work.kinds,
        None if found is None else to_prediction_columns(found, work.classes),
        of,
        _performance(session, concluded),
        (session.run.split.time,) if session.run.split.time else (),
        session.keys if alike else None,
        _reference_keys(session, concluded) if alike else None,
        unit if alike else "row",
    )


def _reference(session: Session, concluded: Concluded) -> tuple[np.ndarray | None, str | None]:
    if concluded.test is not None:
        return on_sealed(session, concluded.chosen), "sealed"
    if concluded.outer:
        return np.concatenate([prediction for _, (_, prediction, _) in concluded.outer]), "outer"
    return None, None


def _reference_keys(session: Session, concluded: Concluded) -> np.ndarray | None:
    if concluded.test is not None:
        return session.sealed_keys
    judged = [session.keys[session.folds[k].judge] for k, _ in concluded.outer]
    return np.concatenate(judged) if judged else None


def _performance(session: Session, concluded: Concluded) -> Performance | None:
    """The published score: the test's, else the estimate."""
    score = concluded.test or concluded.estimate
    if score is None or not math.isfinite(score.value):
        return None
    rows, split = session.sealed if concluded.test and session.sealed else session.work, session.run.split
    return Performance(
        metric=session.run.metric or session.metric.name,
        value=score.value,
        error=recover_error(session.metric, score),
        rows=rows.rows,
        of="test" if concluded.test else "estimate",
        weight=session.run.weight,
        group=split.group,
        time=split.time,
        costs=session.run.costs,
        threshold=concluded.threshold,
    )
