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
from tasks.evaluation.evaluate import Concluded, decided
from tasks.reporting.importance import Drawn, write_down
from tasks.run.fingerprint import identity
from tasks.run.resume import described
from tasks.session import Session


def write(
    session: Session, concluded: Concluded, report: Report, searched: Mapping[str, Drawn], tried: tuple[FrontPoint, ...]
) -> None:
    """Writes what the pipeline run holds beside its numbers. `tried` are the points of what is delivered."""
    folder = session.workdir.path / "artifacts"
    folder.mkdir(exist_ok=True)
    trials = trials_table(session)
    trials.to_parquet(folder / "trials.parquet")
    split_table(session).to_parquet(folder / "split_plan.parquet")
    board = [
        {**asdict(f), **{f"estimate_{k}": v for k, v in asdict(f.estimate).items()}} if f.estimate else asdict(f)
        for f in concluded.families
    ]
    pd.DataFrame(board).drop(columns=["estimate"], errors="ignore").to_csv(folder / "leaderboard.csv", index=False)
    for name, value in (
        ("config.json", described(session.run)),
        ("identity.json", identity(session.run, session.table.fingerprint)),
        ("checks.json", [asdict(f) for f in session.findings]),
        ("report.json", report.as_json()),
        ("plan.json", session.workdir.read_json("plan.json")),
        ("chosen.json", {k: [asdict(m) for m in c.members] for k, c in concluded.chosen.items()}),
    ):
        text = json.dumps(value, indent=1, default=str, ensure_ascii=False)
        (folder / name).write_text(text, "utf-8")
    write_down(searched, session.metric, folder)
    page = _page(session, concluded, report, searched, trials, tried)
    (folder / "report.html").write_text(page, "utf-8")
    session.workdir.write_json("report.json", report.as_json())


def trials_table(session: Session) -> pd.DataFrame:
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
        for (name, fold), trials in session.trials.items()
        for t in trials
    )  # fmt: skip


def split_table(session: Session) -> pd.DataFrame:
    """Where each row of the table was: sealed, work or left out, and for work rows the outer fold that it judged."""
    rows = pd.Index(session.table.data_rows, name="row")
    found = pd.DataFrame({"part": "left out", "judged_in": ""}, index=rows)
    found.iloc[session.sealed_places, 0] = "sealed"
    found.iloc[session.work_places, 0] = "work"
    for name, fold in session.folds.items():
        found.iloc[session.work_places[fold.judge], 1] = name
    return found.reset_index()


def _page(
    session: Session, concluded: Concluded, report: Report, searched: Mapping[str, Drawn], trials: pd.DataFrame,
    tried: tuple[FrontPoint, ...],
) -> str:  # fmt: skip
    from tasks.reporting.report import Details, report_html

    rows = [r for _, r in concluded.outer]
    chosen = {
        f"{m.family} (fold {k}, weight {m.weight:.2f})": {**trial.params, **describe_changes(trial.config)}
        for k, c in concluded.chosen.items()
        for m in c.members
        for trial in [session.trials[m.family, k][m.trial]]
    }
    outer = None
    if rows:
        outer = {
            "target": np.concatenate([r[0] for r in rows]),
            "prediction": np.concatenate([r[1] for r in rows]),
            "fold": np.concatenate([np.full(len(r[0]), i) for i, r in enumerate(rows)]),
        }
        if session.metric.needs == "label":
            outer["said"] = np.concatenate([said for _, said in decided(session, concluded)])
    return report_html(report, Details(
        trials=trials, findings=tuple(session.findings), outer=outer,
        classes=session.work.classes, chosen=chosen, plan=session.workdir.read_json("plan.json"),
        greater_is_better=session.metric.greater_is_better, searched=searched, points=tried,
    ))  # fmt: skip
