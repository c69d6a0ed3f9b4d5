"""What forests have in common, however their trees are split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from models.fitting.family import FittedModel, TrainingData

# Enough for the vote to settle, few enough that a bag of five stays small.
_TREES = 100


def fit_forest(
    forest: Callable[..., Any], config: Mapping[str, Any], part: TrainingData, seed: int, threads: int
) -> FittedModel:
    """The forest, a class of scikit-learn, fitted on the part."""
    # Grown to single rows of a large table it weighs hundreds of megabytes in a bag and gains nothing.
    smallest = max(1, part.shape.rows // 1_500)
    settings = {**config, "min_samples_leaf": max(smallest, config["min_samples_leaf"])}
    constraints = list(part.monotone) if any(part.monotone) else None
    model = forest(n_estimators=_TREES, n_jobs=threads, random_state=seed, monotonic_cst=constraints, **settings)
    model.fit(part.X, part.y, sample_weight=part.weight)
    # The forest adds votes up in the order its threads finish: one thread repeats to the last digit.
    return FittedModel(model.set_params(n_jobs=1))
