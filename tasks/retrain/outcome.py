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


def compare_schema(one: RetrainInputs) -> tuple[Finding, ...]:
    """The new table's columns beside the champion's; nothing before there is one."""
    return () if one.champion is None else check_schema(one.data, one.champion, one.retrain.columns)


def compare_new_rows(one: RetrainInputs) -> tuple[Drift | None, str]:
    """The new rows against the champion's training profile, or why that can't be told."""
    if one.champion is None:
        return None, ""
    try:
        return drifting.compare_with_profile(one.champion, one.data), ""
    except NestorError as error:
        return None, f"Drift could not be measured: {error}"


def compare_with_champion(one: RetrainInputs, report: Report) -> Verdict | None:
    """The verdict on the new version; None where there was no champion to meet."""
    if one.champion is None or report.version is None or report.workdir is None:
        return None
    return judge_challenger(one.name, report.version, Path(report.workdir), one.retrain.gate, unsafe=one.retrain.unsafe)


def explain_nothing_new(one: RetrainInputs) -> str:
    """What to say where a retraining was asked for, by drift, and there is nothing that it could learn."""
    assert one.past is not None
    return (
        f"A retraining of {one.name} was asked for, and there is nothing new to train on: "
        f"{one.source['data'] or 'the table'} is the same as in run {one.past.run_id[:12]}, and so are the settings. "
        "The champion stays as it is. Give the new rows with their target: "
        f"nestor retrain {quote(one.name)} --data DATA."
    )


def make_unchanged_report(one: RetrainInputs) -> RetrainReport:
    """Nothing was trained, since nothing has changed."""
    assert one.past is not None
    said = (
        f"Nothing has changed since run {one.past.run_id[:12]}: the same table, settings and libraries. {one.name} was "
        "not trained again; with force (--force) it is."
    )
    return RetrainReport(
        one.name, "unchanged", said, one.champion.version if one.champion else None, run_id=one.past.run_id,
        source=one.source, tracking_uri=mask_address(find_default_address()),
    )  # fmt: skip


def make_retrain_report(
    one: RetrainInputs, report: Report, verdict: Verdict | None, promoted: bool, **more: Any
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
        one.name, ending, _describe_outcome(one.name, ending, champion, report, verdict, more.get("approved")),
        champion,
        report.version, report.run_id, one.source, report=report, verdict=verdict and verdict.as_json(),
        tracking_uri=report.tracking_uri, **more,
    )  # fmt: skip


def _describe_outcome(
    name: str, ending: str, champion: int | None, report: Report, verdict: Verdict | None, approved: bool | None
) -> str:
    if verdict is None:
        if ending == "first":
            return f"Version {champion} is the first champion of {name}. {report.sentence}"
        if report.alias == "challenger":
            why = "is a pickle, which only a person can promote"
        else:
            why = "is no better than a constant prediction"
        return f"{name} has no champion: version {report.version} {why}."
    by = "" if approved is None else ", as a person decided"
    told = "is now" if ending == "promoted" else "stays"
    published = verdict.to_publish if ending == "promoted" else ""
    parts = (f"Version {champion} {told} champion of {name}{by}.", verdict.sentence, published)
    return " ".join(part for part in parts if part)


def record_outcome(result: RetrainReport) -> None:
    """The ending on the run in MLflow, so that it is found there too."""
    if result.run_id is None or result.ending == "unchanged":
        return
    kept = {k: v for k, v in result.as_json().items() if k != "report"}
    tags = {"nestor.ending": result.ending, "nestor.verdict_sentence": result.sentence}
    past.add_to_run(result.run_id, tags, {"retrain.json": json.dumps(kept, indent=1, default=str, ensure_ascii=False)})


def to_markdown(result: RetrainReport, before: str | None = None) -> str:
    """The page's text: how it ended and why, with links to the runs; `before` is the last one."""
    parts = [f"# {escape_markdown(result.name)}: {result.ending}", escape_markdown(result.sentence)]
    if result.verdict is not None:
        parts.append(_tabulate_scores(result.verdict))
    if result.changed:
        parts.append(f"What had changed: {escape_markdown(', '.join(result.changed))}.")
    if result.findings:
        found = (f"- {_MARKS[f.verdict]} {escape_markdown(f.message)}" for f in result.findings)
        parts.append("## Columns\n\n" + "\n".join(found))
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
    for who in ("champion", "challenger"):
        one, version = verdict[who], verdict[f"{who}_version"]
        if one is not None:
            rows.append(f"| {who} {version} | {format_number(one['value'], 5)} | {_format_range(one)} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _format_range(one: dict[str, Any]) -> str:
    return (
        ""
        if one["low"] is None or one["high"] is None
        else f"{format_number(one['low'], 5)} to {format_number(one['high'], 5)}"
    )


def _describe_drift(found: dict[str, Any]) -> str:
    alarms = [c["name"] for c in found["columns"] if c["alarm"]]
    rows = f"Of {found['rows'][1]:,} new rows, beside the {found['rows'][0]:,} that the champion was trained on,"
    return (
        f"{rows} these columns drift: {escape_markdown(join_names(alarms))}." if alarms else f"{rows} no column drifts."
    )
