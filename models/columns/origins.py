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
    found: list[int] = []
    for name, step, columns in transformer.transformers_:
        made = transformer.output_indices_[name]
        if width := made.stop - made.start:
            inputs = [places[c] for c in ([columns] if isinstance(columns, str) else columns)]
            found += _trace_outputs(step, inputs, width)
    return tuple(found)


def _trace_outputs(step: Any, inputs: list[int], width: int) -> list[int]:
    """The input that each of a part's outputs comes of: outputs of one input lie together, indicators last."""
    if width == len(inputs):
        return inputs
    for one in (one for _, one in step.steps) if isinstance(step, Pipeline) else ():
        if isinstance(one, OneHotEncoder):
            # Its names are `input_level`, and the steps before it leave no names but these.
            names = one.get_feature_names_out([str(i) for i in range(len(inputs))])
            return [inputs[int(name.split("_", 1)[0])] for name in names]
        if isinstance(one, SimpleImputer) and one.add_indicator:
            return [*inputs, *(inputs[i] for i in one.indicator_.features_)]  # pyright: ignore[reportOptionalMemberAccess]
    return np.repeat(inputs, width // len(inputs)).tolist()
