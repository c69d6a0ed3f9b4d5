"""Ranks, win rates, scaled scores and intervals of systems over tables and seeds: pure arithmetic on rows.

A *run* is a table with a seed and a budget. Every mean is first taken over the runs of a table and then over tables. An
interval is one of tables: they are drawn anew with replacement, as another choice of tables would have been."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.peers.judging import LARGER_IS_BETTER
from benchmarks.peers.rows import NO_RUN

FOREST = "forest"
"""The system that is 0 on the scale."""
LOWEST = -1.0
"""The least scaled score: a failure has it, and what is still farther below the forest."""
DRAWS = 2000


@dataclass(frozen=True)
class Mean:
    """A mean over tables with its interval of 95 %; not a number where there is no table."""

    value: float
    low: float
    high: float


def arrange_gains(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Scores with their sign such that larger is better: a line for each (table, seed), a column for each system.

    A failure is not a number. Of systems and runs those stay that have been run: a run that some system has not had yet
    is left out, as is a system that was never installed."""
    ran = [row for row in rows if row["state"] != NO_RUN]
    told = pd.DataFrame(
        [(row["table"], row["seed"], row["system"], _to_gain(row), True) for row in ran],
        columns=["table", "seed", "system", "gain", "ran"],
    )
    wide = told.pivot_table(
        index=["table", "seed"], columns="system", values=["gain", "ran"], aggfunc="last", dropna=False
    )
    if wide.empty:
        return pd.DataFrame()
    return wide["gain"][wide["ran"].notna().all(axis=1)].astype(float)


def _to_gain(row: Mapping[str, Any]) -> float:
    if row["state"] != "done":
        return float("nan")
    return row["score"] if LARGER_IS_BETTER[row["metric"]] else -row["score"]


def rank_systems(gains: pd.DataFrame) -> pd.DataFrame:
    """Places in each run, 1 for the best; equal ones share the mean of their places, failures the last."""
    return gains.fillna(-np.inf).rank(axis=1, ascending=False)


def compare_pair(gains: pd.DataFrame, one: str, other: str) -> pd.Series:
    """For each run 1 where the one is better, 0.5 where they are equal, 0 where the other is; a failure loses."""
    ours, theirs = gains[one].fillna(-np.inf), gains[other].fillna(-np.inf)
    return (ours > theirs) + 0.5 * (ours == theirs)


def compare_with_all(gains: pd.DataFrame, one: str) -> pd.Series:
    """For each run the share of the other systems that the one beats."""
    others = [name for name in gains if name != one]
    return sum((compare_pair(gains, one, other) for other in others), 0.0 * gains[one].fillna(0)) / max(len(others), 1)


def scale_gains(gains: pd.DataFrame) -> pd.DataFrame:
    """0 where the forest is, 1 where the best of a run is, not below `LOWEST`; a failure has that.

    A run whose best is the forest, or whose forest has failed, has no scale and is left out."""
    zero, best = gains[FOREST], gains.max(axis=1)
    has_scale = best > zero
    scaled = gains.sub(zero, axis=0).div(best - zero, axis=0)[has_scale]
    return scaled.clip(lower=LOWEST).fillna(LOWEST)


def flatter(row: Mapping[str, Any]) -> float:
    """By which share of the test error the reported error is smaller; above 0 the report was too good. Not a number
    where nothing is reported. The error of an area is what it lacks to 1."""
    if row["state"] != "done" or row.get("reported") is None:
        return float("nan")
    area = row["metric"] == "roc_auc"
    test, reported = (1 - row[name] if area else row[name] for name in ("score", "reported"))
    return (test - reported) / test if test > 0 else float("nan")


def average_tables(values: pd.Series) -> Mean:
    """The mean over tables of the means over their runs (index: table, seed)."""
    tables = values.dropna().groupby(level="table").mean().to_numpy(dtype=float)
    if not len(tables):
        return Mean(*[float("nan")] * 3)
    drawn = np.random.default_rng(0).choice(tables, (DRAWS, len(tables)))
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return Mean(float(tables.mean()), float(low), float(high))
