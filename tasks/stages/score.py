"""Scoring as a Prefect task; the work is done by the plain functions of `tasks/scoring/score.py`."""

from __future__ import annotations

from prefect import task

from models.config import Score
from models.text.markdown import escape_markdown
from tasks.scoring.score import ScoreReport
from tasks.scoring.score import score as score_rows
from tasks.stages import artifacts
from tasks.stages.options import RETRIED
from tasks.tracking.past import find_run_page


@task(
    name="score",
    task_run_name="score",
    **RETRIED,
)
def score(score: Score) -> ScoreReport:
    """Predicts and writes; shows rows, seconds, version and file."""
    report = score_rows(score)
    artifacts.show_markdown(
        artifacts.make_model_key("scored", report.model), _to_markdown(report), report.sentence[:300]
    )
    return report


def _to_markdown(report: ScoreReport) -> str:
    link = find_run_page(report.run_id) if report.run_id else None
    version = f"{escape_markdown(report.model)}, version {report.version}" + (
        f" ([its run in MLflow]({link}))" if link else ""
    )
    facts = {
        "rows": f"{report.rows:,}",
        "seconds": f"{report.seconds:.1f}",
        "model": version,
        "from": escape_markdown(report.data),
        "to": escape_markdown(report.out),
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    remarks = [f"- {escape_markdown(remark)}" for remark in report.remarks]
    return "\n".join([escape_markdown(report.sentence), "", "|  |  |", "| --- | --- |", rows, "", *remarks])
