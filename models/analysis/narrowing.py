"""A narrower space for the next search, learned from the trials of earlier ones.

A box around the best configurations of earlier searches, as in Perrone et al. 2019 (Learning search spaces for Bayesian
optimization, NeurIPS); what hardly matters by fANOVA stays at its default, as in van Rijn & Hutter 2018 (KDD)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from models.analysis.importance import HyperparameterImportance, Importance, TrialTable
from models.fitting.ranges import Range
from models.tuning.space import to_number

FEWEST = 50
"""Trials of a family under which its space stays as it is."""
_BEST, _FEWEST_BEST = 0.1, 10
"""Of each study this share of trials is among the best; of all studies together so many at least."""
_NARROWEST = 0.25
"""No range of numbers becomes narrower than this share of what it was, on its own scale."""
_WHOLE = 0.85
"""A range that would keep more than this share stays as it is."""
_END = 0.05
"""This far from an end of a range is at its end."""
_HARDLY = 0.1
"""A hyperparameter hardly matters where the upper end of its share is under this."""
_FORETOLD = 0.1
"""Under this share of foretold variance the forest's shares decide nothing."""


@dataclass(frozen=True)
class NarrowedRange:
    """A hyperparameter's range in the next search."""

    name: str
    range: Range
    why: str
    """In a few words."""
    fixed: bool = False


def narrow_space(table: TrialTable, importance: Importance, default: Mapping[str, Any]) -> tuple[NarrowedRange, ...]:
    """What may be narrowed, in the order in which it mattered; empty where the trials are too few to say."""
    best = find_best_of_studies(table)
    if len(table.gain) < FEWEST or len(best) < _FEWEST_BEST or importance.lack:
        return ()
    candidates = (
        _fix_at_default(hyperparameter, importance, default) or _narrow_range(hyperparameter.name, table, best)
        for hyperparameter in importance.hyperparameters
    )
    return tuple(candidate for candidate in candidates if candidate is not None)


def find_best_of_studies(table: TrialTable) -> np.ndarray:
    """The places (n,) of the best trials of each study: a tenth of all that it tried, and as many of each as make ten
    together."""
    studies = np.unique(table.study)
    fewest = math.ceil(_FEWEST_BEST / max(1, len(studies)))
    rows: list[int] = []
    for study in studies:
        indices = np.flatnonzero((table.study == study) & table.complete)
        count = max(fewest, math.ceil(_BEST * np.sum(table.study == study)))
        rows += indices[np.argsort(-table.gain[indices], kind="stable")][:count].tolist()
    return np.array(rows, dtype=int)


def _fix_at_default(
    hyperparameter: HyperparameterImportance, importance: Importance, default: Mapping[str, Any]
) -> NarrowedRange | None:
    """The default, where both measures say that the hyperparameter hardly matters."""
    if (
        hyperparameter.whole is None
        or hyperparameter.best is None
        or hyperparameter.name not in default
        or importance.explained < _FORETOLD
    ):
        return None
    negligible = hyperparameter.whole.high is not None and hyperparameter.whole.high < _HARDLY
    if not negligible or hyperparameter.best.value > 1 / len(importance.hyperparameters):
        return None
    return NarrowedRange(hyperparameter.name, default[hyperparameter.name], "hardly matters: the default", fixed=True)


def _narrow_range(name: str, table: TrialTable, best: np.ndarray) -> NarrowedRange | None:
    """The range that holds the best trials, or None where it is about the whole one."""
    distribution: Any = table.space[name]
    places = table.places[:, list(table.space).index(name)]
    good = places[best][~np.isnan(places[best])]
    if len(good) < _FEWEST_BEST:
        return None
    if isinstance(distribution, CategoricalDistribution):
        return _drop_choices(name, distribution, places[~np.isnan(places)], good)
    low, high = _find_box(good)
    if high - low > _WHOLE:
        return None
    bounds = _to_config_range(distribution, low, high)
    if (bounds[0], bounds[1]) == (distribution.low, distribution.high):
        return None
    return NarrowedRange(name, bounds, f"{len(good)} of the best trials lie there{_describe_edge(good)}")


def _find_box(good: np.ndarray) -> tuple[float, float]:
    """The ends of what holds the best, without a tenth of them where there are many; widened by what so many draws from
    a range are short of its ends on average, and never narrower than a quarter of the whole."""
    low, high = np.quantile(good, (0.05, 0.95) if len(good) >= 20 else (0.0, 1.0))
    margin = max((high - low) / (len(good) - 1), (_NARROWEST - (high - low)) / 2)
    low, high = low - margin, high + margin
    shift = max(0.0, -low) - max(0.0, high - 1.0)  # at an end, what would lie beyond it is given on the other side
    if high - low <= _NARROWEST + 1e-9:
        low, high = low + shift, high + shift
    return 0.0 if low < _END else low, 1.0 if high > 1 - _END else high


def _describe_edge(good: np.ndarray) -> str:
    """A hint where a quarter of the best lie at an end of the range: the optimum may be beyond it."""
    share = max(np.mean(good < _END), np.mean(good > 1 - _END))
    return "; many at the end of its range, try beyond" if share >= 0.25 else ""


def _to_config_range(distribution: Any, low: float, high: float) -> list[Any]:
    """The range in the config's form: outward to two digits, or to whole numbers, and never beyond the old one."""
    ends = to_number(distribution, low), to_number(distribution, high)
    if isinstance(distribution, IntDistribution):
        steps = (
            (ends[0] - distribution.low) / distribution.step + 0.5,
            (ends[1] - distribution.low) / distribution.step - 0.5,
        )
        bounds = [
            distribution.low + distribution.step * max(0, math.floor(steps[0])),
            min(distribution.high, distribution.low + distribution.step * math.ceil(steps[1])),
        ]
    else:
        bounds = [
            max(distribution.low, _round_outward(ends[0], math.floor)),
            min(distribution.high, _round_outward(ends[1], math.ceil)),
        ]
    return [*bounds, "log"] if distribution.log else bounds


def _round_outward(value: float, rounding: Any) -> float:
    """Two digits, rounded by `floor` or `ceil`."""
    if value == 0:
        return 0.0
    digits = 1 - math.floor(math.log10(abs(value)))
    return round(rounding(round(value * 10.0**digits, 6)) / 10.0**digits, max(0, digits))


def _drop_choices(
    name: str, distribution: BaseDistribution, trials: np.ndarray, good: np.ndarray
) -> NarrowedRange | None:
    """Without the choices that were tried often enough to be among the best by chance, and never were."""
    choices = distribution.choices  # pyright: ignore[reportAttributeAccessIssue]
    cells = [np.floor(places * len(choices)).astype(int) for places in (trials, good)]
    counts, hits = (np.bincount(codes, minlength=len(choices)) for codes in cells)
    # Where chance would have put three among the best, none there happens by chance in 5 % (the rule of three).
    subset = [c for c, n, hit in zip(choices, counts, hits, strict=True) if hit or n * len(good) / len(trials) < 3]
    if len(subset) == len(choices):
        return None
    reason = f"none of {len(good)} best trials has another"
    return NarrowedRange(name, subset[0] if len(subset) == 1 else subset, reason, fixed=len(subset) == 1)
