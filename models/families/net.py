"""A plain network of PyTorch, delivered as scikit-learn's perceptron."""
# pyright: reportMissingImports=false
# It is an extra: types are checked where it may be missing.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from models.fitting.family import Family, FittedModel, Needs
from models.fitting.perceptron import (
    Layer,
    build_perceptron,
    double_inputs,
    fold_normalisation,
    pass_inputs_on,
    to_layer,
)
from models.fitting.torch_training import (
    TrainedModule,
    continue_training,
    count_outputs,
    make_training_settings,
    train_module,
)

_NARROWEST = 1e-5
"""Between two knots of a column, which has variance 1: single precision tells no less apart."""


def _suggest_configuration(trial, shape):
    config = {
        "layers": trial.suggest_int("layers", 1, 4),
        "width": trial.suggest_int("width", 32, 512, log=True),
        "activation": trial.suggest_categorical("activation", ["relu", "tanh"]),
        "normalised": trial.suggest_categorical("normalised", [False, True]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "optimizer": trial.suggest_categorical("optimizer", ["adamw", "adam", "sgd"]),
        "schedule": trial.suggest_categorical("schedule", ["cosine", "constant"]),
        "learning_rate": trial.suggest_float("learning_rate", 5e-4, 1.5e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 0.1, log=True),
        "l1": trial.suggest_float("l1", 1e-7, 1e-3, log=True),
        "batch_size": trial.suggest_int("batch_size", 64, 1024, log=True),
        "epochs": trial.suggest_int("epochs", 15, 60, log=True),
        "connection": "plain",
        "bins": 0,
    }
    # A perceptron passes numbers on beside its units where none is below 0.
    if config["activation"] == "relu" and config["layers"] > 1:
        config["connection"] = trial.suggest_categorical("connection", ["plain", "residual"])
    # Encoded numbers are rectified units themselves, and a perceptron has one kind of unit.
    if config["activation"] == "relu" and trial.suggest_categorical("embedding", [True, False]):
        config["bins"] = trial.suggest_int("bins", 4, 64, log=True)
    return config


def _fit(config, part, seed, threads):
    knots, count = _place_knots(part.X, config["bins"]), count_outputs(part)
    pieces = _PiecewiseEncoding.of(knots, part.X.shape[1]) if knots else None
    network = lambda: _build_network(config, part.X.shape[1], pieces, count)  # noqa: E731
    result = train_module(
        network, part, make_training_settings(config, len(part.y), part.share), seed, threads, config.get("rounds")
    )
    return FittedModel(_to_perceptron(result, pieces, config, part), result.rounds)


def _train_steps(config, part, seed, threads, state):
    knots, count = _place_knots(part.X, config["bins"]), count_outputs(part)
    pieces = _PiecewiseEncoding.of(knots, part.X.shape[1]) if knots else None
    network = lambda: _build_network(config, part.X.shape[1], pieces, count)  # noqa: E731
    course = replace(make_training_settings(config, len(part.y)), schedule="constant")
    result, state = continue_training(network, part, course, seed, threads, config["rounds"], state)
    return FittedModel(_to_perceptron(result, pieces, config, part), None, state)


def _to_perceptron(result: TrainedModule, pieces: _PiecewiseEncoding | None, config, part):
    """The trained network as scikit-learn's perceptron."""
    first, *others = _read_layers(result.module)
    layers = [*(pieces.list_layers(first) if pieces else [first]), *others]
    return build_perceptron(layers, config["activation"], part.shape, result.centre, result.spread)


def _build_network(config, columns: int, pieces: _PiecewiseEncoding | None, count: int):
    """The network: linear layers, each with what is wanted of normalisation, activation and dropout."""
    from torch import nn

    parts = [pieces.make_module()] if pieces else []
    width = pieces.width if pieces else columns
    for place in range(config["layers"]):
        hidden: list[nn.Module] = [nn.Linear(width, config["width"])]
        hidden += [nn.BatchNorm1d(config["width"])] if config["normalised"] else []
        hidden.append(nn.ReLU() if config["activation"] == "relu" else nn.Tanh())
        hidden += [nn.Dropout(config["dropout"])] if config["dropout"] else []
        parts += [_make_residual(hidden)] if place and config["connection"] == "residual" else hidden
        width = config["width"]
    return nn.Sequential(*parts, nn.Linear(width, count))


def _make_residual(hidden):
    """A module that adds what these modules make of its input to the input (He et al. 2016, CVPR)."""
    from torch import nn

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Sequential(*hidden)

        def forward(self, X):
            return X + self.inside(X)

    return Residual()


def _read_layers(module) -> list[Layer]:
    """The trained network's layers, normalisation folded in."""
    layers: list[Layer] = []
    residual = False
    for part in module:
        if part.__class__.__name__ == "Residual":
            (layer,) = _read_layers(part.inside)
            layers.append(pass_inputs_on(double_inputs(layer) if residual else layer, residual))
            residual = True
        elif part.__class__.__name__ == "Linear":
            layers.append(double_inputs(to_layer(part)) if residual else to_layer(part))
        elif part.__class__.__name__ == "BatchNorm1d":
            layers[-1] = fold_normalisation(layers[-1], part)
    return layers


# --- Numbers as pieces ----------------------------------------------------------------------------------------------


def _place_knots(X: np.ndarray, bins: int) -> dict[int, np.ndarray]:
    """Where the pieces of each column of more than two values end."""
    quantiles = {column: _choose_quantiles(X[:, column], bins) for column in range(X.shape[1] if bins else 0)}
    return {column: knots for column, knots in quantiles.items() if len(knots) > 2}


def _choose_quantiles(values: np.ndarray, bins: int) -> np.ndarray:
    """Quantiles; where one value is so frequent that most of them are it, those of the different values. Some that are
    too close together are left out."""
    shares = np.linspace(0, 1, bins + 1)
    knots = np.unique(np.quantile(values, shares, method="nearest"))
    if len(knots) <= bins // 2:
        knots = np.unique(np.quantile(np.unique(values), shares, method="nearest"))
    return knots[np.append(True, np.diff(knots) > _NARROWEST)]


@dataclass(frozen=True, eq=False)
class _PiecewiseEncoding:
    """The piecewise-linear encoding of Gorishniy, Rubachev & Babenko (2022, NeurIPS): for each two knots that follow
    each other in a column a number that rises from 0 to 1 between them. Columns without knots stay as they are."""

    column: np.ndarray
    low: np.ndarray
    wide: np.ndarray
    rest: np.ndarray
    """Columns without knots; they come behind the pieces."""

    @classmethod
    def of(cls, knots: Mapping[int, np.ndarray], columns: int) -> _PiecewiseEncoding:
        return cls(
            np.repeat(list(knots), [len(k) - 1 for k in knots.values()]),
            np.concatenate([k[:-1] for k in knots.values()]),
            np.concatenate([np.diff(k) for k in knots.values()]),
            np.setdiff1d(np.arange(columns), list(knots)),
        )

    @property
    def width(self) -> int:
        return len(self.column) + len(self.rest)

    def make_module(self):
        """A module of PyTorch that encodes."""
        import torch
        from torch import nn

        class Encoding(nn.Module):
            def __init__(self, column, low, wide, rest):
                super().__init__()
                for name, values in ("column", column), ("low", low), ("wide", wide), ("rest", rest):
                    self.register_buffer(name, values)

            def forward(self, X):
                pieces = ((X[:, self.column] - self.low) / self.wide).clamp(0, 1)
                return torch.cat([pieces, X[:, self.rest]], dim=1)

        low, wide = (torch.as_tensor(values, dtype=torch.float32) for values in (self.low, self.wide))
        return Encoding(torch.as_tensor(self.column), low, wide, torch.as_tensor(self.rest))

    def list_layers(self, first: Layer) -> list[Layer]:
        """The encoding, and the layer that follows it, as layers with rectified units between them.

        A piece is the difference of two units, max(0, z) - max(0, z - 1); so is any number, max(0, x) - max(0, -x)."""
        count, others = len(self.column), len(self.rest)
        columns = np.concatenate([self.column, self.column, self.rest, self.rest])
        slopes = np.concatenate([1 / self.wide, 1 / self.wide, np.ones(others), -np.ones(others)])
        units, inputs = 2 * (count + others), int(columns.max()) + 1
        matrix = csr_array((slopes, (columns, np.arange(units))), shape=(inputs, units))
        bias = np.concatenate([-self.low / self.wide, -self.low / self.wide - 1, np.zeros(2 * others)])
        rows, rest = np.split(first[0], [count])
        return [(matrix, bias), (np.vstack([rows, -rows, rest, -rest]), first[1])]


FAMILY = Family(
    name="net",
    suits="tables of some thousand rows with smooth effects; a good partner for trees in an ensemble",
    cost=40.0,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default={
        "layers": 2,
        "width": 128,
        "activation": "relu",
        "normalised": False,
        "dropout": 0.2,
        "optimizer": "adamw",
        "schedule": "cosine",
        "learning_rate": 3e-3,
        "weight_decay": 1e-3,
        "l1": 1e-5,
        "batch_size": 256,
        "epochs": 30,
        "connection": "plain",
        "embedding": True,
        "bins": 16,
        "log_target": False,
    },
    space=_suggest_configuration,
    fit=_fit,
    losses=("squared", "absolute", "quantile"),
    fidelity="rounds",
    most_rounds=60,
    architecture=("layers", "width", "activation", "normalised", "dropout", "connection", "embedding", "bins"),
    priority=2,
    stops_early=True,
    steps=_train_steps,
    explores=("learning_rate", "weight_decay", "l1", "batch_size"),
    logs=True,
    threads=True,
    gpu=True,
    most_cells=2e7,
    package="torch",
    extra="neural",
    trusted=("scipy.sparse._csr.csr_array",),
    source="layers, width, dropout, weight decay and learning rate after Gorishniy et al. 2021 (NeurIPS, Revisiting "
    "deep learning models for tabular data), bins after Gorishniy et al. 2022, batch normalisation and optimiser after "
    "AutoGluon's NN_TORCH; a schedule as RealMLP's (Holzmueller et al. 2024, NeurIPS)",
)
