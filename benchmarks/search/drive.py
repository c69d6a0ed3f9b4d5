"""Drives a study as a run does (`tasks/tuning/tune.py`), by any way to fit, one trial after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from benchmarks.search.problem import FOLD, INNER
from models.studies.study import Study, is_hopeless
from models.tuning.fidelity import divide_share
from models.tuning.strategy import BATCH, Strategy, View
from models.tuning.trial import Trial

Fit = Callable[[Trial, int, float], tuple[float | None, float]]
"""The score of a share of a trial's fit on an inner fold, None where it failed, and its seconds."""


class UnsupportedRequest(Exception):
    """The strategy asks for what this way to fit can't give; says what."""


def drive_study(view: View, strategy: Strategy | str, fit: Fit, trials: int) -> list[dict[str, Any]]:
    """A row for each trial of a study that spends so many whole ones beside the default. As in a run a part of a trial
    counts by its share, and one that is stopped early counts whole."""
    study, rows = Study(view, FOLD, strategy), []
    while (left := trials + 1 - sum(row["share"] for row in rows)) > 0:
        began = time.process_time()
        asked = study.ask(min(BATCH, left))
        asking = (time.process_time() - began) / max(1, len(asked)) if rows else 0.0  # the first one loads libraries
        if not asked:
            break
        best = study.best
        batch = [_run_trial(study, trial, best, fit) for trial in asked]
        study.tell(batch)
        rows += [_make_row(trial, asking) for trial in batch]
    return rows


def _run_trial(study: Study, trial: Trial, best: Trial | None, fit: Fit) -> Trial:
    """The trial with what came of it: all of its folds, or fewer where it is hopeless."""
    if "steps" in trial.config or trial.gradient is not None:
        raise UnsupportedRequest("gradients of the loss" if trial.gradient is not None else "training that goes on")
    count, share = divide_share(study.family, trial.share, INNER)
    trial = replace(trial, scores=_reuse_scores(study, trial))
    while len(trial.scores) < count and not (trial.stoppable and is_hopeless(trial.scores, best, study.metric)):
        score, seconds = fit(trial, len(trial.scores), share)
        trial = replace(trial, seconds=trial.seconds + seconds)
        if score is None:
            return replace(trial, state="failed")
        trial = replace(trial, scores=(*trial.scores, score))
    return replace(trial, state="complete" if trial.share >= 1 and len(trial.scores) == count else "pruned")


def _reuse_scores(study: Study, trial: Trial) -> tuple[float, ...]:
    """Scores of folds that were fitted whole when the same configuration had a smaller share."""
    before = None if trial.parent is None else study.told[trial.parent]
    if before is None or before.share >= trial.share or before.config != trial.config:
        return ()
    return before.scores if divide_share(study.family, before.share, INNER)[1] >= 1 else ()


def _make_row(trial: Trial, asking: float) -> dict[str, Any]:
    return {
        "number": trial.number, "state": trial.state, "share": trial.share, "inner": trial.inner,
        "fits": len(trial.scores), "seconds": trial.seconds, "asking": asking, "params": format_params(trial.params),
    }  # fmt: skip


def format_params(params: Mapping[str, Any]) -> str:
    """The params as text."""
    values = {n: f"{v:.4g}" if isinstance(v, float) else str(v) for n, v in params.items()}
    return ", ".join(f"{name}={value}" for name, value in values.items())
