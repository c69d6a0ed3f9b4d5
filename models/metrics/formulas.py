"""The formulas behind metrics: row losses, functions of the confusion matrix, and rank metrics, each for many row
weightings at once.

scikit-learn computes one score per call; a bootstrap needs a thousand over the same rows. Here rows are sorted or
counted once and all replicates follow by array arithmetic. Names are scikit-learn's scorer names, and the values are
scikit-learn's (tests hold them to it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy import sparse

FLOOR = float(np.finfo(np.float64).eps)
"""The least probability that log loss reads: scikit-learn's own floor for float64."""


# --- Row losses: the metric is their weighted mean, or its square root -----------------------------------------------


def _take_true_probability(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return prediction[np.arange(len(target)), target]


def _brier_loss(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Squared distance to the one-hot target; half of it for two classes (scikit-learn's `scale_by_half='auto'`)."""
    squares = (prediction**2).sum(axis=1) - 2 * _take_true_probability(target, prediction) + 1
    return squares / 2 if prediction.shape[1] == 2 else squares


def _is_in_top_two(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    probability = _take_true_probability(target, prediction)[:, None]
    later = np.arange(prediction.shape[1]) > target[:, None]
    ahead = (prediction > probability) | ((prediction == probability) & later)
    return (ahead.sum(axis=1) < 2).astype(float)


def _poisson_deviance(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    ratio = np.where(target > 0, target, 1) / prediction
    return np.where(prediction > 0, 2 * (np.where(target > 0, target, 0) * np.log(ratio) - target + prediction), np.nan)


def _gamma_deviance(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return np.where(prediction > 0, 2 * (np.log(prediction / target) + target / prediction - 1), np.nan)


def _squared_log_error(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return (np.log1p(target) - np.log1p(prediction)) ** 2


def pinball_loss(target: np.ndarray, prediction: np.ndarray, level: float) -> np.ndarray:
    """What each row adds to the pinball loss: scikit-learn's `mean_pinball_loss` with `alpha=level`. All arrays are
    (rows,); `level` is between 0 and 1."""
    short = target - prediction
    return np.maximum(level * short, (level - 1) * short)


LOSSES: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "neg_log_loss": lambda t, p: -np.log(np.clip(_take_true_probability(t, p), FLOOR, 1 - FLOOR)),
    "neg_brier_score": _brier_loss,
    "top_k_accuracy": _is_in_top_two,
    "neg_mean_absolute_error": lambda t, p: np.abs(t - p),
    "neg_mean_squared_error": lambda t, p: (t - p) ** 2,
    "neg_root_mean_squared_error": lambda t, p: (t - p) ** 2,
    "neg_mean_absolute_percentage_error": lambda t, p: np.abs(t - p) / np.maximum(np.abs(t), FLOOR),
    "neg_mean_squared_log_error": _squared_log_error,
    "neg_root_mean_squared_log_error": _squared_log_error,
    "neg_mean_poisson_deviance": _poisson_deviance,
    "neg_mean_gamma_deviance": _gamma_deviance,
    "accuracy": lambda t, p: (t == p).astype(float),
}


# --- Functions of the confusion matrix (replicate, true class, predicted class) --------------------------------------


def divide_safely(numerator: np.ndarray, denominator: np.ndarray, empty: float = 0.0) -> np.ndarray:
    """The quotient, and `empty` where the divisor is 0. The two shapes broadcast."""
    return np.divide(
        numerator, denominator, out=np.full(np.broadcast(numerator, denominator).shape, empty), where=denominator != 0
    )


def average_known(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean along the last axis of what is not NaN; NaN where nothing is left. `weights` has the shape of
    `values`, the result the same without the last axis."""
    weights = np.where(np.isnan(values), 0.0, weights)
    return divide_safely((np.nan_to_num(values) * weights).sum(axis=-1), weights.sum(axis=-1), np.nan)


def _make_class_average(measure: str, average: str) -> Callable[[np.ndarray], np.ndarray]:
    """f1, precision, recall or jaccard over confusion matrices, averaged over classes as scikit-learn does."""

    def value(table: np.ndarray) -> np.ndarray:
        hit, true, predicted = np.einsum("bii->bi", table), table.sum(axis=2), table.sum(axis=1)
        present = (true + predicted > 0).astype(float)
        parts = {"f1": (2 * hit, true + predicted), "precision": (hit, predicted), "recall": (hit, true),
                 "jaccard": (hit, true + predicted - hit)}[measure]  # fmt: skip
        if average == "micro":
            return divide_safely(parts[0].sum(axis=1), parts[1].sum(axis=1), np.nan)
        if average == "binary":
            return divide_safely(parts[0][:, 1], parts[1][:, 1])
        return average_known(divide_safely(*parts), present if average == "macro" else true)

    return value


def _balanced_accuracy(table: np.ndarray) -> np.ndarray:
    true = table.sum(axis=2)
    return average_known(divide_safely(np.einsum("bii->bi", table), true), (true > 0).astype(float))


def _matthews_correlation(table: np.ndarray) -> np.ndarray:
    true, predicted, rows = table.sum(axis=2), table.sum(axis=1), table.sum(axis=(1, 2))
    covariance = np.einsum("bii->b", table) * rows - (true * predicted).sum(axis=1)
    spread = (rows**2 - (predicted**2).sum(axis=1)) * (rows**2 - (true**2).sum(axis=1))
    return divide_safely(covariance, np.sqrt(np.maximum(spread, 0)))


def _make_likelihood_ratio(predicted: int) -> Callable[[np.ndarray], np.ndarray]:
    def value(table: np.ndarray) -> np.ndarray:
        rate = divide_safely(table[:, :, predicted], table.sum(axis=2), np.nan)
        return divide_safely(rate[:, 1], rate[:, 0], np.nan)

    return value


TABLES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "balanced_accuracy": _balanced_accuracy,
    "matthews_corrcoef": _matthews_correlation,
    "positive_likelihood_ratio": _make_likelihood_ratio(1),
    "neg_negative_likelihood_ratio": _make_likelihood_ratio(0),
    **{measure: _make_class_average(measure, "binary") for measure in ("f1", "precision", "recall", "jaccard")},
    **{
        f"{measure}_{average}": _make_class_average(measure, average)
        for measure in ("f1", "precision", "recall", "jaccard")
        for average in ("macro", "micro", "weighted")
    },
}


def count_confusions(target: np.ndarray, predicted: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrices (replicate, true, predicted), one sparse product for all replicates. `target` and `predicted`
    have a code for each row, `weights` is (B, rows)."""
    pairs = target * classes + predicted
    incidence = sparse.csr_array(
        (np.ones(len(pairs)), (pairs, np.arange(len(pairs)))), shape=(classes * classes, len(pairs))
    )
    return np.asarray(incidence @ weights.T).T.reshape(len(weights), classes, classes)


# --- Rank metrics and others that need all rows of a fold at once ----------------------------------------------------


def _auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted AUC for each row of `weights`: below each positive, the cumulated weight of the negatives, ties half
    (Mann & Whitney 1947)."""
    up, down = np.flatnonzero(positive), np.flatnonzero(~positive)
    up, down = up[np.argsort(score[up], kind="stable")], down[np.argsort(score[down], kind="stable")]
    below = np.zeros((len(weights), len(down) + 1))
    np.cumsum(weights[:, down], axis=1, out=below[:, 1:])
    left, right = (np.searchsorted(score[down], score[up], side) for side in ("left", "right"))
    beaten = below[:, left] if np.array_equal(left, right) else (below[:, left] + below[:, right]) / 2
    mass = weights[:, up]
    return divide_safely(np.einsum("bi,bi->b", mass, beaten), mass.sum(axis=1) * below[:, -1], np.nan)


def _average_precision(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision for each row of `weights`; one step for each distinct score."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    ordered = weights[:, order]
    hits = np.cumsum(ordered * positive[order], axis=1)[:, last]
    steps = np.diff(hits, axis=1, prepend=0.0)
    precision = divide_safely(hits, np.cumsum(ordered, axis=1)[:, last])
    return divide_safely(np.einsum("bi,bi->b", steps, precision), hits[:, -1], np.nan)


Ranked = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _rank_one_class(rank: Ranked) -> Ranked:
    """The rank metric of the positive class where there are two, else the plain mean over classes that occur."""

    def value(target: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if prediction.shape[1] == 2:
            return rank(target == 1, prediction[:, 1], weights)
        return _average_over_classes(rank, False)(target, prediction, weights)

    return value


def _average_over_classes(rank: Ranked, weighted: bool) -> Ranked:
    def value(target: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        columns = range(prediction.shape[1])
        values = np.stack([rank(target == c, prediction[:, c], weights) for c in columns], axis=1)
        shares = np.stack([weights[:, target == c].sum(axis=1) for c in columns], axis=1)
        return average_known(values, shares if weighted else (shares > 0).astype(float))

    return value


def _average_over_pairs(weighted: bool) -> Ranked:
    """Mean AUC over pairs of classes (Hand & Till 2001, Machine Learning 45:171)."""

    def value(target: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        values, shares = [], []
        for a in range(prediction.shape[1]):
            for b in range(a):
                rows = np.flatnonzero((target == a) | (target == b))
                is_a, part = target[rows] == a, weights[:, rows]
                areas = _auc(is_a, prediction[rows, a], part) + _auc(~is_a, prediction[rows, b], part)
                values.append(areas / 2)
                shares.append(part.sum(axis=1))
        share = np.stack(shares, axis=1)
        return average_known(np.stack(values, axis=1), share if weighted else (share > 0).astype(float))

    return value


def _make_explained_variance(centred: bool) -> Ranked:
    """r2, or explained variance where the error's mean is taken off first."""

    def value(target: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        # Away from zero, sum of squares minus square of the sum would lose digits.
        around = target - target.mean()
        error = target - prediction
        shift = error.mean() if centred else 0.0
        sums = weights @ np.stack([np.ones_like(error), around, around**2, error - shift, (error - shift) ** 2], axis=1)
        total, first, second, miss, misses = sums.T
        spread = second - divide_safely(first**2, total)
        residual = misses - divide_safely(miss**2, total) if centred else misses
        return 1 - divide_safely(residual, np.where(spread > 1e-12 * second, spread, 0.0), np.nan)

    return value


RANKS: Mapping[str, Ranked] = {
    "roc_auc": _rank_one_class(_auc),
    "roc_auc_ovr": _average_over_classes(_auc, False),
    "roc_auc_ovr_weighted": _average_over_classes(_auc, True),
    "roc_auc_ovo": _average_over_pairs(False),
    "roc_auc_ovo_weighted": _average_over_pairs(True),
    "average_precision": _rank_one_class(_average_precision),
    "r2": _make_explained_variance(False),
    "explained_variance": _make_explained_variance(True),
}
