"""The file of a version that holds the conformal scores of its outer rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.evaluation.conformal import ConformalScores

FILE = "conformal.json"


def write_conformal(scores: ConformalScores, model: Any, folder: Path) -> Path:
    """The file in the version's folder: the scores, and by which members of the delivered model they stand."""
    file = folder / FILE
    file.write_text(json.dumps(scores.place_members(_list_votes(model, scores)).as_json()), "utf-8")
    return file


def _list_votes(model: Any, scores: ConformalScores) -> list[tuple[str, float]]:
    """Fold and weight of each member of the delivered model; their names say the fold."""
    vote = unwrap_threshold(model)
    if not hasattr(vote, "estimators"):
        return [(scores.folds[0].fold, 1.0)]
    return [(name.rsplit("_", 2)[1], w) for (name, _), w in zip(vote.estimators, vote.weights, strict=True)]


def read_conformal(folder: Path) -> ConformalScores | None:
    """What a version's folder holds; None where it holds none."""
    file = folder / FILE
    return ConformalScores.from_json(json.loads(file.read_text("utf-8"))) if file.exists() else None


def unwrap_threshold(model: Any) -> Any:
    """The model without its threshold."""
    return getattr(model, "estimator_", model)
