"""What Prefect's page shows: of a training its checks, seal, plan, leaderboard, verdict, and any text or table. An
artifact that Prefect's server does not take is noted in the log and costs the run nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from models.evaluation.verdict import list_further_warnings
from models.outcome import Interval, Report, format_number
from models.splitting.seal import digest_values
from models.text.markdown import escape_markdown
from models.text.safe import shorten, to_printable
from tasks.context import RunContext
from tasks.evaluation.evaluate import Evaluation
from tasks.planning.plan import describe_plan
from tasks.tracking.past import find_run_page
from tasks.values import RunPlan, SealedTable

log = logging.getLogger("nestor.artifacts")


def make_model_key(kind: str, name: str) -> str:
    """The key of what is shown of one model, such as `nestor-verdict-loans`: under it Prefect's page keeps the history
    of that model. A name with other signs than a key may have gets a few more that tell it apart."""
    slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
    return f"nestor-{kind}-{slug}" + ("" if slug == name else f"-{digest_values(name) % 16**6:06x}")


def show_markdown(key: str, text: str, description: str = "") -> None:
    """Shows a text under `key`, which is `nestor-` and lower-case words."""
    _create_artifact(create_markdown_artifact, key, markdown=text, description=escape_markdown(description) or None)


def show_table(key: str, rows: Sequence[dict[str, Any]], description: str) -> None:
    """Shows a table, a dict for each row."""
    table = [
        {name: to_printable(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows
    ]
    _create_artifact(create_table_artifact, key, table=table, description=escape_markdown(description))


def _create_artifact(create: Callable[..., Any], key: str, **values: Any) -> None:
    try:
        create(key=key, **values)
    except Exception as error:
        log.warning("Prefect does not take the artifact %s: %s", key, shorten(error, 200))


def show_checks(context: RunContext) -> None:
    """What the checks found, of both kinds."""
    rows = [
        {"check": f.check, "verdict": f.verdict, "what": f.message, "columns": ", ".join(f.columns)[:200]}
        for f in context.findings
    ]
    show_table("nestor-checks", rows, f"Checks of {context.name}")


def show_seal(sealed: SealedTable) -> None:
    """How many rows were put aside."""
    rows = sealed.sealed_rows.rows if sealed.sealed_rows is not None else 0
    text = f"{rows:,} rows sealed for the final test, {sealed.work_rows.rows:,} rows to work with."
    show_markdown("nestor-seal", text, f"Rows of {sealed.context.name}")


def show_plan(plan: RunPlan) -> None:
    """Folds, families, and what was left out why."""
    lines = "".join(
        f"\n- {escape_markdown(name)} is not tried: {escape_markdown(reason)}"
        for name, reason in plan.scope.left_out.items()
    )
    text = f"{describe_plan(plan.scope.how)}; families: {', '.join(plan.scope.families)}.{lines}"
    show_markdown("nestor-plan", text, f"Plan of {plan.context.name}")


def show_leaderboard(evaluation: Evaluation) -> None:
    """The families, best inner score first."""
    rows = [
        {
            "family": f.name,
            f"estimate ({evaluation.metric.name})": format_number(f.estimate.value if f.estimate else None),
            "95 %": _format_range(f.estimate),
            "inner": format_number(f.inner),
            "trials": f.trials,
            "weight": f"{f.weight:.0%}",
        }
        for f in evaluation.families
    ]
    show_table(
        make_model_key("leaderboard", evaluation.context.name), rows, f"Leaderboard of {evaluation.context.name}"
    )


def show_verdict(report: Report) -> None:
    """The result in words and numbers, with the way to the run in MLflow."""
    version = "no version" if report.version is None else f"version {report.version}"
    version += f", registered as {report.alias}" if report.alias else ""
    scores = [
        f"| {name} | {format_number(interval.value)} | {_format_range(interval)} | "
        f"{interval.basis.sentence if interval.basis else '-'} |"
        for name, interval in (("estimate of the procedure", report.estimate), ("test of the model", report.test))
        if interval is not None
    ]
    head = [f"| {report.metric} | value | 95 % | rests on |", "|---|---|---|---|"] if scores else []
    notes = [
        f"- {escape_markdown(text)}" for text in (*(w.message for w in list_further_warnings(report)), *report.notes)
    ]
    parts = [
        f"# {escape_markdown(report.name)}: {version}", escape_markdown(report.sentence),
        escape_markdown(report.coverage_sentence),
        "\n".join([*head, *scores]),
        "\n".join(notes), _link_mlflow_run(report),
    ]  # fmt: skip
    text = "\n\n".join(part for part in parts if part)
    show_markdown(make_model_key("verdict", report.name), text, shorten(report.sentence, 200))


def _link_mlflow_run(report: Report) -> str:
    """A link where MLflow has a page; else its id, which `nestor report` takes too."""
    if report.run_id is None:
        return ""
    address = find_run_page(report.run_id)
    run = f"[The run in MLflow]({address}) holds" if address else f"The run `{report.run_id}` in MLflow holds"
    return f"{run} every trial, the model and the whole report."


def _format_range(interval: Interval | None) -> str:
    return (
        "-"
        if interval is None or interval.low is None
        else f"{format_number(interval.low)} to {format_number(interval.high)}"
    )
