"""What a preparation is made from, and steps that several kinds of columns share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from models.data.table import Task
from models.fitting.family import Needs

MOST_CODES = 30
"""Categories with more levels than this are encoded by the target's mean, others by codes or 0/1 columns."""

MISSING = "\U0010ffff"
"""Stands for a missing level: no character, so that no level is called so, and sorted behind all of them as NaN is."""

Part = tuple[str, Any, Any]
"""Name, transformer and columns, as scikit-learn's ColumnTransformer takes them."""


@dataclass(frozen=True, eq=False)
class PreparationInputs:
    """Training rows, what is known of their columns, and what the family needs."""

    features: pd.DataFrame
    kinds: Mapping[str, str]
    target: np.ndarray
    task: Task
    needs: Needs
    seed: int
    orders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ordered category -> its levels, lowest first."""
    units: np.ndarray | None = None
    """What each row is a part of (a group, a point, a block of time); None where each is one of its own."""

    def list_columns(self, *kinds: str) -> list[str]:
        """The columns of these kinds, kind by kind, in the table's order."""
        return [c for kind in kinds for c in self.features.columns if self.kinds[c] == kind]

    @cached_property
    def levels(self) -> Mapping[str, int]:
        """Categories and keys -> how many levels they have."""
        columns = self.list_columns("category", "key")
        return dict(self.features[columns].nunique()) if columns else {}

    def list_few_levels(self, kind: str) -> list[str]:
        """The columns of a kind with at most MOST_CODES levels."""
        return [c for c in self.list_columns(kind) if self.levels[c] <= MOST_CODES]

    def list_many_levels(self, kind: str) -> list[str]:
        """The columns of a kind with more levels."""
        return [c for c in self.list_columns(kind) if self.levels[c] > MOST_CODES]

    def folds(self) -> KFold | StratifiedKFold | list[tuple[np.ndarray, np.ndarray]]:
        """The division of the training rows by which none is encoded by its own target, or by that of its unit: rows to
        come are of other units. With units they are pairs of places (n,): to fit on, and to encode."""
        units = 0 if self.units is None else len(np.unique(self.units))
        if 2 <= units < len(self.target):
            splitter = GroupKFold(min(5, units), shuffle=True, random_state=self.seed)
            return list(splitter.split(self.target, groups=self.units))
        if self.task == "regression":
            return KFold(5, shuffle=True, random_state=self.seed)
        rarest = int(np.unique(self.target, return_counts=True)[1].min())
        return StratifiedKFold(max(2, min(5, rarest)), shuffle=True, random_state=self.seed)


def walk_steps(step: Any) -> Iterator[Any]:
    """The step and all that stand in it, those that it was made of and those that it fitted."""
    yield step
    for name in ("transformers", "transformers_", "steps"):
        for _, child, *_ in getattr(step, name, ()):
            yield from walk_steps(child)


def make_scalers(needs: Needs) -> list[Any]:
    """Steps to mean 0 and variance 1 where the family needs them."""
    return [StandardScaler()] if needs.scaled else []


def make_imputers(needs: Needs, indicator: bool = False) -> list[SimpleImputer]:
    """Steps that put the median for what is missing where the family can't take that."""
    return [] if needs.missing else [
        SimpleImputer(strategy="median", add_indicator=indicator, keep_empty_features=True)
    ]  # fmt: skip


def finish_encoder(encoder: Any, needs: Needs) -> Pipeline:
    """The encoder, followed by what the family still needs of the numbers that it makes."""
    return make_pipeline(encoder, *make_imputers(needs), *make_scalers(needs))


def make_float_step() -> StandardScaler:
    """A step that leaves numbers as they are and makes floats of them, so that None, as a request over HTTP has it,
    is NaN as in training."""
    return StandardScaler(with_mean=False, with_std=False)


def make_level_imputers() -> list[SimpleImputer]:
    """Steps that make of whatever stands for missing one level, the last. Encoders of words take None, as a request
    over HTTP has it, for a level never seen where they were fitted on NaN."""
    marks: tuple[Any, ...] = (np.nan, None)
    return [
        SimpleImputer(missing_values=mark, strategy="constant", fill_value=MISSING, keep_empty_features=True)
        for mark in marks
    ]
