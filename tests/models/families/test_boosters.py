"""What families declare beyond the mean: monotone columns, medians, quantiles, and datasets that configurations share.

A family is held to each law by declaring it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import optuna
import pytest

from models.data.hashes import derive_seed
from models.families import load_families
from models.fitting.boosters import BinnedBooster
from models.fitting.family import FittedModel, Shape, TrainingData
from models.fitting.fit import fit_family, suggest_configuration

ROUNDS = 60


def cases(declares) -> list:
    """Every family that declares it, skipped where its package is missing."""
    return [
        pytest.param(f, id=f.name, marks=[] if f.available else pytest.mark.skip(reason=f"needs extra {f.extra}"))
        for f in load_families().values()
        if declares(f)
    ]


MONOTONE = cases(lambda f: f.monotone)
QUANTILE = cases(lambda f: "quantile" in f.losses and "regression" in f.tasks and f.tunable)
ABSOLUTE = cases(lambda f: "absolute" in f.losses and "regression" in f.tasks and f.tunable)
STOPPING = cases(lambda f: f.stops_early)


def shape(task: str, rows: int, columns: int, **more) -> Shape:
    classes = {"regression": 0, "binary": 2, "multiclass": 3}[task]
    return Shape(rows, columns, task, classes, **{"grid": (columns,), "time": True, **more})  # type: ignore[arg-type]


def as_wanted(known, one: TrainingData) -> TrainingData:
    """The part without missing values where the family takes none."""
    if known.needs.missing:
        return one
    stop = None if one.stop is None else (np.nan_to_num(one.stop[0]), *one.stop[1:])
    return replace(one, X=np.nan_to_num(one.X), stop=stop)


def default(known, one: TrainingData) -> dict:
    asked = optuna.trial.FixedTrial(dict(known.default))
    return {**suggest_configuration(known, asked, one.shape), **({"rounds": ROUNDS} if known.stops_early else {})}


def fit(known, one: TrainingData, config=None) -> FittedModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit_family(known, default(known, one) if config is None else config, one, 3, 1)


def said(made: FittedModel, X: np.ndarray, task: str = "regression") -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(made.model.predict(X) if task == "regression" else made.model.predict_proba(X))


# --- Monotone columns ------------------------------------------------------------------------------------------------


def wavy(task: str, sign: int, rows: int = 400, **more) -> TrainingData:
    """The target rises and falls with the second column, and is held to one of both; the first one is a category."""
    draw = np.random.default_rng(0)
    X = np.column_stack([draw.integers(0, 4, rows), draw.normal(size=(rows, 2))])
    X[draw.random(rows) < 0.05, 2] = np.nan
    y = sign * X[:, 1] + 1.5 * np.sin(4 * X[:, 1]) + (X[:, 0] == 1) + draw.normal(scale=0.3, size=rows)
    goal = y if task == "regression" else (y > np.median(y)).astype(int)
    held = shape(task, rows, 3, monotone=True, **more)
    return TrainingData(X, goal, None, held, (0,), monotone=(0, sign, 0))


def steps(known, one: TrainingData, task: str) -> np.ndarray:
    """How predictions change from point to point along the second column, for 40 rows."""
    made = fit(known, one)
    rows = [np.where(np.arange(3) == 1, at, one.X[:40]) for at in np.linspace(-2.5, 2.5, 50)]
    found = said(made, np.concatenate(rows), task)
    return np.diff((found if task == "regression" else found[:, 1]).reshape(50, 40), axis=0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("task", ["regression", "binary"])
@pytest.mark.parametrize("known", MONOTONE)
def test_predictions_only_rise_or_only_fall_with_a_monotone_column(known, task, sign):
    one = as_wanted(known, wavy(task, sign))
    held = sign * steps(known, one, task)
    assert held.min() >= -1e-9
    assert held.max() > 1e-3, "a constant would never fall either"
    free = sign * steps(known, replace(one, monotone=(), shape=replace(one.shape, monotone=False)), task)
    assert free.min() < -1e-3, "without the constraint it follows the waves"


@pytest.mark.parametrize("loss", [{"loss": "absolute"}, {"loss": "quantile", "level": 0.8}], ids=["median", "quantile"])
@pytest.mark.parametrize("known", MONOTONE)
def test_whatever_the_loss_it_keeps_to_the_constraint_or_says_that_it_can_not(known, loss):
    one = as_wanted(known, wavy("regression", 1, **loss))
    if known.unsuited(one.shape) or (loss["loss"] == "quantile" and "quantile" not in known.losses):
        return
    assert steps(known, one, "regression").min() >= -1e-9


# --- Losses ----------------------------------------------------------------------------------------------------------


def spread(rows: int, seed: int, loss: str, level: float) -> TrainingData:
    """Numbers that spread the wider the larger the second column is."""
    draw = np.random.default_rng(seed)
    X = draw.uniform(size=(rows, 3))
    y = 2 * X[:, 0] + (0.5 + X[:, 1]) * draw.normal(size=rows)
    return TrainingData(X, y, None, shape("regression", rows, 3, loss=loss, level=level))


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("known", QUANTILE)
def test_of_new_rows_about_the_level_lies_below_the_quantile(known, level):
    made, fresh = fit(known, spread(800, 0, "quantile", level)), spread(1500, 1, "quantile", level)
    assert (fresh.y <= said(made, fresh.X)).mean() == pytest.approx(level, abs=0.09)


@pytest.mark.parametrize("known", ABSOLUTE)
def test_with_an_absolute_loss_it_predicts_the_median_and_not_the_mean(known):
    draw = np.random.default_rng(0)
    X, y = draw.uniform(size=(800, 3)), draw.lognormal(0, 1.5, 800)  # its median is 1, its mean 3
    made = {
        loss: said(fit(known, TrainingData(X, y, None, shape("regression", 800, 3, loss=loss))), X).mean()
        for loss in ("absolute", "squared")
    }
    assert made["absolute"] < 1.8
    assert made["squared"] > 2.3


# --- Shared datasets -------------------------------------------------------------------------------------------------


def stopping(task: str, rows: int = 240) -> TrainingData:
    """Rows to fit on, with weights and a category, and rows to stop on, one of them with a level never seen."""
    draw = np.random.default_rng(0)
    X = np.column_stack([draw.integers(0, 4, rows), draw.normal(size=(rows, 3))])
    X[draw.random(rows) < 0.1, 3] = np.nan
    X[-1, 0] = 7
    y = X[:, 1] + (X[:, 0] == 1) + draw.normal(size=rows)
    goal = {"regression": y, "binary": (y > 0).astype(int), "multiclass": np.digitize(y, [-0.5, 0.8])}[task]
    weight, cut = draw.uniform(0.5, 2, rows), rows - 60
    held = X[cut:], goal[cut:], weight[cut:]
    return TrainingData(X[:cut], goal[:cut], weight[:cut], shape(task, cut, 4), (0,), held)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("known", STOPPING)
def test_what_is_kept_of_a_part_changes_no_prediction(known, task):
    """Several configurations one after the other on one part, each against a part of its own and against its refit."""
    one = as_wanted(known, stopping(task))
    anywhere = np.random.default_rng(1).normal(scale=2, size=(400, 4))
    anywhere[:, 0] = np.arange(400) % 5
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=derive_seed(known.name)))
    study.enqueue_trial(dict(known.default))
    for _ in range(3):
        config = suggest_configuration(known, study.ask(), one.shape)
        shared = fit(known, one, config)
        if not one.kept:
            return
        alone = fit(known, replace(one, kept={}), config)
        assert shared.rounds == alone.rounds
        assert (said(shared, anywhere, task) == said(alone, anywhere, task)).all()
        if isinstance(shared.model, BinnedBooster):
            refit = fit(known, replace(one, stop=None, kept={}), {**config, "rounds": shared.rounds})
            assert not isinstance(refit.model, BinnedBooster)
            assert (said(shared, anywhere, task) == said(refit, anywhere, task)).all()


def test_the_boosters_that_can_keep_their_datasets_do():
    one = stopping("binary")
    for case in STOPPING:
        known = case.values[0]
        if known.name in ("lightgbm", "xgboost"):
            fit(known, one, {k: v for k, v in default(known, one).items() if k != "rounds"})
    assert sorted(one.kept) == ["lightgbm", "xgboost"]
