"""What every family must do, whichever they are: a new file in `models/families` is held to this by being there."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import optuna
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from models.columns import TRUSTED, PreparedRows, prepare, transform
from models.data.hashes import derive_seed
from models.families import load_families, load_family
from models.fitting.family import Family, FittedModel, Needs, Shape, TrainingData
from models.fitting.fit import fit_family as fit_one
from models.fitting.fit import suggest_configuration
from tasks.execution.inputs import encode_classes
from tasks.execution.job import FitContext
from tasks.execution.worker import predict_rows
from tests.runs import KINDS, make_frame

TASKS = ("binary", "multiclass", "regression")


def _marks(known: Family) -> list:
    return [] if known.available else [pytest.mark.skip(reason=f"{known.name} needs extra {known.extra}")]


EACH = [
    pytest.param(f, task, id=f"{f.name}-{task}", marks=_marks(f)) for f in load_families().values() for task in f.tasks
]
ONCE = [pytest.param(f, id=f.name, marks=_marks(f)) for f in load_families().values()]
STOPPING = [case for case in EACH if case.values[0].stops_early]
WEIGHED = [case for case in EACH if case.values[0].weights]
UNWEIGHED = [case for case in EACH if not case.values[0].weights]
HELD = [case for case in EACH if case.values[0].safe]
MOST_MB = 20
"""A default model of 200 rows that is larger would make a bag that nobody wants to serve."""
LIGHT = ("number", "noise", "flag", "colour", "town")
"""Columns whose preparation loads no large library."""


# What many tests ask for is made once: tables, prepared columns, models at their defaults. Nobody changes them.


@cache
def features(rows: int = 200, columns: tuple[str, ...] = LIGHT, seed: int = 0) -> pd.DataFrame:
    return make_frame(rows, seed=seed)[list(columns)]


@cache
def target(task: str, rows: int = 200, seed: int = 0) -> np.ndarray:
    values = make_frame(rows, task, seed)["target"]
    return values.to_numpy(float) if task == "regression" else np.unique(values, return_inverse=True)[1]


def kinds(table: pd.DataFrame) -> dict[str, str]:
    return {c: KINDS.get(c, "number") for c in table.columns}


@cache
def prepared(needs: Needs, task: str, rows: int = 200, columns: tuple[str, ...] = LIGHT) -> PreparedRows:
    table = features(rows, columns)
    return prepare(table, kinds(table), target(task, rows), task, needs, 0)  # type: ignore[arg-type]


def shape_of(task: str, rows: int, columns: int, classes: int = 2) -> Shape:
    """A shape on which every family can be tried: columns in order on a signal, rows in order of time, a season."""
    classes = 0 if task == "regression" else classes
    return Shape(rows, columns, task, classes, grid=(columns,), time=True, season=True, many=2, past=2)  # type: ignore[arg-type]


def whole(X: np.ndarray, goal: np.ndarray, weight, task: str, categories=()) -> TrainingData:
    shape = shape_of(task, len(goal), X.shape[1], len(np.unique(goal)))
    return TrainingData(X, goal, weight, shape, categories, season=0, past=tuple(range(X.shape[1]))[:2])


def part(known: Family, task: str, *, rows=200, columns=LIGHT, weight=None, stop=False) -> TrainingData:
    """Training rows as the family wants them; with `stop` the last 40 are those for early stopping."""
    goal, made = target(task, rows), prepared(known.needs, task, rows, columns)
    one = whole(made.X, goal, weight, task, made.categories)
    if not stop:
        return one
    cut = slice(rows - 40, rows)
    first = slice(0, rows - 40)
    held = made.X[cut], goal[cut], None if weight is None else weight[cut]
    weights = None if weight is None else weight[first]
    return replace(one, X=made.X[first], y=goal[first], weight=weights, stop=held)


def config_of(known: Family, task: str, params=None, rows=200, columns=10) -> dict:
    """What `fit` takes, for the default or for these parameters."""
    trial = optuna.trial.FixedTrial(dict(known.default if params is None else params))
    return suggest_configuration(known, trial, shape_of(task, rows, columns))


def fitted(known: Family, task: str, one: TrainingData, config=None, seed: int = 3) -> FittedModel:
    config = config_of(known, task) if config is None else config
    if known.stops_early and one.stop is None:
        config = {"rounds": 40, **config}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit_one(known, config, one, seed, 1)


@cache
def usual(name: str, task: str, stop: bool = False) -> tuple[TrainingData, FittedModel]:
    """A part of the table, and the family's default fitted on it."""
    one = part(load_family(name), task, stop=stop)
    return one, fitted(load_family(name), task, one)


def said(made: FittedModel, X: np.ndarray, task: str) -> np.ndarray:
    """Values, or probabilities."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(made.model.predict(X) if task == "regression" else made.model.predict_proba(X))


# --- The space -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [(200, 5), (90_000, 60)])
@pytest.mark.parametrize(("known", "task"), EACH)
def test_the_default_lies_in_the_space(known, task, cells):
    study = optuna.create_study()
    study.enqueue_trial(dict(known.default))
    trial = study.ask()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        suggest_configuration(known, trial, shape_of(task, *cells))
    assert trial.params == {name: known.default[name] for name in trial.params}
    outside = [n for n, d in trial.distributions.items() if not d._contains(d.to_internal_repr(known.default[n]))]
    assert not outside
    assert known.tunable == bool(trial.params)


@pytest.mark.parametrize(("known", "task"), EACH)
def test_whatever_lies_in_the_space_can_be_fitted(known, task):
    one = part(known, task, rows=80, stop=known.stops_early)
    seed = derive_seed(known.name, task)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(4 if known.tunable else 1):
        made = fitted(known, task, one, suggest_configuration(known, study.ask(), one.shape))
        assert np.isfinite(said(made, one.X, task)).all()


# --- The fit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("known", "task"), EACH)
def test_each_task_with_and_without_weights_gives_finite_predictions(known, task, weighted):
    if weighted:
        one = part(known, task, weight=np.random.default_rng(0).uniform(0.1, 3, 200), stop=known.stops_early)
        made = fitted(known, task, one)
    else:
        one, made = usual(known.name, task, known.stops_early)
    found = said(made, one.X, task)
    assert np.isfinite(found).all()
    if task == "regression":
        assert found.shape == (len(one.y),)
    else:
        assert found.shape == (len(one.y), one.shape.classes)
        assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
        assert (found >= 0).all()


@pytest.mark.parametrize(("known", "task"), EACH)
def test_it_learns_what_a_column_tells(known, task):
    one, made = usual(known.name, task)
    fresh, goal = features(seed=1), target(task, seed=1)
    X = transform(prepared(known.needs, task).transformer, fresh)
    prediction = said(made, X, task)
    score = prediction if task == "regression" else prediction @ np.arange(prediction.shape[1])
    order = goal if task != "multiclass" else np.array([2, 0, 1])[goal]  # high, low, mid
    score = score if task != "multiclass" else prediction @ np.array([2, 0, 1])
    if known.tunable or known.unsuited(replace(one.shape, season=False)):
        assert np.corrcoef(score, order)[0, 1] > 0.35
    else:
        assert np.ptp(score) < 1e-9


@pytest.mark.parametrize(("known", "task"), EACH)
def test_the_same_seed_fits_the_same_model(known, task):
    one, made = usual(known.name, task, known.stops_early)
    first, second = (said(each, one.X, task) for each in (made, fitted(known, task, one)))
    assert (first == second).all()


@pytest.mark.parametrize(("known", "task"), WEIGHED)
def test_heavier_rows_pull_the_prediction_to_themselves(known, task):
    light, goal = np.ones(200), target(task)
    high = goal > np.median(goal) if task == "regression" else goal == 1
    heavy = np.where(high, 8.0, 1.0)

    def mean(weight):
        found = said(fitted(known, task, one := part(known, task, weight=weight)), one.X, task)
        return found.mean() if task == "regression" else found[:, 1].mean()

    assert mean(heavy) > mean(light)


@pytest.mark.parametrize(("known", "task"), UNWEIGHED)
def test_a_family_without_weights_says_so_and_takes_no_notice_of_them(known, task):
    one, made = usual(known.name, task)
    heavy = replace(one, weight=np.random.default_rng(0).uniform(0.1, 9, len(one.y)))
    plain, weighed = (said(each, one.X, task) for each in (made, fitted(known, task, heavy)))
    assert (plain == weighed).all()


@pytest.mark.parametrize(("known", "task"), WEIGHED)
def test_rows_of_no_weight_teach_nothing(known, task):
    """Half of the rows carry absurd targets and next to no weight: what is learned is what the others say."""
    rows = 400
    draw = np.random.default_rng(0)
    x = draw.normal(size=rows)
    absurd = np.arange(rows) % 2 == 0
    if task == "regression":
        goal = np.where(absurd, 50.0, x)
    else:
        classes = 3 if task == "multiclass" else 2
        goal = np.where(absurd, classes - 1, (x > 0).astype(int))
    made = fitted(known, task, whole(x[:, None], goal, np.where(absurd, 1e-9, 1.0), task))
    found = said(made, x[~absurd, None], task)
    if task == "regression":
        assert np.abs(found).max() < 10
    elif task == "multiclass":
        assert found[:, 2].max() < 0.2
    else:
        assert abs(found[:, 1].mean() - goal[~absurd].mean()) < 0.1


@pytest.mark.parametrize(("known", "task"), EACH)
def test_one_column_is_enough(known, task):
    one = part(known, task, columns=("number",), stop=known.stops_early)
    assert np.isfinite(said(fitted(known, task, one), one.X, task)).all()


@pytest.mark.parametrize(("known", "task"), EACH)
def test_a_column_that_never_varies_is_no_trouble(known, task):
    one = part(known, task, stop=known.stops_early)
    held = one.stop and (np.column_stack([one.stop[0], np.ones(40)]), *one.stop[1:])
    shape = shape_of(task, len(one.y), one.X.shape[1] + 1, one.shape.classes)
    made = fitted(known, task, replace(one, X=np.column_stack([one.X, np.ones(len(one.y))]), stop=held, shape=shape))
    assert np.isfinite(said(made, np.column_stack([one.X, np.full(len(one.y), 7.0)]), task)).all()


@pytest.mark.parametrize("known", [p for p in ONCE if "multiclass" in p.values[0].tasks])
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_that_training_lacks_is_predicted_with_the_floor(known, absent):
    every = part(known, "multiclass", stop=known.stops_early)
    keep = every.y != absent
    one = replace(every, X=every.X[keep], y=every.y[keep])
    classes = np.unique(one.y)
    coded = encode_classes(one, classes)
    assert set(coded.y) == {0, 1}
    made = fitted(known, "multiclass", coded)
    brief = FitContext("", "multiclass", ("a", "b", "c"), None, {}, {}, 1, 0)
    found = predict_rows(made.model, every.X, classes, brief)
    assert found.shape == (len(every.X), 3)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found[:, absent] < 1e-5).all()
    assert (found[:, absent] > 0).all()


# --- Rounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("known", "task"), STOPPING)
def test_with_rounds_given_it_makes_as_many(known, task):
    one = part(known, task)
    config = config_of(known, task)
    made = {n: fitted(known, task, one, {**config, "rounds": n}) for n in (1, 7, 8)}
    assert {n: m.rounds for n, m in made.items()} == {1: 1, 7: 7, 8: 8}
    found = {n: said(m, one.X, task) for n, m in made.items()}
    assert not np.array_equal(found[1], found[7])
    assert not np.array_equal(found[7], found[8])


@pytest.mark.parametrize(("known", "task"), STOPPING)
def test_the_rounds_it_reports_are_those_it_predicts_with(known, task):
    one = part(known, task, stop=True)
    config = config_of(known, task)
    stopped = fitted(known, task, one, config)
    assert stopped.rounds is not None
    assert stopped.rounds >= 1
    again = fitted(known, task, replace(one, stop=None), {**config, "rounds": stopped.rounds})
    assert np.allclose(said(stopped, one.X, task), said(again, one.X, task), atol=1e-6)


@pytest.mark.parametrize("known", [p for p in ONCE if not p.values[0].stops_early])
def test_a_family_that_does_not_stop_early_reports_no_rounds(known):
    assert usual(known.name, known.tasks[0])[1].rounds is None


# --- What consumers get ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("known", "task"), EACH)
def test_it_is_small_and_one_row_is_enough_and_says_what_it_says_among_others(known, task):
    one, model = usual(known.name, task)
    assert len(pickle.dumps(model.model)) / 1e6 < MOST_MB
    if not known.unsuited(replace(one.shape, time=False)):
        alone = np.concatenate([said(model, one.X[i : i + 1], task) for i in range(5)])
        assert np.allclose(alone, said(model, one.X, task)[:5], atol=1e-6)


@pytest.mark.parametrize(("known", "task"), EACH)
def test_scikit_learn_can_clone_it(known, task):
    """As whoever cross-validates a delivered model does: unfitted, with the same settings."""
    model = usual(known.name, task)[1].model
    again = clone(model)
    assert type(again) is type(model)
    assert str(again.get_params()) == str(clone(again).get_params())


@pytest.mark.parametrize(("known", "task"), HELD)
def test_saved_and_loaded_with_the_types_it_declares_it_predicts_the_same(known, task):
    columns = (*LIGHT, "day", "words")
    table, goal = features(columns=columns), target(task)
    made = prepared(known.needs, task, columns=columns)
    model = fitted(known, task, whole(made.X, goal, None, task, made.categories)).model
    pipeline = Pipeline([("columns", made.transformer), ("model", model)])
    stored = skops.io.dumps(pipeline)
    needed, declared = set(skops.io.get_untrusted_types(data=stored)), {*known.trusted, *TRUSTED}
    assert needed <= declared
    assert set(known.trusted) - set(TRUSTED) <= {*needed, *_of_other_tasks(known)}
    loaded = skops.io.loads(stored, trusted=sorted(needed))
    odd = awkward(table)
    for rows in (table, odd):
        ours, theirs = (said(FittedModel(one), rows, task) for one in (pipeline, loaded))
        assert (ours == theirs).all()
        assert np.isfinite(ours).all()


def _of_other_tasks(known: Family) -> set[str]:
    """Types such as a regressor's, which a classifier's pipeline does not hold."""
    return {t for t in known.trusted if t.endswith(("Classifier", "Regressor"))}


def awkward(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with unseen levels, with nothing in them, and with numbers far outside."""
    new = table.head(12).copy()
    new["colour"], new["town"], new["words"] = "ultraviolet", "nowhere", "words never seen"
    nothing = table.head(3).where(np.zeros((3, table.shape[1]), bool))
    far = table.head(3).assign(number=1e9, noise=-1e9)
    odd = pd.concat([new, nothing, far], ignore_index=True)
    return odd.astype(table.dtypes.to_dict())


def test_families_are_told_apart_by_name_and_ordered_by_cost():
    known = list(load_families().values())
    assert [f.cost for f in known] == sorted(f.cost for f in known)
    assert all(load_family(f.name) is f for f in known)
    assert all(f.suits and f.source for f in known)
