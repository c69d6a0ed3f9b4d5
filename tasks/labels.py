"""The target of later rows, as a version knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.config import Run
from models.errors import listed
from models.labels import label_text
from tasks.data.target import target

if TYPE_CHECKING:
    from tasks.score import Loaded


def codes(loaded: Loaded, column: pd.Series) -> tuple[np.ndarray, str]:
    """Values, or codes into the version's classes, NaN where there is none; and what to say of unknown labels."""
    facts, reading = loaded.facts, loaded.reading
    empty = column.isna() | column.astype("str").str.strip().str.lower().isin(reading.missing)
    if empty.all():
        return np.full(len(column), np.nan), ""
    run = Run(data="", target=facts["target"], task="regression" if facts["task"] == "regression" else "multiclass")
    found = target(column, run, reading.decimal, reading.missing)
    if facts["task"] == "regression":
        return np.where(found.missing, np.nan, found.values), ""
    place = {label_text(label): code for code, label in enumerate(facts["classes"])}
    own = np.array([place.get(label_text(label), np.nan) for label in found.classes])
    strange = [label for label, code in zip(found.classes, own, strict=True) if np.isnan(code)]
    note = f"The model does not know the labels {listed(strange)}; their rows have no score." if strange else ""
    return np.where(found.missing, np.nan, own[np.where(found.missing, 0, found.values)]), note
