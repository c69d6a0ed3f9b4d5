"""A small convolutional network of PyTorch, delivered as scikit-learn's perceptron."""
# pyright: reportMissingImports=false
# It is an extra: types are checked where it may be missing.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from scipy.sparse import block_diag, csr_array, eye_array

from models.fitting.family import Family, FittedModel, Needs, TrainingData
from models.fitting.perceptron import Layer, build_perceptron, fold_normalisation, to_layer
from models.fitting.torch_training import count_outputs, make_training_settings, train_module

_MOST_PLACES = 4096
"""Of a larger grid the unrolled matrices would be too large to serve."""
_SMALL = 100
"""On a grid of so many places a convolution may be taken at each of them."""


def _suggest_configuration(trial, shape):
    return {
        "layers": trial.suggest_int("layers", 1, 3),
        "channels": trial.suggest_int("channels", 8, 32, log=True),
        "kernel": trial.suggest_categorical("kernel", [3, 5]),
        "stride": trial.suggest_categorical("stride", [1, 2]) if prod(shape.grid) <= _SMALL else 2,
        "width": trial.suggest_int("width", 32, 256, log=True),
        "normalised": trial.suggest_categorical("normalised", [True, False]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "optimizer": trial.suggest_categorical("optimizer", ["adamw", "sgd"]),
        "schedule": trial.suggest_categorical("schedule", ["cosine", "constant"]),
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 0.1, log=True),
        "batch_size": trial.suggest_int("batch_size", 32, 512, log=True),
        "epochs": trial.suggest_int("epochs", 10, 60, log=True),
    }


def _explain_unsuited(shape) -> str:
    if not shape.grid:
        return "it needs to know how the columns lie: --grid 8x8 for a picture, --grid 64 for a signal"
    if (places := prod(shape.grid)) > _MOST_PLACES:
        return f"it takes a grid of at most {_MOST_PLACES:,} places, and this one has {places:,}"
    return ""


def _fit(config, part, seed, threads):
    lens = _Lens.of(config, part)
    network = lambda: _build_network(config, lens, count_outputs(part))  # noqa: E731
    result = train_module(
        network, part, make_training_settings(config, len(part.y), part.share), seed, threads, config.get("rounds")
    )
    layers = lens.list_layers(result.module)
    return FittedModel(build_perceptron(layers, "relu", part.shape, result.centre, result.spread), result.rounds)


@dataclass(frozen=True, eq=False)
class _Lens:
    """How the columns are seen: the first ones as a picture, all on one scale, the rest each on its own."""

    sizes: tuple[tuple[int, int], ...]
    """Height and width before the first convolution and after each."""
    kernel: tuple[int, int]
    stride: int
    centre: np.ndarray
    """Of each column."""
    spread: np.ndarray

    @classmethod
    def of(cls, config, part: TrainingData) -> _Lens:
        # A signal is a picture of one line.
        height, width = (1, *part.shape.grid)[-2:]
        sizes, places = [(height, width)], height * width
        for _ in range(config["layers"]):
            height, width = -(-height // config["stride"]), -(-width // config["stride"])
            sizes.append((height, width))
        picture, rest = np.split(part.X, [places], axis=1)
        centre = np.concatenate([np.full(places, picture.mean()), rest.mean(axis=0)])
        spread = np.concatenate([np.full(places, picture.std()), rest.std(axis=0)])
        kernel = (config["kernel"] if sizes[0][0] > 1 else 1, config["kernel"])
        return cls(tuple(sizes), kernel, config["stride"], centre, np.where(spread > 0, spread, 1.0))

    @property
    def places(self) -> int:
        return prod(self.sizes[0])

    def list_layers(self, module) -> list[Layer]:
        """The trained network as layers with rectified units between them.

        A convolution is a matrix of mostly nothing. The rest of the columns goes by it as two units for each,
        max(0, x) and max(0, -x), whose difference is x."""
        rest = len(self.centre) - self.places
        doubling = csr_array(np.hstack([np.eye(rest), -np.eye(rest)]))
        layers: list[Layer] = []
        for before, after, conv in zip(self.sizes, self.sizes[1:], _read_convolutions(module), strict=False):
            matrix, bias = self._unroll(conv, before, after)
            block = doubling if not layers else eye_array(2 * rest)
            layers.append((csr_array(block_diag([matrix, block])), np.concatenate([bias, np.zeros(2 * rest)])))
        layers[0] = _rescale_layer(layers[0], self.centre, self.spread)
        hidden, output = (to_layer(part) for part in module.head if part.__class__.__name__ == "Linear")
        pixels, others = np.split(hidden[0], [len(hidden[0]) - rest])
        return [*layers, (np.vstack([pixels, others, -others]), hidden[1]), output]

    def _unroll(self, conv: Layer, before: tuple[int, int], after: tuple[int, int]) -> Layer:
        """The convolution as a matrix from all channels of all places before to those after, channel by channel."""
        weight, bias = conv
        channels, height, width, outputs = weight.shape
        indices = np.indices((*after, height, width)).reshape(4, -1)
        y, x = (
            self.stride * indices[axis] + indices[axis + 2] - size // 2 for axis, size in enumerate((height, width))
        )
        mask = (y >= 0) & (y < before[0]) & (x >= 0) & (x < before[1])
        (i, j, dy, dx), y, x = indices[:, mask], y[mask], x[mask]
        source, goal = y * before[1] + x, i * after[1] + j
        rows = source + prod(before) * np.arange(channels)[:, None, None]
        columns = goal + prod(after) * np.arange(outputs)[:, None]
        rows, columns = np.broadcast_arrays(rows, columns)
        values = weight[:, dy, dx, :].transpose(0, 2, 1)
        shape = channels * prod(before), outputs * prod(after)
        matrix = csr_array((values.ravel(), (rows.ravel(), columns.ravel())), shape=shape)
        return matrix, np.repeat(bias, prod(after))


def _rescale_layer(layer: Layer, centre: np.ndarray, spread: np.ndarray) -> Layer:
    """The layer on columns as they come instead of columns of mean 0 and variance 1."""
    matrix = csr_array(layer[0].multiply(1 / spread[:, None]))
    return matrix, layer[1] - centre @ matrix


def _read_convolutions(module) -> list[Layer]:
    """Weights (channels, height, width, outputs) and what is added, normalisation folded in."""
    layers: list[Layer] = []
    for part in module.convolutions:
        if part.__class__.__name__ == "Conv2d":
            weight = part.weight.detach().numpy().astype(np.float64).transpose(1, 2, 3, 0)
            layers.append((weight, part.bias.detach().numpy().astype(np.float64)))
        elif part.__class__.__name__ == "BatchNorm2d":
            layers[-1] = fold_normalisation(layers[-1], part)
    return layers


def _build_network(config, lens: _Lens, count: int):
    """The network: convolutions, then two linear layers over all they found and the rest of the columns."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self, centre, spread, convolutions: Sequence[nn.Module], head: Sequence[nn.Module]):
            super().__init__()
            self.register_buffer("centre", torch.as_tensor(centre, dtype=torch.float32))
            self.register_buffer("spread", torch.as_tensor(spread, dtype=torch.float32))
            self.convolutions, self.head = nn.Sequential(*convolutions), nn.Sequential(*head)

        def forward(self, X):
            X = (X - self.centre) / self.spread
            picture = X[:, : lens.places].reshape(-1, 1, *lens.sizes[0])
            features = self.convolutions(picture).flatten(1)
            return self.head(torch.cat([features, X[:, lens.places :]], dim=1))

    convolutions, depth, channels = [], 1, config["channels"]
    for _ in range(config["layers"]):
        pad = tuple(size // 2 for size in lens.kernel)
        convolutions.append(nn.Conv2d(depth, channels, lens.kernel, lens.stride, pad))
        convolutions += [nn.BatchNorm2d(channels)] if config["normalised"] else []
        convolutions.append(nn.ReLU())
        depth = channels
    inputs = channels * prod(lens.sizes[-1]) + len(lens.centre) - lens.places
    dropout = nn.Dropout(config["dropout"])
    head = [dropout, nn.Linear(inputs, config["width"]), nn.ReLU(), dropout, nn.Linear(config["width"], count)]
    return Network(lens.centre, lens.spread, convolutions, head)


FAMILY = Family(
    name="cnn",
    suits="columns that are a picture or a signal, as `grid` declares",
    cost=40.0,
    needs=Needs(categories="onehot", missing=False, scaled=False),
    default={
        "layers": 2,
        "channels": 16,
        "kernel": 3,
        "stride": 1,
        "width": 128,
        "normalised": True,
        "dropout": 0.25,
        "optimizer": "adamw",
        "schedule": "cosine",
        "learning_rate": 2e-3,
        "weight_decay": 1e-2,
        "batch_size": 128,
        "epochs": 25,
        "log_target": False,
    },
    space=_suggest_configuration,
    fit=_fit,
    losses=("squared", "absolute", "quantile"),
    fidelity="rounds",
    most_rounds=60,
    priority=2,
    stops_early=True,
    logs=True,
    threads=True,
    gpu=True,
    unsuited=_explain_unsuited,
    most_cells=1e7,
    package="torch",
    extra="neural",
    trusted=("scipy.sparse._csr.csr_array",),
    source="strided convolutions instead of pooling after Springenberg et al. 2015 (ICLR workshop, Striving for "
    "simplicity), batch normalisation after Ioffe & Szegedy 2015; sizes for grids of tens to hundreds of places",
)
