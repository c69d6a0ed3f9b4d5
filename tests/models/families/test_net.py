"""The plain network: what is delivered says what PyTorch's own module says."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from scipy.special import expit, softmax

from models.families import load_family, net
from models.fitting.family import Shape, TrainingData
from models.fitting.torch_training import train_module

torch = pytest.importorskip("torch", reason="needs extra neural")

ROWS = 300
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(ROWS, 6))
X[:, 3] = X[:, 3] > 0
X[:, 4] = np.exp(X[:, 4])
X[:, 5] = 1.0
GOALS = {
    "regression": 100 + 50 * X[:, 0] * X[:, 1],
    "binary": (X[:, 0] * X[:, 1] > 0).astype(int),
    "multiclass": np.digitize(X[:, 0], [-0.5, 0.5]),
}


def config(task: str, **params) -> dict:
    known = load_family("net")
    trial = optuna.trial.FixedTrial({**known.default, **params})
    return {**known.space(trial, Shape(ROWS, 6, task, 3)), "rounds": 5}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"normalised": True, "optimizer": "sgd"},
        {"embedding": False},
        {"activation": "tanh", "normalised": True, "layers": 3},
        {"connection": "residual", "layers": 4, "normalised": True},
        {"connection": "residual", "embedding": False},
    ],
    ids=["pieces", "pieces-normalised", "plain", "tanh", "residual-pieces", "residual"],
)
@pytest.mark.parametrize("task", GOALS)
def test_what_is_delivered_says_what_torch_says(task, params, monkeypatch):
    kept = []
    monkeypatch.setattr(net, "train_module", lambda *given: kept.append(train_module(*given)) or kept[0])
    shape = Shape(ROWS, 6, task, 0 if task == "regression" else len(np.unique(GOALS[task])))
    model = net.FAMILY.fit(config(task, **params), TrainingData(X, GOALS[task], None, shape), 1, 1).model
    odd = np.vstack([X, 5 * X, X.min(axis=0), np.zeros(6)])
    with torch.no_grad():
        said = kept[0].module(torch.as_tensor(odd, dtype=torch.float32)).double().numpy()
    if task == "regression":
        assert np.allclose(model.predict(odd), kept[0].centre + kept[0].spread * said[:, 0], rtol=1e-5, atol=1e-3)
    elif task == "binary":
        assert np.allclose(model.predict_proba(odd)[:, 1], expit(said[:, 0]), atol=1e-5)
    else:
        assert np.allclose(model.predict_proba(odd), softmax(said, axis=1), atol=1e-5)


def test_pieces_rise_between_the_quantiles_and_are_flat_outside():
    part = TrainingData(X[:, :1], X[:, 0] ** 2, None, Shape(ROWS, 1, "regression"))
    model = net.FAMILY.fit(config("regression", bins=4), part, 1, 1).model
    knots = np.quantile(X[:, 0], [0, 0.25, 0.5, 0.75, 1], method="nearest")
    low, lower, high, higher = model.predict([[knots[0]], [-1e3], [knots[-1]], [1e3]])
    assert low == pytest.approx(lower, rel=1e-4)
    assert high == pytest.approx(higher, rel=1e-4)
    assert low != pytest.approx(high, rel=1e-2)


def test_knots_are_values_of_the_column_also_where_nearly_all_are_one():
    rare = np.where(np.arange(400) % 10, 0.0, np.arange(400))
    flag = np.arange(400) % 2
    knots = net._place_knots(np.column_stack([rare, flag, np.ones(400)]), 8)
    assert list(knots) == [0]
    assert len(knots[0]) == 9
    assert set(knots[0]) <= set(rare)
