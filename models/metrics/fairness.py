"""How differently a model treats the subgroups of a column, as one number: 0 where it treats all alike.

`gap:COLUMN` is the equalized odds difference (Hardt, Price & Srebro 2016, NeurIPS): the largest difference, between two
subgroups, in how often rows of one true class are taken for a class. With two classes that is the larger of the
differences in true and in false positive rates, as fairlearn's `equalized_odds_difference`. `parity:COLUMN` is the
demographic parity difference: the same for all rows of a subgroup, whatever their true class. Of numbers `gap` is the
largest difference in mean absolute error (bounded group loss: Agarwal, Dudík & Wu 2019, ICML), `parity` that in the
mean prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse

from models.errors import InputError, join_names
from models.metrics.formulas import average_known, divide_safely
from models.metrics.metric import Fold3, Metric
from models.text.safe import shorten

LEAST = 10
"""Rows that a rate must rest on to count: of fewer the largest difference is mostly chance."""

MOST_GROUPS = 20
"""A column of more values names no subgroups that one could compare."""


@dataclass(frozen=True)
class Gap(Metric):
    """The largest difference between subgroups. A metric whose targets are two columns: the target, and the codes of
    the subgroups."""

    measure: Literal["gap", "parity"] = "gap"

    @property
    def dear(self) -> bool:
        """Replicates are counted together, so they are cheap."""
        return False

    @property
    def bounded(self) -> bool:
        """Its intervals may reach 0, where all are treated alike, which no interval on the logit scale does."""
        return False

    @property
    def by_class(self) -> bool:
        """Whether subgroups are compared within each true class."""
        return self.measure == "gap" and self.task != "regression"

    def resample(self, folds: Sequence[Fold3], counts: Sequence[np.ndarray]) -> np.ndarray:
        """The gap (B,), averaged over folds, when row i of fold k counts `counts[k][b, i]` times; NaN where no two
        subgroups have rows enough."""
        values = np.stack([self._of_fold(fold, count) for fold, count in zip(folds, counts, strict=True)], axis=1)
        return average_known(values, np.ones_like(values))

    def _of_fold(self, fold: Fold3, counts: np.ndarray) -> np.ndarray:
        targets, prediction, weight = fold
        target, group = targets[:, 0], targets[:, 1].astype(np.int64)
        mass = counts if weight is None else counts * np.asarray(weight, float)
        if self.needs == "value":
            values = np.asarray(prediction, float).reshape(len(target))
            return self._of_means(np.abs(values - target) if self.measure == "gap" else values, group, mass)
        codes = self.decide(prediction) if prediction.ndim == 2 else prediction.astype(np.int64)
        return self._of_rates(target.astype(np.int64), codes, group, mass)

    def _of_means(self, value: np.ndarray, group: np.ndarray, mass: np.ndarray) -> np.ndarray:
        totals, sums = (_sum_by_place(group, mass * part, group.max() + 1) for part in (1.0, value))
        return _find_widest_gap(divide_safely(sums, totals, np.nan)[:, :, None], (np.bincount(group) >= LEAST)[:, None])

    def _of_rates(self, target: np.ndarray, predicted: np.ndarray, group: np.ndarray, mass: np.ndarray) -> np.ndarray:
        groups, classes = int(group.max()) + 1, len(self.classes)
        strata = target if self.measure == "gap" else np.zeros_like(target)
        place = group * classes + strata
        rows = np.bincount(place, minlength=groups * classes).reshape(groups, classes)
        shape = (len(mass), groups, classes, classes)
        cells = _sum_by_place(place * classes + predicted, mass, groups * classes * classes).reshape(shape)
        rates = divide_safely(cells, cells.sum(axis=3, keepdims=True), np.nan)
        return _find_widest_gap(rates.reshape(len(mass), groups, -1), np.repeat(rows >= LEAST, classes, axis=1))


def _sum_by_place(place: np.ndarray, mass: np.ndarray, size: int) -> np.ndarray:
    """The rows' mass (B, n) summed by place: (B, size)."""
    incidence = sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(size, len(place)))
    return np.asarray(incidence @ mass.T).T


def _find_widest_gap(rates: np.ndarray, enough: np.ndarray) -> np.ndarray:
    """Of rates (B, group, rate) the largest difference between two groups that have rows enough (group, rate)."""
    compared = enough.sum(axis=0) >= 2
    if not compared.any():
        return np.full(len(rates), np.nan)
    high, low = (np.where(enough & ~np.isnan(rates), rates, end) for end in (-math.inf, math.inf))
    spread = (high.max(axis=1) - low.min(axis=1))[:, compared]
    return np.where(np.isfinite(spread), spread, 0.0).max(axis=1)


def make_gap(name: str, measure: Literal["gap", "parity"], metric: Metric) -> Gap:
    """The gap of that name for the metric's task; decisions are those of the metric."""
    value = metric.task == "regression"
    high = math.inf if value else 1.0
    return Gap(
        name, False, "value" if value else "label", "fold", 0.0, high, measure, metric.task, metric.classes,
        costs=metric.costs, measure=measure,
    )  # fmt: skip


def describe_gap(measure: str, column: str, task: str) -> str:
    """What a gap is, in the field's terms."""
    kinds = {
        ("gap", True): "largest difference of the mean absolute error",
        ("parity", True): "largest difference of the mean prediction",
        ("gap", False): "equalized odds difference",
        ("parity", False): "demographic parity difference",
    }
    return f"{kinds[measure, task == 'regression']} between subgroups of {column}"


def encode_subgroups(column: pd.Series) -> np.ndarray:
    """Each row's subgroup as a code; missing values are a subgroup too."""
    return pd.factorize(column, use_na_sentinel=False)[0].astype(np.int64)


def check_subgroups(column: pd.Series, target: np.ndarray, by_class: bool) -> None:
    """InputError where the column's subgroups can't be compared: too many of them, or too few rows in them. `target` is
    (rows,)."""
    group, levels = pd.factorize(column, use_na_sentinel=False)
    name = shorten(column.name)
    if len(levels) > MOST_GROUPS:
        raise InputError(
            f"A gap between the subgroups of {name} needs at most {MOST_GROUPS} of them, not {len(levels):,} "
            f"({join_names(levels, 3)}, ...). Give a column of few values, such as classes of age instead of ages."
        )
    if not has_comparable_subgroups(group, target, by_class):
        sizes = join_names([f"{level}: {count}" for level, count in zip(levels, np.bincount(group), strict=True)])
        raise InputError(
            f"A gap between the subgroups of {name} needs two of them with {LEAST} rows each"
            f"{' of one class' * by_class}, in every part that judges. There are {sizes}."
        )


def has_comparable_subgroups(group: np.ndarray, target: np.ndarray, by_class: bool) -> bool:
    """Whether two subgroups have rows enough, of one class where classes are told apart. `group` has a code for each
    row, `target` is (rows,)."""
    kinds = [target == code for code in np.unique(target)] if by_class else [np.ones(len(group), bool)]
    return any((np.bincount(group[kind]) >= LEAST).sum() >= 2 for kind in kinds)
