"""What a run says of its result, from the report's own numbers: what to expect of new rows, how sealed rows agree with
that, and what else must be known. What is undefined is not told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from models.checks import format_percent
from models.outcome import (
    Interval,
    ObjectiveOutcome,
    Report,
    ReportWarning,
    SeenAndNewScores,
    SubsetScore,
    format_number,
)
from models.splitting.seal import LEAST_ROWS

MEANING = {
    "estimate": "the procedure, on rows that it had not seen",
    "test": "the delivered model, on the sealed rows",
    "optimism": "how much better what was picked scores on the rows that chose it",
    "agreement": "how much better the estimate is than the test, in standard errors",
}
"""What each number of a result is."""
AGREE = 2.0
"""Standard errors between estimate and test score up to which the two agree."""
_FIRST = "test_set"
"""The check whose warnings begin the sentence: they say what the scores were taken of."""
_FEW = 0.05
"""Share of rows with features that training held under which these rows have no score of their own in words."""


def describe_result(report: Report) -> str:
    """The result in words."""
    return " ".join(_describe_parts(report))


def list_further_warnings(report: Report) -> tuple[ReportWarning, ...]:
    """The warnings that the sentence does not say already."""
    return tuple(warning for warning in report.warnings if warning.code != _FIRST)


def _describe_parts(report: Report) -> Iterator[str]:
    estimate, test = format_interval(report.estimate), format_interval(report.test)
    z = _read_agreement(report)
    drifts = report.over_time and z is not None and abs(z) >= AGREE and bool(estimate and test)
    yield from (warning.message for warning in report.warnings if warning.code == _FIRST)
    if drifts:
        yield f"Expect {report.metric} {test} on new rows: that is what the newest rows gave, which were sealed."
        yield f"Older rows gave {estimate}."
        yield (f"The newest are {'harder' if (z or 0) > 0 else 'easier'} to predict: the table drifts{_format_z(z)}.")
    elif estimate:
        yield f"Expect {report.metric} {estimate} on new rows."
    else:
        yield "There is no estimate, since not every fold could be judged."
    yield from _describe_objectives(report.objectives)
    yield from _describe_winner(report)
    if test and not drifts:
        yield f"The sealed test set, {_describe_openings(report)}, gave {test}."
    if report.warm and estimate:
        advice = ": rely on the test score, as long as no gate has chosen by it" if test and not report.promoted else ""
        yield f"After a warm start the estimate may look too good{advice}."
    if estimate and test and z is not None and not drifts:
        yield _describe_agreement(z, bool(report.warm))
    if not report.beats_constant:
        yield f"It is no better than a constant prediction{'' if report.alias else ', so it gets no alias'}."


def _read_agreement(report: Report) -> float | None:
    z = report.agreement
    return z if z is not None and math.isfinite(z) else None


def _format_z(z: float | None) -> str:
    return "" if z is None else f" (z = {round(z, 1) + 0.0:+.1f})"


def _describe_winner(report: Report) -> Iterator[str]:
    """What the winner is best in; families stand by their inner scores, those without an estimate below the others."""
    if report.families and report.families[0].name == report.winner:
        others = (f.estimate is None and f.inner is not None for f in report.families)
        unjudged = report.families[0].estimate is not None and any(others)
        clause = " that was judged in every fold" if unjudged else ""
        yield f"By inner scores the best family{clause} is {report.winner}."
    elif report.families:
        yield f"The family with the largest share of the model is {report.winner}."


def _describe_openings(report: Report) -> str:
    """How often the sealed rows were looked at, by all runs of the name, and whether the name had others before."""
    count = report.openings
    history = "opened for the first time" if count <= 1 else f"opened by {count:,} runs so far"
    return history if report.seal == 1 else f"number {report.seal} of this name and {history}"


def _describe_agreement(z: float, warm: bool) -> str:
    if abs(z) < AGREE:
        return f"The two agree{_format_z(z)}."
    if warm:
        return f"The two differ by more than chance explains{_format_z(z)}."
    return f"The two DISAGREE by more than chance explains{_format_z(z)}: rely on neither before you know why."


def describe_repeats(report: Report) -> str:
    """What is said of rows that repeat: how many, how they were divided and why, and the scores on seen and on new
    points; nothing where hardly any repeat."""
    repeats = report.repeats
    if repeats is None:
        return ""
    rule = {
        "row": f"They count as separate observations: {repeats.reason}.",
        "point": f"They count as copies, which stay on one side of every split: {repeats.reason}.",
        "group": "Groups decide on which side of a split they stand.",
    }[repeats.unit]
    parts = [f"{format_percent(repeats.share, 1)} of the rows have the same features as other rows. {rule}"]
    if repeats.cut_points:
        points = "one point that is" if repeats.cut_points == 1 else f"{repeats.cut_points:,} points that are"
        parts.append(f"The {repeats.cut_rows:,} rows of {points} too large for one side are divided one by one.")
    if repeats.estimate is not None:
        parts.append(_describe_seen_and_new("Estimate", repeats.estimate, repeats.unit))
    if repeats.test is not None:
        parts.append(_describe_seen_and_new("Test", repeats.test, repeats.unit))
    return " ".join(parts)


def _describe_seen_and_new(name: str, scores: SeenAndNewScores, unit: str) -> str:
    """`Estimate: 0.81 (0.79 to 0.83) on rows whose features training held (38 %), 0.7 (0.66 to 0.74) on others.`"""
    if not scores.seen.rows:
        reason = ", by construction" if unit == "point" else ""
        return f"{name}: training held the features of no row that judged{reason}, so it is a number for new points."
    if scores.seen.share < _FEW and scores.new.rows:
        return (
            f"{name}: {_describe_score(scores.new)} without the {scores.seen.rows:,} rows whose features training held."
        )
    sentence = (
        f"{_describe_score(scores.seen)} on rows whose features training held ({format_percent(scores.seen.share, 1)})"
    )
    if not scores.new.rows:
        return f"{name}: {sentence}; there are no others."
    return f"{name}: {sentence}, {_describe_score(scores.new)} on others."


def _describe_score(part: SubsetScore) -> str:
    return format_interval(part.score) or ("no number" if part.rows >= LEAST_ROWS else f"too few ({part.rows}) to say")


def _describe_objectives(objectives: Sequence[ObjectiveOutcome]) -> Iterator[str]:
    """`Expect gap:sex 0.05 too.`, `The delivered model has latency 3.1 ms.`"""

    def listing(values: Sequence[tuple[ObjectiveOutcome, float | None]]) -> str:
        pairs = [(objective, value) for objective, value in values if value is not None and math.isfinite(value)]
        return ", ".join(
            f"{objective.name} {format_number(value)} {objective.unit}".strip() for objective, value in pairs
        )

    others = listing([(objective, objective.expected) for objective in objectives[1:] if objective.delivered is None])
    costs = listing(
        [(objective, objective.delivered) for objective in objectives[1:] if objective.delivered is not None]
    )
    if others:
        yield f"Expect {others} too."
    if costs:
        yield f"The delivered model has {costs}."


def format_interval(interval: Interval | None) -> str:
    """`0.921 (0.915 to 0.927)`; nothing where the value is undefined."""
    if interval is None or not math.isfinite(interval.value):
        return ""
    ends = [end for end in (interval.low, interval.high) if end is not None and math.isfinite(end)]
    return format_score(interval.value) + (
        f" ({format_score(ends[0])} to {format_score(ends[1])})" if len(ends) == 2 else ""
    )


def describe_basis(interval: Interval | None) -> str:
    """` (114 rows, 8 of the smallest class)`; nothing where it was not counted."""
    return "" if interval is None or interval.basis is None else f" ({interval.basis.sentence})"


def format_score(value: float) -> str:
    """Four significant digits, or whole numbers where they are large."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
