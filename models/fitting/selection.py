"""The optional selection step: the columns that alone tell most about the target stay, the others go.

Each column is judged by the F test of one-way analysis of variance, or of correlation (filters: Guyon & Elisseeff 2003,
Journal of Machine Learning Research 3:1157). That costs one pass over the rows; mutual information costs a search for
neighbours in every column and every trial. It is fitted inside the fold, on the rows that the model is fitted
on: done before the folds are cut it would find signal in noise (Ambroise & McLachlan 2002, PNAS 99:6562)."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
from sklearn.feature_selection import SelectKBest, f_classif, f_regression

from models.fitting.family import TrainingData

MANY = 30
"""Columns from which on a table may hold enough useless ones for a choice to pay."""

SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)
"""Shares of the columns that may be kept: all of them, and then about half as many each time."""


def select_columns(part: TrainingData, share: float) -> tuple[SelectKBest, TrainingData]:
    """The selection fitted on the part's rows, and the part with the columns that stay: at least one."""
    judge = f_regression if part.shape.task == "regression" else f_classif
    selection = SelectKBest(judge, k=math.ceil(share * part.X.shape[1]))
    rows = slice(None) if part.weight is None else part.weight > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says which columns are constant; they come last
        selection.fit(part.X[rows], part.y[rows])
    return selection, _keep_columns(part, np.flatnonzero(np.asarray(selection.get_support())))


def _keep_columns(part: TrainingData, columns: np.ndarray) -> TrainingData:
    """The part with these columns only, and what it says of single columns moved along."""
    place = {int(old): new for new, old in enumerate(columns)}
    stop = None if part.stop is None else (part.stop[0][:, columns], *part.stop[1:])
    return replace(
        part,
        X=part.X[:, columns],
        shape=replace(part.shape, columns=len(columns)),
        categories=tuple(place[c] for c in part.categories if c in place),
        monotone=tuple(part.monotone[c] for c in columns) if part.monotone else (),
        origins=tuple(part.origins[c] for c in columns) if part.origins else (),
        season=None if part.season is None else place.get(part.season),
        stop=stop,
        kept={},
    )
