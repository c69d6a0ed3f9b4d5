"""A trained network as scikit-learn's perceptron: the same numbers, in the form that a task wants them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import expit, softmax

from models.fitting.family import Shape
from models.fitting.perceptron import build_perceptron

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(50, 4))
FIRST = DRAW.normal(size=(4, 30)), DRAW.normal(size=30)


def last(outputs: int):
    return DRAW.normal(size=(30, outputs)), DRAW.normal(size=outputs)


def by_hand(layers) -> np.ndarray:
    (matrix, added), (out, more) = layers
    return np.maximum(X @ matrix + added, 0) @ out + more


def test_a_regression_is_given_in_the_targets_own_scale():
    layers = [FIRST, last(1)]
    model = build_perceptron(layers, "relu", Shape(50, 4, "regression"), centre=1000.0, spread=50.0)
    assert np.allclose(model.predict(X), 1000 + 50 * by_hand(layers)[:, 0], rtol=1e-5)


def test_two_classes_are_the_logistic_of_one_output():
    layers = [FIRST, last(1)]
    model = build_perceptron(layers, "relu", Shape(50, 4, "binary", 2))
    chance = expit(by_hand(layers)[:, 0])
    assert np.allclose(model.predict_proba(X), np.column_stack([1 - chance, chance]), atol=1e-5)
    assert (model.predict(X) == (chance > 0.5)).all()


@pytest.mark.parametrize("classes", [2, 5])
def test_more_classes_are_the_softmax_of_as_many_outputs(classes):
    """Two outputs where training lacks one of three classes."""
    layers = [FIRST, last(classes)]
    model = build_perceptron(layers, "relu", Shape(50, 4, "multiclass", 5))
    assert np.allclose(model.predict_proba(X), softmax(by_hand(layers), axis=1), atol=1e-5)


def test_a_matrix_of_mostly_nothing_is_kept_sparse_and_predicts_the_same():
    thin = np.where(DRAW.random((4, 30)) < 0.1, FIRST[0], 0.0)
    layers = [(csr_array(thin), FIRST[1]), last(1)]
    sparse, dense = (
        build_perceptron(made, "relu", Shape(50, 4, "regression")) for made in (layers, [(thin, FIRST[1]), layers[1]])
    )
    assert isinstance(sparse.coefs_[0], csr_array)
    assert np.allclose(sparse.predict(X), dense.predict(X), atol=1e-5)
