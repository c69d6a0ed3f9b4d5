"""Columns to numbers: one preparation per (training rows, needs), shared by every family with the same needs.

Only classes of scikit-learn and skrub, so that a fitted preparation can be delivered as it is. Everything that looks
at the target (target encoding) is fitted here, on training rows alone, with its own inner cross-fitting
(Pargent et al. 2022, Computational Statistics 37:2671)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from models.families import Needs
from models.table import Task

MOST_CODES = 30
"""Categories with more levels than this are encoded by the target's mean, others by codes or 0/1 columns."""

TEXT_COMPONENTS = 20

MISSING = "\U0010ffff"
"""Stands for a missing level: no character, so that no level is called so, and sorted behind all of them as NaN is."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A fitted preparation and the training rows it was fitted on, prepared."""

    transformer: ColumnTransformer
    X: np.ndarray
    """(rows, columns) float64."""
    categories: tuple[int, ...]
    """Columns of X that hold category codes."""
    plain: tuple[str, ...] = ()
    """Names of the first columns of X: numbers that are in X as they are in the table, but for scale."""


def prepare(
    features: pd.DataFrame, kinds: Mapping[str, str], target: np.ndarray, task: Task, needs: Needs, seed: int
) -> Prepared:
    """The preparation fitted on these training rows, and the rows themselves prepared."""
    transformer = _transformer(features, kinds, target, task, needs, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X = np.asarray(transformer.fit_transform(features, target), dtype=np.float64)
    return Prepared(transformer, X, _code_columns(transformer), _plain(kinds, features))


def transform(transformer: ColumnTransformer, features: pd.DataFrame) -> np.ndarray:
    """The rows prepared, (rows, columns) float64; unseen levels become missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(transformer.transform(features), dtype=np.float64)


def _transformer(features, kinds, target, task, needs: Needs, seed: int) -> ColumnTransformer:
    by_kind = {kind: [c for c in features.columns if kinds[c] == kind] for kind in set(kinds.values())}
    levels = features[by_kind.get("category", [])].nunique()
    few = [c for c in levels.index if levels[c] <= MOST_CODES]
    many = [c for c in levels.index if levels[c] > MOST_CODES]
    plain = list(_plain(kinds, features))
    parts = []
    if plain:
        parts.append(("numbers", _numbers(needs), plain))
    if few:
        parts.append(("categories", _few(needs), few))
    if many:
        parts.append(("levels", _finished(_many(target, task, seed), needs), many))
    for position, column in enumerate(features.columns):
        if kinds[column] == "date":
            parts.append((f"date_{position}", _finished(_dates(), needs), column))
        elif kinds[column] == "text" and features[column].str.strip().fillna("").any():
            parts.append((f"text_{position}", _finished(_text(features[column], seed), needs), column))
    return ColumnTransformer(parts, sparse_threshold=0.0, verbose_feature_names_out=False)


def _plain(kinds: Mapping[str, str], features: pd.DataFrame) -> tuple[str, ...]:
    """The columns that stay the numbers they are; they come first in X."""
    return tuple(c for kind in ("number", "boolean") for c in features.columns if kinds[c] == kind)


def _numbers(needs: Needs):
    if needs.missing and not needs.scaled:
        return "passthrough"
    steps = [] if needs.missing else [SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)]
    return make_pipeline(*steps, *([StandardScaler()] if needs.scaled else []))


def _few(needs: Needs):
    if needs.categories == "codes":
        blank = np.nan if needs.missing else -1
        return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=blank, encoded_missing_value=blank)
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=5, drop="if_binary", sparse_output=False
    )
    return make_pipeline(*_named_missing(), encoder)


def _named_missing() -> list[SimpleImputer]:
    """Steps that make of whatever stands for missing one level, the last. These encoders take None, as a request over
    HTTP has it, for a level never seen where they were fitted on NaN."""
    marks: tuple[Any, ...] = (np.nan, None)
    return [
        SimpleImputer(missing_values=mark, strategy="constant", fill_value=MISSING, keep_empty_features=True)
        for mark in marks
    ]


def _many(target: np.ndarray, task: Task, seed: int) -> Pipeline:
    kind = {"binary": "binary", "multiclass": "multiclass", "regression": "continuous"}[task]
    if task == "regression":
        folds = KFold(5, shuffle=True, random_state=seed)
    else:
        rarest = int(np.unique(target, return_counts=True)[1].min())
        folds = StratifiedKFold(max(2, min(5, rarest)), shuffle=True, random_state=seed)
    encoder = TargetEncoder(target_type=kind, cv=folds)  # pyright: ignore[reportArgumentType]
    return make_pipeline(*_named_missing(), encoder)


def _dates():
    from skrub import DatetimeEncoder

    return DatetimeEncoder(resolution="hour", add_weekday=True, add_total_seconds=True)


def _text(column: pd.Series, seed: int):
    from skrub import StringEncoder

    return StringEncoder(n_components=TEXT_COMPONENTS, random_state=seed)


def _finished(encoder, needs: Needs) -> Pipeline:
    """The encoder, followed by what the family still needs of the numbers that it makes."""
    impute = [] if needs.missing else [SimpleImputer(strategy="median", keep_empty_features=True)]
    scale = [StandardScaler()] if needs.scaled else []
    return make_pipeline(encoder, *impute, *scale)


def _code_columns(transformer: ColumnTransformer) -> tuple[int, ...]:
    encoder = transformer.named_transformers_.get("categories")
    if not isinstance(encoder, OrdinalEncoder):
        return ()
    place = transformer.output_indices_["categories"]
    return tuple(range(place.start, place.stop))


TRUSTED = (
    "numpy.dtype",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.utils._bunch.Bunch",
    "skrub._datetime_encoder.DatetimeEncoder",
    "skrub._string_encoder.StringEncoder",
    "skrub._to_str.ToStr",
)
"""Types in a prepared pipeline that skops must be allowed to load."""
