"""Columns in groups: what one column of the table was made into, such as a category's 0/1 columns or a text's
components; of wide tables some neighbouring columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from models.fitting.family import Shape, TrainingData

_MOST = 20
"""Groups at most: a hyperparameter for each is one more direction to search in, and takes rows to tell."""


def count_groups(shape: Shape) -> int:
    """How many groups a table of this shape has."""
    return min(_MOST, max(1, shape.columns))


def repeat_by_group(name: str, value: float) -> dict[str, float]:
    """The default of a hyperparameter that every group has, for as many groups as there can be."""
    return {f"{name}_{group}": value for group in range(_MOST)}


def assign_groups(part: TrainingData, columns: int, count: int) -> np.ndarray:
    """(columns of X,): the group of each, where the table had so many columns."""
    origins = np.array(part.origins or range(part.X.shape[1]))
    return np.minimum(origins * count // columns, count - 1)


def make_group_scaler(groups: np.ndarray, scale: np.ndarray) -> ColumnTransformer:
    """Each column times the scale of its group; group by group, so in the order of `find_column_order`. `groups` has a
    code for each column, `scale` is (groups,)."""
    return ColumnTransformer(
        [(str(g), "passthrough", np.flatnonzero(groups == g).tolist()) for g in np.unique(groups)],
        transformer_weights={str(g): float(scale[g]) for g in np.unique(groups)},
        sparse_threshold=0.0,
    )


def fit_linear_model(steps: Sequence[tuple[str, Any]], last: Any, part: TrainingData) -> Pipeline:
    """The steps and the linear model `last` fitted, on the target of a regression in units of its spread, so that a
    penalty means the same whatever the target counts; coefficients are those of the target itself."""
    model = Pipeline([*steps, ("model", last)])
    regression = part.shape.task == "regression"
    spread = float(part.y.std()) or 1.0
    model.fit(part.X, part.y / spread if regression else part.y, model__sample_weight=part.weight)
    if regression:
        last.coef_, last.intercept_ = last.coef_ * spread, last.intercept_ * spread
    return model


def find_column_order(bands: ColumnTransformer) -> np.ndarray:
    """(columns,): for each column that `scaled` makes, which column of X it is."""
    return np.concatenate([columns for _, _, columns in bands.transformers])
