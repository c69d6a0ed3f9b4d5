"""A perceptron with hidden layers, scikit-learn's: trained by epochs, of which the best on held-out rows is kept
(Prechelt 1998, Neural Networks 11:761)."""

from __future__ import annotations

import copy
from math import ceil
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor
from threadpoolctl import threadpool_limits

from models.fitting.family import Family, FittedModel, Needs

_USUAL_EPOCHS = 40
"""Epochs where there are neither rounds nor rows to stop on."""

_BATCHES = 200
"""Most batches of an epoch: on many rows a batch is larger than asked, or an epoch would take minutes."""

_FLOOR = 1e-7


def _suggest_configuration(trial, shape):
    return {
        "layers": trial.suggest_int("layers", 1, 3),
        "width": trial.suggest_int("width", 16, 512, log=True),
        "activation": trial.suggest_categorical("activation", ["relu", "tanh"]),
        "solver": trial.suggest_categorical("solver", ["adam", "sgd"]),
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 3e-2, log=True),
        "halving": trial.suggest_float("halving", 3, 100, log=True),
        "batch_size": trial.suggest_int("batch_size", 16, 512, log=True),
        "l2": trial.suggest_float("l2", 1e-5, 10.0, log=True),
        "epochs": trial.suggest_int("epochs", 30, 300, log=True),
        "patience": trial.suggest_int("patience", 5, 30, log=True),
        "tolerance": trial.suggest_float("tolerance", 1e-5, 1e-2, log=True),
    }


def _fit(config, part, seed, threads):
    model = _build_network(config, part, seed)
    with threadpool_limits(threads):  # of so small products more threads only wait for each other
        rounds = _train(model, config, part)
    return FittedModel(_finish_network(model, part, seed), rounds)


def _train_steps(config, part, seed, threads, model):
    classes = {} if model is not None or part.shape.task == "regression" else {"classes": np.unique(part.y)}
    model = _build_network(config, part, seed) if model is None else copy.deepcopy(model)
    model.set_params(
        alpha=config["l2"], batch_size=_choose_batch_size(config, part), learning_rate_init=config["learning_rate"]
    )
    if hasattr(model, "_optimizer"):
        model._optimizer.learning_rate_init = model._optimizer.learning_rate = config["learning_rate"]
    X, y, weight = _prepare_rows(part)
    with threadpool_limits(threads):
        for _ in range(config["rounds"]):
            model.partial_fit(X, y, **weight, **classes)
            classes = {}
    return FittedModel(_finish_network(copy.deepcopy(model), part, seed), None, model)


def _choose_batch_size(config, part) -> int:
    return min(len(part.y), max(config["batch_size"], len(part.y) // _BATCHES))


def _build_network(config, part, seed) -> Any:
    """The network before its first epoch."""
    return (MLPRegressor if part.shape.task == "regression" else MLPClassifier)(
        hidden_layer_sizes=(config["width"],) * config["layers"],
        activation=config["activation"],
        solver=config["solver"],
        learning_rate_init=config["learning_rate"],
        batch_size=_choose_batch_size(config, part),  # pyright: ignore[reportArgumentType]
        alpha=config["l2"],
        # A number would shuffle every epoch alike.
        random_state=np.random.RandomState(seed),  # pyright: ignore[reportArgumentType]
    )


def _finish_network(model, part, seed) -> Any:
    """The trained network without what only training needs, and on the target's own scale."""
    mean, spread = _measure_scale(part)
    model.set_params(random_state=seed)
    del model._optimizer  # as large as the model, and of no use any more
    if part.shape.task == "regression":  # the last layer is linear: it takes the target's scale upon itself
        model.coefs_[-1] = model.coefs_[-1] * spread
        model.intercepts_[-1] = model.intercepts_[-1] * spread + mean
    return model


def _measure_scale(part) -> tuple[float, float]:
    """Mean and standard deviation of a regression's target."""
    regression = part.shape.task == "regression"
    return (float(part.y.mean()), float(part.y.std()) or 1.0) if regression else (0.0, 1.0)


def _prepare_rows(part) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """The rows as the network is trained on them, and their weights by the name of the argument."""
    mean, spread = _measure_scale(part)
    y = (part.y - mean) / spread if spread != 1.0 or mean else part.y
    return (
        part.X.astype(np.float32),
        y,
        {} if part.weight is None else {"sample_weight": part.weight / part.weight.mean()},
    )


def _train(model, config, part):
    """Trains epoch by epoch and returns how many the kept weights have seen."""
    (X, y, weight), (mean, spread) = _prepare_rows(part), _measure_scale(part)
    classes = {} if part.shape.task == "regression" else {"classes": np.unique(part.y)}
    rounds = config.get("rounds") or (None if part.stop is not None else ceil(part.share * _USUAL_EPOCHS))
    best, mark, state, since, epoch = np.inf, np.inf, None, 0, 0
    for epoch in range(1, (rounds or ceil(part.share * config["epochs"])) + 1):
        model.partial_fit(X, y, **weight, **classes)
        classes = {}
        rate = config["learning_rate"] * 0.5 ** (epoch / config["halving"])
        model._optimizer.learning_rate_init = model._optimizer.learning_rate = rate
        if rounds:
            continue
        loss = _measure_loss(model, part.stop, mean, spread)
        if loss < best:
            best, state = loss, (epoch, [c.copy() for c in model.coefs_], [i.copy() for i in model.intercepts_])
        mark, since = (loss, 0) if loss < mark * (1 - config["tolerance"]) else (mark, since + 1)
        if since >= config["patience"]:
            break
    if state is None:
        return epoch
    epoch, model.coefs_, model.intercepts_ = state
    return epoch


def _measure_loss(model, stop, mean, spread):
    """Mean squared error in units of the target's spread, or log loss, on the rows to stop on."""
    X, y, weight = stop
    X = X.astype(np.float32)
    if hasattr(model, "predict_proba"):
        probabilities = model.predict_proba(X)[np.arange(len(y)), y]
        return float(np.average(-np.log(np.maximum(probabilities, _FLOOR)), weights=weight))
    return float(np.average((model.predict(X) - (y - mean) / spread) ** 2, weights=weight))


FAMILY = Family(
    name="mlp",
    suits="tables of some thousand rows and more with smooth effects; beside boosting in an ensemble",
    cost=20.0,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default={
        "layers": 2,
        "width": 128,
        "activation": "relu",
        "solver": "adam",
        "learning_rate": 2e-3,
        "halving": 15.0,
        "batch_size": 32,
        "l2": 0.1,
        "epochs": 150,
        "patience": 15,
        "tolerance": 1e-3,
        "selected": 1.0,
        "log_target": True,
    },
    space=_suggest_configuration,
    fit=_fit,
    fidelity="rounds",
    most_rounds=300,
    architecture=("layers", "width", "activation"),
    stops_early=True,
    steps=_train_steps,
    explores=("learning_rate", "batch_size", "l2"),
    selects=True,
    logs=True,
    most_cells=1e7,
    source="layers, width and learning rate after Gorishniy et al. 2021 (Revisiting deep learning models for tabular "
    "data, NeurIPS) and Kadra et al. 2021 (Well-tuned simple nets, NeurIPS)",
)
