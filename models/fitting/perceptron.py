"""A trained network as scikit-learn's multi-layer perceptron: what it predicts needs no PyTorch.

At prediction dropout is nothing, and a batch normalisation after a linear layer (Ioffe & Szegedy 2015) is part of that
layer's matrix. So any stack of such layers is a list of matrices with one activation between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import LabelBinarizer

from models.fitting.family import Shape

_DENSE = 0.15
"""A matrix with a smaller share of numbers other than 0 is kept without its zeros."""

Layer = tuple[Any, np.ndarray]
"""A matrix (inputs, outputs), dense or sparse, and what is added."""


def fold_normalisation(layer: Layer, norm: Any) -> Layer:
    """The linear layer with the batch normalisation after it (a module of PyTorch, one channel for each output)."""
    matrix, bias = layer
    scale = _to_array(norm.weight) / np.sqrt(_to_array(norm.running_var) + norm.eps)
    return matrix * scale, (bias - _to_array(norm.running_mean)) * scale + _to_array(norm.bias)


def to_layer(module: Any) -> Layer:
    """A linear module of PyTorch as a layer."""
    return _to_array(module.weight).T, _to_array(module.bias)


def pass_inputs_on(layer: Layer, both: bool) -> Layer:
    """The layer with its inputs, of which none is below 0, passed on beside its outputs: rectified units leave them as
    they are. With `both` the inputs are two halves, and their sum is passed on."""
    matrix, bias = layer
    identity = np.eye(matrix.shape[1])
    passage = np.vstack([identity, identity]) if both else identity
    return np.hstack([matrix, passage]), np.concatenate([bias, np.zeros(len(identity))])


def double_inputs(layer: Layer) -> Layer:
    """The layer for inputs that come as two halves, of whose sum it is."""
    matrix, bias = layer
    return np.vstack([matrix, matrix]), bias


def build_perceptron(
    layers: Sequence[Layer], activation: str, shape: Shape, centre: float = 0.0, spread: float = 1.0
) -> MLPClassifier | MLPRegressor:
    """Scikit-learn's perceptron of these layers; in regression it predicts `centre + spread * output`."""
    *hidden, (output, bias) = layers
    if shape.task == "regression":
        output, bias = output * spread, bias * spread + centre
    widths = tuple(int(matrix.shape[1]) for matrix, _ in hidden)
    kind = MLPRegressor if shape.task == "regression" else MLPClassifier
    model: Any = kind(hidden_layer_sizes=widths, activation=activation)
    model.coefs_ = [_compress_matrix(matrix) for matrix, _ in [*hidden, (output, bias)]]
    model.intercepts_ = [intercept for _, intercept in [*hidden, (output, bias)]]
    model.n_layers_, model.n_features_in_ = len(layers) + 1, int(layers[0][0].shape[0])
    model.n_outputs_ = int(output.shape[1])
    model.out_activation_ = {"regression": "identity", "binary": "logistic", "multiclass": "softmax"}[shape.task]
    if isinstance(model, MLPClassifier):
        classes = np.arange(max(2, model.n_outputs_))
        model._label_binarizer = LabelBinarizer().fit(classes)
        model.classes_ = classes
    return model


def _compress_matrix(matrix: Any) -> Any:
    """In single precision, as it was learned; sparse where most is 0."""
    if isinstance(matrix, np.ndarray):
        return np.ascontiguousarray(matrix, np.float32)
    return csr_array(matrix) if matrix.nnz < _DENSE * np.prod(matrix.shape) else matrix.toarray()


def _to_array(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float64)
