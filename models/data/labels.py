"""What a label says, whatever type it has, which class a person means by it, and what a class gets that is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.data.spelling import parse_whole
from models.errors import make_unknown_error

FLOOR = 1e-6
"""What a model that never saw a class says of it."""

_YAML = {"True": ("yes", "true", "on"), "False": ("no", "false", "off")}
"""What yaml makes a truth value of."""


def to_label_text(label: Any) -> str:
    """What a label says: 1, 1.0 and "1" are one."""
    value = label.item() if hasattr(label, "item") else label
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def fold_label(label: str) -> str:
    """What labels that differ in case or blanks have in common; a single letter is itself."""
    text = " ".join(label.split())
    return text.casefold() if len(text) > 1 else text


def match_class(label: Any, classes: Sequence[Any]) -> int | None:
    """The code of the class that the label is: by what it says, else by that less case and blanks, else by its number,
    so that true and 1, 01 and 1 are one; None where there is none, or two."""
    for form in (to_label_text, lambda value: fold_label(to_label_text(value)), _to_number):
        forms = [form(candidate) for candidate in classes]
        if (key := form(label)) is not None and forms.count(key) == 1:
            return forms.index(key)
    return None


def _to_number(label: Any) -> int | None:
    return int(label) if isinstance(label, (bool, np.bool_)) else parse_whole(to_label_text(label))


def find_class_code(label: Any, classes: Sequence[Any], role: str) -> int:
    """The code of the class that says this, be it in capitals or not; InputError with the known labels where there is
    none. True stands for `yes` too: yaml that others read makes it of that."""
    texts = [to_label_text(class_label) for class_label in classes]
    spelling = to_label_text(label)
    if spelling not in texts:
        matches = [text for text in texts if text.lower() in _YAML.get(spelling, (spelling.lower(),))]
        spelling = matches[0] if len(matches) == 1 else spelling
    if spelling not in texts:
        raise make_unknown_error(f"label for {role}", spelling, texts)
    return texts.index(spelling)


def align_probabilities(odds: np.ndarray, codes: Sequence[int] | np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (rows, classes) of those of the classes with these codes. A class that is not among them gets next
    to nothing; what goes to a code below 0, which is none of the classes, is shared out among them. Columns beyond the
    codes say nothing: many a library gives two where a model saw one class alone."""
    codes = np.asarray(codes)
    places = np.flatnonzero(codes >= 0)
    probabilities = np.full((len(odds), classes), FLOOR)
    probabilities[:, codes[places]] = odds[:, places]
    return probabilities / probabilities.sum(axis=1, keepdims=True)
