"""The table as the rest of Nestor sees it: typed features, a target of codes or numbers, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from models.data.history import History, find_latest_known

Task = Literal["binary", "multiclass", "regression"]
Loss = Literal["squared", "absolute", "quantile"]
"""What a regression fits: the mean, the median or a quantile."""


@dataclass(frozen=True)
class Finding:
    """What one check saw."""

    check: str
    """The check's name, such as `constant_columns`."""
    verdict: Literal["pass", "warn", "stop"]
    message: str
    """One or two bounded sentences: what was seen and what was done about it (or, for a stop, what to do)."""
    columns: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    """Data rows concerned, counted from 1 after the header, those left out too; bounded."""


@dataclass(frozen=True)
class Reading:
    """How a table was read: enough to read the next one the same way. Plain JSON values only."""

    source: str
    format: Literal["csv", "parquet", "sklearn", "frame"]
    encoding: str | None = None
    separator: str | None = None
    decimal: str = "."
    thousands: str | None = None
    missing: tuple[str, ...] = ("",)
    kinds: dict[str, str] = field(default_factory=dict)
    """Column -> number, category, ordered, boolean, date, text, key, id or drop; target and role columns are not in
    it."""
    parsers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Column -> how its text becomes its kind: date format, decimal mark, currency sign, true/false words; of an
    ordered category `order`, its levels from the lowest on."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Name in the table -> name in the source, where they differ."""
    others: tuple[str, ...] = ()
    """Columns that were there and are no features: target, weights, groups, ids, dropped ones."""
    pinned: tuple[str, ...] = ()
    """Columns whose kind or place a person gave: they stay, though they may be constant or empty."""

    @property
    def by_name(self) -> bool:
        """Whether some of these columns are names of rows or of groups."""
        return bool({"id", "group"} & {*self.kinds.values()})


@dataclass(frozen=True)
class Key:
    """What rows are known by."""

    columns: pd.DataFrame
    reading: Reading
    """How the columns are read; kinds `id` and `group` are names."""
    lacks: str = ""
    """What a table lacks of the columns that rows are to be known by, as a part of a sentence; then there are none."""

    @property
    def by_name(self) -> bool:
        """Whether these are names of rows or of groups."""
        return self.reading.by_name

    def take(self, rows: np.ndarray) -> Key:
        """The same of these rows, in this order."""
        return replace(self, columns=self.columns if self.lacks else self.columns.iloc[rows].reset_index(drop=True))


@dataclass(frozen=True)
class Table:
    """A read table. All members have the same number of rows, in the source's order, index 0..n-1."""

    name: str
    features: pd.DataFrame
    """Used columns only, original names. number: float64 with NaN; date: datetime64[us] in UTC without zone;
    boolean: float64 of 0, 1 and NaN; category, text: pandas' `str` with NaN."""
    target: np.ndarray
    """Classification: codes 0..n-1 (int64) into `classes`; regression: float64."""
    task: Task
    classes: tuple[Any, ...]
    """Labels in their own form (str, bool, int or float), sorted; empty for regression. The positive class is last
    in binary tasks."""
    reading: Reading
    fingerprint: str
    """Hex digest of the content; equal tables have equal fingerprints."""
    weight: np.ndarray | None = None
    group: np.ndarray | None = None
    """Group codes (int64)."""
    group_names: pd.DataFrame | None = None
    """The groups' values as canonical text, one column: what a seal by group is drawn by."""
    time: np.ndarray | None = None
    """Sortable times (int64, or float64 for numbers)."""
    series: np.ndarray | None = None
    """Codes (int64) of the series of a panel."""
    history: History | None = None
    """What the past of a series becomes; None where nothing is forecast."""
    ids: pd.DataFrame | None = None
    """The named id columns as canonical text."""
    subgroups: pd.DataFrame | None = None
    """The columns whose subgroups are compared, as canonical text, features or not."""
    test: np.ndarray | None = None
    """True where the user says that the row is sealed (test file or split column)."""
    key: Key | None = None
    """What the seal of this name knows rows by; None where it has none."""
    points: np.ndarray | None = None
    """A uint64 key per row, equal for rows with equal features; None where nobody has made them yet."""
    findings: tuple[Finding, ...] = ()
    numbers: np.ndarray | None = None
    """Each row's number in its source, counted from 1 after the header; None where no row was left out."""

    @property
    def data_rows(self) -> np.ndarray:
        """Each row's number in its source, whatever rows were left out."""
        return np.arange(1, self.rows + 1) if self.numbers is None else self.numbers

    @property
    def season(self) -> str | None:
        """The column made of its history that holds the target one season ago; None where there is none."""
        return self.history.reference if self.history is not None and self.history.numeric else None

    @property
    def past(self) -> tuple[str, ...]:
        """The columns made of its history that hold the target at earlier times, the latest first."""
        if self.history is None or not self.history.numeric:
            return ()
        return tuple(f"{self.history.target} {lag} ago" for lag in self.history.lags)

    @property
    def known(self) -> np.ndarray | None:
        """For each row the latest time whose targets are known when it is forecast; None where nothing is."""
        if self.history is None or self.time is None:
            return None
        scale = self.history.scale
        if scale is None:
            return find_latest_known(self.time, self.history)
        return (find_latest_known(np.round(self.time * scale), self.history) + 0.5) / scale

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.target)

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each used feature, in column order."""
        kinds = self.reading.kinds if self.history is None else {**self.history.kinds, **self.reading.kinds}
        return {c: kinds[c] for c in self.features.columns}

    @property
    def orders(self) -> dict[str, tuple[str, ...]]:
        """Levels of each ordered category, lowest first."""
        return {c: tuple(self.reading.parsers[c]["order"]) for c, kind in self.kinds.items() if kind == "ordered"}

    def take(self, rows: np.ndarray) -> Table:
        """The table of these rows, in this order."""

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            features=self.features.iloc[rows].reset_index(drop=True),
            target=self.target[rows],
            weight=some(self.weight),
            group=some(self.group),
            group_names=None if self.group_names is None else self.group_names.iloc[rows].reset_index(drop=True),
            time=some(self.time),
            series=some(self.series),
            ids=None if self.ids is None else self.ids.iloc[rows].reset_index(drop=True),
            subgroups=None if self.subgroups is None else self.subgroups.iloc[rows].reset_index(drop=True),
            test=some(self.test),
            key=None if self.key is None else self.key.take(rows),
            points=some(self.points),
            numbers=self.data_rows[rows],
        )
