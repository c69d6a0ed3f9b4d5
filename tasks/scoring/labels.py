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
    blanks = column.isna() | column.astype("str").str.strip().str.lower().isin(reading.missing)
    if blanks.all():
        return np.full(len(column), np.nan), ""
    run = Run(data="", target=facts["target"], task="regression" if facts["task"] == "regression" else "multiclass")
    target = read_target(column, run, reading.decimal, reading.missing)
    if facts["task"] == "regression":
        return np.where(target.missing, np.nan, target.values), ""
    places = [match_class(label, facts["classes"]) for label in target.classes]
    codes = np.array([np.nan if code is None else code for code in places])
    strangers = [label for label, code in zip(target.classes, places, strict=True) if code is None]
    _refuse_strange_labels(target, strangers, facts)
    note = f"The model does not know the labels {join_names(strangers)}; their rows have no score." if strangers else ""
    return np.where(target.missing, np.nan, codes[np.where(target.missing, 0, target.values)]), note


def _refuse_strange_labels(target: Target, strangers: Sequence[Any], facts: dict[str, Any]) -> None:
    """InputError where most rows have one of the strange labels."""
    tally = Tally(facts["target"], Spelling({to_label_text(label): 2 for label in facts["classes"]}))
    rows = np.bincount(target.values[~target.missing], minlength=len(target.classes))
    example = to_label_text(facts["classes"][0])
    for label, count in zip(target.classes, rows.tolist(), strict=True):
        tally.count({to_label_text(label) if label in strangers else example: count})
    if tally.strange:
        raise InputError(tally.refusal)
