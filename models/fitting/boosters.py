"""A booster trained on binned rows that several configurations share, behind scikit-learn's two ways of predicting.

Only inner fits have one: what is refitted, and so delivered, is the library's own scikit-learn class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


@dataclass(frozen=True)
class BinnedBooster(RegressorMixin, BaseEstimator):
    """Predicts as the library's scikit-learn class does after the same training: an estimator that is fitted already,
    so that scikit-learn's own take it as a part."""

    says: Callable[[Any], Any]
    """Rows -> values, the positive class's probability, or a probability for each of several classes."""

    def fit(self, X: Any, y: Any) -> BinnedBooster:
        """Itself."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Whether it can predict."""
        return True

    def predict(self, X: Any) -> np.ndarray:
        """Values (rows,) of a regression."""
        return self.says(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (rows, classes)."""
        probabilities = self.says(X)
        return probabilities if probabilities.ndim == 2 else np.column_stack([1 - probabilities, probabilities])
