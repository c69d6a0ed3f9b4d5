"""What is compared: what a champion knows of its table, and what is seen of a new one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from models.data.table import Finding
from models.monitoring.table_profile import ColumnProfile


@dataclass(frozen=True)
class ChampionSchema:
    """What a champion knows of its training table."""

    kinds: Mapping[str, str]
    """Of every feature, those not used too."""
    target: str
    classes: tuple[Any, ...] = ()
    """Empty for regression."""
    others: tuple[str, ...] = ()
    """Columns that were there and no features: weights, groups, ids, dropped ones."""
    pinned: tuple[str, ...] = ()
    """Columns whose kind a person gave, whatever they look like."""
    columns: Mapping[str, ColumnProfile] = field(default_factory=dict)
    """The training profile; empty where the version has none."""
    levels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Category -> every level and its rows, where they are known."""

    @property
    def used(self) -> list[str]:
        """The features that the model looks at."""
        return [c for c, kind in self.kinds.items() if kind not in ("id", "drop")]


@dataclass(frozen=True)
class ObservedTable:
    """A new table."""

    kinds: Mapping[str, str]
    """Every column, and what it looks like by itself."""
    features: pd.DataFrame
    """The champion's columns that are there, read as the champion reads; what does not fit is missing."""
    odd: Mapping[str, tuple[int, str, int]] = field(default_factory=dict)
    """Column -> how many values do not fit the champion's kind, the first of them, and its data row."""
    extra: pd.DataFrame = field(default_factory=pd.DataFrame)
    """The columns that the champion does not know, in canonical form."""
    labels: Mapping[str, int] | None = None
    """The target's labels and their rows; None where there is no target or it is a number."""


def make_finding(check: str, verdict: Any, names: Iterable[str], sentence: str) -> Finding:
    """The finding, with its first eight columns."""
    return Finding(check, verdict, sentence, tuple(names)[:8])


def normalise_label(value: object) -> str:
    """A label as text that is the same for 1, 1.0 and "1", for True and "true"."""
    text = str(value).strip()
    if text.casefold() in ("true", "false"):
        return text.casefold()
    try:
        return f"{float(text):.15g}"
    except ValueError:
        return text


def count_labels(values: Sequence[Any] | pd.Series) -> dict[str, int]:
    """The labels in a column and their rows, most frequent first; nothing for missing ones."""
    return {str(k): int(n) for k, n in pd.Series(values).dropna().astype(str).value_counts().items()}
