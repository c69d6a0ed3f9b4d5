"""What looking costs: the level that each look of the gate has, the bound that a gain is held to, and what is left of a
score that was chosen.

A champion meets one challenger after the other. Were each look held to the same level, one that is no better would
pass sooner or later; so looks share the level among them (Bonferroni's inequality, with unequal parts: it asks nothing
of how looks depend on each other, so it holds on the same rows, on fresh ones and on any mixture).
`python -m benchmarks.looks` simulates it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.optimize import bisect
from scipy.special import log_ndtr, stdtrit
from scipy.stats import norm

LOOKS = 20
"""How many looks in a row share the level; each later one has the part of the last."""
_PARTS = np.arange(1, LOOKS + 1) ** -0.5 / np.sum(np.arange(1, LOOKS + 1) ** -0.5)
"""Falling, since most champions that can be beaten are beaten early, and slowly, since some are not: a gain that comes
soon is seen nearly as often as with steeper shares, and one that comes late nearly as often as with equal ones."""
GROUPS = 200
"""Parts of the rows that are left out in turn."""
_CELLS = 2_000_000
"""Rows times parts held at once."""


def compute_look_level(look: int, level: float) -> float:
    """How sure a champion's so-manieth look must be, so that of any 20 in a row at least one errs with a probability of
    1 - level at most."""
    return 1 - (1 - level) * float(_PARTS[min(look, LOOKS) - 1])


def leave_out_parts(units: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Chunks of counts (part, row): each part of the units, drawn at random, left out once. `units` is (rows,)."""
    codes, distinct = pd.factorize(units)
    parts = min(GROUPS, len(distinct))
    part = np.random.Generator(np.random.PCG64(seed)).permutation(len(distinct))[codes] % parts
    step = max(1, _CELLS // max(1, len(units)))
    for start in range(0, parts, step):
        yield (part[None, :] != np.arange(start, min(start + step, parts))[:, None]).astype(float)


def compute_skewness(values: np.ndarray) -> float:
    """The skewness of an estimate, from its values (parts,) where each part of the rows was left out once (Efron &
    Tibshirani 1993, chapter 14: six times the acceleration); 0 where nothing can be said."""
    pulls = values[np.isfinite(values)]
    pulls = pulls.mean() - pulls if len(pulls) > 1 else np.zeros(1)
    squares = float((pulls**2).sum())
    return float((pulls**3).sum() / squares**1.5) if squares > 0 else 0.0


def compute_lower_bound(value: float, error: float, skew: float, units: int, level: float) -> float:
    """The one-sided lower bound of a value with that standard error; NaN where either is undefined.

    Student's t, with one degree of freedom less than there are units, taken further where the estimate leans to the
    left (Hall 1992, Journal of the Royal Statistical Society B 54:221): a challenger that is seldom very wrong looks
    better on most samples than it is. Where it leans to the right nothing is given back: far tails are not known that
    well."""
    if units < 2 or not math.isfinite(value + error):
        return math.nan
    quantile = float(stdtrit(units - 1, level))
    if skew < -1e-6:
        quantile = max(quantile, 3 / skew * float(np.cbrt(1 + skew * (quantile - skew / 6)) - 1))
    return value - quantile * error


def estimate_likeliest_gain(gain: float, error: float, passed: float, least: float) -> float:
    """The likeliest true gain, where only gains above `passed` are ever told of: between `least` and the gain.

    The maximum of the conditional likelihood (Zhong & Prentice 2008, Biostatistics 9:621)."""
    if not error > 0 or gain <= least:
        return gain

    def surplus(true: float) -> float:
        distance = (passed - true) / error
        return true + error * math.exp(float(norm.logpdf(distance)) - float(log_ndtr(-distance))) - gain

    return least if surplus(least) >= 0 else bisect(surplus, least, gain)  # pyright: ignore[reportReturnType]
