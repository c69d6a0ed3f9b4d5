"""What a label says, whatever type it has, and which class a person means by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.errors import unknown

_YAML = {"True": ("yes", "true", "on"), "False": ("no", "false", "off")}
"""What yaml makes a truth value of."""


def label_text(label: Any) -> str:
    """What a label says: 1, 1.0 and "1" are one."""
    value = label.item() if hasattr(label, "item") else label
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def code_of(label: Any, classes: Sequence[Any], what: str) -> int:
    """The code of the class that says this; InputError with the known labels where there is none. `yes` in a yaml file
    comes as True and is found all the same."""
    texts = [label_text(one) for one in classes]
    meant = label_text(label)
    if meant not in texts:
        likely = [text for text in texts if text.lower() in _YAML.get(meant, ())]
        meant = likely[0] if len(likely) == 1 else meant
    if meant not in texts:
        raise unknown(f"label for {what}", meant, texts)
    return texts.index(meant)
