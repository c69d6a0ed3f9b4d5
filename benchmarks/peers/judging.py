"""The scorer of all systems: it reads the predictions that they wrote, and nothing else of them."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pandas as pd

LARGER_IS_BETTER = {"roc_auc": True, "log_loss": False, "rmse": False, "mae": False}
"""The metrics that every system can be asked for."""
SMALLEST = 1e-15
"""The least probability that a log loss counts."""


class UnusablePredictions(Exception):
    """What a system wrote can't be scored."""


def score_predictions(
    metric: str, truth: pd.Series, predictions: pd.DataFrame, labels: Collection[str] | None = None
) -> float:
    """The metric of predictions, in its own sense: one column for regression, else a column for each of `labels`, which
    are text. A label without a column has probability 0; rows are brought to the sum 1."""
    if labels is not None and (unknown := [name for name in predictions if name not in labels]):
        raise UnusablePredictions(f"'{unknown[0]}' is no label of the target, whose labels are {sorted(labels)[:20]}.")
    if len(predictions) != len(truth):
        raise UnusablePredictions(f"{len(truth)} rows were asked for, {len(predictions)} are predicted.")
    values = predictions.to_numpy(dtype=float)
    if not np.isfinite(values).all():
        raise UnusablePredictions(f"{int((~np.isfinite(values)).any(axis=1).sum())} rows have no finite prediction.")
    return _SCORERS[metric](truth, predictions)


def _score_ranking(truth: pd.Series, predictions: pd.DataFrame) -> float:
    from sklearn.metrics import roc_auc_score

    label = sorted(truth.astype(str).unique())[-1]
    return float(roc_auc_score(truth.astype(str) == label, _select(predictions, [label])[:, 0]))


def _score_odds(truth: pd.Series, predictions: pd.DataFrame) -> float:
    labels = sorted({*truth.astype(str), *predictions.columns})
    odds = np.clip(_select(predictions, labels), SMALLEST, None)
    odds = odds / odds.sum(axis=1, keepdims=True)
    places = pd.Index(labels).get_indexer(truth.astype(str))
    return float(-np.log(odds[np.arange(len(odds)), places]).mean())


def _select(predictions: pd.DataFrame, labels: list[str]) -> np.ndarray:
    return predictions.reindex(columns=labels, fill_value=0.0).to_numpy(dtype=float)


def _score_squares(truth: pd.Series, predictions: pd.DataFrame) -> float:
    return float(np.sqrt(np.mean((_differences(truth, predictions)) ** 2)))


def _score_distances(truth: pd.Series, predictions: pd.DataFrame) -> float:
    return float(np.mean(np.abs(_differences(truth, predictions))))


def _differences(truth: pd.Series, predictions: pd.DataFrame) -> np.ndarray:
    return predictions.to_numpy(dtype=float)[:, 0] - truth.to_numpy(dtype=float)


_SCORERS: dict[str, Callable[[pd.Series, pd.DataFrame], float]] = {
    "roc_auc": _score_ranking,
    "log_loss": _score_odds,
    "rmse": _score_squares,
    "mae": _score_distances,
}
