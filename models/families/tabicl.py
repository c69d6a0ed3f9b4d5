"""TabICL: a transformer that was trained on millions of made-up tables and predicts from the training rows as context
(Qu, Holzmüller, Varoquaux & Le Morvan 2025, ICML, arXiv:2502.05564), as it is or fine-tuned on the table.

Its weights are not in the package, and nothing is downloaded: the folder that NESTOR_TABICL_WEIGHTS names holds them.
Fine-tuning keeps the best epoch on rows that the library holds back itself, which can't be repeated without them, so
the family does not stop early in Nestor's sense. A version holds the weights and the training rows, and is a pickle."""
# pyright: reportMissingImports=false
# It is an extra: types are checked where it may be missing.

from __future__ import annotations

import importlib
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.fitting.family import Family, FittedModel, Needs, Shape

WEIGHTS = "NESTOR_TABICL_WEIGHTS"

_FILES = {"classifier": "tabicl-classifier-v2-20260212.ckpt", "regressor": "tabicl-regressor-v2-20260212.ckpt"}
"""The names under which its authors publish them, under a BSD licence."""

_FROZEN = {
    "nothing": {},
    "columns": {"freeze_col": True},
    "columns and rows": {"freeze_col": True, "freeze_row": True},
    "all but columns": {"freeze_row": True, "freeze_icl": True},
}
"""Which layers fine-tuning leaves as they are."""


def _suggest_configuration(trial, shape):
    config = {
        "estimators": trial.suggest_int("estimators", 2, 16, log=True),
        "epochs": trial.suggest_int("epochs", 0, 30),
    }
    if config["epochs"]:
        config["learning_rate"] = trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True)
        config["frozen"] = trial.suggest_categorical("frozen", list(_FROZEN))
    return config


def _fit(config, part, seed, threads):
    tabicl = importlib.import_module("tabicl")  # which a type checker takes for this file
    kind = "regressor" if part.shape.task == "regression" else "classifier"
    options = {"model_path": _find_weights(kind), "allow_auto_download": False, "random_state": seed}
    if not config["epochs"]:
        builder = tabicl.TabICLRegressor if kind == "regressor" else tabicl.TabICLClassifier
        model = builder(n_estimators=config["estimators"], n_jobs=threads, **options).fit(part.X, part.y)
        return FittedModel(_keep_weights(model))
    metric = {} if kind == "regressor" else {"eval_metric": "log_loss"}
    builder = tabicl.FinetunedTabICLRegressor if kind == "regressor" else tabicl.FinetunedTabICLClassifier
    model = builder(
        epochs=config["epochs"],
        learning_rate=config["learning_rate"],
        n_estimators_inference=config["estimators"],
        **_FROZEN[config["frozen"]],
        **metric,
        **options,
    )
    with warnings.catch_warnings():  # that it writes no checkpoints
        warnings.simplefilter("ignore")
        model.fit(part.X, part.y)
    _keep_weights(model._final_estimator_)
    return FittedModel(model)


def _keep_weights(model: Any) -> Any:
    """The model so that every pickle of it holds its weights.

    The library leaves them out unless a mark is set, which a pickle then loses: a second one would quietly load the
    weights from before the fine-tuning. So the state with the weights goes along, and is what is pickled."""
    model._save_model_weights = True
    state = model.__getstate__()
    state["__getstate__"] = model.__dict__["__getstate__"] = state.copy
    return model


def _find_weights(kind: str) -> Path | None:
    """The file of weights; None where there is none."""
    folder = os.environ.get(WEIGHTS)
    file = Path(folder) / _FILES[kind] if folder else None
    return file if file is not None and file.is_file() else None


def _explain_missing() -> str:
    if find_spec("transformers") is None:
        return "its fine-tuning needs the package transformers: uv pip install transformers"
    if any(_find_weights(kind) for kind in _FILES):
        return ""
    status = (
        f"holds neither {_FILES['classifier']} nor {_FILES['regressor']}" if WEIGHTS in os.environ else "is not set"
    )
    return f"its weights are missing: {WEIGHTS} names the folder that holds them, and {status}"


def _explain_unsuited(shape: Shape) -> str:
    kind = "regressor" if shape.task == "regression" else "classifier"
    return "" if _find_weights(kind) else f"{WEIGHTS} holds no {_FILES[kind]}"


FAMILY = Family(
    name="tabicl",
    suits="small and middling tables of numbers and categories, on a GPU; as a version it is large",
    cost=3000.0,
    needs=Needs(categories="codes", missing=False, scaled=False),
    default={"estimators": 8, "epochs": 0, "learning_rate": 1e-5, "frozen": "nothing"},
    space=_suggest_configuration,
    fit=_fit,
    priority=3,
    weights=False,
    threads=True,
    gpu=True,
    unsuited=_explain_unsuited,
    most_cells=5_000_000,
    package="tabicl",
    extra="neural",
    missing=_explain_missing,
    safe=False,
    source="Qu et al. 2025 and the package's own defaults: learning rate from a tenth to ten times, at most 30 epochs",
)
