"""Does the target vary?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.data.table import Finding, Table
from models.text.safe import shorten

PASSED = "The target varies."


def form(table: Table) -> Iterator[Finding]:
    """A stop where every row has the same target, or a number is none."""
    if table.task == "regression":
        yield from _check_numbers(table.target)
    elif len(table.classes) < 2:
        classes = f"only one class ({shorten(table.classes[0])!r})" if table.classes else "no class"
        sentence = f"The target is constant: it has {classes}, and two at least are needed."
        yield Finding("target_varies", "stop", sentence)


def _check_numbers(target: np.ndarray) -> Iterator[Finding]:
    if not np.isfinite(target).all():
        yield Finding(
            "target_varies", "stop", "The target holds values that are no finite numbers; correct or remove them."
        )
    elif len(target) and target.min() == target.max():
        sentence = f"The target is constant: every row holds {target[0]:.15g}; there is nothing to predict."
        yield Finding("target_varies", "stop", sentence)
