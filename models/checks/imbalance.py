"""Are the classes in balance?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.checks import WorkRows, format_percent
from models.data.table import Finding
from models.text.safe import shorten

SMALL = 0.05
PASSED = "No class is under 5 % of the rows."


def signal(work: WorkRows) -> Iterator[Finding]:
    """A warning where the smallest class of two to twenty holds under 5 % of the rows."""
    if work.task == "regression" or not 2 <= len(work.classes) <= 20:
        return
    counts = np.bincount(work.target.astype(np.int64), minlength=len(work.classes))
    rarest = int(np.argmin(counts))
    if counts[rarest] < SMALL * counts.sum():
        label = shorten(work.classes[rarest], 24)
        share = format_percent(counts[rarest], counts.sum())
        clause = f"Class {label!r} has only {share} of the rows ({counts[rarest]:,})"
        sentence = f"{clause}, so accuracy looks better than the model is."
        yield Finding("imbalance", "warn", sentence)
