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
from models.splitting.split import Part
from tasks.execution import costs
from tasks.execution.cache import InnerFoldData
from tasks.execution.job import FitContext, FitJob, load_fit_inputs
from tasks.run.folder import Workdir


def prepare_inner_fold(job: FitJob, workdir: Workdir, family: Family, waits: list[float]) -> InnerFoldData:
    """What every configuration of the family, and of others with its needs, is fitted on in this inner fold. `waits`
    gets the seconds waited for another worker that prepared its columns."""
    brief, _, target, weight = load_fit_inputs(job.workdir, job.plan)
    fold = brief.folds[job.fold]
    assert job.inner is not None
    train = fold.inner[job.inner][0]
    prepared, X_judge = _prepare_inner_columns(job, workdir, family, waits)
    stop = fold.stops[job.inner] if family.stops_early else None
    part = split_early_stopping(prepared, train, target, weight, brief, stop, fold.identify_part(job.inner))
    classes = np.unique(part.y)
    return InnerFoldData(encode_classes(part, classes), classes, X_judge, prepared.mb, prepared.ms)


def list_validation_rows(brief: FitContext, job: FitJob) -> dict[str, np.ndarray]:
    """Fold -> the validation rows that a fit of the job's inner split judges: this fold's, and those of the fold that
    shares the fit."""
    fold = brief.folds[job.fold]
    assert job.inner is not None
    rows = {job.fold: fold.inner[job.inner][1]}
    return rows | ({fold.partners[job.inner]: fold.judge} if fold.partners else {})


def make_validation_data(
    part: TrainingData, X: np.ndarray, classes: np.ndarray, target: np.ndarray, weight: np.ndarray | None
) -> TrainingData:
    """Prepared validation rows as training rows are; those of classes that training lacks go, nothing is learned of
    them."""
    if part.shape.task == "regression":
        return replace(part, X=X, y=target, weight=weight, kept={})
    mask = np.isin(target, classes)
    return replace(part, X=X[mask], y=np.searchsorted(classes, target[mask]), weight=take_rows(weight, mask), kept={})


def prepare_refit_rows(
    job: FitJob, workdir: Workdir, family: Family, rows, target, units, waits: list[float]
) -> PreparedRows:
    """The fold's whole training part prepared: once for each kind of need, for all members with that need (`waits` as
    in `training_of`). With the sealed rows it is made anew, so that they lie in no file that others map."""
    if job.with_sealed:
        return _prepare_rows(job, family, rows, target, units)
    name = _locate_columns(job, family)
    with workdir.lock(name) as seconds:
        waits.append(seconds)
        prepared, X = workdir.try_pickle(name), workdir.try_array(name)
        if prepared is None or X is None:
            prepared = _prepare_rows(job, family, rows, target, units)
            X = prepared.X
            workdir.write_array(name, X)
            workdir.write_pickle(name, replace(prepared, X=np.empty(0)))
    return replace(prepared, X=np.array(X))


def _prepare_rows(job: FitJob, family: Family, rows, target, units) -> PreparedRows:
    """These rows of the job's part prepared as the family needs it."""
    brief = load_fit_inputs(job.workdir, job.plan)[0]
    seed = derive_seed(brief.seed, "columns", *_identify_part(job))
    return prepare(rows, brief.kinds, target, brief.task, family.needs, seed, brief.orders, units)


def _locate_columns(job: FitJob, family: Family) -> str:
    """Where the prepared columns of the job's part lie, for all families with these needs."""
    needs = family.needs
    kind = f"{needs.categories}-{needs.missing:d}{needs.scaled:d}"
    return f"columns/{job.plan}/{'-'.join(map(str, _identify_part(job)))}-{kind}"


def _identify_part(job: FitJob) -> Part:
    """The rows that the job is fitted on."""
    return load_fit_inputs(job.workdir, job.plan)[0].folds[job.fold].identify_part(job.inner)


def join_sealed_rows(workdir: Workdir, rows, target, weights, group, units):
    """Features, target, weights, groups and units of these rows, of those that were too young for the sealed ones'
    horizon, and of the sealed ones."""
    import pandas as pd

    names = [name for name in ("young", "sealed") if workdir.has(f"{name}_target.npy")]

    def with_more(values, kind: str):
        others = [workdir.read_array(f"{name}_{kind}") for name in names]
        return None if values is None else np.concatenate([values, *(array for array in others if array is not None)])

    frame = pd.concat([rows, *map(workdir.read_frame, names)], ignore_index=True)
    if units is not None and group is not None:
        units = with_more(group, "group")
    elif units is not None:  # points and blocks of time are in one part each
        parts = [units, *(workdir.read_array(f"{name}_units") for name in names)]
        units = np.concatenate([pd.factorize(np.asarray(part))[0] + len(frame) * k for k, part in enumerate(parts)])
    return (
        frame,
        np.asarray(with_more(target, "target")),
        with_more(weights, "weight"),
        with_more(group, "group"),
        units,
    )


def _prepare_inner_columns(
    job: FitJob, workdir: Workdir, family: Family, waits: list[float]
) -> tuple[PreparedRows, dict[str, np.ndarray]]:
    """Prepared training rows, and validation rows by fold; made once for each inner part and kind of need, then
    mapped."""
    name = _locate_columns(job, family)
    judges = [f"judge{fold}" for fold in list_validation_rows(load_fit_inputs(job.workdir, job.plan)[0], job)]
    with workdir.lock(name) as seconds:
        waits.append(seconds)
        facts = workdir.try_json(name + ".json")
        if not facts or any(workdir.try_array(f"{name}-{part}") is None for part in ("train", *judges)):
            facts = _write_inner_columns(job, workdir, family)
    X_train, *X_judge = (np.asarray(workdir.read_array(f"{name}-{part}")) for part in ("train", *judges))
    columns = {name: tuple(facts.get(name, ())) for name in ("categories", "plain", "origins")}
    prepared = PreparedRows(None, X_train, **columns, mb=facts["mb"], ms=facts.get("ms", 0.0))
    return prepared, {judge.removeprefix("judge"): X for judge, X in zip(judges, X_judge, strict=True)}


def _write_inner_columns(job: FitJob, workdir: Workdir, family: Family) -> dict[str, Any]:
    """What is known of the prepared columns of an inner fold, which are written down."""
    (brief, features, target, _), name = load_fit_inputs(job.workdir, job.plan), _locate_columns(job, family)
    assert job.inner is not None
    train, judge = brief.folds[job.fold].inner[job.inner]
    prepared = _prepare_rows(
        job, family, features.iloc[train], np.asarray(target[train]), take_rows(brief.units, train)
    )
    columns = prepared.transformer
    assert columns is not None
    workdir.write_array(name + "-train", prepared.X)
    for fold, rows in list_validation_rows(brief, job).items():
        workdir.write_array(f"{name}-judge{fold}", transform(columns, features.iloc[rows]))
    size, ms = len(pickle.dumps(columns)) / 1e6, 0.0
    if brief.goal is not None and brief.goal.asks_for("latency"):
        ms = costs.measure_latency(lambda row: transform(columns, row), costs.split_into_rows(features.iloc[judge]))
    facts = {
        "categories": prepared.categories,
        "plain": prepared.plain,
        "origins": prepared.origins,
        "mb": size,
        "ms": ms,
    }
    workdir.write_json(name + ".json", facts)
    return facts


def split_early_stopping(
    prepared: PreparedRows, train, target, weight, brief: FitContext, stop, name: Part = ()
) -> TrainingData:
    """The training rows as a family takes them, those for early stopping cut off."""
    y = np.asarray(target[train])
    part = replace(
        to_training_data(prepared, y, take_rows(weight, train), brief, name), group=take_rows(brief.group, train)
    )
    w = part.weight
    if stop is None or not len(stop[1]):
        return part
    fit_rows, stop_rows = np.searchsorted(train, stop[0]), np.searchsorted(train, stop[1])
    stop_part = (prepared.X[stop_rows], y[stop_rows], take_rows(w, stop_rows))
    weight, group = take_rows(w, fit_rows), take_rows(part.group, fit_rows)
    return replace(part, X=prepared.X[fit_rows], y=y[fit_rows], weight=weight, stop=stop_part, group=group)


def to_training_data(
    prepared: PreparedRows, y: np.ndarray, weight: np.ndarray | None, brief: FitContext, part: Part
) -> TrainingData:
    """All these rows as a family takes them, with what is known of single columns."""
    width = prepared.X.shape[1]
    monotone = [brief.monotone.get(name, 0) for name in prepared.plain]
    weight = apply_class_weights(weight, y, brief.class_weight)
    return TrainingData(
        prepared.X, y, weight, brief.make_shape(len(y), width, part), prepared.categories,
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
        mask = np.isin(stop[1], classes)
        weight = take_rows(stop[2], mask)
        stop = (stop[0][mask], np.searchsorted(classes, stop[1][mask]), weight) if mask.any() else None
    return replace(part, y=np.searchsorted(classes, part.y), stop=stop)


def take_rows(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """These rows of the values; None where there are none."""
    return None if values is None else np.asarray(values[rows])
