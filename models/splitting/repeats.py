"""What is divided as one: a row, a point (all rows with equal features) or a group; decided once, from the whole table.

Rows of a point are separate observations where the world has few states or values are rounded: new rows will repeat
too. They are copies where a table was put together badly: new rows will not. What tells them apart, each piece of it
one-sided or silent where rows are too few:

- *targets*: rows of a point that are separate observations differ in their targets about as often as neighbours do;
  copies do not.
- *chance*: how many pairs of equal rows there would be if columns had nothing to do with each other. Whatever they have
  to do with each other makes such pairs more frequent.
- *density*: what repeats by chance lies where rows are dense; copies lie where the others do.
- *multiplicity*: tables written twice hold every row twice; states of the world come five, six, nine times.
- *position*: copies often stand at one distance from each other in the file.

Where it stays open, rows of a point stay together: then the estimate is of new points, which is never too good. The
power of all this is measured by `benchmarks/repeats.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

from models.config import Run
from models.data.table import Table
from models.splitting.seal import Unit, make_row_keys

SOME = 0.01
"""Below this share of rows whose features come again, repeats change no number: they are joined, and little is said."""
CUT_SHARE, CUT_LEAST = 0.02, 10
"""A point of more rows than a tenth of one of five folds, and than ten, is divided row by row."""
_POINTS, _SAMPLE, _WIDTH = 20_000, 1000, 100
"""How many points are looked at, of how many of them at neighbours, by how many columns."""
_LEVELS = 20
"""Of words only so many levels count for distances."""
_NEAR = 5
"""Neighbours that tell how dense it is."""
_OFTEN, _SELDOM = 0.5, 0.1
"""Rows of a point that differ in the target as often as the one share of neighbours do are separate observations, up to
the other one copies; the first is asked of other evidence too."""
_MANY = 30
"""Points that must have equal numbers of rows, before that tells anything."""
_STEPS = 0.2
"""Numbers that hold under this share of the steps between their ends are near-continuous."""
_SURE = 2.33


@dataclass(frozen=True)
class UnitDecision:
    """What the rows of a table are divided by, and why."""

    unit: Unit
    reason: str
    """A sentence without its full stop."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the decision rests on."""
    cut: tuple[int, ...] = ()
    """Keys of points that are too large to stay on one side: their rows are divided one by one."""


def make_point_keys(table: Table) -> np.ndarray:
    """A uint64 key per row: equal for rows with equal features, whatever their targets."""
    return make_row_keys(table.features) if table.points is None else table.points


def decide_unit(table: Table, run: Run) -> UnitDecision:
    """What the rows of the table are divided by: its groups, else by the setting, else by the evidence."""
    if table.group is not None:
        return UnitDecision("group", "groups are named")
    setting = run.split.copies
    if setting == "apart":
        return UnitDecision("row", "the setting says so")
    if setting == "auto" and table.ids is not None:
        return UnitDecision("row", "id columns name each row")
    if setting == "auto" and table.time is not None:
        return UnitDecision("row", "they are told apart by their time")
    if setting == "together":
        return UnitDecision("point", "the setting says so")
    row_points = make_point_keys(table)
    distinct, sizes = np.unique(row_points, return_counts=True)
    cut = tuple(int(key) for key in distinct[sizes > max(CUT_LEAST, CUT_SHARE * table.rows)])
    unit, reason, figures = _weigh_evidence(table, row_points, cut)
    return UnitDecision(unit, reason, figures, cut if unit == "point" else ())


def measure_repeat_share(row_points: np.ndarray) -> float:
    """The share, 0 to 1, of rows whose features another row has too. `row_points`: a key for each row."""
    return float(pd.Series(row_points).duplicated(keep=False).mean()) if len(row_points) else 0.0


def encode_units(row_points: np.ndarray, repeats: UnitDecision) -> np.ndarray:
    """A code for each row, of its unit: its point, or itself where rows are divided one by one, as those of points that
    are cut always are. `row_points`: a uint64 key for each row."""
    singles = np.arange(len(row_points))
    if repeats.unit == "row":
        return singles
    joined = pd.factorize(row_points)[0].astype(np.int64)
    if not repeats.cut:
        return joined
    large = np.isin(row_points, np.array(repeats.cut, np.uint64))
    return np.where(large, len(singles) + singles, joined)


# --- The evidence ----------------------------------------------------------------------------------------------------


def _weigh_evidence(table: Table, row_points: np.ndarray, cut: tuple[int, ...]) -> tuple[Unit, str, dict[str, float]]:
    """The unit, why, and the figures: of all rows but those of points that are too large to stay together anyway."""
    rows = np.flatnonzero(~np.isin(row_points, np.array(cut, np.uint64)))
    code, _ = pd.factorize(row_points[rows])
    size = np.bincount(code)
    repetitions = int(size[size > 1].sum())
    figures = {"share": repetitions / max(1, table.rows), "points": float(len(size)), "rows": float(len(rows))}
    if repetitions < max(2, SOME * table.rows):
        phrase = "one point" if len(cut) == 1 else f"{len(cut):,} points, each"
        large = f"nearly all of them belong to {phrase} of more than {100 * CUT_SHARE:g} % of the rows"
        return ("row", large, figures) if cut else ("point", "hardly any rows repeat", figures)
    looked = _take_evenly(np.arange(len(size)), _POINTS)
    points = _PointRows.of(table, rows[np.isin(code, looked)], row_points)
    chance = (
        points.expect_equal_pairs() * len(size) / len(looked)
    )  # pairs of rows grow with the square of the points looked at
    figures |= {
        "chance": chance,
        **points.compare_neighbours(),
        "even": points.measure_multiples(),
        "beside": points.measure_distance_share(),
    }
    figures["fine"] = float(points.has_fine_column())
    return (*_decide_by_figures(figures, len(rows)), figures)


def _decide_by_figures(f: Mapping[str, float], rows: int) -> tuple[Unit, str]:
    """The unit and why. Missing figures are NaN, and every comparison with them is false."""
    differs = f["differs"] >= _OFTEN * f["neighbours"]
    agrees = f["neighbours"] >= 0.1 and f["differs"] <= _SELDOM * f["neighbours"]
    dense = f["denser"] - _SURE * f["denser_error"] > 0.5 and f["denser"] >= 0.55
    few = 2 * f["points"] < rows and not f["fine"]
    if f["even"] >= 0.95 and not differs:
        return "point", "nearly every row stands there equally often, as if the table were written several times"
    if few:
        return "row", "so few combinations of values occur that rows repeat by chance"
    if f["chance"] >= _OFTEN:
        return "row", "so few values occur that as many rows repeat by chance"
    if f["beside"] >= _OFTEN:
        return "point", "equal rows stand at one distance from each other in the table, which others do not"
    if agrees:
        return "point", "rows with equal features hardly ever differ in the target, while their neighbours do"
    sparse = f["denser"] + _SURE * f["denser_error"] < 0.55
    if differs and (dense or f["often"] >= _OFTEN or not (f["fine"] or sparse)):
        return "row", "rows with equal features differ in the target about as often as neighbours do"
    if dense:
        return "row", "rows repeat where rows are dense, as rounded values do"
    return "point", "rows do not repeat where rows are dense, as chance would have it"


@dataclass(frozen=True, eq=False)
class _PointRows:
    """Rows as their points."""

    features: pd.DataFrame
    """Of each point's first row."""
    target: np.ndarray
    """Of each row; rows in the order of the file."""
    kind: np.ndarray
    """Of each point its class, or a fifth of a numeric target."""
    code: np.ndarray
    """The point of each row."""
    size: np.ndarray
    """Rows of each point."""
    order: np.ndarray
    """Rows, point by point."""
    start: np.ndarray
    """Where each point's rows begin in `order`."""
    place: np.ndarray
    """Where each row stands in the file."""

    @staticmethod
    def of(table: Table, rows: np.ndarray, row_points: np.ndarray) -> _PointRows:
        code, _ = pd.factorize(row_points[rows])
        size = np.bincount(code)
        order, start = np.argsort(code, kind="stable"), np.concatenate([[0], np.cumsum(size)[:-1]])
        first, target = rows[order[start]], table.target[rows]
        cuts = np.quantile(target, [0.2, 0.4, 0.6, 0.8])
        kind = table.target[first] if table.classes else np.searchsorted(cuts, table.target[first], side="right")
        return _PointRows(table.features.iloc[first], target, kind, code, size, order, start, rows)

    def values(self) -> list[np.ndarray]:
        """Codes of each column's values, over points: in the order of numbers and dates, else of appearance."""
        columns = (self.features.iloc[:, j] for j in range(self.features.shape[1]))
        return [pd.factorize(column, sort=column.dtype.kind in "fiubM")[0] for column in columns]

    def expect_equal_pairs(self) -> float:
        """Pairs of equal rows if columns were independent, as a share of those that there are. How often a column's
        values meet is seen in rows of different points, so that copies have no part in it."""
        n, squares, log = float(self.size.sum()), float((self.size.astype(float) ** 2).sum()), 0.0
        for column in self.values():
            equal = float((np.bincount(column + 1, self.size) ** 2).sum())
            log += np.log(max(equal - squares, 0.5) / max(n * n - squares, 1))
        return float(np.exp(log) * n * (n - 1) / (squares - n))

    def has_fine_column(self) -> bool:
        """Whether some column tells nearly all points apart by near-continuous numbers, or by names."""
        return any(self._is_fine(self.features.iloc[:, j].dropna()) for j in range(self.features.shape[1]))

    def _is_fine(self, column: pd.Series) -> bool:
        distinct = column.unique()
        if len(distinct) < max(3, 0.8 * len(self.size)):
            return False
        if not pd.api.types.is_numeric_dtype(column.dtype):
            return True
        values = np.sort(np.asarray(distinct, float))
        values = values[np.isfinite(values)]
        return len(values) > 2 and len(values) < _STEPS * (1 + np.ptp(values) / np.diff(values).min())

    def measure_multiples(self) -> float:
        """The share of points whose rows are a multiple of the least number of rows, where that is two or more; 0 where
        points are so few that this may be chance, or a plan."""
        least = int(np.quantile(self.size, 0.05, method="inverted_cdf"))
        return float((self.size % least == 0).mean()) if least >= 2 and len(self.size) >= _MANY else 0.0

    def measure_distance_share(self) -> float:
        """The share of equal rows that stand at the commonest distance from each other; 0 in a table that is sorted by
        a column, where neighbours stand beside each other too."""
        gaps = np.diff(self.place[self.order])[np.diff(self.code[self.order]) == 0]
        share = np.unique(gaps, return_counts=True)[1].max(initial=0) / max(len(gaps), 10)
        sorts = share >= _OFTEN and any(_is_sorted(values[self.code], len(self.size)) for values in self.values())
        return 0.0 if sorts else float(share)

    def compare_neighbours(self) -> dict[str, float]:
        """`differs`: how often two rows of a point differ in the target; `neighbours`: how often a row of it and of a
        near point do; `denser`: how often a point that repeats has nearer neighbours than one that does not."""
        twice, once = (_take_evenly(np.flatnonzero(mask), _SAMPLE) for mask in (self.size > 1, self.size == 1))
        sample = np.concatenate([twice, once])
        distances, near = self._find_neighbours(sample)
        count = len(twice)
        differs = np.mean([self._count_within(point) for point in twice])
        targets = self.target[self.order[self.start]]
        neighbours = (targets[twice][:, None] != targets[near[:count]]).mean()
        enough = (self.size[twice] - 1).sum() * neighbours >= 10
        denser, error = self._find_denser(twice, once, distances)
        often = self.size[self.size > 1]
        return {
            "differs": float(differs) if enough else np.nan, "neighbours": float(neighbours) if enough else np.nan,
            "denser": denser, "denser_error": error, "often": float(often[often > 4].sum() / often.sum()),
        }  # fmt: skip

    def _count_within(self, point: int) -> float:
        targets = self.target[self.order[self.start[point] : self.start[point] + self.size[point]]]
        count = np.unique(targets, return_counts=True)[1]
        return 1 - (count * (count - 1)).sum() / (len(targets) * (len(targets) - 1))

    def _find_neighbours(self, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far the nearest other points are, and which the nearest three are."""
        matrix = self._make_matrix()
        count = min(_NEAR + 1, len(matrix))
        distances, near = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(matrix).kneighbors(matrix[sample])
        self_mask = near == sample[:, None]
        self_mask[~self_mask.any(axis=1), -1] = True
        shape = (len(sample), count - 1)
        return distances[~self_mask].reshape(shape), near[~self_mask].reshape(shape)[:, :3]

    def _make_matrix(self) -> np.ndarray:
        """Points as numbers: each column scaled, of words the commonest as 0/1."""
        blocks = []
        for j in _take_evenly(np.arange(self.features.shape[1]), _WIDTH):
            column = self.features.iloc[:, j]
            if column.dtype.kind in "fiubM":
                value = np.where(column.isna(), np.nan, column.to_numpy().astype(float))
                finite = np.isfinite(value)
                value = np.where(finite, value, value[finite].mean() if finite.any() else 0.0)
                blocks.append((value - value.mean()) / (value.std() or 1))
            else:
                level = pd.factorize(column)[0]
                blocks.extend(
                    (level == code) / np.sqrt(2) for code in np.argsort(-np.bincount(level + 1))[:_LEVELS] - 1
                )
        return np.column_stack(blocks).astype(np.float32)

    def _find_denser(self, twice: np.ndarray, once: np.ndarray, distances: np.ndarray) -> tuple[float, float]:
        """By classes, since one may have been copied more often than others."""
        distance, kind = distances.mean(axis=1), self.kind
        areas, weights, errors = [], [], []
        for group in np.unique(kind[twice]):
            a = distance[: len(twice)][kind[twice] == group]
            b = distance[len(twice) :][kind[once] == group]
            if len(a) >= 5 and len(b) >= 5:
                rank = rankdata(np.concatenate([a, b]))
                statistic = rank[: len(a)].sum() - len(a) * (len(a) + 1) / 2
                areas.append(1 - statistic / (len(a) * len(b)))
                weights.append(len(a))
                errors.append(np.sqrt((len(a) + len(b) + 1) / (12 * len(a) * len(b))))
        if not areas:
            return np.nan, np.nan
        share = np.array(weights) / sum(weights)
        return float(share @ areas), float(np.sqrt((share**2) @ np.square(errors)))


def _is_sorted(values: np.ndarray, points: int) -> bool:
    """Whether rows stand in the order of a column's values (codes), or in blocks of them."""
    steps = np.diff(values)
    blocks = (steps != 0).sum() + 1 <= 1.2 * (levels := len(np.unique(values))) and levels <= points / 4
    return bool(blocks or max((steps >= 0).mean(), (steps <= 0).mean()) >= 0.95)


def _take_evenly(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the values, evenly."""
    return values[:: max(1, -(-len(values) // most))]
