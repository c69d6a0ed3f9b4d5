"""What a person reads first of a run, or of a version, on MLflow's page: the verdict, and what to do next. Markdown."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from models.evaluation.verdict import MEANING, describe_basis, describe_repeats, format_interval, list_further_warnings
from models.text.markdown import escape_markdown

if TYPE_CHECKING:
    from models.outcome import Report
    from tasks.evaluation.evaluate import Evaluation

_WARNINGS = 8


def describe_run(report: Report) -> str:
    """The verdict, the warnings, and what can be done now."""
    lines = [f"- {escape_markdown(warning.message)}" for warning in list_further_warnings(report)[:_WARNINGS]]
    parts = [
        escape_markdown(report.sentence),
        escape_markdown(describe_repeats(report)),
        "\n".join(lines),
        _suggest_next(report),
    ]
    return "\n\n".join(part for part in parts if part)


def describe_version(evaluation: Evaluation) -> str:
    """The version's numbers, and where more is said."""
    scores = (("estimate", evaluation.estimate), ("test", evaluation.test))
    lines = [
        f"- {name} {text}: {MEANING[name]}{describe_basis(score)}"
        for name, score in scores
        if (text := format_interval(score))
    ]
    sentence = "The description of its source run says what to do next; the artifacts there hold `report.html`."
    return "\n\n".join(
        [f"Scores ({escape_markdown(evaluation.metric.name)})", "\n".join(lines), sentence] if lines else [sentence]
    )


def _suggest_next(report: Report) -> str:
    """What can be done now, as commands that can be typed in the run's folder."""
    name = quote(report.name)
    run = (report.run_id or "")[:12]
    lines = [
        f"- The whole report is `report.html` under Artifacts; `nestor report {run}` says where.",
        f"- Predict new rows: `nestor score {name} new.csv --out scored.csv`",
    ]
    if report.alias == "challenger":
        lines.append(f"- It is a challenger: `nestor promote {name}/{report.version}` makes it the champion.")
    return "## What to do next\n\n" + "\n".join(lines)
