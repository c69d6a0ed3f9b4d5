"""Families of the extra `neural`: what they say where something is missing, and where it is there what only they do."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from models.errors import InputError
from models.families import load_families, load_family, require_family
from models.families.tabicl import WEIGHTS
from models.fitting.family import Shape, TrainingData

NEURAL = [f for f in load_families().values() if f.extra == "neural"]


@pytest.fixture
def anywhere(monkeypatch):
    """tabicl as it is where its packages are installed, without weights."""
    monkeypatch.delenv(WEIGHTS, raising=False)
    monkeypatch.setattr("models.families.tabicl.find_spec", lambda name: True)
    return replace(load_family("tabicl"), package="")


@pytest.mark.parametrize("known", NEURAL, ids=lambda f: f.name)
def test_a_family_whose_package_is_missing_says_what_to_install(known, monkeypatch):
    monkeypatch.setattr("models.fitting.family.find_spec", lambda name: None)
    assert not known.available
    assert known.lack == f"the package {known.package} is missing: uv sync --extra neural"
    with pytest.raises(InputError, match=f"The family {known.name} can't be used here: the package"):
        require_family(known.name)


def test_a_model_without_its_weights_says_where_they_are_looked_for(anywhere, tmp_path, monkeypatch):
    assert anywhere.lack == f"its weights are missing: {WEIGHTS} names the folder that holds them, and is not set"
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    assert "holds neither tabicl-classifier-v2-20260212.ckpt nor" in anywhere.lack
    assert not anywhere.available


def test_weights_for_one_task_are_enough_for_that_task(anywhere, tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    (tmp_path / "tabicl-classifier-v2-20260212.ckpt").touch()
    assert anywhere.available
    assert anywhere.unsuited(Shape(100, 4, "binary", 2)) == ""
    assert "holds no tabicl-regressor" in anywhere.unsuited(Shape(100, 4, "regression"))


@pytest.mark.parametrize("shape", [Shape(9, 4, "binary", 2, time=True), Shape(9, 4, "binary", 2, past=4)])
def test_a_recurrent_network_needs_a_past_to_read(shape):
    assert "--horizon" in load_family("rnn").unsuited(shape)
    assert load_family("rnn").unsuited(replace(shape, time=True, past=4)) == ""


# --- Where PyTorch is -------------------------------------------------------------------------------------------------


def drawn(task: str, rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and a category, and a target of the first two columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 4))
    X[:, 3] = rng.integers(-1, 3, rows)
    value = X[:, 0] - X[:, 1]
    return X, {"binary": (value > 0).astype(int), "multiclass": np.digitize(value, [-1, 1])}.get(task, 50 + 9 * value)


def part(task: str, rows: int = 120, **more) -> TrainingData:
    X, y = drawn(task, rows)
    classes = 0 if task == "regression" else len(np.unique(y))
    return TrainingData(X, y, None, Shape(rows, 4, task, classes, time=True, past=2), past=(0, 1), **more)  # type: ignore[arg-type]


def said(model, X, task):
    return model.predict(X) if task == "regression" else model.predict_proba(X)


@pytest.mark.skipif(not load_family("rnn").available, reason="needs extra neural")
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_delivered_recurrent_network_says_what_pytorch_says(task, cell, monkeypatch):
    import torch

    from models.families import rnn

    trained = []
    whole = rnn.train_module
    monkeypatch.setattr(rnn, "train_module", lambda *a: trained.append(whole(*a)) or trained[-1])
    config = {**load_family("rnn").default, "cell": cell, "optimizer": "adamw", "schedule": "cosine", "layers": 2}
    one = part(task)
    found = said(load_family("rnn").fit({**config, "rounds": 3}, one, 1, 1).model, one.X, task)
    with torch.no_grad():
        raw = trained[0].module(torch.as_tensor(one.X, dtype=torch.float32)).numpy().astype(float)
    if task == "regression":
        wanted = trained[0].centre + trained[0].spread * raw[:, 0]
    elif task == "binary":
        wanted = np.column_stack([1 / (1 + np.exp(raw[:, 0])), 1 / (1 + np.exp(-raw[:, 0]))])
    else:
        wanted = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not load_family("rnn").available, reason="needs extra neural")
def test_a_recurrent_network_reads_the_past_in_order_and_no_more_of_it_than_its_window():
    """Four lags, a window of two: the two oldest change nothing, the newest are no set but a sequence."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    shape = Shape(300, 4, "regression", time=True, past=4)
    one = TrainingData(X, X[:, 0] * (X[:, 1] > 0), None, shape, past=(0, 1, 2, 3))
    config = {**load_family("rnn").default, "window": 2, "optimizer": "adamw", "schedule": "cosine", "rounds": 5}
    model = load_family("rnn").fit(config, one, 1, 1).model
    np.testing.assert_array_equal(model.predict(X), model.predict(np.column_stack([X[:, :2], X[:, :2]])))
    assert not np.allclose(model.predict(X), model.predict(X[:, [1, 0, 2, 3]]))


@pytest.mark.skipif(not load_family("rnn").available, reason="needs extra neural")
def test_a_pickled_recurrent_network_needs_no_part_of_this_project(tmp_path):
    from tasks.registry.pickles import dump_pickle, find_pickle_modules

    config = {**load_family("rnn").default, "optimizer": "adamw", "schedule": "cosine", "rounds": 1}
    dump_pickle(load_family("rnn").fit(config, part("binary"), 1, 1).model, tmp_path / "model.pkl")
    assert (
        {"torch", "sklearn"}
        <= find_pickle_modules(tmp_path / "model.pkl")
        <= {"builtins", "collections", "numpy", "sklearn", "torch"}
    )


def checkpoints(folder) -> None:
    """Weights by chance, of a small transformer: all that may differ from the published ones is what they know."""
    import torch
    from tabicl._model.tabicl import TabICL

    small = {"embed_dim": 16, "col_num_blocks": 1, "col_nhead": 2, "col_num_inds": 8, "row_num_blocks": 1,
             "row_nhead": 2, "row_num_cls": 2, "icl_num_blocks": 2, "icl_nhead": 2}  # fmt: skip
    for kind, more in (("classifier", {"max_classes": 10}), ("regressor", {"max_classes": 0, "num_quantiles": 19})):
        torch.manual_seed(0)
        config = {**small, **more}
        kept = {"config": config, "state_dict": TabICL(**config).state_dict()}
        torch.save(kept, folder / f"tabicl-{kind}-v2-20260212.ckpt")


@pytest.mark.skipif(not load_family("tabicl").installed, reason="needs extra neural")
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("epochs", [0, 2])
def test_a_pre_trained_model_is_fitted_and_kept_with_its_weights(task, epochs, tmp_path, monkeypatch):
    """Pickled twice, as a run does, and loaded where the folder of weights is gone."""
    if epochs:
        pytest.importorskip("transformers", reason="fine-tuning needs it")
    checkpoints(tmp_path)
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    one = part(task)
    config = {"estimators": 2, "epochs": epochs, "learning_rate": 1e-3, "frozen": "columns"}
    model = load_family("tabicl").fit(config, one, 1, 1).model
    before = said(model, one.X, task)
    again = said(load_family("tabicl").fit(config, one, 1, 1).model, one.X, task)
    np.testing.assert_array_equal(before, again)
    for file in tmp_path.iterdir():
        file.unlink()
    twice = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(model))))
    np.testing.assert_array_equal(before, said(twice, one.X, task))
