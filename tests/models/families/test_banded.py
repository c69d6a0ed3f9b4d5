"""A penalty for each group of columns: which column bears which."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest

from models.families import load_family
from models.fitting.family import Shape, TrainingData
from models.fitting.fit import fit_family, suggest_configuration

DRAW = np.random.default_rng(0)
TASKS = ("binary", "multiclass", "regression")


def part(task: str, columns: int = 6, origins: tuple[int, ...] = (0, 0, 1, 2, 3, 3)) -> TrainingData:
    X = DRAW.normal(size=(200, columns))
    said = X @ np.linspace(1, 2, columns)
    y = said if task == "regression" else np.digitize(said, [-1, 1] if task == "multiclass" else [0])
    shape = Shape(200, 4, task, 0 if task == "regression" else int(y.max()) + 1)  # type: ignore[arg-type]
    return TrainingData(X, y, None, shape, origins=origins)


def config(strengths: list[float], columns: int = 4, **more) -> dict:
    return {"strengths": strengths, "columns": columns, **more}


def said(model, X: np.ndarray) -> np.ndarray:
    """Values, or probabilities."""
    return np.asarray(model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X))


def model_of(name: str, settings: dict, one: TrainingData):
    return fit_family(load_family(name), settings, one, 0, 1).model


def silent(model, one: TrainingData) -> list[bool]:
    """For each column whether the predictions stay where they are when its rows are turned round."""
    before, found = said(model, one.X), []
    for column in range(one.X.shape[1]):
        X = one.X.copy()
        X[:, column] = X[::-1, column]
        found.append(bool(np.abs(said(model, X) - before).max() < 0.02 * np.ptp(before)))
    return found


@pytest.mark.parametrize("more", [{}, {"l1_ratio": 0.3}])
@pytest.mark.parametrize("task", TASKS)
def test_with_one_strength_for_all_it_is_the_linear_family(task, more):
    """At strength 1, where root and strength are the same to L1 too; solvers may stop at other digits."""
    one = part(task)
    plain = said(model_of("linear", {"strength": 1.0, **more}, one), one.X)
    alike = said(model_of("banded", config([1.0] * 4, **more), one), one.X)
    assert np.abs(alike - plain).max() < 0.02 * np.ptp(plain)


@pytest.mark.parametrize("group", range(4))
@pytest.mark.parametrize("task", TASKS)
def test_a_strong_penalty_silences_its_own_group_and_no_other(task, group):
    one = part(task)
    strengths = [1e6 if g == group else 0.01 for g in range(4)]
    model = model_of("banded", config(strengths), one)
    assert silent(model, one) == [origin == group for origin in one.origins]


def test_of_wide_tables_neighbouring_columns_share_a_penalty():
    one = part("regression", 40, tuple(range(40)))
    pairs = [1e6, *[0.01] * 19]
    model = model_of("banded", config(pairs, columns=40), one)
    assert [columns for _, _, columns in model["bands"].transformers] == [[2 * g, 2 * g + 1] for g in range(20)]
    weights = np.repeat(list(model["bands"].transformer_weights.values()), 2)
    assert np.flatnonzero(np.abs(model["model"].coef_ * weights) < 0.1).tolist() == [0, 1]


@pytest.mark.parametrize(("columns", "groups"), [(1, 1), (7, 7), (300, 20)])
def test_the_space_has_a_strength_for_each_column_and_at_most_twenty(columns, groups):
    shape = replace(part("binary").shape, columns=columns)
    found = suggest_configuration(
        load_family("banded"), optuna.trial.FixedTrial(dict(load_family("banded").default)), shape
    )
    assert len(found["strengths"]) == groups
