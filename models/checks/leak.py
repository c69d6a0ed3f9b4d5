"""Does one column alone explain the target?

The cross-validated score of one small tree per column. A column that holds what is only known afterwards, or a copy of
the target, scores nearly perfectly. False alarms: a table whose target really is a function of one column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from models.checks import WorkRows, take_first_names
from models.data.table import Finding
from models.errors import join_names

# Of a perfect score, in each metric. Honest columns of real tables stay below .98.
R2, AUC, ERROR = 0.99, 0.995, 0.005
FEWEST_ROWS, MOST_ROWS, CELLS = 30, 2_000, 1_500_000
FOLDS = 3
# Trees are dear: only columns get one along which neighbours agree about the target twice as often as by chance.
DISORDER, MOST_TREES = 0.5, 200
PASSED = "No column alone explains the target."


def signal(work: WorkRows) -> Iterator[Finding]:
    """A warning that names the columns, with their scores."""
    rows = _sample_rows(len(work.target), work.features.shape[1])
    target = work.target[rows]
    if len(rows) < FEWEST_ROWS or len(np.unique(target)) < 2:
        return
    part = work.features.iloc[rows]
    columns = {str(name): _encode_column(column) for name, column in part.items()}
    candidates = sorted((_measure_disorder(column, target, work.task), name) for name, column in columns.items())
    scores = {
        name: _score_column(columns[name], target, work.task)
        for disorder, name in candidates[:MOST_TREES]
        if disorder < DISORDER
    }
    leaks = {name: score for name, score in scores.items() if score is not None}
    if leaks:
        names = join_names(f"{name} ({score:.2%})" for name, score in sorted(leaks.items(), key=lambda kv: -kv[1]))
        measure = {"regression": "of its variance", "binary": "AUC"}.get(work.task, "right")
        sentence = (
            f"One column alone explains over 99 % of the target ({measure}): {names}. If it is only known afterwards, "
            "drop it: with it every score looks too good."
        )
        yield Finding("leak", "warn", sentence, take_first_names(leaks))


def _sample_rows(rows: int, columns: int) -> np.ndarray:
    """The rows to look at, shuffled: fewer where there are many columns, so that the check takes a second or two."""
    limit = max(300, min(MOST_ROWS, CELLS // max(columns, 1)))
    return np.random.default_rng(0).permutation(rows)[:limit]


def _encode_column(column: pd.Series) -> np.ndarray:
    """The column as float32, NaN where missing: levels as codes, dates as days."""
    if column.dtype.kind == "M":
        days = (column - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
        values = days.to_numpy(np.float64)
    elif pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(np.float64)
    else:
        codes = pd.factorize(column, sort=True)[0].astype(np.float64)
        values = np.where(codes < 0, np.nan, codes)
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(-1, 1)


def _measure_disorder(column: np.ndarray, target: np.ndarray, task: str) -> float:
    """How much neighbours along the column differ in the target, against what chance makes (1): near 0 where the column
    tells it. The idea of Chatterjee's correlation (2021, JASA 116:2009)."""
    values = target[np.argsort(column[:, 0], kind="stable")]
    if task == "regression":
        return float(np.mean(np.diff(values) ** 2) / (2 * np.var(values)))
    shares = np.bincount(values.astype(np.int64)) / len(values)
    return float(np.mean(values[1:] != values[:-1]) / (1 - (shares**2).sum()))


def _score_column(column: np.ndarray, target: np.ndarray, task: str) -> float | None:
    """The column's cross-validated score where it is nearly perfect, else None."""
    if np.isnan(column).mean() > 0.95:
        return None
    if task == "regression" and (line_score := _score_line(column[:, 0], target)) > R2:
        return line_score
    tree = _make_tree(task).fit(column, target)
    if not _is_suspicious(_score_predictions(target, _predict_column(tree, column, task), task), target, task):
        return None  # a tree that does not fit these rows does not fit others
    fold = np.arange(len(target)) % FOLDS
    predicted = np.zeros(len(target))
    for k in range(FOLDS):
        tree = _make_tree(task).fit(column[fold != k], target[fold != k])
        predicted[fold == k] = _predict_column(tree, column[fold == k], task)
    score = _score_predictions(target, predicted, task)
    return score if _is_suspicious(score, target, task) else None


def _score_line(column: np.ndarray, target: np.ndarray) -> float:
    """The share of variance that a straight line explains."""
    mask = np.isfinite(column)
    if mask.mean() < 0.9 or np.ptp(column[mask]) == 0 or np.ptp(target[mask]) == 0:
        return 0.0
    return float(np.corrcoef(column[mask].astype(np.float64), target[mask])[0, 1] ** 2)


def _make_tree(task: str) -> Any:
    # Slow to import: reading and `nestor check --help` do without.
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier
    return kind(max_depth=7, min_samples_leaf=2, random_state=0)


def _predict_column(tree: Any, column: np.ndarray, task: str) -> np.ndarray:
    """Probabilities of the last class in binary tasks, else predictions."""
    if task != "binary":
        return tree.predict(column)
    probabilities = tree.predict_proba(column)
    return probabilities[:, -1] if probabilities.shape[1] == 2 else np.full(len(column), float(tree.classes_[0]))


def _score_predictions(target: np.ndarray, predicted: np.ndarray, task: str) -> float:
    """R2, AUC or accuracy."""
    if task == "regression":
        return 1 - float(((target - predicted) ** 2).sum() / ((target - target.mean()) ** 2).sum())
    if task == "multiclass":
        return float(np.mean(target == predicted))
    ranks = pd.Series(predicted).rank().to_numpy()
    positives = target == target.max()
    n, m = positives.sum(), (~positives).sum()
    return float((ranks[positives].sum() - n * (n + 1) / 2) / (n * m))


def _is_suspicious(score: float, target: np.ndarray, task: str) -> bool:
    if task == "regression":
        return score > R2
    if task == "binary":
        return score > AUC
    base = 1 - np.bincount(target.astype(np.int64)).max() / len(target)
    return 1 - score <= min(ERROR, 0.05 * base)
