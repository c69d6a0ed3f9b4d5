"""What a search is after: the metric alone, or with other objectives and within limits; which configurations are on the
Pareto front, and which of them is picked.

Values of all objectives are handled as gains: greater is better. Without objectives beside the metric, and without
limits, the best configuration is the one with the best mean inner score, and nothing here changes that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from models.config import Search
from models.errors import InputError, join_names
from models.metrics import fairness
from models.metrics.metric import Fold3, Metric, make_metric
from models.tuning.trial import Trial

COSTS: Mapping[str, tuple[str, str]] = {
    "latency": ("ms", "core-milliseconds to predict one row, its columns prepared too"),
    "size": ("MB", "size of the pickled model with what prepares its columns"),
    "memory": ("MB", "memory of the training process at its peak"),
    "seconds": ("s", "core-seconds of training"),
}
"""What a model costs, whatever it predicts: unit, and what is measured."""

ADDED = ("latency", "size", "seconds")
"""Of several members these add up."""

CLOCKS = ("latency", "seconds", "memory")
"""These come from a clock and a machine, so they never repeat exactly."""

GRAIN, CLOCK_GRAIN = 0.001, 0.05
"""Shares of its value by which an objective may differ on a front as if it did not."""

GAPS: tuple[Literal["gap", "parity"], ...] = ("gap", "parity")


@dataclass(frozen=True)
class Objective:
    """Something beside the metric that a model should have much or little of."""

    name: str
    """As asked for: `latency`, `f1`, `gap:sex`."""
    says: str
    """What it is, in words."""
    unit: str = ""
    metric: Metric | None = None
    """Where it is scored from predictions; None for a cost."""
    column: str | None = None
    """Whose subgroups are compared."""

    @property
    def greater_is_better(self) -> bool:
        """The direction; costs and gaps are better when smaller."""
        return self.metric is not None and self.metric.greater_is_better

    def gain(self, value: float) -> float:
        """The value turned so that greater is better."""
        return value if self.greater_is_better else -value


@dataclass(frozen=True)
class Limit:
    """How much of an objective there may be at most, or must be at least."""

    objective: Objective
    bound: float

    def measure_excess(self, value: float) -> float:
        """By how much, in shares of the bound, the value is on the wrong side; not above 0 where the limit is kept."""
        excess = self.objective.gain(self.bound) - self.objective.gain(value)
        return excess / max(abs(self.bound), 1e-9)

    @property
    def words(self) -> str:
        """`latency at most 5 ms`."""
        side = "at least" if self.objective.greater_is_better else "at most"
        return f"{self.objective.name} {side} {self.bound:g} {self.objective.unit}".strip()


@dataclass(frozen=True)
class Goal:
    """What is best. `Goal(metric)` is the metric alone."""

    metric: Metric
    beside: tuple[Objective, ...] = ()
    """Objectives beside the metric."""
    limits: tuple[Limit, ...] = ()
    rule: Literal["knee", "limits", "weights"] = "limits"
    """How one point of the front is picked: `limits` is the best metric among those that keep them."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """With `weights`: by name; what is not named counts nothing."""

    @property
    def several(self) -> bool:
        """Whether there are objectives beside the metric."""
        return bool(self.beside)

    @property
    def plain(self) -> bool:
        """Whether the metric alone counts."""
        return not self.beside and not self.limits

    @property
    def directions(self) -> tuple[Literal["maximize"], ...]:
        """As a study has them: all are told as gains."""
        return ("maximize",) * (1 + len(self.beside))

    @property
    def measured(self) -> tuple[Objective, ...]:
        """What has to be measured beside the metric, each once."""
        return tuple(o for name, o in self._named.items() if name != self.metric.name)

    @property
    def scored(self) -> tuple[Objective, ...]:
        """The metrics and gaps among objectives and limits, the run's own metric too where it is limited."""
        return tuple(o for o in self._named.values() if o.metric is not None)

    @property
    def _named(self) -> dict[str, Objective]:
        """Objectives beside the metric, and what is limited, by name."""
        return {o.name: o for o in (*self.beside, *(limit.objective for limit in self.limits))}

    def asks_for(self, *names: str) -> bool:
        """Whether one of these is an objective or limited."""
        return any(o.name in names for o in self.measured)

    def value(self, objective: Objective, inner: float | None, measures: Mapping[str, float]) -> float:
        """The value of an objective, or of a limit, the metric's own included; NaN where it was not measured."""
        value = inner if objective.name == self.metric.name else measures.get(objective.name)
        return math.nan if value is None else value

    def gains(self, trial: Trial) -> tuple[float, ...]:
        """The metric's and the objectives' values of a complete trial, greater is better."""
        gains = (o.gain(self.value(o, trial.inner, trial.measures)) for o in self.beside)
        return (self.metric.gain(math.nan if trial.inner is None else trial.inner), *gains)

    def constraints(self, trial: Trial) -> dict[str, float]:
        """As Optuna has them: kept where not above 0; those that were measured."""
        values = {limit: self.value(limit.objective, trial.inner, trial.measures) for limit in self.limits}
        return {limit.objective.name: limit.measure_excess(v) for limit, v in values.items() if not math.isnan(v)}

    def keeps(self, trial: Trial) -> bool:
        """Whether the trial keeps all limits."""
        excesses = self.constraints(trial)
        return len(excesses) == len(self.limits) and all(excess <= 0 for excess in excesses.values())

    def pick_best(self, trials: Sequence[Trial], floor: float = -math.inf) -> Trial | None:
        """The complete trial that is picked among those that keep the limits; the earlier one where equal. Where there
        are several objectives only those count that have learned something, as long as there are such: guessing is
        quick, small and fair, and no model."""
        candidates = [t for t in self.complete(trials) if self.keeps(t)]
        if self.several:
            return self._pick([t for t in candidates if self.has_learned(t, floor)] or candidates)
        return max(candidates, key=lambda t: (self.metric.gain(t.inner or 0.0), -t.number), default=None)

    def has_learned(self, trial: Trial, floor: float) -> bool:
        """Whether a complete trial's metric gains more than `floor`, what a constant prediction does, by more than the
        standard error of its inner folds' mean."""
        return self.metric.gain(trial.inner or 0.0) - _compute_standard_error(trial) > floor

    def complete(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials of which every value is there."""
        candidates = [t for t in trials if t.inner is not None]
        return [t for t in candidates if all(map(math.isfinite, self.gains(t)))]

    def _pick(self, trials: Sequence[Trial]) -> Trial | None:
        if not trials:
            return None
        return trials[pick_point(np.array([self.gains(t) for t in trials]), self.importance, self.grains)]

    def make_chooser(
        self, trials: Sequence[Trial], floor: float = -math.inf
    ) -> Callable[[np.ndarray], np.ndarray] | None:
        """What picks among these trials, were the metric's gains others: (trial, column) -> the row of each column.
        None where the largest gain decides."""
        if not self.several:
            return None
        other_gains = np.array([self.gains(t)[1:] for t in trials])
        threshold = floor + np.array([_compute_standard_error(t) for t in trials])

        def choose(gains: np.ndarray) -> np.ndarray:
            rows = []
            for column in gains.T:
                open_ = np.flatnonzero(column > threshold) if (column > threshold).any() else np.arange(len(column))
                points = np.column_stack([column, other_gains])[open_]
                rows.append(open_[pick_point(points, self.importance, self.grains)])
            return np.array(rows)

        return choose

    @property
    def importance(self) -> np.ndarray:
        """The weight of the metric, then of each objective: equal for a knee, the metric alone for limits."""
        names = (self.metric.name, *(o.name for o in self.beside))
        if self.rule == "knee":
            return np.ones(len(names))
        weights = self.weights if self.rule == "weights" else {self.metric.name: 1.0}
        return np.array([weights.get(name, 0.0) for name in names])

    @property
    def grains(self) -> np.ndarray:
        """Which share of the metric, then of each objective, is a difference that nobody would pay for."""
        return np.array([GRAIN, *(CLOCK_GRAIN if o.name in CLOCKS else GRAIN for o in self.beside)])

    def find_nearest(self, trials: Sequence[Trial]) -> Trial | None:
        """The complete trial that is over the limits by least, all in all."""
        return min(self.complete(trials), key=lambda t: (self.measure_excess(t), t.number), default=None)

    def measure_excess(self, trial: Trial) -> float:
        """By how much a trial is over the limits, all in all, in shares of them."""
        return sum(max(0.0, excess) for excess in self.constraints(trial).values())

    def rank_families(self, families: Mapping[str, Sequence[Trial]], floor: float = -math.inf) -> list[str]:
        """The families in the order in which they would be picked, were those before not there; then those that keep
        no limit, the nearest first. Families without a complete trial are left out."""
        by_family = {name: self.complete(trials) for name, trials in families.items()}
        owners = {id(t): name for name, trials in by_family.items() for t in trials}
        order: list[str] = []
        while (
            best := self.pick_best([t for n, trials in by_family.items() if n not in order for t in trials], floor)
        ) is not None:
            order.append(owners[id(best)])
        near = {
            n: nearest for n, trials in by_family.items() if n not in order and (nearest := self.find_nearest(trials))
        }
        return order + sorted(
            near, key=lambda n: (self.measure_excess(near[n]), -self.metric.gain(near[n].inner or 0.0))
        )

    def fold(
        self, objective: Objective, rows: Fold3, odds: np.ndarray, groups: np.ndarray | None
    ) -> tuple[Metric, Fold3]:
        """The objective's metric and the rows as it judges them. `rows` are as the run's metric judges them, decisions
        made; `odds` are the predictions before these; `groups` the rows' subgroups."""
        assert objective.metric is not None
        target, decisions, weight = rows
        if objective.metric.needs == "label" and decisions.ndim == 2:
            decisions = self.metric.decide(decisions)
        prediction = decisions if objective.metric.needs == "label" else odds
        targets = target if objective.column is None else np.column_stack([target, groups])  # type: ignore[list-item]
        return objective.metric, (targets, prediction, weight)

    @property
    def words(self) -> str:
        """How one configuration is picked, in a sentence."""
        if not self.several:
            limits = join_names([limit.words for limit in self.limits], 20)
            return f"The best {self.metric.name} within the limits is picked: {limits}, of all members together."
        condition = f"that keep {join_names([limit.words for limit in self.limits], 20)}" if self.limits else "tried"
        if self.rule == "limits":
            return f"Of the configurations {condition} the one with the best {self.metric.name} is picked."
        point = "The knee" if self.rule == "knee" else "The point"
        subject = f"{point} of the Pareto front of {join_names([self.metric.name, *(o.name for o in self.beside)], 20)}"
        if self.rule == "knee":
            rule = ": the point farthest from the line between its ends"
        else:
            rule = f" with the largest sum of {join_names([f'{w:g} x {name}' for name, w in self.weights.items()], 20)}"
        within = f" Only configurations {condition} count." if self.limits else ""
        scale = "each objective scaled from 0 at its worst to 1 at its best value on the front"
        return f"{subject} is picked{rule}, {scale}.{within}"


def _compute_standard_error(trial: Trial) -> float:
    """The standard error of the mean of the inner folds' scores; 0 where there is one fold."""
    count = len(trial.scores)
    return float(np.std(trial.scores, ddof=1)) / math.sqrt(count) if count > 1 else 0.0


def mark_front(gains: np.ndarray) -> np.ndarray:
    """Which rows of (points, objectives) no other row dominates: is at least as good in all and better in one."""
    order = np.lexsort(-gains.T[::-1])  # who dominates a point comes before it
    mask = np.zeros(len(gains), dtype=bool)
    for place in order:
        front = gains[mask]
        mask[place] = not ((front >= gains[place]).all(axis=1) & (front > gains[place]).any(axis=1)).any()
    return mask


def scale_gains(gains: np.ndarray, grains: np.ndarray | float = 0.0) -> np.ndarray:
    """The points of a front, each objective from 0 at its worst to 1 at its best value among them. Where these differ
    by no more than the grain, a share of them, all are 0: scaling would make much of nothing."""
    low, high = gains.min(axis=0), gains.max(axis=0)
    distinct = high - low > grains * np.maximum(np.abs(low), np.abs(high))
    return np.where(distinct, (gains - low) / np.where(distinct, high - low, 1.0), 0.0)


def pick_point(gains: np.ndarray, importance: np.ndarray, grains: np.ndarray | float = 0.0) -> int:
    """The row of the front with the largest weighted sum of scaled gains; where equal the better metric (the first
    column), then the earlier one.

    Equal weights are the knee: between scaled ends (1, 0) and (0, 1) the sum grows with the distance from their line
    (Das 1999, Structural Optimization 18:107; Branke et al. 2004, PPSN VIII); of more objectives from the plane
    through the corners."""
    places = np.flatnonzero(mark_front(gains))
    value = scale_gains(gains[places], grains) @ importance
    best = np.flatnonzero(value >= value.max() - 1e-12)
    return int(max(places[best], key=lambda place: (gains[place, 0], -place)))


# --- Names -----------------------------------------------------------------------------------------------------------


def make_goal(metric: Metric, search: Search) -> Goal:
    """What the settings of a search ask for beside the metric; InputError for names that are no objectives."""
    objectives = tuple(make_objective(name, metric) for name in search.objectives)
    limits = tuple(Limit(make_objective(name, metric, own=True), bound) for name, bound in search.limits.items())
    names = [metric.name, *(o.name for o in objectives)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name} is asked for twice: the metric is an objective already, and each other once.")
    rule = "knee" if search.pick is None and objectives else search.pick or "limits"
    if isinstance(rule, str):
        return Goal(metric, objectives, limits, rule)
    weights = {make_objective(name, metric, own=True).name: weight for name, weight in rule.items()}
    for name in weights:
        if name not in names:
            raise InputError(f"A weight is given for {name}, which is no objective. Objectives: {join_names(names)}.")
    return Goal(metric, objectives, limits, "weights", weights)


def make_objective(name: str, metric: Metric, own: bool = False) -> Objective:
    """The objective of that name beside the metric; `own`: the metric itself may be named too."""
    name = name.strip()
    if name in COSTS:
        unit, says = COSTS[name]
        return Objective(name, says, unit)
    kind, colon, column = name.partition(":")
    column = column.strip()
    if kind in GAPS and not column:
        raise InputError(f"{name!r} lacks the column whose subgroups are compared, such as {kind}:sex.")
    if kind in GAPS and colon:
        measure = GAPS[kind == "parity"]
        gap = fairness.make_gap(f"{kind}:{column}", measure, metric)
        return Objective(gap.name, fairness.describe_gap(measure, column, metric.task), "", gap, column)
    objective_metric = metric if own and name == metric.name else _make_objective_metric(name, metric)
    return Objective(objective_metric.name, "a metric of the predictions", "", objective_metric)


def _make_objective_metric(name: str, metric: Metric) -> Metric:
    if name == "cost" and metric.name == name:
        return metric
    try:
        return make_metric(name, metric.task, metric.classes)
    except InputError as error:
        hint = f"Beside metrics there are {join_names(COSTS)}, gap:COLUMN and parity:COLUMN."
        raise InputError(f"{name} can't be an objective or a limit. {error} {hint}") from None


def list_compared_columns(search: Search) -> tuple[str, ...]:
    """The columns whose subgroups the settings compare, each once."""
    parts = [name.strip().partition(":") for name in (*search.objectives, *search.limits)]
    return tuple(dict.fromkeys(column.strip() for kind, _, column in parts if kind in GAPS and column.strip()))


def find_best_trial(trials: Sequence[Trial], metric: Metric) -> Trial | None:
    """The complete trial with the best mean inner score; the earlier one, so the default, where equal."""
    return Goal(metric).pick_best(trials)
