"""What a run says when it ends. `Report.as_json()` is the object that `nestor train --json` prints: every key is
always there, null where there is none. Metric values are in the metric's own sense; optimism and agreement are
positive where a naive report would have flattered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from models.data.table import Finding

STATES = ("complete", "pruned", "failed", "timeout", "memory")


Unit = Literal["row", "point", "group", "block"]


@dataclass(frozen=True)
class Basis:
    """What a score rests on: its uncertainty goes by the fewest of these."""

    rows: int
    smallest: int | None
    """Rows of the smallest class, of all that the target has; None in regression."""
    units: int
    """What a bootstrap draws: as many as rows, or fewer groups, points or blocks of time."""
    unit: Unit = "row"

    @property
    def fewest(self) -> int:
        """How many observations there are of what is rarest."""
        return min(self.units, self.rows if self.smallest is None else self.smallest)

    @property
    def sentence(self) -> str:
        """`114 rows, 8 of the smallest class, 12 groups`."""
        parts = [_format_count(self.rows, "row")]
        parts += [] if self.smallest is None else [f"{self.smallest:,} of the smallest class"]
        parts += [_format_count(self.units, self.unit)] if self.unit != "row" else []
        return ", ".join(parts).replace("blocks", "blocks of time")


@dataclass(frozen=True)
class Interval:
    """A score with its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None
    basis: Basis | None = None
    """What it rests on, where that was counted."""


@dataclass(frozen=True)
class Coverage:
    """What conformal intervals, or sets of labels, of one level did on the sealed rows."""

    level: float
    covered: float
    """The share of rows whose target lay within."""
    size: float
    """Mean width of the intervals, or mean number of labels in the sets."""


@dataclass(frozen=True)
class SubsetScore:
    """A score on some of the rows that judge."""

    rows: int
    share: float
    """Of the rows that judge."""
    score: Interval | None
    """None where there are too few rows, or the metric can't be computed on them."""


@dataclass(frozen=True)
class SeenAndNewScores:
    """A score, taken apart by whether training held rows with equal features."""

    seen: SubsetScore
    new: SubsetScore


@dataclass(frozen=True)
class RepeatedRows:
    """How rows that repeat were divided, and what that means for the numbers."""

    unit: Literal["row", "point", "group"]
    """What was divided as one: a row, a point (all rows with equal features) or a group."""
    reason: str
    share: float
    """Of all rows those whose features another row has too."""
    cut_points: int
    """Points that were too large to stay on one side, so that their rows were divided one by one."""
    cut_rows: int
    """Their rows."""
    estimate: SeenAndNewScores | None
    """Over the outer folds; None without these."""
    test: SeenAndNewScores | None
    """On the sealed rows; training are the work rows."""


def list_subset_scores(repeats: RepeatedRows | None) -> Iterator[tuple[str, SubsetScore]]:
    """`estimate_seen`, `estimate_new`, `test_seen`, `test_new` and what is behind each, as far as it is known."""
    if repeats is not None:
        for name, score in (("estimate", repeats.estimate), ("test", repeats.test)):
            if score is not None:
                yield f"{name}_seen", score.seen
                yield f"{name}_new", score.new


@dataclass(frozen=True)
class EvaluationPlan:
    """Which plan was kept to: nested (outer x inner folds), bbc (no outer loop) or holdout."""

    method: Literal["nested", "bbc", "holdout"]
    outer: int
    inner: int


@dataclass(frozen=True)
class FamilyOutcome:
    """One family in the leaderboard."""

    name: str
    estimate: Interval | None
    """Outer score over all folds; None without a score in every fold."""
    inner: float | None
    """Mean best inner score."""
    trials: int
    """Configurations tried, over all folds."""
    seconds: float
    """Core-seconds of its fits."""
    trials_by_fold: tuple[int, ...] = ()
    weight: float = 0.0
    """Its share in the delivered model."""


@dataclass(frozen=True)
class ObjectiveOutcome:
    """The metric, an objective beside it, or what else is limited: what the picked configurations have of it."""

    name: str
    says: str
    """What it is, in words."""
    unit: str
    greater_is_better: bool
    limit: float | None
    """At most so much of it, or at least where greater is better."""
    inner: float | None
    """By which it was picked: mean over the inner folds of what is delivered."""
    estimate: Interval | None
    """What was picked in the outer folds has of it there; of a cost the mean over folds, without an interval."""
    test: Interval | None
    """On the sealed rows; None for costs."""
    delivered: float | None = None
    """A cost of the delivered model itself."""

    @property
    def expected(self) -> float | None:
        """The estimate, else what was seen on inner rows."""
        return self.inner if self.estimate is None else self.estimate.value


@dataclass(frozen=True)
class FrontPoint:
    """A configuration among several objectives, or within limits."""

    family: str
    fold: str
    trial: int
    values: tuple[float, ...]
    """Inner values, in the order of the report's objectives."""
    front: bool
    """Whether no other that keeps the limits is at least as good in all objectives and better in one; what is no better
    than guessing aside."""
    keeps: bool
    """Whether it keeps the limits."""
    picked: bool


@dataclass(frozen=True)
class ReportWarning:
    """A warning as the JSON shows it."""

    code: str
    message: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The result of `flows.train.train`."""

    name: str
    version: int | None
    run_id: str | None
    task: str
    metric: str
    winner: str
    how: EvaluationPlan
    estimate: Interval | None
    test: Interval | None
    optimism: float | None
    agreement: float | None
    families: tuple[FamilyOutcome, ...]
    trials: dict[str, int]
    """Trials per state: complete, pruned, failed, timeout, memory."""
    seconds: dict[str, float]
    """total, startup, the stages (wall); fitting, tracking, idle (core-seconds)."""
    warnings: tuple[ReportWarning, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    """Family -> the sentence why it was not tried."""
    sentence: str = ""
    """The result in words, as `models.evaluation.verdict.describe_result` has them."""
    notes: tuple[str, ...] = ()
    """What gave way and why: no sealed set, time unused, folds shrunk."""
    alias: str | None = None
    """champion or challenger."""
    repeats: RepeatedRows | None = None
    """How rows that repeat were divided, and the scores on seen and on new points; None where hardly any repeat."""
    coverage: tuple[Coverage, ...] = ()
    """What intervals or sets of 80, 90 and 95 % cover of the sealed rows; empty without these or outer folds."""
    objectives: tuple[ObjectiveOutcome, ...] = ()
    """The metric first, then objectives beside it and what else is limited; empty where the metric alone counts."""
    front: tuple[FrontPoint, ...] = ()
    """The Pareto front of what is delivered, and what was picked."""
    pick: str | None = None
    """How one point of it was picked, in words."""
    warm: str | None = None
    """The run whose best configurations were tried first: the estimate then may flatter, the test score does not."""
    tracking_uri: str | None = None
    workdir: str | None = None

    openings: int = 0
    """How many runs of this name have opened this sealed test set, this one included; 0: nobody counted."""
    seal: int = 1
    """How manieth seal of this name it is: from 2 on a new one was asked for."""
    over_time: bool = False
    """Whether earlier rows trained and later ones judged."""
    promoted: bool = False
    """Whether the gate has chosen this version by its sealed rows since: then the verdict names the score to
    publish."""
    beats_constant: bool = True
    """Whether the estimate is better than the best constant prediction."""

    @property
    def coverage_sentence(self) -> str:
        """`Prediction intervals asked to cover 80 % of rows covered 79.6 % of the sealed rows, 4.1 wide on average;
        ...`, or nothing where nothing was measured."""
        if not self.coverage:
            return ""
        first, *others = self.coverage
        sets = self.task != "regression"
        sentence = (
            f"Prediction {'sets' if sets else 'intervals'} asked to cover {100 * first.level:.3g} % of rows covered "
            f"{100 * first.covered:.3g} % of the sealed rows, {_describe_size(first.size, sets)} on average"
        )
        clauses = (
            f"asked to cover {100 * coverage.level:.3g} % covered {100 * coverage.covered:.3g} %, "
            f"{_describe_size(coverage.size, sets)}"
            for coverage in others
        )
        return "; ".join((sentence, *clauses)) + "."

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; null where something is undefined."""
        return to_json_value(asdict(self))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Report:
        """The report that `as_json` made the value of; of what covers nothing that can be measured nothing is left."""
        measured = [coverage for coverage in value.get("coverage", ()) if None not in coverage.values()]
        return TypeAdapter(cls).validate_python({**value, "coverage": measured})


@dataclass(frozen=True)
class RetrainReport:
    """The result of `flows.retrain.retrain`."""

    name: str
    ending: Literal["promoted", "kept", "first", "unchanged"]
    """`first`: there was no champion, and the new version is it. `unchanged`: nothing was trained."""
    sentence: str
    """The result in words."""
    champion: int | None
    """The version that is champion now; None where no version is better than a constant."""
    challenger: int | None = None
    """The version that was trained."""
    run_id: str | None = None
    source: dict[str, Any] = field(default_factory=dict)
    """data, query and bound as they were given; a DataFrame is null."""
    changed: tuple[str, ...] = ()
    """What differed from the last run."""
    findings: tuple[Finding, ...] = ()
    """What the new table's columns look like beside the champion's."""
    drift: dict[str, Any] | None = None
    """The new rows against the champion's training profile."""
    verdict: dict[str, Any] | None = None
    """What the gate found."""
    approved: bool | None = None
    """What the person said who was asked; None: nobody was asked or nobody answered."""
    resumed: bool = False
    """Whether an attempt that was broken off was taken up again."""
    report: Report | None = None
    notes: tuple[str, ...] = ()
    tracking_uri: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`: every key is always there; null where something is undefined."""
        return to_json_value(asdict(self))


def _format_count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _describe_size(size: float, sets: bool) -> str:
    """How large intervals, or sets of labels, are."""
    if not math.isfinite(size):
        return "without bounds"
    if sets:
        return f"with {size:.3g} label{'s' * (size != 1)}"
    return f"{size:,.0f} wide" if size >= 1000 else f"{size:.3g} wide"


def format_p_value(p: float) -> str:
    """A p-value as text; one too small for a float is `< 1e-300`."""
    return "< 1e-300" if p == 0 else format_number(p)


def format_number(value: float | None, digits: int = 4) -> str:
    """`0.9213`, `1,234.5`, `1.2e-07`: about `digits` digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value)
    if size and (size < 0.00001 or size >= 10_000_000):
        return f"{value:.{max(0, digits - 2)}e}"
    places = digits + 2 * (0 < size < 0.01) if size < 10 else max(0, digits - int(math.log10(size)))
    return f"{value:,.{places}f}"


def to_json_value(value: Any) -> Any:
    """The value for JSON: NaN and infinities are null, whatever is no plain value its text."""
    if isinstance(value, Mapping):
        return {str(k): to_json_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json_value(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return to_json_value(value.item()) if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else str(value)
