"""The target of later rows, as a version knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.config import Run
from models.data.labels import match_class, to_label_text
from models.data.spelling import Spelling, Tally
from models.errors import InputError, join_names
from tasks.data.column_types.target import Target, read_target

if TYPE_CHECKING:
    from tasks.registry.load import LoadedVersion


def encode_labels(loaded: LoadedVersion, column: pd.Series) -> tuple[np.ndarray, str]:
    """Values, or codes into the version's classes, NaN where there is none; and what to say of unknown labels.
    InputError where most labels are unknown."""
    facts, reading = loaded.facts, loaded.reading
    empty = column.isna() | column.astype("str").str.strip().str.lower().isin(reading.missing)
    if empty.all():
        return np.full(len(column), np.nan), ""
    run = Run(data="", target=facts["target"], task="regression" if facts["task"] == "regression" else "multiclass")
    found = read_target(column, run, reading.decimal, reading.missing)
    if facts["task"] == "regression":
        return np.where(found.missing, np.nan, found.values), ""
    places = [match_class(label, facts["classes"]) for label in found.classes]
    own = np.array([np.nan if code is None else code for code in places])
    strange = [label for label, code in zip(found.classes, places, strict=True) if code is None]
    _refuse_strange_labels(found, strange, facts)
    note = f"The model does not know the labels {join_names(strange)}; their rows have no score." if strange else ""
    return np.where(found.missing, np.nan, own[np.where(found.missing, 0, found.values)]), note


def _refuse_strange_labels(found: Target, strange: Sequence[Any], facts: dict[str, Any]) -> None:
    """InputError where most rows have one of the strange labels."""
    tally = Tally(facts["target"], Spelling({to_label_text(label): 2 for label in facts["classes"]}))
    rows = np.bincount(found.values[~found.missing], minlength=len(found.classes))
    known = to_label_text(facts["classes"][0])
    for label, count in zip(found.classes, rows.tolist(), strict=True):
        tally.count({to_label_text(label) if label in strange else known: count})
    if tally.strange:
        raise InputError(tally.refusal)
