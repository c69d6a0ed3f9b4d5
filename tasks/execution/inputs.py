"""The rows that a fit is given: columns prepared once for each part of a fold and kind of need, then mapped; with them
target and weights, as a family takes them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np

from models.columns import PreparedRows, prepare, transform
from models.data.hashes import derive_seed
from models.fitting.family import Family, TrainingData
from models.metrics.class_weight import apply_class_weights
from tasks.execution import costs
from tasks.execution.cache import InnerFoldData
from tasks.execution.job import FitContext, FitJob, load_fit_inputs
from tasks.run.folder import Workdir


def prepare_inner_fold(job: FitJob, workdir: Workdir, known: Family, waits: list[float]) -> InnerFoldData:
    """What every configuration of the family, and of others with its needs, is fitted on in this inner fold. `waits`
    gets the seconds waited for another worker that prepared its columns."""
    brief, _, target, weight = load_fit_inputs(job.workdir, job.plan)
    fold = brief.folds[job.fold]
    assert job.inner is not None
    train, judge = fold.inner[job.inner]
    prepared, X_judge = _prepare_inner_columns(job, workdir, known, train, judge, waits)
    stop = fold.stops[job.inner] if known.stops_early else None
    part = split_early_stopping(prepared, train, target, weight, brief, stop, job.fold)
    classes = np.unique(part.y)
    return InnerFoldData(encode_classes(part, classes), classes, X_judge, prepared.mb, prepared.ms)


def make_validation_data(
    part: TrainingData, training: InnerFoldData, target: np.ndarray, weight: np.ndarray | None
) -> TrainingData:
    """The validation rows as training rows are; those of classes that training lacks go, nothing is learned of them."""
    if part.shape.task == "regression":
        return replace(part, X=training.X_judge, y=target, weight=weight, kept={})
    known = np.isin(target, training.classes)
    y = np.searchsorted(training.classes, target[known])
    return replace(part, X=training.X_judge[known], y=y, weight=take_rows(weight, known), kept={})


def prepare_refit_rows(
    job: FitJob, workdir: Workdir, known: Family, rows, goal, units, waits: list[float]
) -> PreparedRows:
    """The fold's whole training part prepared: once for each kind of need, for all members with that need (`waits` as
    in `training_of`). With the sealed rows it is made anew, so that they lie in no file that others map."""
    if job.with_sealed:
        return _prepare_rows(job, known, rows, goal, units)
    name = _locate_columns(job, known)
    with workdir.alone(name) as waited:
        waits.append(waited)
        kept, X = workdir.kept_pickle(name), workdir.kept_array(name)
        if kept is None or X is None:
            kept = _prepare_rows(job, known, rows, goal, units)
            X = kept.X
            workdir.write_array(name, X)
            workdir.write_pickle(name, replace(kept, X=np.empty(0)))
    return replace(kept, X=np.array(X))


def _prepare_rows(job: FitJob, known: Family, rows, goal, units) -> PreparedRows:
    """These rows of the job's part prepared as the family needs it."""
    brief = load_fit_inputs(job.workdir, job.plan)[0]
    seed = derive_seed(brief.seed, "columns", job.fold, _name_fold_part(job))
    return prepare(rows, brief.kinds, goal, brief.task, known.needs, seed, brief.orders, units)


def _locate_columns(job: FitJob, known: Family) -> str:
    """Where the prepared columns of the job's part lie, for all families with these needs."""
    needs = known.needs
    kind = f"{needs.categories}-{needs.missing:d}{needs.scaled:d}"
    return f"columns/{job.plan}/{job.fold}-{_name_fold_part(job)}-{kind}"


def _name_fold_part(job: FitJob) -> int | str:
    """Which part of its fold the job is fitted on."""
    return "refit" if job.inner is None else job.inner


def join_sealed_rows(workdir: Workdir, rows, goal, weights, group, units):
    """Features, target, weights, groups and units of these rows, of those that were too young for the sealed ones'
    horizon, and of the sealed ones."""
    import pandas as pd

    more = [name for name in ("young", "sealed") if workdir.has(f"{name}_target.npy")]

    def with_more(own, what: str):
        others = [workdir.read_array(f"{name}_{what}") for name in more]
        return None if own is None else np.concatenate([own, *(one for one in others if one is not None)])

    frame = pd.concat([rows, *map(workdir.read_frame, more)], ignore_index=True)
    if units is not None and group is not None:
        units = with_more(group, "group")
    elif units is not None:  # points and blocks of time are in one part each
        apart = [units, *(workdir.read_array(f"{name}_units") for name in more)]
        units = np.concatenate([pd.factorize(np.asarray(one))[0] + len(frame) * k for k, one in enumerate(apart)])
    return frame, np.asarray(with_more(goal, "target")), with_more(weights, "weight"), with_more(group, "group"), units


def _prepare_inner_columns(
    job: FitJob, workdir: Workdir, known: Family, train, judge, waits: list[float]
) -> tuple[PreparedRows, np.ndarray]:
    """Prepared training rows and validation rows; made once for each inner fold and kind of need, then mapped."""
    name = _locate_columns(job, known)
    with workdir.alone(name) as waited:
        waits.append(waited)
        kept = workdir.kept_json(name + ".json")
        if not kept or any(workdir.kept_array(f"{name}-{part}") is None for part in ("train", "judge")):
            kept = _write_inner_columns(job, workdir, known, train, judge)
    X_train, X_judge = workdir.read_array(name + "-train"), workdir.read_array(name + "-judge")
    assert X_train is not None
    assert X_judge is not None
    about = {name: tuple(kept.get(name, ())) for name in ("categories", "plain", "origins")}
    return PreparedRows(None, X_train, **about, mb=kept["mb"], ms=kept.get("ms", 0.0)), X_judge


def _write_inner_columns(job: FitJob, workdir: Workdir, known: Family, train, judge) -> dict[str, Any]:
    """What is known of the prepared columns of an inner fold, which are written down."""
    (brief, features, target, _), name = load_fit_inputs(job.workdir, job.plan), _locate_columns(job, known)
    made = _prepare_rows(job, known, features.iloc[train], np.asarray(target[train]), take_rows(brief.units, train))
    columns = made.transformer
    assert columns is not None
    workdir.write_array(name + "-train", made.X)
    workdir.write_array(name + "-judge", transform(columns, features.iloc[judge]))
    size, ms = len(pickle.dumps(columns)) / 1e6, 0.0
    if brief.goal is not None and brief.goal.asks("latency"):
        ms = costs.measure_latency(lambda row: transform(columns, row), costs.split_into_rows(features.iloc[judge]))
    kept = {"categories": made.categories, "plain": made.plain, "origins": made.origins, "mb": size, "ms": ms}
    workdir.write_json(name + ".json", kept)
    return kept


def split_early_stopping(
    prepared: PreparedRows, train, target, weight, brief: FitContext, stop, fold: str = ""
) -> TrainingData:
    """The training rows as a family takes them, those for early stopping cut off."""
    y = np.asarray(target[train])
    whole = replace(
        to_training_data(prepared, y, take_rows(weight, train), brief, fold), group=take_rows(brief.group, train)
    )
    w = whole.weight
    if stop is None or not len(stop[1]):
        return whole
    fit, held = np.searchsorted(train, stop[0]), np.searchsorted(train, stop[1])
    cut = (prepared.X[held], y[held], take_rows(w, held))
    weight, group = take_rows(w, fit), take_rows(whole.group, fit)
    return replace(whole, X=prepared.X[fit], y=y[fit], weight=weight, stop=cut, group=group)


def to_training_data(
    prepared: PreparedRows, y: np.ndarray, weight: np.ndarray | None, brief: FitContext, fold: str
) -> TrainingData:
    """All these rows as a family takes them, with what is known of single columns."""
    width = prepared.X.shape[1]
    monotone = [brief.monotone.get(name, 0) for name in prepared.plain]
    weight = apply_class_weights(weight, y, brief.class_weight)
    return TrainingData(
        prepared.X, y, weight, brief.shape(len(y), width, fold), prepared.categories,
        monotone=(*monotone, *[0] * (width - len(monotone))) if any(monotone) else (),
        season=prepared.plain.index(brief.season) if brief.season is not None else None,
        past=tuple(prepared.plain.index(name) for name in brief.past), origins=prepared.origins,
    )  # fmt: skip


def encode_classes(part: TrainingData, classes: np.ndarray) -> TrainingData:
    """The part with its classes as 0..m-1, where groups or time left some out; early-stopping rows of others go."""
    if part.shape.task == "regression" or len(classes) == part.shape.classes:
        return part
    stop = part.stop
    if stop is not None:
        known = np.isin(stop[1], classes)
        held = take_rows(stop[2], known)
        stop = (stop[0][known], np.searchsorted(classes, stop[1][known]), held) if known.any() else None
    return replace(part, y=np.searchsorted(classes, part.y), stop=stop)


def take_rows(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """These rows of the values; None where there are none."""
    return None if values is None else np.asarray(values[rows])
