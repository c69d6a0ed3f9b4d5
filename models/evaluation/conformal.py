"""Intervals and sets of labels that hold the true value in a stated share of rows, from the scores of outer rows.

A row's score says how far its target was from what the model of its fold, which had not seen it, predicted: the
absolute residual, or one minus the probability of the true class. For a new row of a bag each fold's scores stand
around what *that fold's* members predict: CV+ (Barber, Candes, Ramdas & Tibshirani 2021, Annals of Statistics 49:486;
for classes Vovk 2015, Annals of Mathematics and Artificial Intelligence 74:9, and Romano, Sesia & Candes 2020,
NeurIPS). Around a model that was fitted once more on all rows they are an approximation: it has seen more rows than
the folds' models had.

What holds: over new rows exchangeable with the outer ones a CV+ interval of level 1 - a covers at least 1 - 2a less
min(2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1)), for K equal folds of n rows in all (Barber et al., theorem 4; for
sets of labels Romano et al., theorem 2), and in practice about 1 - a. It is a promise about all rows together, none
about a kind of row. With groups the folds' new
groups stand for new groups, but coverage varies more, as there are fewer groups than rows; over time nothing is
exchangeable and nothing is promised: the coverage measured on the sealed rows tells. Row weights count for nothing
here: a share of rows is meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from models.data.table import Task
from models.errors import InputError
from models.outcome import Coverage

FORMAT = 1
MOST = 2000
"""Scores kept in all."""
LEVELS = (0.8, 0.9, 0.95)
"""What is measured on the sealed rows."""
_HALVINGS = 20
"""Of the span in which an interval's end lies: what is left of it is added to the interval."""

Method = Literal["cv+", "refit"]


@dataclass(frozen=True, eq=False)
class FoldScores:
    """Of one fold: `counts[i]` rows whose score is at most `values[i]` and above the value before it."""

    fold: str
    values: np.ndarray
    """Rising."""
    counts: np.ndarray
    members: tuple[int, ...] = ()
    """Which of the delivered vote's `estimators_` the scores are around; a model that is no vote is its own first."""
    weights: tuple[float, ...] = ()
    """Of the members; they sum to one."""

    def count_up_to(self, score: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
        """How many rows have at most that score, with `left` a smaller one; of the shape of `score`."""
        return np.concatenate([[0], np.cumsum(self.counts)])[np.searchsorted(self.values, score, side)]


@dataclass(frozen=True, eq=False)
class ConformalScores:
    """The scores that a version keeps, as `conformal.json`."""

    task: Task
    method: Method
    """`cv+`: each fold's scores around its own members. `refit`: all around the one model, an approximation."""
    folds: tuple[FoldScores, ...]

    @property
    def rows(self) -> int:
        """How many outer rows the scores are of."""
        return int(sum(fold.counts.sum() for fold in self.folds))

    @property
    def highest(self) -> float:
        """The highest level that so many rows allow."""
        return self.rows / (self.rows + 1)

    def find_place(self, level: float) -> int:
        """Which of the scores, in rising order, bounds that level; InputError where there are too few."""
        if not 0 < level < 1:
            raise InputError(f"The level of an interval is between 0 and 1, such as 0.9, not {level:g}.")
        if level > self.highest:
            highest = math.floor(self.highest * 1e4) / 1e4
            raise InputError(
                f"An interval of level {level:g} needs scores of {math.ceil(round(1 / (1 - level), 6)) - 1:,} rows; "
                f"the outer folds judged {self.rows:,}: the highest level is {highest:g}."
            )
        # 0.95 * 20 is 19, whatever floats say
        return math.ceil(round(level * (self.rows + 1), 9))

    def combine_members(self, predictions: np.ndarray) -> list[np.ndarray]:
        """What each fold's members say together, (rows,) or (rows, classes) for each fold, from what every member of
        the model says, (members, rows) or (members, rows, classes)."""
        return [np.tensordot(fold.weights, predictions[list(fold.members)], 1) for fold in self.folds]

    def place_members(self, votes: Sequence[tuple[str, float]]) -> ConformalScores:
        """The scores with their members: `votes` are (fold, weight) of each member of the delivered model."""
        return replace(self, folds=tuple(_assign_members(fold, votes) for fold in self.folds))

    def as_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        folds = [
            {
                "fold": fold.fold,
                "members": list(fold.members),
                "weights": list(fold.weights),
                "scores": fold.values.tolist(),
                "counts": fold.counts.tolist(),
            }
            for fold in self.folds
        ]
        return {"format": FORMAT, "task": self.task, "method": self.method, "rows": self.rows, "folds": folds}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ConformalScores:
        """What `as_json` wrote; InputError where a later Nestor wrote it in another form."""
        if value["format"] != FORMAT:
            raise InputError(f"conformal.json has format {value['format']}; this Nestor knows {FORMAT}: update it.")
        folds = [
            FoldScores(
                fold["fold"],
                np.array(fold["scores"], dtype=float),
                np.array(fold["counts"], dtype=np.int64),
                tuple(fold["members"]),
                tuple(fold["weights"]),
            )
            for fold in value["folds"]
        ]
        return cls(value["task"], value["method"], tuple(folds))


def _assign_members(fold: FoldScores, votes: Sequence[tuple[str, float]]) -> FoldScores:
    places = [i for i, (name, _) in enumerate(votes) if name == fold.fold]
    total = sum(votes[i][1] for i in places)
    return replace(fold, members=tuple(places), weights=tuple(votes[i][1] / total for i in places))


# --- Scores ----------------------------------------------------------------------------------------------------------


def compute_row_scores(task: Task, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Each row's score: the absolute residual, or one minus the probability of its class (Sadinle, Lei & Wasserman
    2019, JASA 114:223: of all scores it makes the smallest sets). Scores and targets (of classes codes) are (rows,),
    predictions are (rows,) or probabilities (rows, classes)."""
    if task == "regression":
        return np.abs(np.asarray(target, dtype=float) - prediction)
    return 1 - prediction[np.arange(len(target)), np.asarray(target, dtype=np.int64)]


def make_conformal_scores(
    task: Task, outer: Iterable[tuple[str, np.ndarray, np.ndarray]], refit: str | None = None
) -> ConformalScores | None:
    """What a version keeps of (fold, target, prediction) of the outer rows; None where there are none, or a prediction
    is not finite. `refit` names the fold of the one model where no fold's model is delivered. The arrays are those that
    `compute_row_scores` takes."""
    pairs = [(fold, compute_row_scores(task, target, prediction)) for fold, target, prediction in outer if len(target)]
    if not pairs or not all(np.isfinite(scores).all() for _, scores in pairs):
        return None
    if refit is not None:
        pairs = [(refit, np.concatenate([scores for _, scores in pairs]))]
    folds = tuple(FoldScores(fold, *thin_scores(scores, MOST // len(pairs))) for fold, scores in pairs)
    return ConformalScores(task, "cv+" if refit is None else "refit", folds)


def thin_scores(scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` values and how many scores each stands for, closest together at the high end, where levels lie.
    `scores` is (rows,) in any order; both results are (values,), and the values rise.

    Every score is rounded up to a kept one, so what is made of them covers no less than before."""
    ordered = np.sort(scores)
    if len(ordered) <= most:
        return ordered, np.ones(len(ordered), dtype=np.int64)
    ranks = np.unique(np.geomspace(1, len(ordered), most).round().astype(np.int64))
    places = len(ordered) - ranks[::-1]
    return ordered[places], np.diff(places, prepend=-1)


# --- What is made of them --------------------------------------------------------------------------------------------


def compute_intervals(
    scores: ConformalScores, centres: Sequence[np.ndarray], level: float
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest value of each row, both (rows,), from each fold's predictions (rows,) of it.
    InputError where the level is not between 0 and 1, or too high for so few scores."""
    place = scores.find_place(level)
    low = -_find_end(scores, [-np.asarray(c, dtype=float) for c in centres], place)
    high = _find_end(scores, [np.asarray(c, dtype=float) for c in centres], place)
    # below a level of one half, models far apart turn the ends round
    return np.minimum(low, high), np.maximum(low, high)


def _find_end(scores: ConformalScores, centres: Sequence[np.ndarray], place: int) -> np.ndarray:
    """The `place`-th smallest of all centre + score, by halving; never less, and more by 2^-20 of the models' span."""
    middle = _find_quantile(scores, place)
    low, high = np.min(centres, axis=0) + middle, np.max(centres, axis=0) + middle
    for _ in range(_HALVINGS if len(centres) > 1 else 0):
        half = (low + high) / 2
        enough = sum(f.count_up_to(half - c, "right") for f, c in zip(scores.folds, centres, strict=True)) >= place
        low, high = np.where(enough, low, half), np.where(enough, half, high)
    return high


def _find_quantile(scores: ConformalScores, place: int) -> float:
    """The `place`-th smallest score of all folds."""
    values = np.concatenate([fold.values for fold in scores.folds])
    order = np.argsort(values)
    totals = np.cumsum(np.concatenate([fold.counts for fold in scores.folds])[order])
    return float(values[order][np.searchsorted(totals, place)])


def compute_label_sets(scores: ConformalScores, odds: Sequence[np.ndarray], level: float) -> np.ndarray:
    """Which classes (rows, classes) are in each row's set, from each fold's probabilities (rows, classes). InputError
    where the level is not between 0 and 1, or too high for so few scores.

    The class that is likeliest by all folds is always in it, so no set is empty: a model that errs less often than the
    level allows then covers more."""
    place = scores.find_place(level)
    counts = sum(f.count_up_to(1 - np.asarray(o, dtype=float), "left") for f, o in zip(scores.folds, odds, strict=True))
    sets = np.asarray(counts) < place
    sets[np.arange(len(sets)), np.mean(odds, axis=0).argmax(axis=1)] = True
    return sets


def measure_coverage(
    scores: ConformalScores, predictions: Sequence[np.ndarray], target: np.ndarray, levels: Sequence[float] = LEVELS
) -> tuple[Coverage, ...]:
    """What share of the targets (rows,) is covered at each level that so many scores allow, from each fold's
    predictions, (rows,) or (rows, classes). InputError where a level is not above 0."""
    return tuple(
        _measure_coverage_at(scores, predictions, target, level) for level in levels if level <= scores.highest
    )


def _measure_coverage_at(
    scores: ConformalScores, predictions: Sequence[np.ndarray], target: np.ndarray, level: float
) -> Coverage:
    if scores.task == "regression":
        low, high = compute_intervals(scores, predictions, level)
        return Coverage(level, float(np.mean((low <= target) & (target <= high))), float(np.mean(high - low)))
    sets = compute_label_sets(scores, predictions, level)
    hits = sets[np.arange(len(target)), np.asarray(target, dtype=np.int64)]
    return Coverage(level, float(hits.mean()), float(sets.sum(axis=1).mean()))


def format_level(level: float) -> str:
    """`90` for 0.9, `99.5` for 0.995: how a level is named in columns and metrics."""
    return f"{100 * level:g}"
