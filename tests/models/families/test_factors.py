"""Effects of levels and their latent factors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from models.families import load_family
from models.families.factors import _build_machine, _multiply_block
from models.fitting.family import Shape, TrainingData

FACTORS = load_family("factors")
USERS, ITEMS, ROWS = 60, 40, 3000
CONFIG = {"damping": 2.0, "rank": 0, "factor_damping": 5.0}


def ratings(product: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes of users and items, and ratings: an effect of each, and what this user makes of this item."""
    truth, draw = np.random.default_rng(0), np.random.default_rng(seed)
    user, item = truth.normal(size=USERS), truth.normal(size=ITEMS)
    taste, kind = truth.choice([-1, 1], USERS), truth.choice([-1, 1], ITEMS)
    u, i = draw.integers(0, USERS, ROWS), draw.integers(0, ITEMS, ROWS)
    target = user[u] + item[i] + product * taste[u] * kind[i] + draw.normal(0, 0.3, ROWS)
    return np.column_stack([u, i]).astype(float), target


def fitted(X: np.ndarray, y: np.ndarray, group: np.ndarray | None = None, **config):
    shape = Shape(len(y), X.shape[1], "regression", many=2)
    part = TrainingData(X, y, None, shape, tuple(range(X.shape[1])), group=group)
    return FACTORS.fit({**CONFIG, **config}, part, 0, 1).model


def error(model, X: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(((model.predict(X) - y) ** 2).mean()))


def test_effects_of_users_and_items_add_up():
    later, truth = ratings(seed=1)
    assert error(fitted(*ratings()), later, truth) < 0.35


def test_factors_find_what_a_user_makes_of_an_item():
    later, truth = ratings(product=1.0, seed=1)
    plain, factors = (fitted(*ratings(product=1.0), rank=rank) for rank in (0, 4))
    assert error(plain, later, truth) > 0.9
    assert error(factors, later, truth) < 0.5


def test_a_group_has_an_effect_while_items_are_fitted_and_none_in_the_model():
    """Strict users rate the good items: without their effect these would look no better than the others."""
    draw = np.random.default_rng(0)
    user = draw.integers(0, USERS, ROWS)
    item = np.where(user < USERS // 2, draw.integers(0, ITEMS // 2, ROWS), draw.integers(ITEMS // 2, ITEMS, ROWS))
    mixed = draw.random(ROWS) < 0.3
    item[mixed] = draw.integers(0, ITEMS, mixed.sum())
    y = np.where(item < ITEMS // 2, 1.0, -1.0) - np.where(user < USERS // 2, 1.0, -1.0) * 2 + draw.normal(0, 0.1, ROWS)
    X = item[:, None].astype(float)
    naive, apart = fitted(X, y), fitted(X, y, group=user)
    good, bad = np.array([[0.0]]), np.array([[ITEMS - 1.0]])
    assert naive.predict(good) < naive.predict(bad)
    assert apart.predict(good) - apart.predict(bad) == pytest.approx(2, abs=0.4)


def test_a_pair_adds_the_product_of_its_vectors():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(7, 3))
    rows = sparse.csr_matrix(np.array([[1, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0]], float))
    effects = Ridge().fit(rows, draw.normal(size=3))
    plain = effects.predict(rows)
    union, machine = _build_machine(vectors, effects)
    pairs = [vectors[0] @ vectors[4], vectors[2] @ vectors[6], 0.0]
    np.testing.assert_allclose(machine.predict(union.transform(rows)), plain + pairs)


def test_rows_of_a_block_are_spread_over_their_levels_vector():
    block = sparse.csr_matrix(np.array([[0, 1.0], [0, 0], [1, 0]]))
    made = _multiply_block(block, np.array([[1.0, 2], [3, 4], [5, 6]])).toarray()
    np.testing.assert_array_equal(made, [[0, 0, 1, 2], [0, 0, 0, 0], [5, 6, 0, 0]])


def test_it_is_tried_where_two_columns_have_many_levels():
    assert "two columns" in FACTORS.unsuited(Shape(100, 5, "regression", many=1))
    assert not FACTORS.unsuited(Shape(100, 5, "regression", many=2))
