"""What the rows younger than the horizon do to the error of a forecast: `python -m benchmarks.horizon [--series 6]`.

Series are a level that wanders, a week and noise. The same model (LightGBM as it comes) is judged on the same rows,
`SOME` days of the first horizon of each outer window: trained on all rows before the window (`split.gap: 0`), on those
whose targets are known a horizon before it (the default), and as in use: on all that is known a horizon before that
very row."""

from __future__ import annotations

import argparse
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor

from benchmarks.stamp import print_table
from models.config import Run
from models.data.forecast import plan_history, widen_table
from models.data.table import Reading, Table
from models.splitting.split import build_folds, make_split_plan

DAYS, FOLDS, SOME = 1500, 5, 7


def main() -> None:
    """Prints one table, a row for each horizon."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=6)
    series = range(parser.parse_args().series)
    rows = []
    for horizon in ("7d", "28d", "90d"):
        told = [_compute_errors(seed, horizon) for seed in series]
        rows.append((horizon, *(f"{fmean(column):.2f}" for column in zip(*told, strict=True))))
    head = ("horizon", "rmse without a gap", "rmse with the horizon's gap", "rmse in use")
    print_table(f"Forecasts of {len(series)} series of {DAYS:,} days", head, rows)


def _compute_errors(seed: int, horizon: str) -> tuple[float, float, float]:
    """The error without a gap, with it, and in use."""
    none, own = (_plan_series(seed, horizon, gap) for gap in (0, None))
    return _score_windows(*none), _score_windows(*own), _score_in_use(*own)


def _plan_series(seed: int, horizon: str, gap: int | None) -> tuple[Table, Any]:
    """A series as a table with its past, and days of the first horizon of its outer windows."""
    run = Run.model_validate({"data": "", "target": "y", "split": {"time": "at", "horizon": horizon, "gap": gap}})
    draw, at = np.random.default_rng(seed), pd.date_range("2020-01-01", periods=DAYS, freq="D")
    week = 5 * np.sin(2 * np.pi * np.arange(DAYS) / 7)
    target = 100 + np.cumsum(draw.normal(0, 2, DAYS)) + week + draw.normal(0, 2, DAYS)
    times = at.to_numpy("datetime64[us]").astype(np.int64)
    reading = Reading("generated", "frame", kinds={"at": "date"})
    bare = Table("series", pd.DataFrame({"at": at}), target, "regression", (), reading, "", time=times)
    table = plan_history(bare, run)
    plan, _ = make_split_plan(table, run)
    folds = build_folds(plan, np.arange(DAYS), FOLDS, 1, with_all=False)
    near = int(horizon.removesuffix("d"))  # the series has a row each day
    return widen_table(table), [(fold.train, fold.judge[:near][:: max(1, near // SOME)]) for fold in folds]


def _score_windows(table: Table, folds: Any) -> float:
    """The error over all windows."""
    errors = [_fit_and_predict(table, train, judge) - table.target[judge] for train, judge in folds]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def _score_in_use(table: Table, folds: Any) -> float:
    """The error of these rows, each told by a model of its own day."""
    assert table.known is not None
    assert table.time is not None
    rows = np.concatenate([judge for _, judge in folds])
    said = [_fit_and_predict(table, np.flatnonzero(table.time <= table.known[row]), np.array([row]))[0] for row in rows]
    return float(np.sqrt(np.mean((np.array(said) - table.target[rows]) ** 2)))


def _fit_and_predict(table: Table, train: np.ndarray, judge: np.ndarray) -> np.ndarray:
    model = LGBMRegressor(n_jobs=1, random_state=0, verbose=-1)
    return model.fit(table.features.iloc[train], table.target[train]).predict(table.features.iloc[judge])


if __name__ == "__main__":
    main()
