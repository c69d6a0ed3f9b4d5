"""Targets with a long tail, such as prices: whether a regression is fitted to their logarithm is a hyperparameter.

Box & Cox 1964 (Journal of the Royal Statistical Society B 26:211). A predicted logarithm, turned back, aims at the
median rather than the mean: whether that costs less than the tail does is for the inner folds to say. No prediction
goes beyond the targets of the training rows: the exponential of a line drawn further would have no bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, QuantileTransformer

from models.fitting.family import TrainingData

_SKEWNESS = 1.0
"""An exponential distribution has 2; a lognormal one, whose logarithm has a standard deviation of 1/3, has 1."""

_STEP = 1e-6
"""Of a scale from 0 to 1, for derivatives."""


def is_skewed(target: np.ndarray) -> bool:
    """Whether the target (rows,) is nowhere negative and its skewness is above 1."""
    values = np.sort(target)  # the same answer whatever the order of the rows
    deviations = values - values.mean()
    spread = float(np.sqrt((deviations**2).mean()))
    return bool(values[0] >= 0 and spread > 0 and (deviations**3).mean() > _SKEWNESS * spread**3)


def transform_target(part: TrainingData) -> tuple[Pipeline, TrainingData]:
    """The transformer of the target, and the part with log(1 + y), brought to 0..1, for y; made once for a part, so
    that what families keep of its rows is made once too."""
    if "log_target" not in part.kept:
        part.kept["log_target"] = _take_logarithm(part)
    return part.kept["log_target"]


def _take_logarithm(part: TrainingData) -> tuple[Pipeline, TrainingData]:
    # Two quantiles are the least and the greatest: a scale from 0 to 1 that, turned back, ends there.
    scaler = QuantileTransformer(n_quantiles=2, subsample=None)  # pyright: ignore[reportArgumentType]
    transformer = make_pipeline(FunctionTransformer(np.log1p, np.expm1, check_inverse=False), scaler)
    y = transformer.fit_transform(part.y[:, None])[:, 0]
    if part.stop is None:
        return transformer, replace(part, y=y, kept={})
    X, targets, weight = part.stop
    return transformer, replace(part, y=y, stop=(X, transformer.transform(targets[:, None])[:, 0], weight), kept={})


def aim_validation_targets(judge: TrainingData, transformer: Pipeline, model: Any) -> TrainingData:
    """The validation rows with such targets on the transformer's scale that the squared error there has, at what the
    model says, the slope that the squared error of the target itself has."""
    predictions = model.predict(judge.X)
    above, centre, below = (_invert_target(transformer, predictions + step) for step in (_STEP, 0.0, -_STEP))
    return replace(judge, y=predictions - (above - below) / (2 * _STEP) * (centre - judge.y), kept={})


def _invert_target(transformer: Pipeline, values: np.ndarray) -> np.ndarray:
    return transformer.inverse_transform(values[:, None])[:, 0]


def restore_target(model: Any, transformer: Pipeline, part: TrainingData) -> TransformedTargetRegressor:
    """The model fitted on the logged part, predicting the target itself."""
    regressor = TransformedTargetRegressor(FrozenEstimator(model), transformer=transformer, check_inverse=False)
    return regressor.fit(part.X, part.y)
