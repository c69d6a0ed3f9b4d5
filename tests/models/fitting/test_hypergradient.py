"""Hypergradients: what a family says of its validation loss is what small changes of its hyperparameters do to it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from sklearn.linear_model import ElasticNet, LogisticRegression

from models.data.hashes import derive_seed
from models.families import load_families
from models.fitting import hypergradient as implicit
from models.fitting.family import Family, Shape, TrainingData
from models.fitting.fit import compute_hypergradient, fit_family, suggest_configuration
from models.tuning.space import list_distributions, to_value
from tasks.execution.inputs import encode_classes, make_validation_data

ABLE = [f for f in load_families().values() if f.hypergradient is not None]
EACH = [pytest.param(f, task, id=f"{f.name}-{task}") for f in ABLE for task in f.tasks]
CHANGE = 1e-4
"""Of a hyperparameter's logarithm."""


@pytest.fixture
def exact(monkeypatch) -> None:
    """Solvers go on until they are there: differences of losses are to be those of the penalties alone."""

    def further(cls, **settings) -> None:
        fit = cls.fit
        monkeypatch.setattr(cls, "fit", lambda self, *a, **k: fit(self.set_params(**_fitting(self, settings)), *a, **k))

    further(LogisticRegression, tol=1e-13, max_iter=100_000, solver="newton-cholesky")
    further(ElasticNet, tol=1e-14, max_iter=100_000)


def _fitting(model, settings: dict) -> dict:
    return settings if not getattr(model, "l1_ratio", 0) or "solver" not in settings else {**settings, "solver": "saga"}


def rows(task: str, seed: int, count: int = 120, weighted: bool = False) -> TrainingData:
    """Six columns of four originals; of prices the tail is long."""
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(count, 6)) * [1, 1, 1, 0.2, 1, 1]
    said = X[:, 0] + 0.5 * X[:, 1] - 2 * X[:, 3] + draw.normal(size=count)
    cuts = [-0.7, 0.6] if task == "multiclass" else [0.0]
    y = np.exp(said / 2) * 10 if task == "regression" else np.digitize(said, cuts)
    shape = Shape(count, 4, task, 0 if task == "regression" else int(y.max()) + 1, skewed=True)  # type: ignore[arg-type]
    return TrainingData(X, y, draw.uniform(0.2, 3, count) if weighted else None, shape, origins=(0, 0, 1, 2, 3, 3))


def configurations(known: Family, shape: Shape) -> Iterator[dict]:
    """The default, and each choice of the space once, with penalties that leave something of the model."""
    spans = {n: d for n, d in list_distributions(known, shape).items() if isinstance(d, FloatDistribution) and d.log}
    known = replace(known, ranges={name: [to_value(d, 0.3), to_value(d, 0.7)] for name, d in spans.items()})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=derive_seed(known.name)))
    study.enqueue_trial(dict(known.default))
    seen = set()
    for _ in range(12):
        trial = study.ask()
        config = suggest_configuration(known, trial, shape)
        choices = str({n: v for n, v in trial.params.items() if not isinstance(v, float)})
        if choices not in seen:
            seen.add(choices)
            yield config


def loss(known: Family, config: dict, part: TrainingData, judge: TrainingData) -> float:
    """The mean loss on the judging rows that a derivative is wanted of."""
    model = fit_family(known, config, part, 0, 1).model
    if part.shape.task == "regression":
        return float(np.average((model.predict(judge.X) - judge.y) ** 2, weights=judge.weight))
    odds = model.predict_proba(judge.X)[np.arange(len(judge.y)), judge.y]
    return float(np.average(-np.log(odds), weights=judge.weight))


def moved(config: dict, name: str, by: float) -> tuple[dict, float]:
    """The configuration with the hyperparameter's logarithm changed, and its value before."""
    stem, _, place = name.rpartition("_")
    if name in config:
        return {**config, name: config[name] * math.exp(by)}, config[name]
    values = list(config[f"{stem}s"])
    before, values[int(place)] = values[int(place)], values[int(place)] * math.exp(by)
    return {**config, f"{stem}s": values}, before


def derived(known: Family, config: dict, part: TrainingData, judge: TrainingData) -> dict[str, float]:
    return compute_hypergradient(known, config, part, fit_family(known, config, part, 0, 1).model, judge, 0)


def compared(known: Family, config: dict, part: TrainingData, judge: TrainingData) -> None:
    """Every derivative against the central difference."""
    found = derived(known, config, part, judge)
    assert found
    size = max(abs(slope) * moved(config, name, 0)[1] for name, slope in found.items())
    for name, slope in found.items():
        (above, value), (below, _) = moved(config, name, CHANGE), moved(config, name, -CHANGE)
        difference = (loss(known, above, part, judge) - loss(known, below, part, judge)) / (2 * CHANGE)
        assert slope * value == pytest.approx(difference, rel=1e-4, abs=1e-5 * size), (name, config)


@pytest.mark.usefixtures("exact")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weighted", [pytest.param(False, marks=pytest.mark.prove), True])
@pytest.mark.parametrize(("known", "task"), EACH)
def test_a_derivative_is_what_a_small_change_does_to_the_loss(known, task, weighted):
    part, judge = rows(task, 0, weighted=weighted), rows(task, 1, 80, weighted)
    for config in configurations(known, part.shape):
        compared(known, config, part, judge)


@pytest.mark.usefixtures("exact")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("absent", [0, 1, 2])
@pytest.mark.parametrize("known", ABLE, ids=lambda f: f.name)
def test_a_class_that_training_lacks_is_left_out_of_the_loss(known, absent):
    every, judge = rows("multiclass", 0, 160), rows("multiclass", 1, 80, weighted=True)
    keep = every.y != absent
    part = replace(every, X=every.X[keep], y=every.y[keep])
    classes = np.unique(part.y)
    part = encode_classes(part, classes)
    there = make_validation_data(part, judge.X, classes, judge.y, judge.weight)
    assert len(there.y) == (judge.y != absent).sum() == len(there.weight)  # type: ignore[arg-type]
    compared(known, next(configurations(known, part.shape)), part, there)


@pytest.mark.usefixtures("exact")
@pytest.mark.filterwarnings("ignore")
def test_columns_that_were_not_selected_count_for_nothing():
    known, part, judge = load_families()["linear"], rows("binary", 0), rows("binary", 1)
    compared(known, {"strength": 3.0, "selected": 0.5}, part, judge)


@pytest.mark.parametrize("l1", [None, 0.5])
@pytest.mark.parametrize(("known", "task"), EACH)
def test_where_solvers_stop_early_the_derivative_is_still_that_of_the_least(known, task, l1, monkeypatch, request):
    """Close, where a lasso's solver may have stopped with other coefficients at zero."""
    part, judge = rows(task, 0), rows(task, 1)
    config = next(configurations(known, part.shape)) | ({} if l1 is None else {"l1_ratio": l1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        early = derived(known, config, part, judge)
        request.getfixturevalue("exact")
        late = derived(known, config, part, judge)
    assert early == pytest.approx(late, rel=1e-6 if l1 is None else 0.1)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_without_writing_the_hessian_out_it_is_the_same(task, monkeypatch):
    known, part, judge = load_families()["banded"], rows(task, 0, weighted=True), rows(task, 1)
    config = next(configurations(known, part.shape))
    written = derived(known, config, part, judge)
    monkeypatch.setattr(implicit, "DENSE", 0)
    assert derived(known, config, part, judge) == pytest.approx(written, rel=1e-6)


def test_what_is_no_finite_number_is_left_out():
    known, part = load_families()["linear"], rows("regression", 0)
    judge = replace(part, y=np.full(len(part.y), np.nan))
    assert derived(known, {"strength": 1.0}, part, judge) == {}
    assert derived(load_families()["lda"], {"shrinkage": 0.1}, rows("binary", 0), rows("binary", 1)) == {}
