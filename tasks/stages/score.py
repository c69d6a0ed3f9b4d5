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
    done = score_rows(score)
    artifacts.show_markdown(artifacts.make_model_key("scored", done.model), _to_markdown(done), done.sentence[:300])
    return done


def _to_markdown(done: ScoreReport) -> str:
    link = find_run_page(done.run_id) if done.run_id else None
    version = f"{escape_markdown(done.model)}, version {done.version}" + (
        f" ([its run in MLflow]({link}))" if link else ""
    )
    facts = {
        "rows": f"{done.rows:,}",
        "seconds": f"{done.seconds:.1f}",
        "model": version,
        "from": escape_markdown(done.data),
        "to": escape_markdown(done.out),
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    remarks = [f"- {escape_markdown(remark)}" for remark in done.remarks]
    return "\n".join([escape_markdown(done.sentence), "", "|  |  |", "| --- | --- |", rows, "", *remarks])
