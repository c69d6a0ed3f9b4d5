"""What MLflow's page shows of a model to who comes there first: descriptions, and a view with one row for each run."""

from __future__ import annotations

import json
import time

from models.text.markdown import escape_markdown
from tasks.tracking.mirror.entry import NOTE

SHARED = "Default"
"""MLflow's own first experiment, which every store has; no model's."""
VIEW = "nestor"
"""Key of the view, as addresses name it: `/#/experiments/ID/runs?viewStateShareKey=nestor`."""
_COLUMNS = (
    "attributes.`Description`", "metrics.`estimate`", "metrics.`estimate_low`", "metrics.`estimate_high`",
    "metrics.`test`", "tags.`nestor.metric`", "tags.`nestor.winner`", "metrics.`seconds_total`",
)  # fmt: skip


def describe_experiment(name: str) -> dict[str, str]:
    """The tags of a model's experiment by which MLflow's page describes it. The kind counts for servers that choose
    their page by it; that of MLflow 3.17 has a switch of its own for it (`serve.py` sets it)."""
    if name == SHARED:
        return {}
    sentence = (
        f"Runs that trained or watched the model {escape_markdown(name)}. **Views > Training runs** has one row for "
        "each "
        "training; all other rows are its families, folds and trials."
    )
    return {
        NOTE: sentence,
        "mlflow.experimentKind": "custom_model_development",
        f"mlflow.sharedViewState.{VIEW}": json.dumps(_make_saved_view()),
    }


def _make_saved_view() -> dict[str, object]:
    """A saved view as MLflow's page writes it: training runs, newest first, with their numbers."""
    state = {"searchFilter": "tags.`nestor.kind` = 'pipeline'", "selectedColumns": _COLUMNS}
    moment = round(time.time() * 1000)
    return {"name": "Training runs", "createdAt": moment, "updatedAt": moment, "state": json.dumps(state)}


def describe_model(name: str) -> str:
    """The description of a registered model."""
    return (
        f"Versions of {escape_markdown(name)}, each from one run of Nestor. `models:/{name}@champion` is the version "
        "to use; "
        f"`@challenger` waits for a decision. `nestor runs {name}` tells who was champion when."
    )
