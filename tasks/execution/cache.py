"""The inner training parts that a worker process has met: made once, used by every configuration that comes by.

With a part lives what families made of its rows, such as binned datasets (`Part.kept`)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from models.fitting.family import TrainingData

SHARE = 0.25
"""Of a worker's memory: what is kept must leave room for the fit itself."""

WITHOUT_LIMIT = 512e6
"""Bytes where a worker's memory has no limit."""

_WITH_DATASETS = 2.0
"""Bytes of a part and of all that families keep of it, in bytes of its rows. A number takes eight bytes in a part and
one in a bin, for which there are several libraries; CatBoost keeps four more."""


@dataclass(frozen=True, eq=False)
class InnerFoldData:
    """What fits of one inner fold share, whatever their configuration."""

    part: TrainingData
    classes: np.ndarray
    """Values of the target that occur in the part."""
    X_judge: Mapping[str, np.ndarray]
    """Fold -> its validation rows, prepared: of one fold, or of the two that share the fits."""
    columns_mb: float = 0.0
    """Size of what prepared them."""
    columns_ms: float = 0.0
    """Milliseconds in which that prepares one row, where they count."""

    @property
    def bytes(self) -> float:
        """About how much memory it takes; the validation rows are a file."""
        stop = () if self.part.stop is None else self.part.stop
        arrays = (self.part.X, self.part.y, self.part.weight, *stop)
        return _WITH_DATASETS * sum(a.nbytes for a in arrays if a is not None)


class TrainingCache:
    """So many bytes of trainings, those of longest ago dropped first."""

    def __init__(self) -> None:
        """Nothing is kept before `room` is given."""
        self.room = 0.0
        self._kept: OrderedDict[Hashable, InnerFoldData] = OrderedDict()

    def get(self, key: Hashable, factory: Callable[[], InnerFoldData]) -> InnerFoldData:
        """The training of that key, made if it is not there; kept if there is room for it."""
        training = self._kept.pop(key, None)
        if training is None:
            training = factory()
        if training.bytes <= self.room:
            self._kept[key] = training
        while sum(part.bytes for part in self._kept.values()) > self.room:
            self._kept.popitem(last=False)
        return training

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)
