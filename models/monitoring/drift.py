"""Whether later rows look otherwise than those that a model was trained on.

Later rows are counted in the profile's cells, and of every column two questions are asked. Is it more than chance? A
chi-square test of the two rows of counts, with Holm's correction over all columns (Holm 1979, Scandinavian Journal of
Statistics 6:65). Is it enough to matter? The population stability index. Only both make an alarm: with many rows any
trifle is significant, with few any sample has a large index, and of many columns some always look odd. Rows of one
group or point are alike, so they count for as many as they are worth: by the design effect (Rao & Scott 1981).

Chance alone gives an index of about (cells - 1) (1/then + 1/now) (Yurdakul & Naranjo 2020, Journal of Risk Model
Validation 14(4)); that much is taken off. Cells that expect fewer than five rows are joined by what both tables hold
together, never by one of them: else the rare levels that happened to be in the first would seem to vanish.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from models.errors import join_names
from models.evaluation.estimate import compute_standard_error
from models.metrics.metric import Fold3, Metric
from models.monitoring.table_profile import (
    BUCKETS,
    ColumnProfile,
    Performance,
    TableProfile,
    compute_design_effect,
    count_buckets,
    count_by_edges,
    count_levels,
    find_cells,
    to_numbers,
)
from models.outcome import format_number, to_json_value
from models.text.safe import shorten

LEAST = 5
"""Rows that a cell must expect in the smaller table: the usual rule for the chi-square (Cochran 1954)."""
FEWEST = 20
"""Fewer rows than this say nothing."""
LABELLED = 50
"""The same for rows with labels: the error of a score of fewer is not known."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column, then and now."""

    name: str
    kind: str
    part: str
    """feature or prediction."""
    psi: float
    """Population stability index, less what chance gives; 0 is none, from 0.1 on one looks, from 0.25 on it is much."""
    distance: float
    """Jensen-Shannon distance, 0 to 1."""
    p: float
    """Of the test, corrected for all columns; 1 for a column that raises no alarm."""
    missing: tuple[float, float]
    """Share of missing values, then and now."""
    mean: tuple[float | None, float | None] = (None, None)
    new_levels: float | None = None
    """Share of rows with a level that training did not know; None where not every level is known."""
    alarm: bool = False
    moves: bool = False
    """Shown and never an alarm: later rows are later."""
    bars: tuple[tuple[str, float, float], ...] = ()
    """What a figure shows: cell, its share then, its share now."""


@dataclass(frozen=True)
class PerformanceDrift:
    """The published score against the one on later rows with labels."""

    metric: str
    rows: int
    then: float
    now: float
    then_error: float
    now_error: float
    z: float
    """In standard errors of both; positive: worse now."""
    p: float
    """One-sided: how often chance alone makes it so much worse."""
    alarm: bool

    @property
    def sentence(self) -> str:
        """`roc_auc is worse: 0.81 now, 0.90 then`."""
        verdict = "is worse" if self.alarm else "holds"
        return f"{self.metric} {verdict}: {format_number(self.now)} now, {format_number(self.then)} then"


@dataclass(frozen=True)
class Drift:
    """What watching found."""

    rows: tuple[int, int]
    """Rows then and now."""
    columns: tuple[ColumnDrift, ...]
    """Features and predictions; alarms first, then by index."""
    level: float
    psi: float
    performance: PerformanceDrift | None = None
    notes: tuple[str, ...] = ()

    @property
    def alarms(self) -> tuple[ColumnDrift, ...]:
        """The columns that drift."""
        return tuple(c for c in self.columns if c.alarm)

    @property
    def drifted(self) -> bool:
        """Whether anything alarms."""
        return bool(self.alarms) or (self.performance is not None and self.performance.alarm)

    @property
    def sentence(self) -> str:
        """What was found, in one line that begins with `No drift` or with what drifts."""
        features = [c for c in self.columns if c.part == "feature"]
        alarms = [c.name for c in self.alarms if c.part == "feature"]
        spoken = any(c.part == "prediction" for c in self.columns)
        drifts = any(c.part == "prediction" for c in self.alarms)
        parts = [f"{len(alarms)} of {len(features)} columns drift: {join_names(alarms)}"] if alarms else []
        parts += ["predictions drift"] if drifts else []
        parts += [self.performance.sentence] if self.performance else []
        count = f"{len(features)} column{'s' * (len(features) != 1)}"
        nouns = [count] * (not alarms) + ["predictions"] * (spoken and not drifts)
        verb = "is" if nouns == ["1 column"] else "are"
        parts += [f"{' and '.join(nouns)} {verb} as in training"] * bool(nouns)
        text = "; ".join(parts) + f" ({self.rows[1]:,} rows)."
        if not self.drifted:
            return f"No drift: {text}"
        return text.replace("predictions drift", "Predictions drift") if text.startswith("pred") else text

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return to_json_value({"drifted": self.drifted, "sentence": self.sentence, **asdict(self)})


@dataclass(frozen=True)
class WatchReport:
    """The result of `flows.watch.watch`."""

    name: str
    version: int
    """The version that was watched."""
    data: str
    drift: Drift
    run_id: str | None = None
    """The watch's own run in MLflow."""
    event: bool = False
    """Whether the event `nestor.drift` was sent."""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        drift = self.drift.as_json()
        head = {"name": self.name, "version": self.version, "data": self.data}
        tail = {"run_id": self.run_id, "event": self.event, "notes": [*self.drift.notes, *self.notes]}
        return {**head, "drifted": drift.pop("drifted"), "sentence": drift.pop("sentence"), **drift, **tail}


def measure_drift(
    profile: TableProfile,
    features: pd.DataFrame,
    predictions: pd.DataFrame | None = None,
    level: float = 0.01,
    psi: float = 0.1,
    units: np.ndarray | None = None,
    predicted_units: np.ndarray | None = None,
) -> Drift:
    """Every column of the later rows against the profile. At most with probability `level` does any column of rows like
    the first ones alarm; and none whose index is below `psi`. `units`: which group or point each later row is a part
    of, where they are not observations of their own. `predicted_units`: the same of the rows of `predictions`."""
    pairs = [(name, "feature", column, features[name], units) for name, column in profile.columns.items()]
    if predictions is not None:
        profiles = [(n, c) for n, c in profile.predictions.items() if n in predictions]
        pairs += [(n, "prediction", c, predictions[n], predicted_units) for n, c in profiles]
    columns = [_compare_column(*pair) for pair in pairs]
    enough = min(profile.rows, len(features)) >= FEWEST
    tested = [k for k, column in enumerate(columns) if not column.moves]
    for k, p in zip(tested, _correct_by_holm([columns[k].p for k in tested]), strict=True):
        columns[k] = replace(columns[k], p=p, alarm=enough and p <= level and columns[k].psi >= psi)
    notes = () if enough else (f"{len(features)} rows against {profile.rows} say nothing: {FEWEST} are needed.",)
    order = sorted(columns, key=lambda c: (not c.alarm, -c.psi, -c.distance, c.name))
    return Drift((profile.rows, len(features)), tuple(order), level, psi, notes=notes)


def measure_performance_drift(
    performance: Performance, metric: Metric, rows: Fold3, keys: np.ndarray, level: float
) -> PerformanceDrift | None:
    """Whether the model scores worse on rows whose labels came later: one-sided, by the standard errors of both scores.
    `keys`: what the bootstrap draws, a key for each row. None where there are too few rows or no error is known.
    InputError where there are row weights and the metric takes none."""
    if len(rows[0]) < LABELLED or performance.error is None:
        return None
    score, error = metric.score(*rows), compute_standard_error(metric, [rows], [keys], seed=0)
    joint_error = math.hypot(performance.error, error)
    z = (metric.gain(performance.value) - metric.gain(score)) / joint_error if joint_error else math.nan
    if not math.isfinite(z):
        return None
    p = 0.5 * math.erfc(z / math.sqrt(2))
    return PerformanceDrift(
        metric.name, len(rows[0]), performance.value, score, performance.error, error, z, p, p <= level
    )


def _compare_column(
    name: str, part: str, profile: ColumnProfile, values: pd.Series, units: np.ndarray | None
) -> ColumnDrift:
    """One column; its p-value is its own still."""
    worth = profile.effect, 1.0 if units is None else compute_design_effect(find_cells(profile, values), units)
    names, first, later = _count_cells(profile, values)
    missing = int(values.isna().sum())
    a, b = _join_cells(profile, first, later, missing)
    return ColumnDrift(
        name=name,
        kind=profile.kind,
        part=part,
        psi=_compute_psi(a, b, worth),
        distance=_compute_distance(a, b),
        p=1.0 if profile.moves else _test_homogeneity(a / worth[0], b / worth[1]),
        missing=(profile.missing / max(1, profile.rows), missing / max(1, len(values))),
        mean=(profile.mean, _compute_mean(profile, values)),
        new_levels=_measure_new_levels(profile, names, later),
        moves=profile.moves,
        bars=_make_bars(names, first, later, (profile.missing, missing), bool(profile.edges)),
    )


def _count_cells(profile: ColumnProfile, values: pd.Series) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The cells' names, and the rows in each then and now."""
    if profile.kind not in ("category", "boolean"):
        return (
            _name_ranges(profile),
            np.array(profile.counts or [0]),
            count_by_edges(profile.edges, to_numbers(values, profile.kind)),
        )
    levels = count_levels(values, profile.kind)
    if not profile.whole:
        return [f"bucket {k}" for k in range(BUCKETS)], np.array(profile.counts), count_buckets(levels)
    names = sorted({*profile.levels, *levels})
    first, later = (np.array([counts.get(n, 0) for n in names], np.int64) for counts in (profile.levels, levels))
    return names, first, later


def _join_cells(
    column: ColumnProfile, reference: np.ndarray, current: np.ndarray, missing: int
) -> tuple[np.ndarray, np.ndarray]:
    """The cells joined until each expects LEAST rows in the smaller table: neighbours of a number, of levels the rare
    with the rare; and a cell for what is missing, kept apart from the values since 999 may stand for it now."""
    totals = reference + current
    rows = reference.sum() + column.missing, current.sum() + missing
    share = min(rows) / max(1, sum(rows))
    order = np.argsort(-totals, kind="stable") if column.whole and not column.edges else np.arange(len(totals))
    place, expected, cell = np.zeros(len(totals), np.int64), 0.0, 0
    for k in order:
        place[k], expected = cell, expected + totals[k] * share
        if expected >= LEAST:
            cell, expected = cell + 1, 0.0
    place = np.minimum(place, max(0, cell - 1))  # what is left over joins the last
    first, later = np.bincount(place, weights=reference), np.bincount(place, weights=current)
    if (column.missing + missing) * share >= LEAST:
        first, later = np.append(first, column.missing), np.append(later, missing)
    filled = first + later > 0  # where no value is there, all are missing
    return first[filled], later[filled]


def _test_homogeneity(reference: np.ndarray, current: np.ndarray) -> float:
    """The p-value of a chi-square test of homogeneity; 1 where there is nothing to test."""
    if len(reference) < 2 or not reference.sum() or not current.sum():
        return 1.0
    from scipy.stats import chi2_contingency

    test: Any = chi2_contingency(np.stack([reference, current]), correction=False)
    return float(test.pvalue)


def _compute_psi(reference: np.ndarray, current: np.ndarray, worth: tuple[float, float]) -> float:
    """The population stability index, half a row added to every cell, less what chance gives to so many rows, of which
    as many count as one observation as `worth` says."""
    if not reference.sum() or not current.sum():
        return 0.0
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (reference, current))
    chance = (len(reference) - 1) * (worth[0] / reference.sum() + worth[1] / current.sum())
    return max(0.0, float(((p - q) * np.log(p / q)).sum() - chance))


def _compute_distance(reference: np.ndarray, current: np.ndarray) -> float:
    """The Jensen-Shannon distance of the shares (Lin 1991, IEEE Transactions on Information Theory 37:145)."""
    if not reference.sum() or not current.sum():
        return 0.0
    from scipy.spatial.distance import jensenshannon

    distance = float(jensenshannon(reference, current, base=2))
    return distance if math.isfinite(distance) else 0.0


def _correct_by_holm(values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given."""
    order = np.argsort(values, kind="stable")
    p_values, bound = np.ones(len(values)), 0.0
    for rank, k in enumerate(order):
        bound = max(bound, min(1.0, (len(values) - rank) * values[k]))
        p_values[k] = bound
    return p_values.tolist()


def _compute_mean(profile: ColumnProfile, values: pd.Series) -> float | None:
    if profile.mean is None:
        return None
    numbers = to_numbers(values, profile.kind)
    numbers = np.sort(numbers[np.isfinite(numbers)])
    return float(numbers.mean()) if len(numbers) else None


def _measure_new_levels(profile: ColumnProfile, names: Sequence[str], counts: np.ndarray) -> float | None:
    if profile.kind != "category" or not profile.whole:
        return None
    return sum(n for name, n in zip(names, counts.tolist(), strict=True) if name not in profile.levels) / max(
        1, counts.sum()
    )


# --- What a figure shows ---------------------------------------------------------------------------------------------


def _name_ranges(profile: ColumnProfile) -> list[str]:
    """`below 3`, `3 to 5`, ..., `above 9`."""
    if not profile.edges:
        return ["any"]
    if profile.values:
        ranges = [_format_edge(value, profile) for value in profile.values]
        return [f"below {ranges[0]}", *ranges, f"above {ranges[-1]}"]
    marks = [_format_edge(edge, profile) for edge in (profile.low, *profile.edges[1:-1], profile.high)]
    ranges = [f"from {a}" if profile.kind == "date" else f"{a} to {b}" for a, b in pairwise(marks)]
    return [f"below {marks[0]}", *ranges, f"above {marks[-1]}"]


def _format_edge(value: float | None, profile: ColumnProfile) -> str:
    value = value or 0.0
    return str(np.datetime64(round(value), "s"))[:10] if profile.kind == "date" else f"{value:.4g}"


def _make_bars(
    names: Sequence[str],
    reference: np.ndarray,
    current: np.ndarray,
    missing: tuple[int, int],
    ordered: bool,
    most: int = 14,
) -> tuple[tuple[str, float, float], ...]:
    """The cells with their shares of all rows; of levels the most frequent, and the rest together."""
    cells = [*zip(names, reference.tolist(), current.tolist(), strict=True), ("missing", *missing)]
    first, later = max(1, sum(c[1] for c in cells)), max(1, sum(c[2] for c in cells))
    bars = [(shorten(n), a / first, b / later) for n, a, b in cells if a or b]
    if ordered:
        return tuple(bars)
    bars.sort(key=lambda c: -max(c[1], c[2]))
    rest = bars[most:]
    others = [(f"{len(rest)} others", sum(c[1] for c in rest), sum(c[2] for c in rest))] if rest else []
    return (*bars[:most], *others)
