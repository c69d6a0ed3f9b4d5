"""Columns to numbers: one preparation per (training rows, needs), shared by every family with the same needs.

One file per kind of column: `numeric`, `categories`, `dates`, `texts`. Only classes of scikit-learn and skrub, so that
a fitted preparation can be delivered as it is. Everything that looks at the target (target encoding) is fitted here, on
training rows alone, with its own inner cross-fitting."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

from models.columns import categories, dates, numeric, texts
from models.columns.given import MOST_CODES, PreparationInputs
from models.columns.origins import trace_origins
from models.data.table import Task
from models.fitting.family import Needs

__all__ = ["MOST_CODES", "TRUSTED", "PreparedRows", "count_many_levels", "prepare", "transform"]


@dataclass(frozen=True, eq=False)
class PreparedRows:
    """A fitted preparation and the training rows it was fitted on, prepared."""

    transformer: ColumnTransformer | None
    """None: the prepared rows were read from where they were kept, and nothing else is to be prepared."""
    X: np.ndarray
    """(rows, columns) float64."""
    categories: tuple[int, ...]
    """Columns of X that hold category codes."""
    plain: tuple[str, ...] = ()
    """Names of the first columns of X: what is one number each, and rises in X as it rises in the table."""
    origins: tuple[int, ...] = ()
    """For each column of X the place of the table's column that it comes of."""
    mb: float = 0.0
    """Size of the transformer, where it is not at hand."""
    ms: float = 0.0
    """Milliseconds in which it prepares one row, where that was measured."""


def prepare(
    features: pd.DataFrame,
    kinds: Mapping[str, str],
    target: np.ndarray,
    task: Task,
    needs: Needs,
    seed: int,
    orders: Mapping[str, Sequence[str]] | None = None,
    units: np.ndarray | None = None,
) -> PreparedRows:
    """The preparation fitted on these training rows, and the rows themselves prepared. `orders`: the levels of each
    ordered category, lowest first; `units`: what each row is a part of, where rows are not separate observations.
    `target` is (rows,), of classes codes."""
    inputs = PreparationInputs(features, kinds, target, task, needs, seed, orders or {}, units)
    makers = (
        numeric.make_parts,
        categories.make_parts,
        categories.make_order_parts,
        dates.make_parts,
        texts.make_parts,
    )
    parts = [part for maker in makers for part in maker(inputs)]
    transformer = ColumnTransformer(parts, sparse_threshold=0.0, verbose_feature_names_out=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X = np.asarray(transformer.fit_transform(features, target), dtype=np.float64)
    texts.simplify_vocabulary(transformer)
    categories.drop_encoding_folds(transformer)
    codes, origins = categories.find_code_columns(transformer), trace_origins(transformer, features)
    return PreparedRows(transformer, X, codes, numeric.list_plain_columns(inputs), origins)


def transform(transformer: ColumnTransformer, features: pd.DataFrame) -> np.ndarray:
    """The rows prepared, (rows, columns) float64; unseen levels become missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(transformer.transform(features), dtype=np.float64)


def count_many_levels(features: pd.DataFrame, kinds: Mapping[str, str]) -> int:
    """How many columns of categories or keys have more than MOST_CODES levels."""
    return sum(features[c].nunique() > MOST_CODES for c in features.columns if kinds[c] in ("category", "key"))


TRUSTED = (
    "numpy.dtype",
    "numpy.ravel",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.utils._bunch.Bunch",
    "skrub._datetime_encoder.DatetimeEncoder",
    "skrub._datetime_encoder._CircularEncoder",
    "skrub._squashing_scaler.SquashingScaler",
    "skrub._squashing_scaler._MinMaxScaler",
    "skrub._string_encoder.StringEncoder",
    "skrub._to_str.ToStr",
)
"""Types in a prepared pipeline, its selection of columns included, that skops must be allowed to load."""
