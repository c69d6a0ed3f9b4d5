"""Ranks over many problems (Demsar 2006, JMLR 7:1): Friedman's test, Nemenyi's critical difference and its picture, and
comparisons with one strategy by Wilcoxon's test with Holm's correction (Benavoli et al. 2016, JMLR 17:5).

scikit-posthocs has these too; it would bring statsmodels and seaborn for what scipy has the numbers of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, mannwhitneyu, rankdata, studentized_range, wilcoxon

LEVEL = 0.05


@dataclass(frozen=True)
class MeanRanks:
    """Mean ranks of strategies over problems, the best first."""

    mean: pd.Series
    friedman: float
    """p of all being alike."""
    difference: float
    """Mean ranks that are further apart differ at the level of 0.05 (Nemenyi)."""
    problems: int


def compute_ranks(regrets: pd.DataFrame) -> MeanRanks:
    """Of a table with a row for each problem, a column for each strategy and no gap."""
    problems, count = regrets.shape
    placed = pd.DataFrame(rankdata(regrets.round(9), axis=1), columns=regrets.columns)
    q = studentized_range.ppf(1 - LEVEL, count, np.inf) / np.sqrt(2)
    difference = q * np.sqrt(count * (count + 1) / (6 * problems))
    p = friedmanchisquare(*(regrets[name] for name in regrets)).pvalue
    return MeanRanks(placed.mean().sort_values(), float(p), float(difference), problems)


def compare_with_one(regrets: pd.DataFrame, than: str) -> pd.Series:
    """For each other strategy p of not being better than that one over the problems: one-sided Wilcoxon, Holm."""
    others = [name for name in regrets if name != than]
    p = [_compute_wilcoxon(regrets[name] - regrets[than]) for name in others]
    return pd.Series(adjust_holm(p), index=others)


def _compute_wilcoxon(apart: pd.Series) -> float:
    return 1.0 if np.allclose(apart, 0) else float(wilcoxon(apart, alternative="less").pvalue)


def compare_by_seeds(mine: pd.DataFrame, other: pd.DataFrame) -> dict[str, str]:
    """On which problems, the columns, the seeds of a strategy are `better` or `worse` than another's: Mann-Whitney at
    the level of 0.05, with Holm's correction over the problems. Others are left out."""
    shared = [problem for problem in mine.columns if problem in other.columns]
    found = {}
    for said, side in (("better", "less"), ("worse", "greater")):
        p = adjust_holm(
            [float(mannwhitneyu(mine[k].dropna(), other[k].dropna(), alternative=side).pvalue) for k in shared]
        )
        found |= {problem: said for problem, one in zip(shared, p, strict=True) if one < LEVEL}
    return found


def adjust_holm(p: list[float]) -> np.ndarray:
    """The values adjusted so that among all of them a false one is found in 1 of 20 cases (Holm 1979)."""
    order = np.argsort(p)
    steps = np.array(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def draw_diagram(found: MeanRanks, axes: Any) -> None:
    """The critical-difference diagram: strategies at their mean ranks, joined by a bar where they do not differ."""
    names, places = list(found.mean.index), found.mean.to_numpy()
    half = (len(names) + 1) // 2
    axes.set_xlim(1, len(names))
    axes.set_ylim(-half - 2, 2)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    for number, (name, place) in enumerate(zip(names, places, strict=True)):
        left = number < half
        height = -(number if left else len(names) - 1 - number) - 2
        axes.plot([place, place], [2, height], color="0.4", linewidth=0.8, clip_on=False)
        edge, side = (0, "right") if left else (1, "left")
        axes.plot([place, axes.get_xlim()[edge]], [height, height], color="0.4", linewidth=0.8)
        axes.annotate(
            f"{name} {place:.1f}", (edge, height), xycoords=("axes fraction", "data"), ha=side, va="center",
            xytext=(-4 if left else 4, 0), textcoords="offset points",
        )  # fmt: skip
    for number, (low, high) in enumerate(find_alike(places, found.difference)):
        axes.plot([low - 0.03, high + 0.03], [0.6 - 0.5 * number] * 2, color="black", linewidth=3)
    axes.set_title(f"mean rank over {found.problems} problems; critical difference {found.difference:.2f}", pad=24)


def find_alike(places: np.ndarray, difference: float) -> list[tuple[float, float]]:
    """The longest stretches of sorted mean ranks that do not differ."""
    found: list[tuple[float, float]] = []
    for low in places:
        high = places[places <= low + difference].max()
        if high > low and (not found or high > found[-1][1]):
            found.append((float(low), float(high)))
    return found
