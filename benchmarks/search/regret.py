"""What is left to gain: 0 is the best that anybody found on a problem, 1 the median of the collected configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.search.surrogate import Surrogate
from models.metrics.metric import Metric

SHARES = np.geomspace(0.02, 1.0, 40)
"""Of the seconds that random search took: where curves over seconds are read off."""
_RANDOM = "random"


@dataclass(frozen=True)
class RegretScale:
    """Turns gains on one problem into regrets."""

    metric: Metric
    best: float
    usual: float
    default: float

    def regret(self, gain: np.ndarray) -> np.ndarray:
        """0 where nothing is left to gain."""
        return (self.best - gain) / max(self.best - self.usual, 1e-12)


def compute_scales(rows: pd.DataFrame, known: Mapping[str, Surrogate], real: bool) -> dict[str, RegretScale]:
    """The scale of each problem; `real`: by the collected scores, else by what the surrogate says of them."""
    found = {}
    for problem, mine in rows.groupby("problem"):
        one = known[str(problem)]
        scores = (one.scores if real else one.all(one.places)[0]).mean(axis=1)
        gains = np.array([one.metric.gain(score) for score in scores])
        reached = max(one.metric.gain(inner) for inner in mine["inner"].dropna())
        found[str(problem)] = RegretScale(
            one.metric, max(gains.max(), reached), float(np.median(gains)), float(gains[0])
        )
    return found


def trace_over_trials(rows: pd.DataFrame, known: Mapping[str, RegretScale], trials: int) -> pd.DataFrame:
    """The regret of each (strategy, problem, seed) after 0, 1, ... whole trials beside the default."""
    return _trace_regret(rows, known, np.arange(trials + 1.0), _count_spent_trials)


def trace_over_seconds(rows: pd.DataFrame, known: Mapping[str, RegretScale]) -> pd.DataFrame:
    """The same after shares of the seconds, fitting and proposing, that random search took on the problem."""
    whole = _add_seconds_taken(rows[rows["strategy"] == _RANDOM]).groupby(["problem", "seed"])["taken"].max()
    usual = whole.groupby("problem").mean()
    return _trace_regret(
        rows, known, SHARES, lambda mine: _add_seconds_taken(mine)["taken"] / usual[mine["problem"].iloc[0]]
    )


def _add_seconds_taken(rows: pd.DataFrame) -> pd.DataFrame:
    spent = rows.assign(each=rows["seconds"] + rows["asking"])
    return spent.assign(taken=spent.groupby(["strategy", "problem", "seed"])["each"].cumsum())


def _count_spent_trials(mine: pd.DataFrame) -> pd.Series:
    """Whole trials so far. The default, which stands at 0, is told by its params: not every tool begins with it."""
    return mine["share"].where(~mine["default"], 0.0).cumsum()


def _trace_regret(rows: pd.DataFrame, known: Mapping[str, RegretScale], at: np.ndarray, spent) -> pd.DataFrame:
    """A row for each (strategy, problem, seed), a column for each place."""
    found = {}
    for key, mine in rows.sort_values("number").groupby(["strategy", "problem", "seed"]):
        scale = known[key[1]]  # type: ignore[index]
        # Who has nothing whole yet would deliver the default.
        gains = np.array([scale.default if pd.isna(v) else scale.metric.gain(v) for v in mine["inner"]])
        best = np.maximum.accumulate(np.maximum(gains, scale.default))
        last = np.searchsorted(spent(mine).to_numpy() - 1e-9, at, side="right") - 1
        found[key] = scale.regret(np.where(last >= 0, best[np.maximum(last, 0)], scale.default))
    frame = pd.DataFrame.from_dict(found, orient="index", columns=at)
    return frame.set_axis(pd.MultiIndex.from_tuples(frame.index, names=["strategy", "problem", "seed"]))


def mark_defaults(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rows, with whether each one is the problem's default, which these strategies begin with."""
    own = rows[rows["strategy"].isin(names) & (rows["number"] == 0)]
    default = own.groupby("problem")["params"].first()
    return rows.assign(default=(rows["number"] == 0) & (rows["params"] == rows["problem"].map(default)))
