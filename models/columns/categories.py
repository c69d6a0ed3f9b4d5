"""Categories and keys: 0/1 columns or codes where levels are few, the target's mean where they are many. Ordered ones
get 0/1 columns beside their place in the order, so that a linear model is not bound to equal steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from models.columns.given import (
    Part,
    PreparationInputs,
    finish_encoder,
    make_float_step,
    make_level_imputers,
    walk_steps,
)
from models.fitting.family import Needs

RARE = 5
"""Levels of fewer rows share one 0/1 column."""

CODES = "codes"
"""Beginning of the names of the parts that make codes."""


def make_parts(inputs: PreparationInputs) -> Iterator[Part]:
    """Categories, whose values are words, and keys, whose values are numbers, apart: their missing marks differ."""
    for kind, steps in (("category", make_level_imputers), ("key", lambda: [make_float_step()])):
        all_levels = inputs.needs.categories == "levels"
        few = inputs.list_columns(kind) if all_levels else inputs.list_few_levels(kind)
        many = [] if all_levels else inputs.list_many_levels(kind)
        if few and inputs.needs.categories == "onehot":
            yield f"levels_{kind}", make_pipeline(*steps(), _make_onehot_encoder()), few
        elif few:
            yield f"{CODES}_{kind}", _make_ordinal_encoder(kind, inputs.needs), few
        if many:
            yield (
                f"means_{kind}",
                finish_encoder(make_pipeline(*steps(), _make_target_encoder(inputs)), inputs.needs),
                many,
            )


def make_order_parts(inputs: PreparationInputs) -> Iterator[Part]:
    """0/1 columns of ordered categories."""
    if inputs.needs.categories == "onehot" and (columns := inputs.list_columns("ordered")):
        yield "steps", make_pipeline(*make_level_imputers(), _make_onehot_encoder()), columns


def find_code_columns(transformer: ColumnTransformer) -> tuple[int, ...]:
    """Which prepared columns hold codes."""
    places = [place for name, place in transformer.output_indices_.items() if name.startswith(CODES)]
    return tuple(i for place in places for i in range(place.start, place.stop))


def drop_encoding_folds(transformer: Any) -> None:
    """Takes away by which rows training rows were encoded: nothing that comes later asks for it."""
    for step in walk_steps(transformer):
        if isinstance(step, TargetEncoder) and isinstance(step.cv, list):
            step.cv = 5


def _make_ordinal_encoder(kind: str, needs: Needs) -> Any:
    blank = np.nan if needs.missing else -1
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=blank, encoded_missing_value=blank)
    return encoder if kind == "category" else make_pipeline(make_float_step(), encoder)


def _make_onehot_encoder() -> OneHotEncoder:
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=RARE, drop="if_binary", sparse_output=False
    )


def _make_target_encoder(inputs: PreparationInputs) -> TargetEncoder:
    """Each level's mean of the target, drawn to the mean of all by how few rows it has; training rows get that of
    other units (rows, groups, points, blocks of time) in other folds
    (Micci-Barreca 2001, SIGKDD Explorations 3:27; Pargent et al. 2022, Computational Statistics 37:2671)"""
    kind = {"binary": "binary", "multiclass": "multiclass", "regression": "continuous"}[inputs.task]
    return TargetEncoder(target_type=kind, cv=inputs.folds())  # pyright: ignore[reportArgumentType]
