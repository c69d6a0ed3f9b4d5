"""How a retraining ended: in words, as markdown for Prefect's page, and on the run in MLflow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

from models.data.table import Finding
from models.errors import NestorError, join_names
from models.evaluation.gate import Verdict
from models.evaluation.verdict import describe_result
from models.monitoring.drift import Drift
from models.outcome import Report, RetrainReport, format_number
from models.text.address import mask_address
from models.text.markdown import escape_markdown
from tasks.monitoring import drift as drifting
from tasks.planning.checks import check_schema
from tasks.retrain.data import RetrainInputs
from tasks.retrain.gate import judge_challenger
from tasks.run.journal import find_default_address
from tasks.tracking import past

_MARKS = {"pass": "✓", "warn": "!", "stop": "✗"}


def compare_schema(inputs: RetrainInputs) -> tuple[Finding, ...]:
    """The new table's columns beside the champion's; nothing before there is one."""
    return () if inputs.champion is None else check_schema(inputs.data, inputs.champion, inputs.retrain.columns)


def compare_new_rows(inputs: RetrainInputs) -> tuple[Drift | None, str]:
    """The new rows against the champion's training profile, or why that can't be told."""
    if inputs.champion is None:
        return None, ""
    try:
        return drifting.compare_with_profile(inputs.champion, inputs.data), ""
    except NestorError as error:
        return None, f"Drift could not be measured: {error}"


def compare_with_champion(inputs: RetrainInputs, report: Report) -> Verdict | None:
    """The verdict on the new version; None where there was no champion to meet."""
    if inputs.champion is None or report.version is None or report.workdir is None:
        return None
    return judge_challenger(
        inputs.name, report.version, Path(report.workdir), inputs.retrain.gate, unsafe=inputs.retrain.unsafe
    )


def explain_nothing_new(inputs: RetrainInputs) -> str:
    """What to say where a retraining was asked for, by drift, and there is nothing that it could learn."""
    assert inputs.past is not None
    return (
        f"A retraining of {inputs.name} was asked for, and there is nothing new to train on: "
        f"{inputs.source['data'] or 'the table'} is the same as in run {inputs.past.run_id[:12]}, and so are the "
        "settings. "
        "The champion stays as it is. Give the new rows with their target: "
        f"nestor retrain {quote(inputs.name)} --data DATA."
    )


def make_unchanged_report(inputs: RetrainInputs) -> RetrainReport:
    """Nothing was trained, since nothing has changed."""
    assert inputs.past is not None
    sentence = (
        f"Nothing has changed since run {inputs.past.run_id[:12]}: the same table, settings and libraries. "
        f"{inputs.name} was "
        "not trained again; with force (--force) it is."
    )
    return RetrainReport(
        inputs.name, "unchanged", sentence, inputs.champion.version if inputs.champion else None,
        run_id=inputs.past.run_id,
        source=inputs.source, tracking_uri=mask_address(find_default_address()),
    )  # fmt: skip


def make_retrain_report(
    inputs: RetrainInputs, report: Report, verdict: Verdict | None, promoted: bool, **extras: Any
) -> RetrainReport:
    """What came of the version that was trained."""
    if verdict is not None:
        ending, champion = ("promoted", report.version) if promoted else ("kept", verdict.champion_version)
    else:
        ending, champion = ("first", report.version) if report.alias == "champion" else ("kept", None)
    if promoted:  # the report was made when the version was registered
        report = replace(report, alias="champion", promoted=True)
        report = replace(report, sentence=describe_result(report))
    return RetrainReport(
        inputs.name, ending, _describe_outcome(inputs.name, ending, champion, report, verdict, extras.get("approved")),
        champion,
        report.version, report.run_id, inputs.source, report=report, verdict=verdict and verdict.as_json(),
        tracking_uri=report.tracking_uri, **extras,
    )  # fmt: skip


def _describe_outcome(
    name: str, ending: str, champion: int | None, report: Report, verdict: Verdict | None, approved: bool | None
) -> str:
    if verdict is None:
        if ending == "first":
            return f"Version {champion} is the first champion of {name}. {report.sentence}"
        if report.alias == "challenger":
            reason = "is a pickle, which only a person can promote"
        else:
            reason = "is no better than a constant prediction"
        return f"{name} has no champion: version {report.version} {reason}."
    suffix = "" if approved is None else ", as a person decided"
    verb = "is now" if ending == "promoted" else "stays"
    published = verdict.to_publish if ending == "promoted" else ""
    parts = (f"Version {champion} {verb} champion of {name}{suffix}.", verdict.sentence, published)
    return " ".join(part for part in parts if part)


def record_outcome(result: RetrainReport) -> None:
    """The ending on the run in MLflow, so that it is found there too."""
    if result.run_id is None or result.ending == "unchanged":
        return
    record = {k: v for k, v in result.as_json().items() if k != "report"}
    tags = {"nestor.ending": result.ending, "nestor.verdict_sentence": result.sentence}
    past.add_to_run(
        result.run_id, tags, {"retrain.json": json.dumps(record, indent=1, default=str, ensure_ascii=False)}
    )


def to_markdown(result: RetrainReport, before: str | None = None) -> str:
    """The page's text: how it ended and why, with links to the runs; `before` is the last one."""
    parts = [f"# {escape_markdown(result.name)}: {result.ending}", escape_markdown(result.sentence)]
    if result.verdict is not None:
        parts.append(_tabulate_scores(result.verdict))
    if result.changed:
        parts.append(f"What had changed: {escape_markdown(', '.join(result.changed))}.")
    if result.findings:
        lines = (f"- {_MARKS[f.verdict]} {escape_markdown(f.message)}" for f in result.findings)
        parts.append("## Columns\n\n" + "\n".join(lines))
    if result.drift is not None:
        parts.append("## Drift\n\n" + _describe_drift(result.drift))
    if result.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {escape_markdown(note)}" for note in result.notes))
    runs = [("new", result.run_id if result.ending != "unchanged" else None), ("last", before)]
    parts.append("## In MLflow\n\n" + "\n".join(f"- {label} run: {_link_run(run)}" for label, run in runs if run))
    return "\n\n".join(parts)


def _link_run(run_id: str) -> str:
    address = past.find_run_page(run_id)
    return f"[{run_id}]({address})" if address else f"`{run_id}`"


def _tabulate_scores(verdict: dict[str, Any]) -> str:
    """The two versions' scores as a table."""
    rows = ["| version | score | 95 % |", "|---|---|---|"]
    for role in ("champion", "challenger"):
        score, version = verdict[role], verdict[f"{role}_version"]
        if score is not None:
            rows.append(f"| {role} {version} | {format_number(score['value'], 5)} | {_format_range(score)} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _format_range(score: dict[str, Any]) -> str:
    return (
        ""
        if score["low"] is None or score["high"] is None
        else f"{format_number(score['low'], 5)} to {format_number(score['high'], 5)}"
    )


def _describe_drift(drift: dict[str, Any]) -> str:
    alarms = [c["name"] for c in drift["columns"] if c["alarm"]]
    rows = f"Of {drift['rows'][1]:,} new rows, beside the {drift['rows'][0]:,} that the champion was trained on,"
    return (
        f"{rows} these columns drift: {escape_markdown(join_names(alarms))}." if alarms else f"{rows} no column drifts."
    )
