"""What a person reads in a browser: the whole run on one self-contained page."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.analysis import plots
from models.errors import join_names
from models.evaluation.verdict import MEANING, describe_basis, describe_repeats, list_further_warnings
from models.outcome import format_number
from models.text.address import locate_pages
from models.text.safe import shorten
from tasks.reporting.hyperparameters import render_importance
from tasks.reporting.page_parts import (
    render_figure,
    render_figures,
    render_folded,
    render_page,
    render_section,
    render_table,
    render_tile,
    to_html,
)
from tasks.reporting.schedules import render_schedules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from models.data.table import Finding
    from models.outcome import FrontPoint, Interval, ObjectiveOutcome, Report
    from tasks.reporting.importance import ImportanceFigures

_VERDICTS = {"stop": "✗ stop", "warn": "! warning", "pass": "✓ pass"}
_HOW = {
    "nested": "{outer} outer folds judge and {inner} inner folds choose: no row judges a choice that it took part in.",
    "bbc": "There are no outer folds: {inner} folds choose, and a bootstrap (BBC-CV) corrects the score for that.",
    "holdout": "One split: the rows that judge also chose, and a bootstrap (BBC-CV) corrects the score for that.",
}


@dataclass(frozen=True)
class ReportDetails:
    """What the page shows beyond the report."""

    trials: pd.DataFrame
    """family, fold, number, state, inner, seconds, and whatever else there is: a row for each trial."""
    findings: Sequence[Finding] = ()
    outer: Mapping[str, np.ndarray] | None = None
    """target (codes or numbers), prediction (codes, values or probabilities by class) and fold of the outer rows;
    said: the codes that the metric judged, where it judges labels."""
    classes: Sequence[Any] = ()
    chosen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """A label such as `lightgbm (fold 0)` -> its configuration."""
    plan: Mapping[str, Any] | None = None
    greater_is_better: bool = True
    """The metric's direction."""
    points: Sequence[FrontPoint] = ()
    """With several objectives or limits: every configuration of what is delivered."""
    searched: Mapping[str, ImportanceFigures] = field(default_factory=dict)
    """What mattered in each family's search."""


def render_report(report: Report, details: ReportDetails) -> str:
    """The page."""
    with plots.apply_style(), warnings.catch_warnings():
        # A glyph that the font for measuring lacks is there in the browser's; a plot must never end a run.
        warnings.simplefilter("ignore")
        parts = [
            _render_head(report),
            render_section("How good it is", _render_tiles(report), *_list_remarks(report), _render_notes(report)),
            render_section(
                "Objectives", _render_objectives(report), _render_pareto(report, details), _render_front(report)
            ),
            render_section("Families", _render_leaderboard(report)),
            render_section(
                "What it predicts", render_figures(render_figure(*figure) for figure in _draw_figures(report, details))
            ),
            render_section("The search", render_figures(_render_searches(report, details)), _render_states(report)),
            render_section("What mattered in the search", _render_importance(report, details)),
            render_section("Checks", _render_checks(details)),
            render_section("How the numbers were made", _render_plan(report, details)),
            render_section("Configurations chosen", _render_chosen(details)),
            render_section("Not tried", _render_left_out(report)),
            _render_foot(report),
        ]
    return render_page(f"{report.name}: {report.metric}", parts)


def _describe_interval(interval: Interval | None) -> str:
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"95 % interval {format_number(interval.low)} to {format_number(interval.high)}"


def _render_head(report: Report) -> str:
    alias = f", registered as {report.alias}" if report.alias else ""  # who is champion later, this page can't know
    version = f"version {report.version}{alias}" if report.version else ""
    facts = [report.task, report.metric, version, f"run {report.run_id}" if report.run_id else ""]
    meta = " · ".join(to_html(f) for f in facts if f)
    sentence = report.sentence or f"{report.winner} leads by inner score."
    return (
        f'<header>\n<h1>{to_html(report.name, 120)}</h1>\n<div class="meta">{meta}</div>\n'
        f'<p class="headline">{to_html(sentence, 1000)}</p>\n</header>\n'
    )


def _render_tiles(report: Report) -> str:
    estimate, test = report.estimate, report.test
    caveat = "; after a warm start it may look too good" if report.warm else ""
    estimate_note = (_describe_interval(estimate) or "of the whole procedure") + describe_basis(estimate) + caveat
    test_note = (_describe_interval(test) or "on sealed rows") + describe_basis(test) if test else "no sealed rows"
    tiles = [
        render_tile("Estimate", format_number(estimate.value if estimate else None), estimate_note),
        render_tile("Sealed test", format_number(test.value if test else None), test_note),
        render_tile("Optimism", format_number(report.optimism), MEANING["optimism"]),
        render_tile(
            "Agreement", format_number(report.agreement, 2), f"{MEANING['agreement']}; beyond 2 or -2 they disagree"
        ),
    ]
    return f'<div class="tiles">\n{"".join(tiles)}</div>\n'


def _render_interval_plot(report: Report) -> str:
    winner = next((f for f in report.families if f.name == report.winner), None)
    intervals = [("estimate", report.estimate), ("sealed test", report.test)]
    rows = [(name, interval) for name, interval in intervals if _is_drawable(interval)]
    count = len(rows)
    if winner is not None and winner.inner is not None and math.isfinite(winner.inner):
        rows.append((f"best inner, {winner.name}", _to_interval(winner.inner)))
    # the constant's score is so far off that beside it all others would be one dot
    rows += [(f.name, f.estimate) for f in report.families if _is_drawable(f.estimate) and f.name != "constant"]
    if not rows:
        return ""
    caption = "Estimate and test with 95 % intervals, the inner score that chose, and each family's own estimate."
    figure = plots.plot_intervals([(n, interval) for n, interval in rows if interval is not None], report.metric, count)
    return render_figures([render_figure(figure, caption)])


def _is_drawable(interval: Interval | None) -> bool:
    return interval is not None and math.isfinite(interval.value)


def _to_interval(value: float) -> Interval:
    from models.outcome import Interval

    return Interval(value)


def _list_remarks(report: Report) -> tuple[str, ...]:
    """What is said of rows that repeat, the intervals drawn, what is said of sets."""
    repeats, coverage = describe_repeats(report), report.coverage_sentence
    paragraphs = [f"<p>{to_html(sentence, 1200)}</p>\n" if sentence else "" for sentence in (repeats, coverage)]
    return paragraphs[0], _render_interval_plot(report), paragraphs[1]


def _render_notes(report: Report) -> str:
    lines = [f'<li class="warn">{to_html(w.message, 600)}</li>' for w in list_further_warnings(report)]
    lines += [f"<li>{to_html(note, 600)}</li>" for note in report.notes]
    return f"<ul>{''.join(lines)}</ul>\n" if lines else ""


def _render_objectives(report: Report) -> str:
    """What was picked has of each objective, and how it was picked."""
    rows = [
        (
            to_html(objective.name), to_html(objective.says), _format_bound(objective), format_number(objective.inner),
            format_number(objective.estimate.value if objective.estimate else None), _format_range(objective.estimate),
            format_number(objective.test.value if objective.test else None), format_number(objective.delivered),
        )
        for objective in report.objectives
    ]  # fmt: skip
    heads = ("objective", "what it is", "limit", "inner", "estimate", "95 % interval", "sealed test", "delivered model")
    paragraph = f"<p>{to_html(report.pick, 800)}</p>\n" if report.pick else ""
    return paragraph + render_table(heads, rows, numeric=range(2, 8), names=(0,))


def _format_bound(objective: ObjectiveOutcome) -> str:
    return (
        "-"
        if objective.limit is None
        else f"{'≥' if objective.greater_is_better else '≤'} {objective.limit:g} {to_html(objective.unit)}"
    )


def _format_range(interval: Interval | None) -> str:
    return (
        f"{format_number(interval.low)} to {format_number(interval.high)}"
        if interval and _describe_interval(interval)
        else "-"
    )


def _render_pareto(report: Report, details: ReportDetails) -> str:
    if len(report.objectives) < 2 or not details.points:
        return ""
    figure = plots.plot_pareto(details.points, report.objectives)
    caption = "Configurations by their inner scores. Bold: the Pareto front; circled: picked; crosses: over a limit."
    if len(report.objectives) > 2:
        caption += " A point of the front that looks worse than others in one panel is better in another."
    return render_figures([render_figure(figure, caption)])


def _render_front(report: Report) -> str:
    """The points of the front, best by the metric first."""
    if not report.front:
        return ""
    sign = -1 if report.objectives[0].greater_is_better else 1
    points = sorted(report.front, key=lambda p: (p.fold, sign * p.values[0]))
    folds = len({p.fold for p in points}) > 1
    rows = [
        (to_html(p.family), *([to_html(p.fold)] if folds else []), f"{p.trial}", *map(format_number, p.values),
         "picked" if p.picked else "" if p.front else "dominated")
        for p in points
    ]  # fmt: skip
    heads = (
        "family",
        *(["fold"] if folds else []),
        "trial",
        *(_format_column_head(objective) for objective in report.objectives),
        "",
    )
    best = next((k for k, p in enumerate(points) if p.picked), None)
    table = render_table(heads, rows, numeric=range(1 + folds, len(heads) - 1), best=best)
    table = f'<div style="margin-top:12px">{table}</div>\n'
    return render_folded(f"The front: {len(rows)} configurations, inner values", table) if len(rows) > 12 else table


def _format_column_head(objective: ObjectiveOutcome) -> str:
    return to_html(f"{objective.name} ({objective.unit})" if objective.unit else objective.name)


def _render_leaderboard(report: Report) -> str:
    best = next((k for k, f in enumerate(report.families) if f.name == report.winner), None)
    rows = []
    for f in report.families:
        estimate = f.estimate if _is_drawable(f.estimate) else None
        interval = (
            f"{format_number(estimate.low)} to {format_number(estimate.high)}"
            if estimate and _describe_interval(estimate)
            else "-"
        )
        bar = f'<span class="bar" style="width:{max(2, round(60 * f.weight))}px"></span>' if f.weight else ""
        rows.append((
            to_html(f.name), format_number(estimate.value if estimate else None), interval, format_number(f.inner),
            f"{f.trials:,}",
            f"{f.seconds:,.1f}", f"{bar}{f.weight:.0%}" if f.weight else "-",
        ))  # fmt: skip
    heads = ("family", "estimate", "95 % interval", "inner", "trials", "core-seconds", "weight in the model")
    return render_table(heads, rows, numeric=range(1, 7), best=best)


def _render_left_out(report: Report) -> str:
    rows = [(to_html(name, 40), to_html(reason, 600)) for name, reason in report.left_out.items()]
    summary = f"{len(rows)} {'family' if len(rows) == 1 else 'families'}, and why"
    return render_folded(summary, render_table((), rows, names=(0,)))


def _draw_figures(report: Report, details: ReportDetails) -> Iterator[tuple[Figure, str]]:
    """The figures that suit the task, from rows that no model had seen."""
    if details.outer is None or not len(details.outer["target"]):
        return
    target, prediction, fold = (np.asarray(details.outer[k]) for k in ("target", "prediction", "fold"))
    mask = np.isfinite(prediction.astype(float).reshape(len(prediction), -1)).all(axis=1)
    target, prediction, fold = target[mask], prediction[mask], fold[mask]
    codes = np.asarray(details.outer["said"])[mask] if "said" in details.outer else None
    if not len(target):
        return
    if report.task == "regression":
        yield from _draw_regression(target.astype(float), prediction.astype(float).reshape(len(target)))
    elif report.task == "binary" and (score := _take_positive_probability(prediction)) is not None:
        yield from _draw_binary(target.astype(int), score, fold, details.classes)
        if codes is not None:
            yield _draw_confusion(target, codes, details)
    else:
        classes = prediction.argmax(axis=1) if prediction.ndim == 2 else prediction
        yield _draw_confusion(target, classes if codes is None else codes, details)


def _draw_confusion(target: np.ndarray, codes: np.ndarray, details: ReportDetails) -> tuple[Figure, str]:
    figure = plots.plot_confusion(target.astype(int), codes.astype(int), details.classes)
    return figure, "Rows of each class by the class that was predicted; the darker, the larger the share of the class."


def _take_positive_probability(prediction: np.ndarray) -> np.ndarray | None:
    """The probability of the positive class; None where the predictions are classes."""
    if prediction.ndim == 2 and prediction.shape[1] == 2:
        return prediction[:, 1]
    values = prediction.reshape(len(prediction)).astype(float)
    return None if np.isin(values, (0.0, 1.0)).all() or values.min() < 0 or values.max() > 1 else values


def _draw_binary(
    target: np.ndarray, score: np.ndarray, fold: np.ndarray, classes: Sequence[Any]
) -> Iterator[tuple[Figure, str]]:
    positive = shorten(classes[1] if len(classes) > 1 else "the positive class", 30)
    if 0 < target.sum() < len(target):
        yield plots.plot_roc(target, score, fold), "Thin lines: each outer fold. Thick line: all folds together."
    yield (
        plots.plot_calibration(target, score),
        f"On the line, 30 % of the rows given a 30 % chance of {positive} have it.",
    )
    yield plots.plot_scores(target, score, classes or (0, 1)), "The further apart the classes, the easier to tell."


def _draw_regression(target: np.ndarray, prediction: np.ndarray) -> Iterator[tuple[Figure, str]]:
    yield plots.plot_predicted_true(target, prediction), "Points on the line are predicted exactly."
    yield (
        plots.plot_residuals(target, prediction),
        "Where the model has found all there is to find, no pattern is left.",
    )
    yield plots.plot_residual_spread(target, prediction), "Rows that are far out are drawn at the edges."


def _render_searches(report: Report, details: ReportDetails) -> Iterator[str]:
    """The trials as they were tried, and the schedules among them."""
    trials = details.trials
    if {"family", "fold", "number", "state", "inner"} <= set(trials.columns) and trials["inner"].notna().any():
        figure = plots.plot_history(trials, report.metric, details.greater_is_better)
        yield render_figure(figure, "Dots: single trials. Lines: the best so far, averaged over a family's folds.")
    yield render_schedules(trials, details.greater_is_better)


def _render_importance(report: Report, details: ReportDetails) -> str:
    names = [f.name for f in report.families if f.weight or f.name == report.winner]
    sentence = "The figures of all families are in MLflow, under figures/." if details.searched else ""
    return render_importance(details.searched, names[:3], sentence)


def _render_states(report: Report) -> str:
    counts = [f"{count:,} {to_html(state)}" for state, count in report.trials.items() if count]
    return f'<p class="dim">Trials: {" · ".join(counts)}.</p>\n' if counts else ""


def _render_checks(details: ReportDetails) -> str:
    def rows(*verdicts: str) -> list[tuple[str, str, str]]:
        return [
            (
                f'<span class="{f.verdict}">{_VERDICTS[f.verdict]}</span>',
                to_html(f.check, 40),
                to_html(f.message, 800),
            )
            for verdict in verdicts
            for f in details.findings
            if f.verdict == verdict
        ]

    heads, passes = ("verdict", "check", "what was found"), rows("pass")
    table = render_table(heads, rows("stop", "warn"), names=(0, 1))
    return table + render_folded(f"{len(passes)} checks passed", render_table(heads, passes, names=(0, 1)))


def _render_plan(report: Report, details: ReportDetails) -> str:
    how = report.how
    text = _HOW[how.method].format(outer=how.outer, inner=how.inner)
    facts = {k: v for k, v in (details.plan or {}).items() if k not in ("how", "left_out", "refit")}
    rows = [
        (to_html(k.replace("_", " "), 40), to_html(_format_plan_value(v), 400))
        for k, v in facts.items()
        if _format_plan_value(v)
    ]
    times = [(to_html(k), f"{v:,.1f}") for k, v in report.seconds.items() if v is not None and math.isfinite(v)]
    seconds = render_folded("Where the seconds went", render_table(("", "s"), times, numeric=(1,)))
    return f"<p>{text}</p>\n{render_table((), rows, names=(0,))}{seconds}"


def _format_plan_value(value: Any) -> str:
    """A plan's value in a line; nothing for what no one reads, such as row numbers."""
    if isinstance(value, Mapping):
        return join_names([f"{k}: {v}" for k, v in value.items() if not isinstance(v, (list, dict))], 12, 80)
    if isinstance(value, (list, tuple)):
        return (
            join_names(value, 20) if len(value) <= 100 and not any(isinstance(v, (list, dict)) for v in value) else ""
        )
    return "" if value is None else str(value)


def _render_chosen(details: ReportDetails) -> str:
    rows = [(to_html(label, 60), _render_parameters(values)) for label, values in details.chosen.items()]
    table = render_table(("model", "configuration"), rows, names=(0,))
    return render_folded(f"{len(rows)} configurations", table) if len(rows) > 6 else table


def _render_parameters(values: Mapping[str, Any]) -> str:
    texts = [f"{k}={format_number(v) if isinstance(v, float) else v}" for k, v in values.items()]
    return " ".join(f"<code>{to_html(t, 80)}</code>" for t in texts) or '<span class="dim">the default</span>'


def _render_foot(report: Report) -> str:
    address = locate_pages(report.tracking_uri) if report.tracking_uri else ""
    paragraph = f"<p>Every trial: <code>{to_html(address, 400)}</code></p>" if address else ""
    return f"<footer>{paragraph}<p>Made by Nestor, {time.strftime('%Y-%m-%d %H:%M')}.</p></footer>\n"
