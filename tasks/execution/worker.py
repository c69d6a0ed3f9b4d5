"""What a worker process does: one fit. Imports nothing of Prefect or MLflow, so that a worker starts light.

Everything is read from the run's folder and everything of size is written there before the answer goes back: a fit
whose result lies on disk is never run again."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from models.columns import transform
from models.data.hashes import derive_seed
from models.data.labels import align_probabilities
from models.families import load_family
from models.fitting.fit import compute_hypergradient, fit_family
from models.tuning.fidelity import reduce_fit
from tasks.execution import checkpoints
from tasks.execution.cache import SHARE, WITHOUT_LIMIT, InnerFoldData, TrainingCache
from tasks.execution.costs import ROWS, count_arrays, measure_latency, measure_model_latency, measure_size
from tasks.execution.inputs import (
    encode_classes,
    join_sealed_rows,
    list_validation_rows,
    make_validation_data,
    prepare_inner_fold,
    prepare_refit_rows,
    take_rows,
    to_training_data,
)
from tasks.execution.job import FitContext, FitJob, FitResult, load_fit_inputs
from tasks.run.folder import Workdir
from tasks.system.memory import BEYOND, end_with_parent, peak

PARTNER = "-partner"
"""Ending of the file with the predictions for the fold that shares a fit."""

parts = TrainingCache()


@dataclass(frozen=True)
class _FitOutcome:
    """What a fit came to, without its seconds."""

    score: float | None
    rounds: int | None
    ready: float
    """When the columns were ready."""
    waited: float
    """Seconds until then in which another worker prepared them."""
    model_mb: float = 0.0
    gradient: dict[str, float] | None = None
    measures: dict[str, float] = field(default_factory=dict)
    whole: bool = False
    arrays: int = 0
    for_partner: dict[str, Any] | None = None


def prepare_worker(limit_mb: float, threads: int, driver: int) -> None:
    """Prepares a worker process: it ends with its driver, has a memory limit, threads, no interest in the terminal's
    Ctrl-C, and is silent."""
    import resource
    import signal

    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(threads)
    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    end_with_parent()
    peak.watch(limit_mb, driver)
    if limit_mb and hasattr(resource, "RLIMIT_DATA"):
        resource.setrlimit(
            resource.RLIMIT_DATA, (int(BEYOND * limit_mb * 1e6), resource.getrlimit(resource.RLIMIT_DATA)[1])
        )
    parts.room = SHARE * limit_mb * 1e6 if limit_mb else WITHOUT_LIMIT


def run_fit(job: FitJob) -> FitResult:
    """Fits, scores, writes the result into the run's folder and returns it; one already there is returned as is."""
    workdir = Workdir(Path(job.workdir))
    result = read_finished_fit(job, workdir) or _take_over_fit(job, workdir)
    if result is not None:
        return result
    start = time.time()
    peak.begin()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = _refit_fold(job, workdir) if job.inner is None else _fit_inner_fold(job, workdir)
    end = time.time()
    fit = FitResult(
        output.score, output.rounds, end - output.ready, output.ready - start - output.waited, peak.peak, start, end,
        output.model_mb, output.gradient, output.measures, output.whole,
        arrays=output.arrays, for_partner=output.for_partner,
    )  # fmt: skip
    workdir.write_json(job.file + ".json", fit.__dict__)
    return fit


def read_finished_fit(job: FitJob, workdir: Workdir) -> FitResult | None:
    """The fit whose result lies in the run's folder; None where there is none, or one that is damaged."""
    try:
        result = FitResult(**(workdir.try_json(job.file + ".json") or {}))
    except TypeError:
        return None
    return result if all(value is not None for value in _read_results(job, workdir)) else None


def _read_results(job: FitJob, workdir: Workdir) -> Iterator[Any]:
    """What a fit leaves beside its score: predictions, and of a refit the pipeline."""
    if job.inner is None:
        yield workdir.try_pickle(job.file)
    if job.inner is not None or (
        not job.with_sealed and len(load_fit_inputs(job.workdir, job.plan)[0].folds[job.fold].judge)
    ):
        yield workdir.try_array(job.file)


def _take_over_fit(job: FitJob, workdir: Workdir) -> FitResult | None:
    """The fit that this one is again, which is this one's from now on; None where it was given another share."""
    if job.again is None:
        return None
    result, prediction = _read_other_fit(job, workdir)
    if result is None or prediction is None or not (result.whole or job.partner):
        return None
    workdir.write_array(job.file, prediction)
    result = replace(result, taken=True)
    workdir.write_json(job.file + ".json", result.__dict__)
    return result


def _read_other_fit(job: FitJob, workdir: Workdir) -> tuple[FitResult | None, np.ndarray | None]:
    """The fit that may stand for the job's, as it judges the job's validation rows, and its predictions of them."""
    try:
        result = FitResult(**(workdir.try_json(f"{job.again}.json") or {}))
    except TypeError:
        return None, None
    prediction = workdir.try_array(f"{job.again}{PARTNER if job.partner else ''}")
    if job.partner:
        result = replace(result, **result.for_partner, for_partner=None) if result.for_partner else None
    return result, None if prediction is None else np.asarray(prediction)


def _fit_inner_fold(job: FitJob, workdir: Workdir) -> _FitOutcome:
    """Fitted on the training rows of an inner fold, judged on its validation rows."""
    brief, _, target, weight = load_fit_inputs(job.workdir, job.plan)
    fold, family = brief.folds[job.fold], load_family(job.family)
    waits: list[float] = []
    training = parts.get(
        (job.workdir, job.plan, fold.identify_part(job.inner), family.needs, family.stops_early),
        lambda: prepare_inner_fold(job, workdir, family, waits),
    )
    ready = time.time()
    config, part = reduce_fit(family, job.config, training.part, job.share, _derive_fit_seed(job, brief))
    checkpoint = (
        None if job.goes_on is None else checkpoints.read_checkpoint(workdir, replace(job, trial=job.goes_on).file)
    )
    start = time.process_time()
    fit = fit_family(family, config, part, _derive_fit_seed(job, brief), brief.threads, checkpoint)
    seconds = time.process_time() - start
    score, objectives = _judge_rows(job, job.fold, fit.model, training, job.file)
    if fit.checkpoint is not None:
        checkpoints.write_checkpoint(workdir, job.file, fit.checkpoint)
    costs = {
        "seconds": lambda: seconds,
        "size": lambda: training.columns_mb + measure_size(fit.model),
        "latency": lambda: training.columns_ms + _measure_row_ms(fit.model, training, job.fold, brief),
    }
    measures = _measure_costs(brief, costs)
    size = training.columns_mb + measure_size(fit.model) if job.trial == 0 else 0.0
    arrays = count_arrays(fit.model) if job.trial == 0 else 0
    slopes = None
    if job.gradient:
        judge = list_validation_rows(brief, job)[job.fold]
        X = training.X_judge[job.fold]
        rows = make_validation_data(part, X, training.classes, target[judge], take_rows(weight, judge))
        slopes = compute_hypergradient(family, config, part, fit.model, rows, _derive_fit_seed(job, brief))
    whole = job.share >= 1 or fit.whole
    return _FitOutcome(
        score, fit.rounds, ready, sum(waits), size, slopes, measures | objectives, whole, arrays,
        _judge_for_partner(job, fit.model, training, measures),
    )  # fmt: skip


def _judge_rows(
    job: FitJob, fold: str, model: Any, training: InnerFoldData, file: str
) -> tuple[float, dict[str, float]]:
    """The model's score on the fold's validation rows, and its other metrics there; its predictions go into the
    file."""
    brief, _, target, weight = load_fit_inputs(job.workdir, job.plan)
    rows = list_validation_rows(brief, job)[fold]
    prediction, weights = predict_rows(model, training.X_judge[fold], training.classes, brief), take_rows(weight, rows)
    Workdir(Path(job.workdir)).write_array(file, prediction)
    score = brief.scorer.score(target[rows], prediction, weights)
    return score, _score_objectives(brief, rows, target[rows], prediction, weights)


def _judge_for_partner(
    job: FitJob, model: Any, training: InnerFoldData, costs: dict[str, float]
) -> dict[str, Any] | None:
    """Score and measures on the validation rows of the fold that shares the fit; None where no fold does.

    Those rows are this fold's B_k: whatever they hold, nothing of this fold may fail by it. The other fold then fits
    anew, and says itself what is wrong."""
    for fold in training.X_judge:
        if fold != job.fold:
            with suppress(Exception):
                score, measures = _judge_rows(job, fold, model, training, job.file + PARTNER)
                return {"score": score, "measures": costs | measures}
    return None


def _measure_costs(brief: FitContext, costs: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Those of the model's costs that the goal asks for."""
    memory = {"memory": lambda: max(peak.peak, peak.measure())}
    names = [o.name for o in brief.goal.measured if o.metric is None] if brief.goal else ()
    return {name: {**costs, **memory}[name]() for name in names}


def _score_objectives(brief: FitContext, judge, target, prediction, weight) -> dict[str, float]:
    """The metrics and gaps that the goal asks for beside the metric, on these validation rows."""
    goal, scores = brief.goal, {}
    for objective in goal.measured if goal else ():
        if goal is not None and objective.metric is not None:
            groups = None if objective.column is None else brief.subgroups[objective.column][judge]
            metric, rows = goal.fold(objective, (target, prediction, weight), prediction, groups)
            scores[objective.name] = metric.score(*rows)
    return scores


def _measure_row_ms(model: Any, training: InnerFoldData, fold: str, brief: FitContext) -> float:
    """Milliseconds that the model takes for one prepared row."""
    X = training.X_judge[fold]
    rows = [X[place : place + 1] for place in range(min(ROWS, len(X)))]
    return measure_latency(lambda row: predict_rows(model, row, training.classes, brief), rows)


def _refit_fold(job: FitJob, workdir: Workdir) -> _FitOutcome:
    """Fitted on the fold's whole training part, judged on B_k where there is one."""
    brief, features, target, weight = load_fit_inputs(job.workdir, job.plan)
    fold = brief.folds[job.fold]
    family = load_family(job.family)
    rows, y = features.iloc[fold.train], np.asarray(target[fold.train])
    weights, group, units = (take_rows(values, fold.train) for values in (weight, brief.group, brief.units))
    if job.with_sealed:
        rows, y, weights, group, units = join_sealed_rows(workdir, rows, y, weights, group, units)
    waits: list[float] = []
    prepared = prepare_refit_rows(job, workdir, family, rows, y, units, waits)
    ready = time.time()
    part = replace(to_training_data(prepared, y, weights, brief, fold.identify_part(None)), group=group)
    classes = np.unique(part.y)
    start = time.process_time()
    fit = fit_family(family, job.config, encode_classes(part, classes), _derive_fit_seed(job, brief), brief.threads)
    seconds = time.process_time() - start
    columns = prepared.transformer
    assert columns is not None
    pipeline = Pipeline([("columns", columns), ("model", fit.model)])
    workdir.write_pickle(job.file, (pipeline, classes))
    costs = {
        "seconds": lambda: seconds,
        "size": lambda: measure_size(pipeline),
        "latency": lambda: measure_model_latency(pipeline, rows),
    }
    measures = _measure_costs(brief, costs)
    size, arrays = measure_size(pipeline), count_arrays(pipeline)
    if job.with_sealed or not len(fold.judge):
        return _FitOutcome(None, fit.rounds, ready, sum(waits), size, measures=measures, arrays=arrays)
    X_judge = transform(columns, features.iloc[fold.judge])
    prediction = predict_rows(fit.model, X_judge, classes, brief)
    workdir.write_array(job.file, prediction)
    score = brief.scorer.score(target[fold.judge], prediction, take_rows(weight, fold.judge))
    return _FitOutcome(score, fit.rounds, ready, sum(waits), size, measures=measures, arrays=arrays)


def predict_rows(model: Any, X: Any, classes: np.ndarray, brief: FitContext) -> np.ndarray:
    """Values (n,), or probabilities (n, classes) widened to all classes with a floor."""
    if brief.task == "regression":
        return np.asarray(model.predict(X), dtype=np.float64)
    probabilities = np.asarray(model.predict_proba(X), dtype=np.float64)
    return (
        probabilities
        if len(classes) == len(brief.classes)
        else align_probabilities(probabilities, classes, len(brief.classes))
    )


def predict_sealed(path: str, plan: str, files: list[tuple[str, float]], name: str) -> None:
    """Writes the weighted mean prediction of these refits on the sealed rows as the array `name`."""
    workdir = Workdir(Path(path))
    brief = load_fit_inputs(path, plan)[0]
    sealed = workdir.read_frame("sealed")
    total = np.zeros(())
    for file, share in files:
        pipeline, classes = workdir.read_pickle(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            total = total + share * predict_rows(pipeline, sealed, classes, brief)
    workdir.write_array(name, total)


def _derive_fit_seed(job: FitJob, brief: FitContext) -> int:
    part = (job.fold, None) if job.inner is None else brief.folds[job.fold].identify_part(job.inner)
    return derive_seed(brief.seed, "fit", job.family, *part)
