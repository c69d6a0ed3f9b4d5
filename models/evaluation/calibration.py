"""Probabilities that come true as often as they say: how a fold's ensemble is calibrated on its inner rows.

Three ways, those of scikit-learn's `CalibratedClassifierCV`: a sigmoid for each class (Platt 1999), steps that only
rise (Zadrozny & Elkan 2002, KDD), one temperature for all classes (Guo et al. 2017, ICML). A `Calibration` is plain
numbers; the library's own objects are made from them, so that what is judged is what is delivered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from sklearn.calibration import (
    CalibratedClassifierCV,
    _CalibratedClassifier,
    _SigmoidCalibration,
    _TemperatureScaling,
)
from sklearn.dummy import DummyClassifier
from sklearn.isotonic import IsotonicRegression

from models.metrics.formulas import LOSSES
from models.metrics.metric import Fold3, Metric, select_rows

Method = Literal["temperature", "sigmoid", "isotonic"]

TRUSTED = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
)
"""Types in a calibrated model that skops must be allowed to load."""

LEAST = 500
"""Below so many inner rows nothing is calibrated."""
LEAST_STEPS = 1000
"""Below so many rows steps follow noise: scikit-learn's own warning."""
_SURE = 1.645
"""So many standard errors must a gain be worth: one chance in twenty for noise."""
_MOST_ROWS = 20_000
"""More rows say nothing more of a curve."""
_PARTS = 5
"""Parts to cross-fit over."""
PROPER = ("neg_log_loss", "neg_brier_score", "d2_log_loss_score", "d2_brier_score")
"""Metrics that are best for true probabilities."""


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration as plain numbers."""

    method: Method
    values: tuple[tuple[float, ...], ...]
    """For each class (of two the second alone): slope and intercept, or the steps' places and then their heights; for
    temperature its inverse."""

    def make_calibrators(self) -> list[Any]:
        """The library's own fitted calibrators."""
        return [_make_calibrator(self.method, values) for values in self.values]

    def apply(self, odds: np.ndarray) -> np.ndarray:
        """The probabilities (rows, classes) calibrated, as the object of `calibrate_classifier` does it."""
        calibrators, odds = self.make_calibrators(), np.clip(odds, 0, 1)  # a sum of weights may pass 1 by a last digit
        if self.method == "temperature":
            return calibrators[0].predict(odds if odds.shape[1] > 2 else np.column_stack([1 - odds[:, 1], odds[:, 1]]))
        columns = [
            calibrator.predict(odds[:, c]) for c, calibrator in zip(_list_class_columns(odds), calibrators, strict=True)
        ]
        if odds.shape[1] == 2:
            return np.column_stack([1 - columns[0], columns[0]])
        probabilities = np.column_stack(columns)
        total = probabilities.sum(axis=1, keepdims=True)
        return np.divide(probabilities, total, out=np.full_like(probabilities, 1 / len(columns)), where=total != 0)


def calibrate_classifier(estimator: Any, calibration: Calibration) -> CalibratedClassifierCV:
    """The fitted classifier with its probabilities calibrated: a library object whose parts are set by hand, since they
    were fitted on predictions of other rows than the estimator's own."""
    classifier = CalibratedClassifierCV(DummyClassifier(), method=calibration.method)
    classifier.classes_ = estimator.classes_
    parts = {"classes": estimator.classes_, "method": calibration.method}
    classifier.calibrated_classifiers_ = [_CalibratedClassifier(estimator, calibration.make_calibrators(), **parts)]
    return classifier


def fit_calibration(method: Method, fold: Fold3) -> Calibration:
    """The calibration of these rows' probabilities."""
    step = math.ceil(len(fold[0]) / _MOST_ROWS)
    target, odds, weight = select_rows(fold, np.arange(0, len(fold[0]), step))
    if method == "temperature":
        return Calibration(method, ((_fit_temperature(target, odds, weight),),))
    fit = _fit_sigmoid if method == "sigmoid" else _fit_isotonic
    return Calibration(method, tuple(fit(odds[:, c], target == c, weight) for c in _list_class_columns(odds)))


def _fit_temperature(target: np.ndarray, odds: np.ndarray, weight: np.ndarray | None) -> float:
    """The inverse temperature of least log loss: scikit-learn's own to six digits, in a fifth of its time where there
    are many classes."""
    logits = np.log(odds + 1e-12)
    true_logits = logits[np.arange(len(target)), target]

    def loss(power: float) -> float:
        beta = np.exp(power)
        return float(np.average(np.log(np.exp(beta * logits).sum(axis=1)) - beta * true_logits, weights=weight))

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-7}).x))


def _fit_sigmoid(odds: np.ndarray, hit: np.ndarray, weight: np.ndarray | None) -> tuple[float, ...]:
    model = _SigmoidCalibration().fit(odds, hit, weight)
    return float(model.a_), float(model.b_)


def _fit_isotonic(odds: np.ndarray, hit: np.ndarray, weight: np.ndarray | None) -> tuple[float, ...]:
    # Platt's targets bound the steps: a height of 0 or 1 would be punished without end by one row that is otherwise.
    low, high = 1 / (2 + (~hit).sum()), 1 - 1 / (2 + hit.sum())
    model = IsotonicRegression(y_min=low, y_max=high, out_of_bounds="clip").fit(odds, hit, weight)
    return (*map(float, model.X_thresholds_), *map(float, model.y_thresholds_))


def _make_calibrator(method: Method, values: tuple[float, ...]) -> Any:
    if method == "isotonic":
        places, heights = np.split(np.array(values), 2)
        return IsotonicRegression(out_of_bounds="clip").fit(places, heights)
    calibrator = _SigmoidCalibration() if method == "sigmoid" else _TemperatureScaling()
    for name, value in zip(("a_", "b_") if method == "sigmoid" else ("beta_",), values, strict=True):
        setattr(calibrator, name, value)
    return calibrator


def _list_class_columns(odds: np.ndarray) -> range:
    return range(1, 2) if odds.shape[1] == 2 else range(odds.shape[1])


# --- Whether, and which ----------------------------------------------------------------------------------------------


def wants_calibration(metric: Metric, calibrate: str) -> bool:
    """Whether this metric reads probabilities as such, or calibration is asked for."""
    if metric.task == "regression" or calibrate == "never":
        return False
    return calibrate == "always" or metric.source in PROPER or bool(metric.costs)


def choose_calibration(
    metric: Metric, folds: Sequence[Fold3], keys: Sequence[np.ndarray], calibrate: str = "auto", pooled: bool = False
) -> tuple[Calibration | None, list[np.ndarray]]:
    """The best calibration of these folds' probabilities, and the probabilities cross-fitted with it. None, and the
    probabilities as they are, where rows are few or all of one key, or no gain is sure.

    Rows of one key are together in cross-fitting, and count as one in the gain's standard error. The parts cut across
    folds: each fold's model is off in its own way, and what is delivered is none of them. Where several folds' models
    are to be averaged (`pooled`), those that are too sure mend each other: softened first they would not be sure enough
    (Rahaman & Thiery 2021, NeurIPS). Each fold has a code for each row and probabilities (rows, classes), `keys` a key
    for each of its rows."""
    raw = [odds for _, odds, _ in folds]
    if not wants_calibration(metric, calibrate) or sum(map(len, raw)) < LEAST:
        return None, raw
    fold, codes = _join_folds(folds), pd.factorize(np.concatenate(keys))[0]
    if codes.max() < 1:  # nobody is left to calibrate them by
        return None, raw
    sizes = [len(odds) for odds in raw]
    part = codes % _PARTS
    candidates: list[tuple[Method, np.ndarray]] = [
        (method, _cross_fit(method, fold, part)) for method in _list_methods(fold)
    ]
    gains = [_measure_gain(metric, fold, crossed, codes) for _, crossed in candidates]
    best = int(np.argmax([gain for gain, _ in gains]))
    if calibrate != "always" and not gains[best][0] > _SURE * gains[best][1]:
        return None, raw
    method, crossed = candidates[best]
    calibration = fit_calibration(method, fold)
    if calibrate != "always" and pooled and method == "temperature" and calibration.values[0][0] < 1:
        return None, raw
    return calibration, np.split(crossed, np.cumsum(sizes)[:-1])


def _join_folds(folds: Sequence[Fold3]) -> Fold3:
    targets, odds, weights = zip(*folds, strict=True)
    return np.concatenate(targets), np.concatenate(odds), None if weights[0] is None else np.concatenate(weights)


def _list_methods(fold: Fold3) -> tuple[Method, ...]:
    target, odds, _ = fold
    if odds.shape[1] > 2:  # a curve for each class made every table worse that was tried, and costs seconds
        return ("temperature",)
    return ("temperature", "sigmoid", "isotonic") if len(target) >= LEAST_STEPS else ("temperature", "sigmoid")


def _cross_fit(method: Method, fold: Fold3, part: np.ndarray) -> np.ndarray:
    """The probabilities of each part, calibrated by the other parts."""
    crossed = np.empty_like(fold[1])
    for number in np.unique(part):
        crossed[part == number] = fit_calibration(method, select_rows(fold, part != number)).apply(
            fold[1][part == number]
        )
    return crossed


def _measure_gain(metric: Metric, fold: Fold3, crossed: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """By how much the loss is smaller, with its standard error.

    No row counts for more than the surprise of one in all: a forest's probability of 0 that came true costs 36, and
    three such rows would drown what all others say."""
    target, odds, weight = fold
    loss = LOSSES["neg_brier_score" if "brier" in metric.source else "neg_log_loss"]
    weights, ceiling = np.ones(len(target)) if weight is None else weight, math.log(len(target))
    savings = weights * (np.minimum(loss(target, odds), ceiling) - np.minimum(loss(target, crossed), ceiling))
    gain = savings.sum() / weights.sum()
    by_key = np.bincount(codes, savings - gain * weights)
    return float(gain), float(np.sqrt((by_key**2).sum()) / weights.sum())
