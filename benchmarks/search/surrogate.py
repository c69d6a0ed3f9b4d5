"""A random forest in place of fits, as HPO benchmarks use (Eggensperger et al. 2015, AAAI; YAHPO Gym: Pfisterer et al.
2022, AutoML conference). `python -m benchmarks.search.surrogate [--data DATA]` prints how good each one is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from optuna.distributions import BaseDistribution
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict

from benchmarks.search.problem import INNER
from models.config import Run
from models.families import load_family
from models.fitting.family import Family, Shape
from models.metrics.metric import Metric, make_metric
from models.tuning.space import list_distributions, make_view, to_place
from models.tuning.strategy import View

DATA = Path(__file__).parent / "data"
HEAD = ("problem", "configurations", "failed", "score: R2", "Spearman", "seconds: R2", "Spearman")
_ABSENT = -1.0
"""In the place of a hyperparameter that a configuration has not."""
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Surrogate:
    """What a configuration scores in each inner fold, and how long its fits take, as a forest has it."""

    table: str
    family: Family
    shape: Shape
    metric: Metric
    whole: Mapping[str, BaseDistribution]
    places: np.ndarray
    """The collected configurations, encoded."""
    scores: np.ndarray
    """(configurations, folds), in the metric's own sense."""
    seconds: np.ndarray
    failed: int
    """Configurations left out, one of whose fits failed."""
    of_scores: RandomForestRegressor
    of_seconds: RandomForestRegressor

    @property
    def name(self) -> str:
        """Such as `lightgbm-car`."""
        return f"{self.family.name}-{self.table}"

    def view(self, seed: int, trials: int, **search: Any) -> View:
        """What a search of so many trials, with these further settings, may know before the first one. A part of a fit
        is so many inner folds: all that was collected."""
        run = Run(data="", seed=seed, search={"trials": trials, **search})  # type: ignore[arg-type]
        return make_view(replace(self.family, fidelity="folds"), self.shape, self.metric, run)

    def told(self, params: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """The score and the seconds of each inner fold."""
        scores, seconds = self.all(encode_params(self.whole, params)[None])
        return scores[0], seconds[0]

    def all(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same for many encoded configurations."""
        distance, logs = (_predict_mean(forest, places) for forest in (self.of_scores, self.of_seconds))
        return _from_log_distance(self.metric, distance), np.exp(logs)


def encode_params(whole: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> np.ndarray:
    """The place of each hyperparameter in its range."""
    return np.array([to_place(d, params[n]) if n in params else _ABSENT for n, d in whole.items()], dtype=np.float32)


def _predict_mean(forest: RandomForestRegressor, places: np.ndarray) -> np.ndarray:
    # `predict` spends more on checks and threads than one row costs.
    rows = np.ascontiguousarray(places, dtype=np.float32)
    return np.mean([tree.tree_.predict(rows)[:, :, 0] for tree in forest.estimators_], axis=0)


def _to_log_distance(metric: Metric, scores: np.ndarray) -> np.ndarray:
    """The logarithm of how far scores are from the best there can be: near the best small differences count."""
    far = metric.high - scores if metric.greater_is_better else scores - metric.low
    return np.log(np.maximum(far, _LEAST))


def _from_log_distance(metric: Metric, logs: np.ndarray) -> np.ndarray:
    return metric.high - np.exp(logs) if metric.greater_is_better else metric.low + np.exp(logs)


def _make_forest() -> RandomForestRegressor:
    return RandomForestRegressor(100, random_state=0)


def fit_surrogate(path: Path) -> Surrogate:
    """The surrogate of a problem's collected configurations."""
    table = pq.read_table(path)
    told = json.loads((table.schema.metadata or {})[b"problem"])
    known, shape = load_family(told["family"]), Shape(**(told["shape"] | {"grid": tuple(told["shape"]["grid"])}))
    metric = make_metric(told["metric"], shape.task, tuple(range(told["classes"])))
    whole = list_distributions(known, shape)
    frame = table.to_pandas()
    places = np.array([encode_params(whole, _read_params(whole, row)) for row in frame.to_dict("records")])
    scores, seconds = (frame[[f"{what}_{i}" for i in range(INNER)]].to_numpy(float) for what in ("score", "seconds"))
    good = np.isfinite(scores).all(axis=1)
    places, scores, seconds = places[good], scores[good], seconds[good]
    return Surrogate(
        told["table"], known, shape, metric, whole, places, scores, seconds, int((~good).sum()),
        _make_forest().fit(places, _to_log_distance(metric, scores)), _make_forest().fit(places, np.log(seconds)),
    )  # fmt: skip


def _read_params(whole: Mapping[str, BaseDistribution], row: Mapping[Any, Any]) -> dict[str, Any]:
    """The hyperparameters that a row has."""
    return {name: row[name] for name in whole if not pd.isna(row[name])}


def measure_quality(one: Surrogate) -> tuple[str, ...]:
    """A row of `HEAD`: by five-fold cross-validation, of the mean over inner folds."""
    cells = [one.name, str(len(one.places)), str(one.failed)]
    for values in (_to_log_distance(one.metric, one.scores), np.log(one.seconds)):
        guessed = cross_val_predict(_make_forest(), one.places, values, cv=KFold(5, shuffle=True, random_state=0))
        actual, guessed = values.mean(axis=1), guessed.mean(axis=1)
        cells += [f"{r2_score(actual, guessed):.2f}", f"{spearmanr(actual, guessed).statistic:.2f}"]
    return tuple(cells)


def main() -> None:
    """Prints one table."""
    from benchmarks.stamp import print_table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    asked = parser.parse_args()
    print_table(
        "Surrogates", HEAD, [measure_quality(fit_surrogate(path)) for path in sorted(asked.data.glob("*.parquet"))]
    )


if __name__ == "__main__":
    main()
