"""Whether a challenger becomes champion: both predict the same rows, which neither was trained on.

The two predictions of a row rise and fall together, so the bootstrap is paired: each replicate draws units (rows,
groups or blocks of time) once and scores both on them (Efron & Tibshirani 1993, An Introduction to the Bootstrap).
`models/evaluation/looks.py` makes a lower bound of it, at the level that this look has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from models.config.gate import Gate
from models.errors import join_names
from models.evaluation.estimate import compute_deviation, count_basis, count_replicates, draw_counts, make_interval
from models.evaluation.looks import (
    LOOKS,
    compute_look_level,
    compute_lower_bound,
    compute_skewness,
    estimate_likeliest_gain,
    leave_out_parts,
)
from models.evaluation.verdict import format_interval, format_score
from models.metrics.metric import Fold3, Metric, select_rows
from models.outcome import Interval, format_number

LEAST_ROWS = 200
LEAST_GROUPS = 20
"""On fewer nothing is decided."""
LEAST_LEVEL = 50
"""Rows that a level of the subgroup column needs before its loss counts."""
MOST_LEVELS = 50
"""Levels that a verdict lists, the greatest losses first; all of them count."""
FRESH = "rows that arrived since the last opening"
"""The mark of a score to publish on rows that no earlier version of the name had sealed."""
CHOSEN = "chosen on these rows"
"""The mark of one on rows that earlier versions had sealed too."""
MOST_USES = 20
"""Decisions on the same sealed rows after which they are worn: a new seal is advised."""

Unit = Literal["row", "group", "block"]


@dataclass(frozen=True)
class ModelCost:
    """What a model costs who uses it."""

    latency: float
    """Milliseconds for one row: the median of some."""
    size: float
    """Megabytes on disk."""


@dataclass(frozen=True)
class SubgroupGain:
    """One level of the subgroup column."""

    name: str
    rows: int
    gain: float
    """Challenger minus champion, turned so that greater is better."""


@dataclass(frozen=True)
class PublishedScore:
    """The score to publish for a version that became champion."""

    score: Interval
    rows: int
    mark: str
    """What these rows were used for before."""
    flatters: float = 0.0
    """What the choice flattered by; it is taken off."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found. Scores are in the metric's own sense; a gain is positive where the challenger is better."""

    rule: str
    level: float
    """How sure the gate is to be over the looks of one champion."""
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
    champion_cost: ModelCost | None = None
    challenger_cost: ModelCost | None = None
    levels: tuple[SubgroupGain, ...] = ()
    name: str = ""
    champion_version: int | None = None
    challenger_version: int | None = None
    look: int = 1
    """How many challengers this champion has met, this one included, since sealed rows were drawn."""
    sure: float = 0.0
    """The level that this look has; 0 where nothing is decided."""
    uses: int = 0
    """How often these sealed rows have decided, this time included."""
    notes: tuple[str, ...] = ()
    published: PublishedScore | None = None
    """The challenger's score to publish if it becomes champion."""

    @property
    def confidence(self) -> str:
        """The level of the lower bound, in words."""
        return f"{100 * (self.sure or self.level):.4g} % confidence"

    @property
    def to_publish(self) -> str:
        """Which score to publish if the challenger becomes champion; empty where none is known."""
        if self.published is None or not (score := format_interval(self.published.score)):
            return ""
        fresh = self.published.mark == FRESH
        rows = f"{self.published.rows:,} rows that {'no earlier version had sealed' if fresh else 'decided'}"
        optimism, value = self.published.flatters, self.published.score.value
        clause = (
            ""
            if format_score(value + optimism) == format_score(value)
            else f"; being chosen flattered it by {format_score(optimism)}, taken off"
        )
        return f"The score to publish is {self.metric} {score}, on {rows}{clause}."

    @property
    def sentence(self) -> str:
        """The verdict in words and numbers."""
        sentence = _explain_undecided(self) if self.gain is None else _describe_decision(self)
        return " ".join([sentence, *_describe_costs(self), *self.notes])

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`, with the sentence."""
        return {**asdict(self), "sentence": self.sentence}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """The verdict that `as_json` made the value of."""
        return TypeAdapter(cls).validate_python({k: v for k, v in value.items() if k != "sentence"})


def make_undecided_verdict(gate: Gate, reason: str, **fields: Any) -> Verdict:
    """The verdict where nothing can be decided."""
    return Verdict(gate.rule, gate.level, choose_gain_threshold(gate), reasons=(reason,), **fields)


def choose_gain_threshold(gate: Gate) -> float:
    """What the gain's lower bound must be above."""
    return gate.min_gain if gate.rule == "better" else -gate.margin


def decide_promotion(
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
    costs: tuple[ModelCost, ModelCost] | None = None,
    look: int = 1,
    fresh: np.ndarray | None = None,
) -> Verdict:
    """The verdict on two predictions of the same rows, (rows,) or (rows, classes).

    `units` says which row, group or block each row belongs to (`unit` which of these it is); `subgroup` the level of
    each row, `costs` what champion and challenger cost, `look` how many challengers this champion has met, `fresh`
    which rows no earlier version had sealed, as far as that is known. InputError where there are row weights and the
    metric takes none.
    """
    rows, distinct = len(target), len(np.unique(units))
    folds: list[Fold3] = [(target, champion, weight), (target, challenger, weight)]
    costs_ = costs or (None, None)
    fields: dict[str, Any] = {"metric": metric.name, "rows": rows, "units": distinct, "unit": unit,
                             "champion_cost": costs_[0], "challenger_cost": costs_[1]}  # fmt: skip
    reason = explain_too_few(rows, distinct, unit)
    if reason:
        return make_undecided_verdict(gate, reason, **fields)
    pair = score_versions(metric, folds, units, seed)
    confidence = compute_look_level(look, gate.level)
    low = pair.bound_gain(confidence)
    if math.isnan(low):
        return make_undecided_verdict(gate, f"{metric.name} can't be computed on these rows.", **fields)
    levels = () if subgroup is None else _measure_subgroups(metric, folds, subgroup)
    breaches = _describe_broken_limits(gate, costs_[1], levels)
    passed = low > choose_gain_threshold(gate)
    if fresh is not None and not _has_enough_fresh(metric, folds[1], units, unit, fresh):
        fresh = None
    least = choose_gain_threshold(gate) if passed and not breaches else None
    basis = count_basis(metric, [folds[0]], [units])
    scores = [
        make_interval(metric, value, compute_deviation(replicates), basis)
        for value, replicates in zip(pair.values, pair.drawn, strict=True)
    ]
    return Verdict(
        gate.rule, gate.level, choose_gain_threshold(gate), champion=scores[0], challenger=scores[1],
        gain=Interval(pair.gain, low), promoted=passed and not breaches, reasons=breaches, levels=levels[:MOST_LEVELS],
        look=look, sure=confidence, published=make_published_score(pair, confidence, least, fresh), **fields,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class PairedScores:
    """Two versions on the same rows: what each scores, and how far that varies."""

    metric: Metric
    folds: Sequence[Fold3]
    """The rows with the champion's prediction, and with the challenger's."""
    units: np.ndarray
    seed: int
    values: tuple[float, float]
    drawn: np.ndarray
    """The two scores of each replicate: (version, replicate)."""
    skew: float
    """The gain's skewness."""

    @property
    def gain(self) -> float:
        """Challenger minus champion, turned so that greater is better."""
        return self.metric.gain(self.values[1]) - self.metric.gain(self.values[0])

    @property
    def gains(self) -> np.ndarray:
        """The gain of each replicate, (B,)."""
        return (self.drawn[1] - self.drawn[0]) * self.metric.gain(1.0)

    def bound_gain(self, confidence: float) -> float:
        """The gain's lower bound at that level; NaN where it or a tenth of the replicates are undefined."""
        gains, units = self.gains, len(np.unique(self.units))
        if units < 2 or np.isfinite(gains).sum() < max(2, 0.9 * len(gains)):
            return math.nan
        error = compute_deviation(gains) * math.sqrt(units / (units - 1))
        return compute_lower_bound(self.gain, error, self.skew, units, confidence)


def score_versions(metric: Metric, folds: Sequence[Fold3], units: np.ndarray, seed: int) -> PairedScores:
    """What champion and challenger score on these rows, with the bootstrap of both. `folds`: the rows with the
    champion's prediction, and with the challenger's; `units`: the unit of each row. InputError where there are row
    weights and the metric takes none."""
    replicates = _score_replicates(metric, folds, _draw_unit_counts(metric, units, seed))
    jackknife = _score_replicates(metric, folds, leave_out_parts(units, seed))
    values = (metric.score(*folds[0]), metric.score(*folds[1]))
    return PairedScores(
        metric,
        folds,
        units,
        seed,
        values,
        replicates,
        compute_skewness((jackknife[1] - jackknife[0]) * metric.gain(1.0)),
    )


def _draw_unit_counts(metric: Metric, units: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    return (counts for [counts] in draw_counts([units], count_replicates(metric, [units, units]), seed))


def _score_replicates(metric: Metric, folds: Sequence[Fold3], chunks: Iterable[np.ndarray]) -> np.ndarray:
    """The scores (prediction, replicate) of several predictions of the same rows."""
    scores = [np.stack([metric.resample([fold], [counts]) for fold in folds]) for counts in chunks]
    return np.concatenate(scores, axis=1)


def make_published_score(
    pair: PairedScores, confidence: float, least: float | None, fresh: np.ndarray | None
) -> PublishedScore:
    """The challenger's score to publish, on fresh rows where there are such. `fresh`: (rows,), True where a row is;
    None where that is not known.

    Whoever is promoted for a gain on these rows was lucky there more often than not. So where it was promoted for a
    gain above `least`, what that flatters, as far as the score goes with the gain, is taken off; the interval reaches
    from the end of the one score's to that of the other's. None: the rule has not chosen."""
    metric, value, replicates, part, units = pair.metric, pair.values[1], pair.drawn[1], pair.folds[1], pair.units
    if fresh is not None and not fresh.all():
        part = select_rows(part, fresh)
        chunks = (counts[:, fresh] for counts in _draw_unit_counts(metric, units, pair.seed))
        value, replicates, units = metric.score(*part), _score_replicates(metric, [part], chunks)[0], units[fresh]
    rows, mark, basis = len(units), CHOSEN if fresh is None else FRESH, count_basis(metric, [part], [units])
    interval, gains = make_interval(metric, value, compute_deviation(replicates), basis), pair.gains
    mask = np.isfinite(replicates) & np.isfinite(gains)
    error = compute_deviation(gains[mask])
    if least is None or not error > 0:
        return PublishedScore(interval, rows, mark)
    threshold = least + pair.gain - pair.bound_gain(confidence)
    share = max(0.0, float(np.cov(replicates[mask] * metric.gain(1.0), gains[mask])[0, 1]) / error**2)
    optimism = share * (pair.gain - estimate_likeliest_gain(pair.gain, error, threshold, least))
    corrected = make_interval(metric, value - metric.gain(optimism), compute_deviation(replicates), basis)
    ends = (corrected.low, interval.high) if metric.greater_is_better else (interval.low, corrected.high)
    return PublishedScore(Interval(corrected.value, *ends, basis), rows, mark, optimism)


def _has_enough_fresh(metric: Metric, fold: Fold3, units: np.ndarray, unit: Unit, fresh: np.ndarray) -> bool:
    """Whether a score can be published on the fresh rows alone."""
    reason = explain_too_few(int(fresh.sum()), len(np.unique(units[fresh])), unit)
    return not reason and math.isfinite(metric.score(*select_rows(fold, fresh)))


def explain_too_few(rows: int, units: int, unit: Unit) -> str:
    """Why these rows decide nothing; empty where they do."""
    if rows < LEAST_ROWS:
        return f"{rows:,} rows are left that neither version was trained on, and {LEAST_ROWS} are needed."
    if unit == "group" and units < LEAST_GROUPS:
        return f"{units} groups are left that neither version was trained on, and {LEAST_GROUPS} are needed."
    return ""


def _measure_subgroups(metric: Metric, folds: list[Fold3], subgroup: np.ndarray) -> tuple[SubgroupGain, ...]:
    """The levels that have enough rows, and where the metric is defined, the greatest loss first."""
    codes, names = pd.factorize(np.asarray(subgroup, dtype=object))
    gains = []
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code)
        if len(rows) < LEAST_LEVEL:
            continue
        scores = [metric.score(*select_rows(fold, rows)) for fold in folds]
        gain = metric.gain(scores[1]) - metric.gain(scores[0])
        gains += [SubgroupGain(str(name), len(rows), gain)] if math.isfinite(gain) else []
    return tuple(sorted(gains, key=lambda level: level.gain))


def _describe_broken_limits(gate: Gate, cost: ModelCost | None, levels: tuple[SubgroupGain, ...]) -> tuple[str, ...]:
    """A sentence for each limit that the challenger breaks."""
    sentences = []
    if cost and gate.latency is not None and cost.latency > gate.latency:
        sentences.append(f"It takes {format_number(cost.latency)} ms for one row, and {gate.latency:g} ms are allowed.")
    if cost and gate.size is not None and cost.size > gate.size:
        sentences.append(f"It has {format_number(cost.size)} MB on disk, and {gate.size:g} MB are allowed.")
    losses = [level for level in levels if gate.subgroup_loss is not None and -level.gain > gate.subgroup_loss]
    if losses:
        names = join_names(
            [f"{level.name} ({format_number(-level.gain)} on {level.rows:,} rows)" for level in losses], 4, 60
        )
        sentences.append(f"It loses more than {gate.subgroup_loss:g} on {gate.subgroup} = {names}.")
    return tuple(sentences)


# --- In words --------------------------------------------------------------------------------------------------------


def _explain_undecided(verdict: Verdict) -> str:
    return f"Nothing is decided, so by the rule the champion stays. {' '.join(verdict.reasons)}".strip()


def _describe_decision(verdict: Verdict) -> str:
    assert verdict.gain is not None
    assert verdict.champion is not None
    assert verdict.challenger is not None
    units = {"row": "", "group": f" in {verdict.units:,} groups", "block": f" in {verdict.units:,} blocks of time"}
    return " ".join(
        [
            f"On {verdict.rows:,} rows{units[verdict.unit]} that neither was trained on, the challenger"
            f"{_format_version(verdict.challenger_version)} has {verdict.metric} "
            f"{format_number(verdict.challenger.value)}, the "
            f"champion{_format_version(verdict.champion_version)} {format_number(verdict.champion.value)}.",
            f"The gain is {format_number(verdict.gain.value)}; with {verdict.confidence} it is above "
            f"{format_number(verdict.gain.low)}.",
            *_explain_level(verdict),
            _describe_threshold(verdict),
            *verdict.reasons,
            "The rule promotes the challenger." if verdict.promoted else "By the rule the champion stays.",
        ]
    )


def _explain_level(verdict: Verdict) -> list[str]:
    """Which level this look has, and why."""
    if not verdict.sure:
        return []
    return [
        f"Why {100 * verdict.sure:.4g} %: of {LOOKS} challengers that are no better, chance may promote one with a "
        f"probability of {100 * (1 - verdict.level):.3g} % at most, and this is challenger {verdict.look} of this "
        f"champion, whose part is {100 * (1 - verdict.sure):.2g} %."
    ]


def _describe_threshold(verdict: Verdict) -> str:
    """What the gain's lower bound must be, and whether it is."""
    assert verdict.gain is not None
    passes = verdict.gain.low is not None and verdict.gain.low > verdict.threshold
    margin = f" (worse by {-verdict.threshold:g} at most)" if verdict.rule == "not_worse" else ""
    verb = "does" if passes else "does not"
    return f"To be promoted it must surely gain more than {verdict.threshold:g}{margin}, which it {verb}."


def _describe_costs(verdict: Verdict) -> list[str]:
    champion, challenger = verdict.champion_cost, verdict.challenger_cost
    if champion is None or challenger is None:
        return []
    return [
        f"The challenger takes {format_number(challenger.latency, 3)} ms for one row (the champion "
        f"{format_number(champion.latency, 3)} ms) "
        f"and {format_number(challenger.size, 3)} MB on disk (the champion {format_number(champion.size, 3)} MB)."
    ]


def _format_version(version: int | None) -> str:
    return "" if version is None else f" (version {version})"
