"""What stands between a fold's averaged probabilities and what is judged and delivered: a calibration and a threshold,
both chosen on the fold's inner rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation import calibration
from models.evaluation.calibration import Calibration
from models.evaluation.threshold import choose_threshold, find_plain_threshold
from models.metrics.metric import Fold3, Metric


@dataclass(frozen=True)
class PostProcessing:
    """The last step of `procedure`; nothing where probabilities and the plain decision are best as they are."""

    calibration: Calibration | None = None
    threshold: float | None = None
    """From which probability on the positive class is said; None: the likelier class, or the cheaper one."""

    def calibrate(self, prediction: np.ndarray) -> np.ndarray:
        """The prediction, probabilities (rows, classes) calibrated."""
        return prediction if self.calibration is None else self.calibration.apply(prediction)


PLAIN = PostProcessing()
"""Probabilities and decisions as they are."""


def apply_threshold(fold: Fold3, threshold: float | None) -> Fold3:
    """The fold as it is judged: with codes where a threshold decides, else as it is."""
    target, odds, weight = fold
    return fold if threshold is None else (target, to_class_codes(odds, threshold), weight)


def to_class_codes(odds: np.ndarray, threshold: float) -> np.ndarray:
    """Codes (rows,), 0 or 1, by a threshold on the second of the probabilities (rows, 2), as scikit-learn's
    `FixedThresholdClassifier` has them."""
    return (odds[:, 1] >= threshold).astype(np.int64)


def choose_post_processing(
    metric: Metric,
    folds: Sequence[Fold3],
    keys: Sequence[np.ndarray],
    calibrate: str,
    choose: bool,
    seed: int,
    pooled: bool = False,
) -> tuple[PostProcessing, list[Fold3]]:
    """What is best on these inner folds of the ensemble's probabilities, and the folds calibrated by other rows.
    `choose`: whether a threshold may be chosen. `pooled`: whether several folds' models will be averaged. Each fold has
    a code for each row and probabilities (rows, classes), `keys` a key for each of its rows. InputError where there are
    row weights and the metric takes none."""
    calibrator, odds = calibration.choose_calibration(metric, folds, keys, calibrate, pooled)
    outputs = [(target, new, weight) for (target, _, weight), new in zip(folds, odds, strict=True)]
    threshold = choose_threshold(metric, outputs, keys, seed) if choose else None
    return PostProcessing(calibrator, threshold), outputs


def average_thresholds(metric: Metric, finishes: Sequence[PostProcessing]) -> float | None:
    """The threshold of several folds' average: the mean of theirs; None where each decides plainly."""
    if all(processing.threshold is None for processing in finishes):
        return None
    return float(
        np.mean(
            [
                find_plain_threshold(metric) if processing.threshold is None else processing.threshold
                for processing in finishes
            ]
        )
    )
