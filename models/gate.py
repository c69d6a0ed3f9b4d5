"""Whether a challenger becomes champion: both predict the same rows, which neither was trained on.

The two predictions of a row rise and fall together, so the bootstrap is paired: each replicate draws units (rows,
groups or blocks of time) once and scores both on them (Efron & Tibshirani 1993, An Introduction to the Bootstrap).
Its one-sided lower bound is the smaller of the percentile and of Student's t with one degree of freedom less than there
are units: with few groups the percentile alone is too sure (Cameron, Gelbach & Miller 2008, Review of Economics and
Statistics 90:414).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import TypeAdapter
from scipy.special import stdtrit

from models.config.gate import Gate
from models.errors import listed
from models.estimate import around, deviation, draws, replicates
from models.metric import Fold3, Metric
from models.outcome import Interval, number
from models.told import between

LEAST_ROWS = 200
LEAST_GROUPS = 20
"""On fewer nothing is decided."""
LEAST_LEVEL = 50
"""Rows that a level of the subgroup column needs before its loss counts."""
MOST_LEVELS = 50
"""Levels that a verdict lists, the greatest losses first; all of them count."""
FRESH = "rows that arrived since the last opening"
"""The mark of a score to publish on rows that no earlier version of the name had sealed."""
MOST_USES = 20
"""Decisions on the same sealed rows after which they are worn: a new salt is advised."""

Unit = Literal["row", "group", "block"]


@dataclass(frozen=True)
class Cost:
    """What a model costs who uses it."""

    latency: float
    """Milliseconds for one row: the median of some."""
    size: float
    """Megabytes on disk."""


@dataclass(frozen=True)
class Level:
    """One level of the subgroup column."""

    name: str
    rows: int
    gain: float
    """Challenger minus champion, turned so that greater is better."""


@dataclass(frozen=True)
class Published:
    """The score to publish for a version that became champion."""

    score: Interval
    rows: int
    mark: str
    """What these rows were used for before."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found. Scores are in the metric's own sense; a gain is positive where the challenger is better."""

    rule: str
    level: float
    threshold: float
    """What the gain's lower bound must be above."""
    metric: str = ""
    rows: int = 0
    """Rows that neither version was trained on."""
    units: int = 0
    """What the bootstrap drew."""
    unit: Unit = "row"
    champion: Interval | None = None
    challenger: Interval | None = None
    gain: Interval | None = None
    """Challenger minus champion with its one-sided lower bound."""
    promoted: bool | None = None
    """Whether the rule promotes the challenger; None: nothing is decided, and the champion stays."""
    reasons: tuple[str, ...] = ()
    """The limits that the challenger breaks, or why nothing is decided."""
    champion_cost: Cost | None = None
    challenger_cost: Cost | None = None
    levels: tuple[Level, ...] = ()
    name: str = ""
    champion_version: int | None = None
    challenger_version: int | None = None
    uses: int = 0
    """How often these sealed rows have decided, this time included."""
    notes: tuple[str, ...] = ()
    published: Published | None = None
    """The challenger's score to publish if it becomes champion."""

    @property
    def to_publish(self) -> str:
        """Which score to publish if the challenger becomes champion; empty where none is known."""
        if self.published is None or not (score := between(self.published.score)):
            return ""
        fresh = self.published.mark == FRESH
        rows = f"{self.published.rows:,} rows that {'no earlier version had sealed' if fresh else 'decided'}"
        flatters = "" if fresh else "; they chose it, so the score may look a little too good"
        return f"The score to publish is {self.metric} {score}, on {rows}{flatters}."

    @property
    def sentence(self) -> str:
        """The verdict in words and numbers."""
        told = _undecided(self) if self.gain is None else _decided(self)
        return " ".join([told, *_cost(self), *self.notes])

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`, with the sentence."""
        return {**asdict(self), "sentence": self.sentence}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """The verdict that `as_json` made the value of."""
        return TypeAdapter(cls).validate_python({k: v for k, v in value.items() if k != "sentence"})


def undecided(gate: Gate, why: str, **known: Any) -> Verdict:
    """The verdict where nothing can be decided."""
    return Verdict(gate.rule, gate.level, threshold(gate), reasons=(why,), **known)


def threshold(gate: Gate) -> float:
    """What the gain's lower bound must be above."""
    return gate.min_gain if gate.rule == "better" else -gate.margin


def decide(
    metric: Metric,
    target: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    units: np.ndarray,
    gate: Gate,
    *,
    unit: Unit = "row",
    weight: np.ndarray | None = None,
    seed: int = 0,
    subgroup: np.ndarray | None = None,
    costs: tuple[Cost, Cost] | None = None,
) -> Verdict:
    """The verdict on two predictions of the same rows.

    `units` says which row, group or block each row belongs to (`unit` which of these it is); `subgroup` the level of
    each row, `costs` what champion and challenger cost.
    """
    rows, distinct = len(target), len(np.unique(units))
    folds: list[Fold3] = [(target, champion, weight), (target, challenger, weight)]
    costs_ = costs or (None, None)
    known: dict[str, Any] = {"metric": metric.name, "rows": rows, "units": distinct, "unit": unit,
                             "champion_cost": costs_[0], "challenger_cost": costs_[1]}  # fmt: skip
    why = too_few(rows, distinct, unit)
    if why:
        return undecided(gate, why, **known)
    values = [metric.score(*fold) for fold in folds]
    drawn = np.concatenate(
        [
            np.stack([metric.resample([fold], counts) for fold in folds])
            for counts in draws([units], replicates(metric, [units, units]), seed)
        ],
        axis=1,
    )
    gain = metric.gain(values[1]) - metric.gain(values[0])
    low = lower_bound(gain, (drawn[1] - drawn[0]) * metric.gain(1.0), distinct, gate.level)
    if math.isnan(low):
        return undecided(gate, f"{metric.name} can't be computed on these rows.", **known)
    levels = () if subgroup is None else _levels(metric, folds, subgroup)
    broken = _broken(gate, costs_[1], levels)
    scores = [around(metric, value, deviation(of)) for value, of in zip(values, drawn, strict=True)]
    return Verdict(
        gate.rule, gate.level, threshold(gate), champion=scores[0], challenger=scores[1], gain=Interval(gain, low),
        promoted=low > threshold(gate) and not broken, reasons=broken, levels=levels[:MOST_LEVELS], **known,
    )  # fmt: skip


def lower_bound(value: float, replicates: np.ndarray, units: int, level: float) -> float:
    """The one-sided lower bound of a value; NaN where value or a tenth of the replicates are undefined."""
    kept = replicates[np.isfinite(replicates)]
    if not math.isfinite(value) or units < 2 or len(kept) < max(2, 0.9 * len(replicates)):
        return math.nan
    error = deviation(kept) * math.sqrt(units / (units - 1))
    return min(float(np.quantile(kept, 1 - level)), value - float(stdtrit(units - 1, level)) * error)


def too_few(rows: int, units: int, unit: Unit) -> str:
    """Why these rows decide nothing; empty where they do."""
    if rows < LEAST_ROWS:
        return f"{rows:,} rows are left that neither version was trained on, and {LEAST_ROWS} are needed."
    if unit == "group" and units < LEAST_GROUPS:
        return f"{units} groups are left that neither version was trained on, and {LEAST_GROUPS} are needed."
    return ""


def _levels(metric: Metric, folds: list[Fold3], subgroup: np.ndarray) -> tuple[Level, ...]:
    """The levels that have enough rows, and where the metric is defined, the greatest loss first."""
    codes, names = pd.factorize(np.asarray(subgroup, dtype=object))
    found = []
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code)
        if len(rows) < LEAST_LEVEL:
            continue
        scores = [metric.score(t[rows], p[rows], None if w is None else w[rows]) for t, p, w in folds]
        gain = metric.gain(scores[1]) - metric.gain(scores[0])
        found += [Level(str(name), len(rows), gain)] if math.isfinite(gain) else []
    return tuple(sorted(found, key=lambda one: one.gain))


def _broken(gate: Gate, cost: Cost | None, levels: tuple[Level, ...]) -> tuple[str, ...]:
    """A sentence for each limit that the challenger breaks."""
    found = []
    if cost and gate.latency is not None and cost.latency > gate.latency:
        found.append(f"It takes {number(cost.latency)} ms for one row, and {gate.latency:g} ms are allowed.")
    if cost and gate.size is not None and cost.size > gate.size:
        found.append(f"It has {number(cost.size)} MB on disk, and {gate.size:g} MB are allowed.")
    worse = [one for one in levels if gate.subgroup_loss is not None and -one.gain > gate.subgroup_loss]
    if worse:
        named = listed([f"{one.name} ({number(-one.gain)} on {one.rows:,} rows)" for one in worse], 4, 60)
        found.append(f"It loses more than {gate.subgroup_loss:g} on {gate.subgroup} = {named}.")
    return tuple(found)


# --- In words --------------------------------------------------------------------------------------------------------


def _undecided(verdict: Verdict) -> str:
    return f"Nothing is decided, so by the rule the champion stays. {' '.join(verdict.reasons)}".strip()


def _decided(verdict: Verdict) -> str:
    assert verdict.gain is not None
    assert verdict.champion is not None
    assert verdict.challenger is not None
    units = {"row": "", "group": f" in {verdict.units:,} groups", "block": f" in {verdict.units:,} blocks of time"}
    return " ".join(
        [
            f"On {verdict.rows:,} rows{units[verdict.unit]} that neither was trained on, the challenger"
            f"{_version(verdict.challenger_version)} has {verdict.metric} {number(verdict.challenger.value)}, the "
            f"champion{_version(verdict.champion_version)} {number(verdict.champion.value)}.",
            f"The gain is {number(verdict.gain.value)}; with {100 * verdict.level:g} % confidence it is above "
            f"{number(verdict.gain.low)}.",
            _asked(verdict),
            *verdict.reasons,
            "The rule promotes the challenger." if verdict.promoted else "By the rule the champion stays.",
        ]
    )


def _asked(verdict: Verdict) -> str:
    """What the gain's lower bound must be, and whether it is."""
    assert verdict.gain is not None
    enough = verdict.gain.low is not None and verdict.gain.low > verdict.threshold
    margin = f" (worse by {-verdict.threshold:g} at most)" if verdict.rule == "not_worse" else ""
    does = "does" if enough else "does not"
    return f"To be promoted it must surely gain more than {verdict.threshold:g}{margin}, which it {does}."


def _cost(verdict: Verdict) -> list[str]:
    ours, theirs = verdict.champion_cost, verdict.challenger_cost
    if ours is None or theirs is None:
        return []
    return [
        f"The challenger takes {number(theirs.latency, 3)} ms for one row (the champion {number(ours.latency, 3)} ms) "
        f"and {number(theirs.size, 3)} MB on disk (the champion {number(ours.size, 3)} MB)."
    ]


def _version(version: int | None) -> str:
    return "" if version is None else f" (version {version})"
