"""Functional ANOVA: what it says of trees whose parts are known, and that Optuna's own says the same."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import create_trial
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from models.analysis.fanova import compute_curve, compute_shares, compute_surface, list_trees, to_leaf_boxes

rng = np.random.default_rng(0)
X = rng.uniform(size=(80, 3))
Y = X[:, 0] + 2 * (X[:, 1] > 0.5) * X[:, 2] + rng.normal(scale=0.1, size=80)

# Four points whose tree cuts both columns at 0.5.
CORNERS = np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])


def cut_at_half(values):
    return to_leaf_boxes(DecisionTreeRegressor(random_state=0).fit(CORNERS, values).tree_, 2)


def test_boxes_fill_the_cube():
    for tree in list_trees(RandomForestRegressor(5, random_state=0).fit(X, Y)):
        assert tree.width.prod(axis=1).sum() == pytest.approx(1)
        places = rng.uniform(size=(50, 3))
        inside = ((tree.low <= places[:, None]) & (places[:, None] < tree.high)).all(axis=2)
        assert (inside.sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    ("values", "first", "second", "both"),
    [((0, 1, 2, 3), 0.8, 0.2, 0.0), ((0, 1, 1, 0), 0.0, 0.0, 1.0), ((0, 0, 0, 4), 1 / 3, 1 / 3, 1 / 3)],
)
def test_shares_of_trees_that_are_known(values, first, second, both):
    """Variances of 2a + b, of either but not both, and of both, over two fair coins."""
    found = compute_shares(cut_at_half(values))
    assert found == pytest.approx(np.array([[first, both], [both, second]]))


def test_a_tree_of_one_leaf_has_no_shares():
    assert not compute_shares(cut_at_half((1, 1, 1, 1))).any()


def test_single_shares_are_those_of_optuna():
    study = optuna.create_study()
    space = {name: FloatDistribution(0, 1) for name in "abc"}
    study.add_trials(
        [
            create_trial(value=y, params=dict(zip("abc", x, strict=True)), distributions=space)
            for x, y in zip(X, Y, strict=True)
        ]
    )
    theirs = FanovaImportanceEvaluator(n_trees=8, seed=3).evaluate(study)
    forest = RandomForestRegressor(8, max_depth=64, random_state=3).fit(X, Y)
    ours = np.mean([np.diag(compute_shares(tree)) for tree in list_trees(forest)], axis=0)
    assert dict(zip("abc", ours, strict=True)) == pytest.approx(theirs, abs=1e-9)


def test_curves_and_surfaces_are_means_over_the_others():
    forest = RandomForestRegressor(4, random_state=0).fit(X, Y)
    others = rng.uniform(size=(20_000, 3))
    places = np.array([0.2, 0.7])
    mean, spread = compute_curve(list_trees(forest), 1, places)
    flat = compute_surface(list_trees(forest), 1, 2, places, places)
    for k, place in enumerate(places):
        others[:, 1] = place
        assert mean[k] == pytest.approx(forest.predict(others).mean(), abs=0.01)
        for i, other in enumerate(places):
            fixed = others.copy()
            fixed[:, 2] = other
            assert flat[k, i] == pytest.approx(forest.predict(fixed).mean(), abs=0.01)
    assert (spread > 0).all()
