"""What a worker process does: one fit. Imports `models` only, so that a worker starts light.

Everything is read from the run's folder and everything of size is written there before the answer goes back: a fit
whose result lies on disk is never run again."""

from __future__ import annotations

import os
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sklearn.pipeline import Pipeline

from models.class_weight import ClassWeights, weighted
from models.columns import Prepared, prepare, transform
from models.costs import Priced
from models.families import Family, Part, Shape, family, fitted, hypergradient
from models.fidelity import lessened
from models.metric import Metric, metric_for
from models.objectives import Goal
from models.search import seed_for
from models.split import Fold
from models.table import Task
from tasks import checkpoints, measure
from tasks.kept import SHARE, WITHOUT_LIMIT, Parts, Training
from tasks.workdir import Workdir

FLOOR = 1e-6
"""Probability of a class that a training part lacked."""


@dataclass(frozen=True, eq=False)
class Brief:
    """What every fit of a plan shares; workers read it once from the run's folder."""

    plan: str
    """Such as `5x4`."""
    task: Task
    classes: tuple[Any, ...]
    metric: str | None
    kinds: dict[str, str]
    folds: dict[str, Fold]
    threads: int
    seed: int
    grid: tuple[int, ...] = ()
    monotone: Mapping[str, int] = field(default_factory=dict)
    """Column -> 1 or -1."""
    time: bool = False
    season: str | None = None
    """The column that holds the target one season ago."""
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Ordered category -> its levels, lowest first."""
    many: int = 0
    """Columns of many levels."""
    group: np.ndarray | None = None
    """Each work row's group, in grouped plans."""
    past: tuple[str, ...] = ()
    """The columns that hold the target at earlier times, the latest first."""
    costs: Priced = field(default_factory=dict)
    class_weight: ClassWeights = ()
    skewed: bool = False
    """Whether the target has a long tail."""
    goal: Goal | None = None
    """What is measured beside the metric."""
    subgroups: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Column -> the code of each work row's subgroup, where subgroups are compared."""

    def shape(self, rows: int, columns: int) -> Shape:
        """What a family may know of so many training rows and columns."""
        metric, season = self.scorer, self.season is not None
        return Shape(
            rows, columns, self.task, len(self.classes), metric.loss, metric.level, self.grid, self.time, season,
            bool(self.monotone), self.skewed, self.many, len(self.past),
        )  # fmt: skip

    @property
    def scorer(self) -> Metric:
        """The metric as a value."""
        return metric_for(self.metric, self.task, self.classes, self.costs)


@dataclass(frozen=True)
class Job:
    """One fit: a configuration on one inner fold, or (inner None) refitted on the fold's whole training part."""

    workdir: str
    plan: str
    """Names the brief: fits of another plan lie elsewhere."""
    family: str
    fold: str
    trial: int
    config: dict[str, Any]
    inner: int | None = None
    share: float = 1.0
    """Fidelity: the part of its rounds or rows that the fit is given."""
    again: int | None = None
    """The trial of the same configuration that was given less; what it fitted whole of this inner fold stands."""
    goes_on: int | None = None
    """The trial whose training of the same inner fold this one takes up; None: from nothing."""
    gradient: bool = False
    """Whether the loss on the validation rows is differentiated by the hyperparameters."""
    with_sealed: bool = False
    """Refit on work and sealed rows together (`final.rows: all`)."""

    @property
    def file(self) -> str:
        """Where the result lies, without ending."""
        part = "all_rows" if self.with_sealed else "refit" if self.inner is None else str(self.inner)
        return f"fits/{self.plan}/{self.family}/{self.fold}/{self.trial}/{part}"


@dataclass(frozen=True)
class Fit:
    """What came of a fit."""

    score: float | None
    """On the validation rows, or on B_k in a refit; None where there are none to judge."""
    rounds: int | None
    seconds: float
    """Of fitting, predicting and scoring."""
    preparing: float
    """Seconds of preparing the columns; near none where another fit has done it."""
    peak_mb: float
    start: float
    end: float
    model_mb: float = 0.0
    """Size of a default configuration's model with its columns: what registering it will cost depends on it."""
    gradient: dict[str, float] | None = None
    """Derivative of the validation loss by hyperparameter, where it was asked for."""
    measures: dict[str, float] = field(default_factory=dict)
    """What the plan's objectives and limits ask beside the score."""
    whole: bool = False
    """Whether it would be the same with a larger share of its rounds or rows."""
    taken: bool = False
    """Whether an earlier trial's fit stands for it, so that it cost nothing."""


@dataclass(frozen=True)
class _Made:
    """What a fit came to, without its seconds."""

    score: float | None
    rounds: int | None
    ready: float
    """When the columns were ready."""
    model_mb: float = 0.0
    gradient: dict[str, float] | None = None
    measures: dict[str, float] = field(default_factory=dict)
    whole: bool = False


class _Peak:
    """Samples this process's memory and ends it above the limit, so that a blow-up costs this fit alone."""

    EXIT = 77

    def __init__(self) -> None:
        self.limit, self.peak = 0.0, 0.0

    def watch(self, limit_mb: float, driver: int) -> None:
        # Not in __init__: that runs in the fork server, which is another process.
        self.limit, self._process, self._driver = limit_mb, psutil.Process(), psutil.Process(driver)
        threading.Thread(target=self._loop, daemon=True, name="memory").start()

    def begin(self) -> None:
        self.peak = self._now()

    def _now(self) -> float:
        return self._process.memory_info().rss / 1e6

    def _driver_lives(self) -> bool:
        try:
            return self._driver.is_running() and self._driver.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def _loop(self) -> None:
        # The worker's parent is the fork server, which lives as long as any worker does: the driver is asked for.
        while self._driver_lives():
            self.peak = max(self.peak, self._now())
            if self.limit and self.peak > self.limit:
                os._exit(self.EXIT)
            time.sleep(0.2)
        os._exit(1)


peak = _Peak()
parts = Parts()
_briefs: dict[tuple[str, str], tuple[Brief, Any, np.ndarray, np.ndarray | None]] = {}


def begin(limit_mb: float, threads: int, driver: int) -> None:
    """Prepares a worker process: memory limit, threads, no interest in the terminal's Ctrl-C, silence."""
    import resource
    import signal

    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(threads)
    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if limit_mb and hasattr(resource, "RLIMIT_DATA"):
        # Beyond the watch's limit: a sudden large request becomes MemoryError instead of a dead machine.
        most = int(limit_mb * 1.5e6)
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    peak.watch(limit_mb, driver)
    parts.room = SHARE * limit_mb * 1e6 if limit_mb else WITHOUT_LIMIT


def load(path: str, plan: str) -> tuple[Brief, Any, np.ndarray, np.ndarray | None]:
    """The plan's brief, work features, target and weight; read once in each process."""
    if (path, plan) not in _briefs:
        workdir = Workdir(Path(path))
        target, brief = workdir.read_array("target"), workdir.read_pickle(f"briefs/{plan}")
        assert target is not None
        _briefs[path, plan] = (brief, workdir.read_frame("work"), target, workdir.read_array("weight"))
    return _briefs[path, plan]


def run(job: Job) -> Fit:
    """Fits, scores, writes the result into the run's folder and returns it; one already there is returned as is."""
    workdir = Workdir(Path(job.workdir))
    done = workdir.read_json(job.file + ".json") or _taken(job, workdir)
    if done is not None:
        return Fit(**done)
    start = time.time()
    peak.begin()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = _refit(job, workdir) if job.inner is None else _inner(job, workdir)
    now = time.time()
    fit = Fit(
        made.score, made.rounds, now - made.ready, made.ready - start, peak.peak, start, now, made.model_mb,
        made.gradient, made.measures, made.whole,
    )  # fmt: skip
    workdir.write_json(job.file + ".json", fit.__dict__)
    return fit


def _taken(job: Job, workdir: Workdir) -> dict[str, Any] | None:
    """The fit of the trial that this one is again, which is this one's from now on; None where it was not whole."""
    if job.again is None:
        return None
    other = replace(job, trial=job.again).file
    done, prediction = workdir.read_json(other + ".json"), workdir.read_array(other)
    if done is None or not done["whole"] or prediction is None:
        return None
    workdir.write_array(job.file, np.asarray(prediction))
    workdir.write_json(job.file + ".json", {**done, "taken": True})
    return {**done, "taken": True}


def _inner(job: Job, workdir: Workdir) -> _Made:
    """Fitted on the training rows of an inner fold, judged on its validation rows."""
    brief, _, target, weight = load(job.workdir, job.plan)
    fold = brief.folds[job.fold]
    assert job.inner is not None
    judge, known = fold.inner[job.inner][1], family(job.family)
    training = parts.get(
        (job.workdir, job.plan, job.fold, job.inner, known.needs, known.stops_early),
        lambda: _training(job, workdir, known),
    )
    ready = time.time()
    config, part = lessened(known, job.config, training.part, job.share, _seed(job, brief))
    begun = None if job.goes_on is None else checkpoints.read(workdir, replace(job, trial=job.goes_on).file)
    began = time.process_time()
    made = fitted(known, config, part, _seed(job, brief), brief.threads, begun)
    spent = time.process_time() - began
    prediction = predict(made.model, training.X_judge, training.classes, brief)
    score = brief.scorer.score(target[judge], prediction, _rows(weight, judge))
    workdir.write_array(job.file, prediction)
    if made.checkpoint is not None:
        checkpoints.write(workdir, job.file, made.checkpoint)
    costs = {
        "seconds": lambda: spent,
        "size": lambda: training.columns_mb + measure.megabytes(made.model),
        "latency": lambda: training.columns_ms + _row_ms(made.model, training, brief),
    }
    measures = _costs(brief, costs) | _scores(brief, judge, target[judge], prediction, _rows(weight, judge))
    size = training.columns_mb + len(pickle.dumps(made.model)) / 1e6 if job.trial == 0 else 0.0
    slopes = None
    if job.gradient:
        rows = _judging(part, training, target[judge], _rows(weight, judge))
        slopes = hypergradient(known, config, part, made.model, rows, _seed(job, brief))
    return _Made(score, made.rounds, ready, size, slopes, measures, whole=job.share >= 1 or made.whole)


def _costs(brief: Brief, costs: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Those of the model's costs that the goal asks for."""
    memory = {"memory": lambda: max(peak.peak, peak._now())}
    asked = [o.name for o in brief.goal.measured if o.metric is None] if brief.goal else ()
    return {name: {**costs, **memory}[name]() for name in asked}


def _scores(brief: Brief, judge, target, prediction, weight) -> dict[str, float]:
    """The metrics and gaps that the goal asks for beside the metric, on these validation rows."""
    goal, found = brief.goal, {}
    for one in goal.measured if goal else ():
        if goal is not None and one.metric is not None:
            groups = None if one.column is None else brief.subgroups[one.column][judge]
            metric, rows = goal.fold(one, (target, prediction, weight), prediction, groups)
            found[one.name] = metric.score(*rows)
    return found


def _row_ms(model: Any, training: Training, brief: Brief) -> float:
    """Milliseconds that the model takes for one prepared row."""
    rows = [training.X_judge[place : place + 1] for place in range(min(measure.ROWS, len(training.X_judge)))]
    return measure.latency(lambda row: predict(model, row, training.classes, brief), rows)


def _judging(part: Part, training: Training, target: np.ndarray, weight: np.ndarray | None) -> Part:
    """The validation rows as training rows are; those of classes that training lacks go, nothing is learned of them."""
    if part.shape.task == "regression":
        return replace(part, X=training.X_judge, y=target, weight=weight, kept={})
    known = np.isin(target, training.classes)
    y = np.searchsorted(training.classes, target[known])
    return replace(part, X=training.X_judge[known], y=y, weight=_rows(weight, known), kept={})


def _training(job: Job, workdir: Workdir, known: Family) -> Training:
    """What every configuration of the family, and of others with its needs, is fitted on in this inner fold."""
    brief, _, target, weight = load(job.workdir, job.plan)
    fold = brief.folds[job.fold]
    assert job.inner is not None
    train, judge = fold.inner[job.inner]
    prepared, X_judge = _prepared(job, workdir, known, train, judge)
    part = _part(prepared, train, target, weight, brief, fold.stops[job.inner] if known.stops_early else None)
    classes = np.unique(part.y)
    return Training(_encoded(part, classes), classes, X_judge, prepared.mb, prepared.ms)


def _refit(job: Job, workdir: Workdir) -> _Made:
    """Fitted on the fold's whole training part, judged on B_k where there is one."""
    brief, features, target, weight = load(job.workdir, job.plan)
    fold = brief.folds[job.fold]
    known = family(job.family)
    rows, goal, weights = features.iloc[fold.train], np.asarray(target[fold.train]), _rows(weight, fold.train)
    if job.with_sealed:
        rows, goal, weights = _joined(workdir, rows, goal, weights)
    prepared = _of_refit(job, workdir, known, rows, goal)
    ready = time.time()
    part = _whole(prepared, goal, weights, brief)
    if not job.with_sealed:
        part = replace(part, group=_rows(brief.group, fold.train))
    classes = np.unique(part.y)
    began = time.process_time()
    made = fitted(known, job.config, _encoded(part, classes), _seed(job, brief), brief.threads)
    spent = time.process_time() - began
    pipeline = Pipeline([("columns", prepared.transformer), ("model", made.model)])
    workdir.write_pickle(job.file, (pipeline, classes))
    costs = {
        "seconds": lambda: spent,
        "size": lambda: measure.megabytes(pipeline),
        "latency": lambda: measure.of_model(pipeline, rows),
    }
    measures = _costs(brief, costs)
    if job.with_sealed or not len(fold.judge):
        return _Made(None, made.rounds, ready, measures=measures)
    X_judge = transform(prepared.transformer, features.iloc[fold.judge])
    prediction = predict(made.model, X_judge, classes, brief)
    workdir.write_array(job.file, prediction)
    score = brief.scorer.score(target[fold.judge], prediction, _rows(weight, fold.judge))
    return _Made(score, made.rounds, ready, measures=measures)


def _of_refit(job: Job, workdir: Workdir, known: Family, rows, goal) -> Prepared:
    """The fold's whole training part prepared: once for each kind of need, for all members with that need. With the
    sealed rows it is made anew, so that they lie in no file that others map."""
    if job.with_sealed:
        return _fresh(job, known, rows, goal)
    name = _place(job, known)
    if not workdir.has(f"{name}.pkl"):
        fresh = _fresh(job, known, rows, goal)
        workdir.write_array(name, fresh.X)
        workdir.write_pickle(name, replace(fresh, X=np.empty(0)))
    return replace(workdir.read_pickle(name), X=np.array(workdir.read_array(name)))


def _fresh(job: Job, known: Family, rows, goal) -> Prepared:
    """These rows of the job's part prepared as the family needs it."""
    brief = load(job.workdir, job.plan)[0]
    seed = seed_for(brief.seed, "columns", job.fold, _of_fold(job))
    return prepare(rows, brief.kinds, goal, brief.task, known.needs, seed, brief.orders)


def _place(job: Job, known: Family) -> str:
    """Where the prepared columns of the job's part lie, for all families with these needs."""
    needs = known.needs
    kind = f"{needs.categories}-{needs.missing:d}{needs.scaled:d}"
    return f"columns/{job.plan}/{job.fold}-{_of_fold(job)}-{kind}"


def _of_fold(job: Job) -> int | str:
    """Which part of its fold the job is fitted on."""
    return "refit" if job.inner is None else job.inner


def _joined(workdir: Workdir, rows, goal, weights):
    import pandas as pd

    sealed_goal, sealed_weight = workdir.read_array("sealed_target"), workdir.read_array("sealed_weight")
    assert sealed_goal is not None
    frame = pd.concat([rows, workdir.read_frame("sealed")], ignore_index=True)
    both = None if weights is None or sealed_weight is None else np.concatenate([weights, sealed_weight])
    return frame, np.concatenate([goal, sealed_goal]), both


def _prepared(job: Job, workdir: Workdir, known: Family, train, judge) -> tuple[Prepared, np.ndarray]:
    """Prepared training rows and validation rows; made once for each inner fold and kind of need, then mapped."""
    brief, features, target, _ = load(job.workdir, job.plan)
    name = _place(job, known)
    kept = workdir.read_json(name + ".json")
    if kept is None:
        made = _fresh(job, known, features.iloc[train], np.asarray(target[train]))
        workdir.write_array(name + "-train", made.X)
        workdir.write_array(name + "-judge", transform(made.transformer, features.iloc[judge]))
        size, ms = len(pickle.dumps(made.transformer)) / 1e6, 0.0
        if brief.goal is not None and brief.goal.asks("latency"):
            ms = measure.latency(lambda row: transform(made.transformer, row), measure.single(features.iloc[judge]))
        kept = {"categories": made.categories, "plain": made.plain, "origins": made.origins, "mb": size, "ms": ms}
        workdir.write_json(name + ".json", kept)
    X_train, X_judge = workdir.read_array(name + "-train"), workdir.read_array(name + "-judge")
    assert X_train is not None
    assert X_judge is not None
    about = (tuple(kept.get(name, ())) for name in ("categories", "plain", "origins"))
    columns = Prepared(None, X_train, *about, kept["mb"], kept.get("ms", 0.0))  # type: ignore[arg-type]
    return columns, X_judge


def _part(prepared: Prepared, train, target, weight, brief: Brief, stop) -> Part:
    """The training rows as a family takes them, those for early stopping cut off."""
    y = np.asarray(target[train])
    whole = replace(_whole(prepared, y, _rows(weight, train), brief), group=_rows(brief.group, train))
    w = whole.weight
    if stop is None or not len(stop[1]):
        return whole
    fit, held = np.searchsorted(train, stop[0]), np.searchsorted(train, stop[1])
    cut = (prepared.X[held], y[held], _rows(w, held))
    return replace(whole, X=prepared.X[fit], y=y[fit], weight=_rows(w, fit), stop=cut, group=_rows(whole.group, fit))


def _whole(prepared: Prepared, y: np.ndarray, weight: np.ndarray | None, brief: Brief) -> Part:
    """All these rows as a family takes them, with what is known of single columns."""
    width = prepared.X.shape[1]
    monotone = [brief.monotone.get(name, 0) for name in prepared.plain]
    weight = weighted(weight, y, brief.class_weight)
    return Part(
        prepared.X, y, weight, brief.shape(len(y), width), prepared.categories,
        monotone=(*monotone, *[0] * (width - len(monotone))) if any(monotone) else (),
        season=prepared.plain.index(brief.season) if brief.season is not None else None,
        past=tuple(prepared.plain.index(name) for name in brief.past), origins=prepared.origins,
    )  # fmt: skip


def _encoded(part: Part, classes: np.ndarray) -> Part:
    """The part with its classes as 0..m-1, where groups or time left some out; early-stopping rows of others go."""
    if part.shape.task == "regression" or len(classes) == part.shape.classes:
        return part
    stop = part.stop
    if stop is not None:
        known = np.isin(stop[1], classes)
        held = _rows(stop[2], known)
        stop = (stop[0][known], np.searchsorted(classes, stop[1][known]), held) if known.any() else None
    return replace(part, y=np.searchsorted(classes, part.y), stop=stop)


def predict(model: Any, X: Any, classes: np.ndarray, brief: Brief) -> np.ndarray:
    """Values (n,), or probabilities (n, classes) widened to all classes with a floor."""
    if brief.task == "regression":
        return np.asarray(model.predict(X), dtype=np.float64)
    some = np.asarray(model.predict_proba(X), dtype=np.float64)
    if some.shape[1] == len(brief.classes):
        return some
    whole = np.full((len(some), len(brief.classes)), FLOOR)
    whole[:, classes] = some
    return whole / whole.sum(axis=1, keepdims=True)


def predict_sealed(path: str, plan: str, files: list[tuple[str, float]], name: str) -> None:
    """Writes the weighted mean prediction of these refits on the sealed rows as the array `name`."""
    workdir = Workdir(Path(path))
    brief = load(path, plan)[0]
    sealed = workdir.read_frame("sealed")
    total = np.zeros(())
    for file, share in files:
        pipeline, classes = workdir.read_pickle(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            total = total + share * predict(pipeline, sealed, classes, brief)
    workdir.write_array(name, total)


def _seed(job: Job, brief: Brief) -> int:
    return seed_for(brief.seed, "fit", job.family, job.fold, job.inner)


def _rows(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if values is None else np.asarray(values[rows])
