"""What a table looked like when a model was trained on it, in counts: small, plain values that a version keeps.

A number is counted between its own tenths; a level for itself, or, where there are many, by the hash of its name; of a
text only the length is kept, and no row of anything. The levels of categories are kept by name all the same, as the
fitted model keeps them: by them a level that is written otherwise is known again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from models.splitting.seal import digest_values
from models.text.safe import shorten

BINS = 10
"""Cells of a number: tenths, as is usual for the population stability index."""
LEVELS = 100
"""Levels that are counted one by one; a column of more is counted in buckets of its levels' hashes."""
BUCKETS = 50
WIDTH = 40
"""Characters of a level that count: its beginning stands for all of it."""
CLASSES = 20
"""Classes whose probabilities are watched one by one."""


@dataclass(frozen=True)
class ColumnProfile:
    """How one column's values were spread. Either `edges` or `levels` or neither (buckets) say what is counted."""

    kind: str
    """number, date, boolean, category or text; of a text only its length counts, of a date its seconds since 1970."""
    rows: int
    missing: int
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    edges: tuple[float, ...] = ()
    """Of numbers, dates and lengths: the first lies just below the least value, the last just above the greatest."""
    counts: tuple[int, ...] = ()
    """Rows between the edges, one cell more than edges: below, ..., above. Without edges: rows by bucket."""
    values: tuple[float, ...] = ()
    """The values between the edges, where each cell holds one."""
    levels: dict[str, int] = field(default_factory=dict)
    """Level -> rows, most frequent first: every level where there are at most LEVELS, else the most frequent 20."""
    distinct: int | None = None
    """Levels in all."""
    moves: bool = False
    """Dates, and what a table is ordered by: later rows are later. They are shown and raise no alarm."""
    effect: float = 1.0
    """As how many rows one observation counts (the design effect), where rows of a group or point are alike."""

    @property
    def whole(self) -> bool:
        """Whether `levels` holds every level."""
        return self.distinct == len(self.levels)


@dataclass(frozen=True)
class Performance:
    """A model's published score, and what a later score needs to be taken alike."""

    metric: str
    value: float
    error: float | None
    """Its standard error."""
    rows: int
    of: str
    """test or estimate."""
    weight: str | None = None
    group: str | None = None
    time: str | None = None
    """Columns, where the run had such."""
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    """What wrong labels cost, where the metric is cost."""
    threshold: float | None = None
    """From which probability on the model says the positive class; None: plainly."""


@dataclass(frozen=True)
class TableProfile:
    """A training table and the model's predictions on rows it was not trained on, as plain values."""

    rows: int
    columns: dict[str, ColumnProfile]
    """The features, in the order of training."""
    predictions: dict[str, ColumnProfile] = field(default_factory=dict)
    of: str | None = None
    """Whose predictions: of sealed rows, or of outer folds."""
    performance: Performance | None = None
    levels: dict[str, dict[str, int]] = field(default_factory=dict)
    """Category -> every level and its rows, by which later rows are told to be written otherwise; empty in versions of
    an older Nestor."""
    unit: str = "row"
    """What one observation is: a row, or all rows of a group or point."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TableProfile:
        """The profile that `as_json` made the value of."""
        return TypeAdapter(cls).validate_python(value)


def profile_table(
    features: pd.DataFrame,
    kinds: Mapping[str, str],
    predictions: pd.DataFrame | None = None,
    of: str | None = None,
    performance: Performance | None = None,
    moving: Sequence[str] = (),
    units: np.ndarray | None = None,
    predicted_units: np.ndarray | None = None,
    unit: str = "row",
) -> TableProfile:
    """The table's profile. `predictions`: as `to_prediction_columns` gives them; `moving`: columns that the table is
    ordered by; `units`: which group or point, as `unit` says, each row is a part of, where rows are not the
    observations. `predicted_units`: the same of the rows of `predictions`."""
    columns = {str(c): profile_column(features[c], kinds[c], c in moving, units) for c in features.columns}
    frame = predictions if predictions is not None else pd.DataFrame()
    profiles = {str(c): _profile_prediction(frame[c], predicted_units) for c in frame.columns}
    return TableProfile(
        len(features),
        columns,
        profiles,
        of if profiles else None,
        performance,
        count_every_level(features, kinds),
        unit,
    )


def count_every_level(features: pd.DataFrame, kinds: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Category or ordered category -> each of its levels, whole, and its rows."""
    return {str(c): count_values(features[c]) for c in features.columns if kinds[c] in ("category", "ordered")}


def count_values(values: pd.Series) -> dict[str, int]:
    """Each value and its rows; what is missing counts nowhere."""
    return {str(value): int(rows) for value, rows in values.value_counts().items()}


def to_prediction_columns(prediction: np.ndarray, classes: Sequence[Any] = ()) -> pd.DataFrame:
    """Predictions (values (rows,), or probabilities (rows, classes)) as columns to watch: a value; the probability of
    the positive class; of several classes the likeliest, and the probability of each.

    Rounded, since the same model says 0.30000000000000004 on another machine."""
    prediction = np.asarray(prediction, float)
    if not classes:
        return pd.DataFrame({"prediction": prediction.reshape(len(prediction)).astype(np.float32).astype(float)})
    odds = {f"probability of {shorten(c)}": prediction[:, k].round(6) for k, c in enumerate(classes)}
    if len(classes) == 2:
        return pd.DataFrame(dict([list(odds.items())[1]]))
    names = np.array([shorten(c) for c in classes], dtype=object)
    likeliest = pd.Series(names[prediction.argmax(axis=1)], dtype="str")
    return pd.DataFrame({"prediction": likeliest, **dict(list(odds.items())[:CLASSES])})


def _profile_prediction(values: pd.Series, units: np.ndarray | None) -> ColumnProfile:
    return profile_column(values, "number" if pd.api.types.is_numeric_dtype(values.dtype) else "category", units=units)


def profile_column(
    values: pd.Series, kind: str, moving: bool = False, units: np.ndarray | None = None
) -> ColumnProfile:
    """One column's profile. Values are canonical: numbers as floats, dates as datetime64, words as text. An ordered
    category is counted as any other. `units`: which unit each row is a part of."""
    profile = _profile_values(values, "category" if kind == "ordered" else kind, moving)
    return (
        profile if units is None else replace(profile, effect=compute_design_effect(find_cells(profile, values), units))
    )


def _profile_values(values: pd.Series, kind: str, moving: bool) -> ColumnProfile:
    empty = ColumnProfile(kind, len(values), int(values.isna().sum()), moves=moving or kind == "date")
    if kind in ("category", "boolean"):
        return _profile_levels(empty, values)
    numbers = to_numbers(values, kind)
    numbers = np.sort(numbers[np.isfinite(numbers)])  # sorted: a mean's last digits depend on the order of rows
    if not len(numbers):
        return empty
    edges = _choose_edges(numbers)
    low, high, mean = (float(x) for x in (numbers.min(), numbers.max(), numbers.mean()))
    counts = count_by_edges(edges, to_numbers(values, kind)).tolist()
    return replace(
        empty, low=low, high=high, mean=mean, edges=tuple(edges.tolist()), counts=tuple(counts),
        values=tuple(np.unique(numbers).tolist()) if len(edges) == len(np.unique(numbers)) + 1 else (),
    )  # fmt: skip


def find_cells(column: ColumnProfile, values: pd.Series) -> np.ndarray:
    """The number of the cell in which each of these values is counted, (rows,); what is missing has one of its own."""
    if column.kind in ("category", "boolean"):
        return pd.factorize(values)[0]
    numbers = to_numbers(values, column.kind)
    return np.where(np.isnan(numbers), -1, np.searchsorted(column.edges, numbers))


def compute_design_effect(cells: np.ndarray, units: np.ndarray) -> float:
    """By how much more the counts of cells vary than those of as many single rows, since rows of a unit are alike: the
    first-order correction of a chi-square test (Rao & Scott 1981, JASA 76:221), at least 1. `cells` and `units` have a
    code for each row."""
    cell, unit = pd.factorize(cells, use_na_sentinel=False)[0], pd.factorize(units)[0]
    rows, many = len(cell), int(unit.max(initial=-1)) + 1
    if many == rows or many < 2 or not cell.any():
        return 1.0
    size = np.bincount(unit)
    pairs, held = np.unique(unit * (cell.max() + 1) + cell, return_counts=True)
    owners, places = np.divmod(pairs, cell.max() + 1)
    share = np.bincount(cell) / rows
    # The sum over units of (held - share * size)^2, where most of what they might hold is 0.
    spread = (
        np.bincount(places, held**2 - 2 * held * share[places] * size[owners], len(share)) + share**2 * (size**2).sum()
    )
    effects = spread * many / (many - 1) / (rows * share)  # of each cell, times (1 - its share)
    return max(1.0, float(effects.sum() / (len(share) - 1)))


def _profile_levels(empty: ColumnProfile, values: pd.Series) -> ColumnProfile:
    counts = count_levels(values, empty.kind)
    if len(counts) <= LEVELS:
        return replace(empty, levels=counts, distinct=len(counts))
    few = dict(list(counts.items())[:20])
    return replace(empty, levels=few, distinct=len(counts), counts=tuple(count_buckets(counts).tolist()))


def count_levels(values: pd.Series, kind: str = "category") -> dict[str, int]:
    """Each level and its rows, most frequent first; a level as the profile writes it: its first 40 characters."""
    codes, distinct = pd.factorize(values)
    counts: dict[str, int] = {}
    for value, rows in zip(distinct, np.bincount(codes[codes >= 0], minlength=len(distinct)), strict=True):
        name = ("true" if value else "false") if kind == "boolean" else str(value)[:WIDTH]
        counts[name] = counts.get(name, 0) + int(rows)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def to_numbers(values: pd.Series, kind: str) -> np.ndarray:
    """The column as floats (rows,) with NaN: seconds of a date, characters of a text."""
    if kind == "date":
        ticks = values.to_numpy("datetime64[us]")
        return np.where(np.isnat(ticks), np.nan, ticks.astype(np.int64) / 1e6)
    if kind == "text":
        return values.str.len().to_numpy(np.float64, na_value=np.nan)
    return values.to_numpy(np.float64, na_value=np.nan)


def _choose_edges(values: np.ndarray) -> np.ndarray:
    """Edges between the tenths, each half way to the next value that occurs: an edge on a value would divide equals."""
    distinct = np.unique(values)
    if len(distinct) > BINS:
        quantiles = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
        places = np.searchsorted(distinct, quantiles)
    else:
        places = np.arange(len(distinct))
    places = places[places < len(distinct) - 1]
    room = 1e-6 * (distinct[-1] - distinct[0] or max(1.0, abs(distinct[0])))
    between = distinct[places] / 2 + distinct[places + 1] / 2
    return np.concatenate([[distinct[0] - room], between, [distinct[-1] + room]])


def count_by_edges(edges: Sequence[float] | np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rows per cell, (edges + 1,), of values (rows,); what is missing counts nowhere."""
    return np.bincount(np.searchsorted(edges, values[~np.isnan(values)]), minlength=len(edges) + 1)


def count_buckets(counts: Mapping[str, int]) -> np.ndarray:
    """Rows by the hash of their level, (BUCKETS,): a division of many levels that owes nothing to how often each
    occurs."""
    places = [digest_values("level", level) % BUCKETS for level in counts]
    return np.bincount(places, weights=list(counts.values()), minlength=BUCKETS).astype(np.int64)
