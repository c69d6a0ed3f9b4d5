"""The convolutional network: what is delivered says what PyTorch's own module says."""

from __future__ import annotations

import numpy as np
import optuna
import pandas as pd
import pytest
from scipy.special import expit, softmax

from models.columns import prepare
from models.families import cnn, load_family
from models.fitting.family import Shape, TrainingData
from models.fitting.torch_training import train_module

ROWS = 200
DRAW = np.random.default_rng(0)


def config(grid: tuple[int, ...], **params) -> dict:
    known = load_family("cnn")
    trial = optuna.trial.FixedTrial({**known.default, "channels": 8, **params})
    return {**known.space(trial, Shape(ROWS, 20, "regression", grid=grid)), "rounds": 3}


@pytest.mark.parametrize(
    ("grid", "rest", "params"),
    [
        ((4, 5), 0, {}),
        ((4, 5), 3, {"stride": 2, "kernel": 5, "layers": 3}),
        ((12,), 0, {"kernel": 5, "normalised": False}),
        ((12,), 2, {"stride": 2, "layers": 1}),
        ((1,), 0, {}),
        ((11, 10), 1, {}),
    ],
)
@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_what_is_delivered_says_what_torch_says(grid, rest, params, task, monkeypatch):
    torch = pytest.importorskip("torch", reason="needs extra neural")
    kept = []
    monkeypatch.setattr(cnn, "train_module", lambda *given: kept.append(train_module(*given)) or kept[0])
    X = DRAW.normal(7, 3, size=(ROWS, int(np.prod(grid)) + rest))
    y = X[:, 0] * 10 + 1000 if task == "regression" else np.digitize(X[:, 0], [6, 8] if task == "multiclass" else [7])
    shape = Shape(ROWS, X.shape[1], task, {"regression": 0, "binary": 2, "multiclass": 3}[task], grid=grid)
    model = cnn.FAMILY.fit(config(grid, **params), TrainingData(X, y, None, shape), 1, 1).model
    with torch.no_grad():
        said = kept[0].module(torch.as_tensor(X, dtype=torch.float32)).double().numpy()
    if task == "regression":
        assert np.allclose(model.predict(X), kept[0].centre + kept[0].spread * said[:, 0], rtol=1e-5, atol=1e-3)
    elif task == "binary":
        assert np.allclose(model.predict_proba(X)[:, 1], expit(said[:, 0]), atol=1e-5)
    else:
        assert np.allclose(model.predict_proba(X), softmax(said, axis=1), atol=1e-5)


def test_it_is_for_declared_grids_of_some_size():
    assert "--grid 8x8" in cnn.FAMILY.unsuited(Shape(100, 64, "binary", 2))
    assert "this one has 10,000" in cnn.FAMILY.unsuited(Shape(100, 10_000, "binary", 2, grid=(100, 100)))
    assert not cnn.FAMILY.unsuited(Shape(100, 64, "binary", 2, grid=(8, 8)))


def test_its_columns_stay_pixels_in_their_order():
    """Numbers come first, in the table's order and scale; what is missing is filled and marked behind them."""
    pixels = pd.DataFrame(DRAW.integers(0, 16, size=(ROWS, 6)).astype(float), columns=list("fbdace"))
    pixels["b"] = 0.0
    pixels.loc[3, "d"] = np.nan
    table = pixels.assign(colour=np.where(DRAW.random(ROWS) > 0.5, "red", "blue"))[
        ["f", "colour", "b", "d", "a", "c", "e"]
    ]
    kinds = {c: "category" if c == "colour" else "number" for c in table}
    made = prepare(table, kinds, DRAW.normal(size=ROWS), "regression", cnn.FAMILY.needs, 0)
    assert made.plain == tuple("fbdace")
    assert np.array_equal(made.X[:, :6], pixels.fillna(pixels.median()).to_numpy())
    assert made.X.shape[1] > 6
