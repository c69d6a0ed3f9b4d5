"""New rows predicted by a registered model, for a schedule: `%Y-%m-%d` in `data` is the newest file that fits, in `out`
it is today.

In Python: `from flows.score import score; scored = score(Score(model="loans", data="new.csv", out="scored.csv"))`.
The command `nestor score` does the same work without Prefect, which it need not import nor start."""

from __future__ import annotations

from flows.server.called import ServedFlow  # before Prefect: it reads its settings when it is imported

# isort: split
from prefect.runtime import flow_run

from models.config import Score
from tasks.scoring.score import ScoreReport
from tasks.stages import score as stages


def _score(score: Score) -> ScoreReport:
    """Predicts new rows with a registered model; its files and its input are checked first."""
    return stages.score(score)


def _make_run_name() -> str:
    """The model as it was named: what is looked for among flow runs."""
    settings = flow_run.parameters["score"]
    return settings.model if isinstance(settings, Score) else "score"


score = ServedFlow(_score, name="score", flow_run_name=_make_run_name, persist_result=False)
