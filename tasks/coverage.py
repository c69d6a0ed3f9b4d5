"""Conformal scores of the outer rows, what they cover of the sealed rows, and the file that a version keeps of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.conformal import Conformal, conformal, coverage
from models.metric import Fold3
from models.outcome import Coverage
from models.split import ALL
from tasks.predict import vote
from tasks.session import Session

if TYPE_CHECKING:
    from tasks.assemble import Chosen

FILE = "conformal.json"


def scores(session: Session, chosen: dict[str, Chosen], outer: Sequence[tuple[str, Fold3]]) -> Conformal | None:
    """The scores of those folds whose members are delivered; all of them around the one model where there is one. None
    without outer rows: inner ones chose the configuration, their scores would flatter."""
    refit = ALL if ALL in chosen else None
    rows = [(k, target, said) for k, (target, said, _) in outer if refit is not None or _knows_all(session, k)]
    return conformal(session.work.task, rows, refit)


def _knows_all(session: Session, fold: str) -> bool:
    """Whether the fold's training part holds every class: members that lack one are not delivered."""
    known = np.unique(session.work.target[session.folds[fold].train])
    return session.work.task == "regression" or len(known) == len(session.work.classes)


def on_sealed(session: Session, chosen: dict[str, Chosen], kept: Conformal | None) -> tuple[Coverage, ...]:
    """What is covered of the sealed rows, once the tested models have predicted them."""
    if kept is None or session.sealed is None:
        return ()
    arrays = {one.fold: np.asarray(session.workdir.read_array(f"sealed/{one.fold}")) for one in kept.folds}
    said = [chosen[fold].finish.odds(array) for fold, array in arrays.items()]
    return coverage(kept, said, session.sealed.target)


def write(kept: Conformal, model: Any, folder: Path) -> Path:
    """The file in the version's folder: the scores, and by which members of the delivered model they stand."""
    file = folder / FILE
    file.write_text(json.dumps(kept.placed(_votes(model, kept)).as_json()), "utf-8")
    return file


def _votes(model: Any, kept: Conformal) -> list[tuple[str, float]]:
    """Fold and weight of each member of the delivered model; their names say the fold."""
    whole = vote(model)
    if not hasattr(whole, "estimators"):
        return [(kept.folds[0].fold, 1.0)]
    return [(name.rsplit("_", 2)[1], w) for (name, _), w in zip(whole.estimators, whole.weights, strict=True)]


def read(folder: Path) -> Conformal | None:
    """What a version's folder holds; None where it holds none."""
    file = folder / FILE
    return Conformal.from_json(json.loads(file.read_text("utf-8"))) if file.exists() else None
