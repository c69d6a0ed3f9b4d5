"""A perceptron with hidden layers, scikit-learn's: trained by epochs, of which the best on held-out rows is kept
(Prechelt 1998, Neural Networks 11:761)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor
from threadpoolctl import threadpool_limits

from models.families import Family, Fitted, Needs

_USUAL_EPOCHS = 40
"""Epochs where there are neither rounds nor rows to stop on."""

_BATCHES = 200
"""Most batches of an epoch: on many rows a batch is larger than asked, or an epoch would take minutes."""

_FLOOR = 1e-7


def _space(trial, shape):
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
    regression = part.shape.task == "regression"
    batch: Any = min(len(part.y), max(config["batch_size"], len(part.y) // _BATCHES))
    model = (MLPRegressor if regression else MLPClassifier)(
        hidden_layer_sizes=(config["width"],) * config["layers"],
        activation=config["activation"],
        solver=config["solver"],
        learning_rate_init=config["learning_rate"],
        batch_size=batch,
        alpha=config["l2"],
        # A number would shuffle every epoch alike.
        random_state=np.random.RandomState(seed),  # pyright: ignore[reportArgumentType]
    )
    mean, spread = (float(part.y.mean()), float(part.y.std()) or 1.0) if regression else (0.0, 1.0)
    with threadpool_limits(threads):  # of so small products more threads only wait for each other
        rounds = _train(model, config, part, mean, spread)
    model.set_params(random_state=seed)
    del model._optimizer  # as large as the model, and of no use any more
    if regression:  # the last layer is linear: it takes the target's scale upon itself
        model.coefs_[-1] = model.coefs_[-1] * spread
        model.intercepts_[-1] = model.intercepts_[-1] * spread + mean
    return Fitted(model, rounds)


def _train(model, config, part, mean, spread):
    """Trains epoch by epoch and returns how many the kept weights have seen."""
    X, y = part.X.astype(np.float32), (part.y - mean) / spread if spread != 1.0 or mean else part.y
    weight = {} if part.weight is None else {"sample_weight": part.weight / part.weight.mean()}
    first = {} if part.shape.task == "regression" else {"classes": np.unique(part.y)}
    fixed = config.get("rounds") or (None if part.stop is not None else _USUAL_EPOCHS)
    best, mark, kept, since, epoch = np.inf, np.inf, None, 0, 0
    for epoch in range(1, (fixed or config["epochs"]) + 1):
        model.partial_fit(X, y, **weight, **first)
        first = {}
        rate = config["learning_rate"] * 0.5 ** (epoch / config["halving"])
        model._optimizer.learning_rate_init = model._optimizer.learning_rate = rate
        if fixed:
            continue
        loss = _loss(model, part.stop, mean, spread)
        if loss < best:
            best, kept = loss, (epoch, [c.copy() for c in model.coefs_], [i.copy() for i in model.intercepts_])
        mark, since = (loss, 0) if loss < mark * (1 - config["tolerance"]) else (mark, since + 1)
        if since >= config["patience"]:
            break
    if kept is None:
        return epoch
    epoch, model.coefs_, model.intercepts_ = kept
    return epoch


def _loss(model, stop, mean, spread):
    """Mean squared error in units of the target's spread, or log loss, on the rows to stop on."""
    X, y, weight = stop
    X = X.astype(np.float32)
    if hasattr(model, "predict_proba"):
        of_own = model.predict_proba(X)[np.arange(len(y)), y]
        return float(np.average(-np.log(np.maximum(of_own, _FLOOR)), weights=weight))
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
    space=_space,
    fit=_fit,
    stops_early=True,
    selects=True,
    logs=True,
    most_cells=1e7,
    source="layers, width and learning rate after Gorishniy et al. 2021 (Revisiting deep learning models for tabular "
    "data, NeurIPS) and Kadra et al. 2021 (Well-tuned simple nets, NeurIPS)",
)
