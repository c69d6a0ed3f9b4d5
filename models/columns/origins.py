"""Which column of the table each prepared column comes of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder


def trace_origins(transformer: ColumnTransformer, features: pd.DataFrame) -> tuple[int, ...]:
    """For each prepared column the place of the table's column that it was made of."""
    places = {column: place for place, column in enumerate(features.columns)}
    origins: list[int] = []
    for name, step, columns in transformer.transformers_:
        outputs = transformer.output_indices_[name]
        if width := outputs.stop - outputs.start:
            inputs = [places[c] for c in ([columns] if isinstance(columns, str) else columns)]
            origins += _trace_outputs(step, inputs, width)
    return tuple(origins)


def _trace_outputs(step: Any, inputs: list[int], width: int) -> list[int]:
    """The input that each of a part's outputs comes of: outputs of one input lie together, indicators last."""
    if width == len(inputs):
        return inputs
    for part in (part for _, part in step.steps) if isinstance(step, Pipeline) else ():
        if isinstance(part, OneHotEncoder):
            # Its names are `input_level`, and the steps before it leave no names but these.
            names = part.get_feature_names_out([str(i) for i in range(len(inputs))])
            return [inputs[int(name.split("_", 1)[0])] for name in names]
        if isinstance(part, SimpleImputer) and part.add_indicator:
            return [*inputs, *(inputs[i] for i in part.indicator_.features_)]  # pyright: ignore[reportOptionalMemberAccess]
    return np.repeat(inputs, width // len(inputs)).tolist()
