"""What a person gets in one line on the same rows: a constant, and LightGBM as its library sets it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.evaluation.estimate import score_best_constant
from models.metrics.metric import make_metric
from tasks.execution.job import load_fit_inputs
from tasks.run.folder import Workdir


def score_references(report: Mapping[str, Any], folder: Path) -> tuple[float | None, float | None]:
    """(constant, default LightGBM): their scores on the sealed rows of the report's run, trained on its work rows;
    None where nothing was sealed."""
    workdir = Workdir(folder / report["workdir"])
    target = workdir.read_array("sealed_target")
    if target is None or report["test"] is None:
        return None, None
    brief, features, work_target, weight = load_fit_inputs(
        str(workdir.path), f"{report['how']['outer']}x{report['how']['inner']}"
    )
    metric = make_metric(brief.metric, brief.task, brief.classes)
    model = _make_lightgbm(brief.task).fit(_to_plain_frame(features), np.asarray(work_target), sample_weight=weight)
    sealed = _align_categories(_to_plain_frame(workdir.read_frame("sealed")), _to_plain_frame(features))
    said = model.predict(sealed) if brief.task == "regression" else model.predict_proba(sealed)
    sealed_weight = workdir.read_array("sealed_weight")
    level = score_best_constant(metric, np.asarray(target), sealed_weight)
    return level, metric.score(np.asarray(target), np.asarray(said, float), sealed_weight)


def _make_lightgbm(task: str) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMRegressor if task == "regression" else LGBMClassifier)(verbosity=-1, n_jobs=2)


def _to_plain_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers, pandas categories, and dates as seconds; names that LightGBM takes."""
    columns = {}
    for place, (_, column) in enumerate(frame.items()):
        if pd.api.types.is_datetime64_any_dtype(column):
            column = column.astype("int64").where(column.notna()) / 1e6
        columns[f"c{place}"] = column if pd.api.types.is_numeric_dtype(column) else column.astype("category")
    return pd.DataFrame(columns)


def _align_categories(frame: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    """The frame with the categories of the first."""
    return frame.assign(
        **{
            c: pd.Categorical(frame[c].astype(object), categories=first[c].cat.categories)
            for c in first.columns
            if isinstance(first[c].dtype, pd.CategoricalDtype)
        }
    )
