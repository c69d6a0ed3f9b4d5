"""How much of what a random forest says comes of one column, or of two together: functional ANOVA over the unit cube.

Hutter, Hoos & Leyton-Brown 2014 (ICML, PMLR 32:754). Optuna has the same for single columns, walking each tree in
Python; here a tree is its leaves' boxes in arrays, so that pairs and curves cost no more than a product of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor


@dataclass(frozen=True, eq=False)
class LeafBoxes:
    """A tree over the unit cube: its leaves' boxes, a row each, which fill the cube, and what each says."""

    low: np.ndarray
    high: np.ndarray
    value: np.ndarray

    @cached_property
    def width(self) -> np.ndarray:
        """Of each box along each column, (boxes, columns)."""
        return self.high - self.low

    @cached_property
    def mean(self) -> float:
        """Over the cube."""
        return float(self.width.prod(axis=1) @ self.value)

    @cached_property
    def weight(self) -> np.ndarray:
        """What each box adds to an integral over the cube, once the mean is taken away, (boxes,)."""
        return self.width.prod(axis=1) * (self.value - self.mean)

    @property
    def variance(self) -> float:
        """Over the cube."""
        return float(self.weight @ (self.value - self.mean))

    def covers(self, column: int, places: np.ndarray) -> np.ndarray:
        """A row for each place along the column: which boxes it is in, (places, boxes)."""
        return (self.low[:, column] <= places[:, None]) & (places[:, None] < self.high[:, column])

    def average_along(self, column: int, places: np.ndarray) -> np.ndarray:
        """The mean over all other columns at these places of one, less the mean over the cube, (places,)."""
        return self.covers(column, places) @ (self.weight / self.width[:, column])

    def average_across(self, column: int, other: int, places: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The mean over all but two columns at each pair of places, less the mean over the cube, (places, others)."""
        density = self.weight / (self.width[:, column] * self.width[:, other])
        return (self.covers(column, places) * density) @ self.covers(other, others).T


def to_leaf_boxes(tree: Any, columns: int) -> LeafBoxes:
    """The leaves of one of scikit-learn's trees over the unit cube."""
    low, high = np.zeros((tree.node_count, columns)), np.ones((tree.node_count, columns))
    nodes = zip(
        *(a.tolist() for a in (tree.children_left, tree.children_right, tree.feature, tree.threshold)), strict=True
    )
    for node, (left, right, column, cut) in enumerate(nodes):  # parents stand before their children
        if left >= 0:
            low[left], high[left], low[right], high[right] = low[node], high[node], low[node], high[node]
            high[left, column] = low[right, column] = cut
    leaf = np.asarray(tree.children_left) < 0
    return LeafBoxes(low[leaf], high[leaf], np.asarray(tree.value)[leaf].reshape(leaf.sum(), -1)[:, 0])


def list_trees(forest: RandomForestRegressor) -> list[LeafBoxes]:
    """Every tree of a fitted forest."""
    return [to_leaf_boxes(estimator.tree_, estimator.tree_.n_features) for estimator in forest.estimators_]


def compute_shares(tree: LeafBoxes) -> np.ndarray:
    """A square of shares (columns, columns) of the tree's variance over the cube: on the diagonal what each column does
    alone, beside it what two do together beyond that; nothing where the tree says one thing."""
    columns = tree.low.shape[1]
    shares = np.zeros((columns, columns))
    if tree.variance <= 0:
        return shares
    cells = [_list_cells(tree, column) for column in range(columns)]
    candidates = [column for column in range(columns) if len(cells[column][0]) > 1]
    for column in candidates:
        places, sizes = cells[column]
        shares[column, column] = sizes @ tree.average_along(column, places) ** 2
    for column, other in combinations(candidates, 2):
        (places, sizes), (others, breadths) = cells[column], cells[other]
        total = sizes @ tree.average_across(column, other, places, others) ** 2 @ breadths
        shares[column, other] = shares[other, column] = max(0.0, total - shares[column, column] - shares[other, other])
    return shares / tree.variance


def _list_cells(tree: LeafBoxes, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Middle and size of the parts into which the tree's cuts part a column."""
    edges = np.unique(np.concatenate([tree.low[:, column], tree.high[:, column]]))
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


def compute_curve(forest: Sequence[LeafBoxes], column: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the forest says at these places of a column, averaged over all others, and its spread over the trees, both
    (places,)."""
    curves = np.array([tree.mean + tree.average_along(column, places) for tree in forest])
    return curves.mean(axis=0), curves.std(axis=0)


def compute_surface(
    forest: Sequence[LeafBoxes], column: int, other: int, places: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """What the forest says at each pair of places of two columns, averaged over all others, (places, others)."""
    return np.mean([tree.mean + tree.average_across(column, other, places, others) for tree in forest], axis=0)
