"""What the pipeline run in MLflow holds beside its numbers: trials, rows, settings, the report's page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from optuna.distributions import distribution_to_json

from models.fitting.schedule import describe_changes
from models.outcome import FrontPoint, Report
from tasks.evaluation.evaluate import Evaluation, decide_outer_rows
from tasks.reporting.importance import ImportanceFigures, write_importance
from tasks.run.fingerprint import make_run_identity
from tasks.run.resume import to_run_settings
from tasks.values import RunPlan, Studies


def write_artifacts(
    evaluation: Evaluation, report: Report, searches: Mapping[str, ImportanceFigures], points: tuple[FrontPoint, ...]
) -> None:
    """Writes what the pipeline run holds beside its numbers. `points` are the points of what is delivered."""
    folder = evaluation.context.folder.path / "artifacts"
    folder.mkdir(exist_ok=True)
    trials = make_trials_table(evaluation)
    trials.to_parquet(folder / "trials.parquet")
    make_split_table(evaluation).to_parquet(folder / "split_plan.parquet")
    board = [
        {**asdict(f), **{f"estimate_{k}": v for k, v in asdict(f.estimate).items()}} if f.estimate else asdict(f)
        for f in evaluation.families
    ]
    pd.DataFrame(board).drop(columns=["estimate"], errors="ignore").to_csv(folder / "leaderboard.csv", index=False)
    for name, value in (
        ("config.json", to_run_settings(evaluation.run)),
        ("identity.json", make_run_identity(evaluation.run, evaluation.table.fingerprint)),
        ("checks.json", [asdict(f) for f in evaluation.context.findings]),
        ("report.json", report.as_json()),
        ("plan.json", evaluation.context.folder.read_json("plan.json")),
        ("chosen.json", {k: [asdict(m) for m in c.members] for k, c in evaluation.chosen.items()}),
    ):
        text = json.dumps(value, indent=1, default=str, ensure_ascii=False)
        (folder / name).write_text(text, "utf-8")
    write_importance(searches, evaluation.metric, folder)
    page = _render_page(evaluation, report, searches, trials, points)
    (folder / "report.html").write_text(page, "utf-8")
    evaluation.context.folder.write_json("report.json", report.as_json())


def make_trials_table(studies: Studies) -> pd.DataFrame:
    """Every trial of the run, a row each."""
    return pd.DataFrame(
        {
            "family": name, "fold": fold, "number": t.number, "state": t.state, "inner": t.inner,
            "scores": list(t.scores), "seconds": t.seconds, "peak_mb": t.peak_mb, "reason": t.reason,
            "start": t.start, "end": t.end, "params": json.dumps(dict(t.params)), "share": t.share,
            "parent": t.parent, "steps": json.dumps(t.config["steps"]) if "steps" in t.config else None,
            "measures": json.dumps(dict(t.measures)),
            "space": json.dumps({n: distribution_to_json(d) for n, d in t.distributions.items()}),
        }
        for (name, fold), trials in studies.trials.items()
        for t in trials
    )  # fmt: skip


def make_split_table(plan: RunPlan) -> pd.DataFrame:
    """Where each row of the table was: sealed, work or left out, and for work rows the outer fold that it judged."""
    rows = pd.Index(plan.table.data_rows, name="row")
    table = pd.DataFrame({"part": "left out", "judged_in": ""}, index=rows)
    table.iloc[plan.division.sealed_places, 0] = "sealed"
    table.iloc[plan.division.work_places, 0] = "work"
    for name, fold in plan.folds.items():
        table.iloc[plan.division.work_places[fold.judge], 1] = name
    return table.reset_index()


def _render_page(
    evaluation: Evaluation, report: Report, searches: Mapping[str, ImportanceFigures], trials: pd.DataFrame,
    points: tuple[FrontPoint, ...],
) -> str:  # fmt: skip
    from tasks.reporting.report import ReportDetails, render_report

    rows = [r for _, r in evaluation.outer]
    parameters = {
        f"{m.family} (fold {k}, weight {m.weight:.2f})": {**trial.params, **describe_changes(trial.config)}
        for k, c in evaluation.chosen.items()
        for m in c.members
        for trial in [evaluation.trials[m.family, k][m.trial]]
    }
    outer = None
    if rows:
        outer = {
            "target": np.concatenate([r[0] for r in rows]),
            "prediction": np.concatenate([r[1] for r in rows]),
            "fold": np.concatenate([np.full(len(r[0]), i) for i, r in enumerate(rows)]),
        }
        if evaluation.metric.needs == "label":
            outer["said"] = np.concatenate([codes for _, codes in decide_outer_rows(evaluation)])
    return render_report(report, ReportDetails(
        trials=trials, findings=tuple(evaluation.context.findings), outer=outer,
        classes=evaluation.work_rows.classes, chosen=parameters, plan=evaluation.context.folder.read_json("plan.json"),
        greater_is_better=evaluation.metric.greater_is_better, searched=searches, points=points,
    ))  # fmt: skip
