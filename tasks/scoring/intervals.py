"""The columns that intervals and sets of labels add to predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from models.errors import InputError
from models.evaluation.conformal import ConformalScores, compute_intervals, compute_label_sets, format_level

BETWEEN = " | "
"""Stands between the labels of a set."""


@dataclass(frozen=True)
class IntervalLevels:
    """Levels that a version's scores allow."""

    kept: ConformalScores
    levels: tuple[float, ...]

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """`low_90` and `high_90`, or for classes `set_90`, for each level."""
        ends = {"set": pa.string()} if self.kept.task != "regression" else {"low": pa.float64(), "high": pa.float64()}
        return {f"{end}_{format_level(level)}": kind for level in self.levels for end, kind in ends.items()}

    def make_columns(self, outputs: np.ndarray, labels: Sequence[Any]) -> list[np.ndarray]:
        """What stands in the columns, from what every member of the vote says of the rows."""
        fold_outputs = self.kept.combine_members(outputs)
        if self.kept.task == "regression":
            return [end for level in self.levels for end in compute_intervals(self.kept, fold_outputs, level)]
        return [join_set_labels(compute_label_sets(self.kept, fold_outputs, level), labels) for level in self.levels]


def make_interval_levels(levels: Sequence[float], scores: ConformalScores | None, label: str) -> IntervalLevels | None:
    """The levels, each once; None where there are none. InputError where the version, named by its `label`, keeps no
    scores or too few."""
    if not levels:
        return None
    if scores is None:
        raise InputError(
            f"{label} keeps no scores to make intervals of: it was trained without outer folds, or before Nestor kept "
            "them. Train it anew, with more time or with fewer families."
        )
    choices = {format_level(level): level for level in levels}
    for level in choices.values():
        scores.find_place(level)
    return IntervalLevels(scores, tuple(choices.values()))


def join_set_labels(mask: np.ndarray, labels: Sequence[Any]) -> np.ndarray:
    """`a | b` for each row of (rows, classes)."""
    patterns, indices = np.unique(mask, axis=0, return_inverse=True)
    texts = [BETWEEN.join(str(label) for label, flag in zip(labels, row, strict=True) if flag) for row in patterns]
    return np.array(texts, dtype=object)[indices.reshape(-1)]
