"""What another tool finds, in its own environment: `python -m benchmarks.search.competitor TOOL PROBLEM_FOLDER ...` is
run by `benchmarks.search.field`.

A tool gets the family's space in its own terms, with every hyperparameter always there (those that a configuration does
not ask for are ignored), and the same fits of the same folds. It knows nothing of us but a function to call."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from optuna.distributions import CategoricalDistribution

from benchmarks.search.drive import format_params
from benchmarks.search.problem import FOLD, INNER, Problem, prepare_process
from benchmarks.search.race import locate_trials, write_trials
from models.families import load_family
from models.fitting.fit import suggest_configuration
from models.tuning.fidelity import divide_share
from models.tuning.space import Walk, list_distributions, to_nearest, to_value

PARTS = 900
"""Of a whole trial: what halving counts in."""


@dataclass
class RecordedProblem:
    """A problem as a function of hyperparameters, and all that was asked of it."""

    problem: Problem
    seed: int
    trials: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    since: float = 0.0
    """Processor time when the tool had its last answer."""

    def __post_init__(self) -> None:
        """Begins to count the tool's own seconds."""
        self.space = list_distributions(self.problem.family, self.problem.shape)
        self.default = {n: self.problem.family.default.get(n, to_value(d, 0.5)) for n, d in self.space.items()}
        self.since = time.process_time()

    def begin(self, params: Mapping[str, Any], share: float = 1.0) -> Callable[[int], float]:
        """Notes a new trial and returns the function that fits it on an inner fold and returns what is gained."""
        asking = time.process_time() - self.since if self.rows else 0.0  # what comes before the first is loading
        whole = {n: to_nearest(d, _to_plain_value(params[n])) for n, d in self.space.items() if n in params}
        walk = Walk(lambda name, _: whole[name])
        config = suggest_configuration(self.problem.family, walk, self.problem.shape)  # pyright: ignore[reportArgumentType]
        row: dict[str, Any] = {
            "number": len(self.rows), "state": "pruned", "share": share, "inner": None, "fits": 0, "seconds": 0.0,
            "asking": asking, "params": format_params(walk.params),
        }  # fmt: skip
        self.rows.append(row)
        count, part = divide_share(self.problem.family, share, INNER)
        gains: list[float] = []

        def fit(inner: int) -> float:
            if inner >= count:  # a share of a trial is a share of its folds first
                return float(np.mean(gains))
            score, seconds = self.problem.fitted(config, inner, part)
            gain = -math.inf if score is None else self.problem.metric.gain(score)
            gains.append(gain)
            row["seconds"] += seconds
            row["fits"] = len(gains)
            if len(gains) == INNER and share >= 1:
                row["state"] = "complete" if np.isfinite(gains).all() else "failed"
                row["inner"] = self.problem.metric.gain(float(np.mean(gains)))
            self.since = time.process_time()
            return gain

        return fit

    def gain(self, params: Mapping[str, Any]) -> float:
        """The mean over all folds."""
        fit = self.begin(params)
        return float(np.mean([fit(inner) for inner in range(INNER)]))


def _to_plain_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# --- scikit-learn ----------------------------------------------------------------------------------------------------


def _make_estimator(asked: RecordedProblem) -> Any:
    """An estimator whose fit is a fit of the family on the prepared rows of the inner fold that these rows are of."""
    from sklearn.base import BaseEstimator

    trains = [train.tolist() for train, _ in asked.problem.brief.folds[FOLD].inner]
    going: dict[str, Any] = {}

    class Configured(BaseEstimator):
        """Hyperparameters by name, and the share of a trial in `PARTS`."""

        def __init__(self, **params: Any):
            self.params = params

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            return dict(self.params)

        def set_params(self, **params: Any) -> Any:
            self.params.update(params)
            return self

        def fit(self, X: Any, y: Any = None) -> Any:
            inner = trains.index(X[:, 0].tolist())
            if inner == 0:
                given = {n: v for n, v in self.params.items() if n != "parts"}
                going["fit"] = asked.begin(given, self.params.get("parts", PARTS) / PARTS)
            self.gain = going["fit"](inner)
            return self

        def score(self, X: Any, y: Any = None) -> float:
            return self.gain

    return Configured(**asked.default, parts=PARTS)


def _run_search(asked: RecordedProblem, search: Any) -> None:
    rows = np.arange(len(asked.problem.brief.folds[FOLD].train) + len(asked.problem.brief.folds[FOLD].judge))
    search.fit(rows[:, None], np.zeros(len(rows)))


def _to_scipy_space(asked: RecordedProblem) -> dict[str, Any]:
    """The space as scipy's distributions and lists."""
    from scipy.stats import loguniform, uniform

    def one(d: Any) -> Any:
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        low, high = float(d.low), float(d.high)
        return loguniform(low, high) if d.log else uniform(low, high - low)

    return {name: one(d) for name, d in asked.space.items()}


def grid(asked: RecordedProblem) -> None:
    """GridSearchCV: two values of the first hyperparameters, then three, as long as the grid fits into the trials."""
    from sklearn.model_selection import GridSearchCV

    counts = dict.fromkeys(asked.space, 1)
    for more in (2, 3):
        for name, d in asked.space.items():
            most = len(d.choices) if isinstance(d, CategoricalDistribution) else more
            if math.prod((counts | {name: min(more, most)}).values()) <= asked.trials:
                counts[name] = min(more, most)
    values = {
        name: [asked.default[name]] if n == 1 else [to_value(asked.space[name], (i + 0.5) / n) for i in range(n)]
        for name, n in counts.items()
    }
    cv = asked.problem.brief.folds[FOLD].inner
    _run_search(asked, GridSearchCV(_make_estimator(asked), values, cv=cv, refit=False, error_score="raise"))


def random(asked: RecordedProblem) -> None:
    """RandomizedSearchCV."""
    from sklearn.model_selection import RandomizedSearchCV

    _run_search(asked, RandomizedSearchCV(
        _make_estimator(asked), _to_scipy_space(asked), n_iter=asked.trials, cv=asked.problem.brief.folds[FOLD].inner,
        refit=False,
        random_state=asked.seed, error_score="raise",
    ))  # fmt: skip


def halving(asked: RecordedProblem) -> None:
    """HalvingRandomSearchCV over shares of a fit, a ninth, a third and all; its candidates make up the trials."""
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV

    _run_search(asked, HalvingRandomSearchCV(
        _make_estimator(asked), _to_scipy_space(asked), n_candidates=3 * asked.trials, factor=3, resource="parts",
        min_resources=PARTS // 9, max_resources=PARTS, cv=asked.problem.brief.folds[FOLD].inner, refit=False,
        random_state=asked.seed, error_score="raise",
    ))  # fmt: skip


# --- Hyperopt --------------------------------------------------------------------------------------------------------


def hyperopt(asked: RecordedProblem) -> None:
    """Hyperopt's tree-structured Parzen estimators, the default first."""
    from hyperopt import fmin, hp, tpe

    def one(name: str, d: Any) -> Any:
        if isinstance(d, CategoricalDistribution):
            return hp.choice(name, list(d.choices))
        if d.log:
            return hp.loguniform(name, math.log(d.low), math.log(d.high))
        return hp.uniform(name, d.low, d.high)

    first = {n: d.choices.index(asked.default[n]) if isinstance(d, CategoricalDistribution) else asked.default[n]
             for n, d in asked.space.items()}  # fmt: skip
    fmin(
        lambda params: -asked.gain(params), {n: one(n, d) for n, d in asked.space.items()}, tpe.suggest,
        asked.trials + 1, rstate=np.random.default_rng(asked.seed), points_to_evaluate=[first], show_progressbar=False,
        verbose=False,
    )  # fmt: skip


# --- Ray Tune --------------------------------------------------------------------------------------------------------


def ray_tune(asked: RecordedProblem) -> None:
    """Ray Tune's random search under its ASHA scheduler, the inner folds one after the other as iterations; the
    default first."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    def one(d: Any) -> Any:
        if isinstance(d, CategoricalDistribution):
            return tune.choice(list(d.choices))
        return tune.loguniform(d.low, d.high) if d.log else tune.uniform(d.low, d.high)

    folder, name, number = asked.problem.folder, asked.problem.family.name, asked.seed

    def train(params: dict[str, Any]) -> None:
        prepare_process(os.getppid())
        mine = RecordedProblem(Problem(folder.name, load_family(name), folder), number, 1)
        fit, gains = mine.begin(params), []
        for inner in range(INNER):
            gains.append(fit(inner))
            tune.report({"gain": float(np.mean(gains)), "row": dict(mine.rows[0])})

    ray.init(num_cpus=1, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory(prefix="ray-") as results:
        found = tune.Tuner(
            train, param_space={n: one(d) for n, d in asked.space.items()},
            tune_config=tune.TuneConfig(
                metric="gain", mode="max", num_samples=asked.trials + 1, max_concurrent_trials=1, reuse_actors=True,
                search_alg=BasicVariantGenerator(points_to_evaluate=[asked.default], random_state=asked.seed),
                scheduler=ASHAScheduler(max_t=INNER, grace_period=1, reduction_factor=2),
            ),
            run_config=tune.RunConfig(verbose=0, storage_path=results),
        ).fit()  # fmt: skip
    asked.rows += [one.metrics["row"] | {"number": n} for n, one in enumerate(found)]


TOOLS = {f.__name__: f for f in (grid, random, halving, hyperopt, ray_tune)}


def main() -> None:
    """Runs the tool on a problem and writes its trials down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("label")
    parser.add_argument("family")
    parser.add_argument("seed", type=int)
    parser.add_argument("trials", type=int)
    parser.add_argument("place", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    prepare_process(os.getpid())
    warnings.simplefilter("ignore")
    asked = RecordedProblem(Problem(given.place.name, load_family(given.family), given.place), given.seed, given.trials)
    TOOLS[given.tool](asked)
    frame = pd.DataFrame(asked.rows).assign(strategy=given.label, problem=asked.problem.name, seed=given.seed)
    write_trials(frame, locate_trials(given.folder, f"{given.label}-{given.seed}", asked.problem.name, "real"))


if __name__ == "__main__":
    main()
