"""A recurrent network over a series' past (GRU, Cho et al. 2014; LSTM, Hochreiter & Schmidhuber 1997).

What it reads in order are the row's own columns of the target's past, made by `--time` and `--horizon`, from far to
near, the other columns beside each step. So a prediction is a function of one row, like any other family's: it depends
neither on the rows beside it nor on how a table is cut into chunks, and needs no state of training.

It is delivered as scikit-learn's linear model over a graph of PyTorch (`torch.fx`), which skops can't hold."""
# pyright: reportMissingImports=false
# It is an extra: types are checked where it may be missing.

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from models.fitting.family import Family, FittedModel, Needs, Shape, TrainingData
from models.fitting.torch_training import TrainedModule, count_outputs, make_training_settings, train_module

_FEWEST, _MOST = 2, 16
"""Columns of the past that make an order, and that are read at most."""


def _suggest_configuration(trial, shape):
    return {
        "cell": trial.suggest_categorical("cell", ["gru", "lstm"]),
        "window": trial.suggest_int("window", _FEWEST, _MOST),
        "layers": trial.suggest_int("layers", 1, 3),
        "hidden": trial.suggest_int("hidden", 16, 256, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 0.1, log=True),
        "batch_size": trial.suggest_int("batch_size", 32, 512, log=True),
        "epochs": trial.suggest_int("epochs", 10, 80, log=True),
        "optimizer": "adamw",
        "schedule": "cosine",
    }


def _fit(config, part, seed, threads):
    steps = list(part.past[: config["window"]])[::-1]
    others = [column for column in range(part.X.shape[1]) if column not in part.past]
    build = lambda: _build_network(config, steps, others, count_outputs(part))  # noqa: E731
    result = train_module(
        build, part, make_training_settings(config, len(part.y), part.share), seed, threads, config.get("rounds")
    )
    return FittedModel(_to_pipeline(result, part), result.rounds)


def _build_network(config, steps: list[int], others: list[int], count: int) -> Any:
    """The network: `body` reads the steps in order and says how its memory ends, `head` predicts from that."""
    import torch
    from torch import nn

    class Body(nn.Module):
        def __init__(self):
            super().__init__()
            dropout = config["dropout"] if config["layers"] > 1 else 0.0
            cell = nn.GRU if config["cell"] == "gru" else nn.LSTM
            self.cell = cell(1 + len(others), config["hidden"], config["layers"], batch_first=True, dropout=dropout)
            self.drop = nn.Dropout(config["dropout"])

        def forward(self, X):
            past = X[:, steps].unsqueeze(2)
            context = X[:, others].unsqueeze(1).expand(-1, len(steps), -1)
            return self.drop(self.cell(torch.cat([past, context], dim=2))[0][:, -1])

    body, head = Body(), nn.Linear(config["hidden"], count)
    return nn.Sequential(body, head)


def _to_pipeline(result: TrainedModule, part: TrainingData) -> Pipeline:
    """The network as a pipeline of library classes: numbers to tensors, the graph, and scikit-learn's linear model."""
    import torch

    body, head = result.module
    graph = torch.fx.symbolic_trace(body.requires_grad_(False).eval())
    return Pipeline(
        [
            ("tensor", FunctionTransformer(torch.as_tensor, kw_args={"dtype": torch.float32})),
            ("steps", FunctionTransformer(graph)),
            ("numbers", FunctionTransformer(np.asarray, kw_args={"dtype": np.float64})),
            ("head", _to_linear_model(head, result, part.shape)),
        ]
    )


def _to_linear_model(layer: Any, result: TrainedModule, shape: Shape) -> Any:
    weight, bias = layer.weight.detach().numpy().astype(float), layer.bias.detach().numpy().astype(float)
    if shape.task == "regression":
        line: Any = LinearRegression()
        line.coef_, line.intercept_ = weight[0] * result.spread, float(bias[0] * result.spread + result.centre)
    else:
        line = LogisticRegression()
        line.coef_, line.intercept_, line.classes_ = weight, bias, np.arange(max(2, len(weight)))
    line.n_features_in_ = weight.shape[1]
    return line


def _explain_unsuited(shape: Shape) -> str:
    return "" if shape.time and shape.past >= _FEWEST else "it reads a series' past: --time and --horizon"


FAMILY = Family(
    name="rnn",
    suits="series: a target whose past tells of what comes, as `--time` and `--horizon` make columns of it",
    cost=150.0,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default={
        "cell": "gru",
        "window": _MOST,
        "layers": 1,
        "hidden": 64,
        "dropout": 0.1,
        "learning_rate": 2e-3,
        "weight_decay": 1e-4,
        "batch_size": 128,
        "epochs": 30,
    },
    space=_suggest_configuration,
    fit=_fit,
    losses=("squared", "absolute", "quantile"),
    fidelity="rounds",
    most_rounds=80,
    stops_early=True,
    threads=True,
    gpu=True,
    unsuited=_explain_unsuited,
    package="torch",
    extra="neural",
    safe=False,
    source="layers and units of the kind in Hewamalage, Bergmeir & Bandara 2021 (Int. J. Forecasting 37:388); the "
    "optimiser's as in `net`",
)
