"""A booster trained on binned rows that several configurations share, behind scikit-learn's two ways of predicting.

Only inner fits have one: what is refitted, and so delivered, is the library's own scikit-learn class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class BinnedBooster:
    """Predicts as the library's scikit-learn class does after the same training."""

    says: Callable[[Any], Any]
    """Rows -> values, the positive class's probability, or a probability for each of several classes."""

    def predict(self, X: Any) -> np.ndarray:
        """Values (rows,) of a regression."""
        return self.says(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (rows, classes)."""
        probabilities = self.says(X)
        return probabilities if probabilities.ndim == 2 else np.column_stack([1 - probabilities, probabilities])
