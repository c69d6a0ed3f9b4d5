"""What every family must do, whichever they are: a new file in `models/families` is held to this by being there."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest
import skops.io
from sklearn.pipeline import Pipeline

from models.columns import TRUSTED, Prepared, prepare, transform
from models.families import Family, Fitted, Part, Shape, families, family
from models.search import seed_for
from tasks.fit import Brief, _encoded, predict
from tests.sessions import KINDS, frame

TASKS = ("binary", "multiclass", "regression")
EACH = [pytest.param(f, task, id=f"{f.name}-{task}") for f in families().values() for task in f.tasks]
STOPPING = [case for case in EACH if case.values[0].stops_early]
LIGHT = ("number", "noise", "flag", "colour", "town")
"""Columns whose preparation loads no large library."""


def features(rows: int = 200, columns: tuple[str, ...] = LIGHT, seed: int = 0) -> pd.DataFrame:
    return frame(rows, seed=seed)[list(columns)]


def target(task: str, rows: int = 200, seed: int = 0) -> np.ndarray:
    values = frame(rows, task, seed)["target"]
    return values.to_numpy(float) if task == "regression" else np.unique(values, return_inverse=True)[1]


def kinds(table: pd.DataFrame) -> dict[str, str]:
    return {c: KINDS.get(c, "number") for c in table.columns}


def prepared(known: Family, task: str, table: pd.DataFrame, goal: np.ndarray) -> Prepared:
    return prepare(table, kinds(table), goal, task, known.needs, 0)  # type: ignore[arg-type]


def part(known: Family, task: str, *, rows=200, columns=LIGHT, weight=None, stop=False) -> Part:
    """Training rows as the family wants them; with `stop` the last 40 are those for early stopping."""
    table, goal = features(rows, columns), target(task, rows)
    made = prepared(known, task, table, goal)
    shape = Shape(rows, made.X.shape[1], task, 0 if task == "regression" else len(np.unique(goal)))  # type: ignore[arg-type]
    if not stop:
        return Part(made.X, goal, weight, shape, made.categories)
    cut = slice(rows - 40, rows)
    first = slice(0, rows - 40)
    held = made.X[cut], goal[cut], None if weight is None else weight[cut]
    return Part(made.X[first], goal[first], None if weight is None else weight[first], shape, made.categories, held)


def config_of(known: Family, task: str, params=None, rows=200, columns=10) -> dict:
    """What `fit` takes, for the default or for these parameters."""
    trial = optuna.trial.FixedTrial(dict(known.default if params is None else params))
    return known.space(trial, Shape(rows, columns, task, 2))  # type: ignore[arg-type]


def fitted(known: Family, task: str, one: Part, config=None, seed: int = 3) -> Fitted:
    config = config_of(known, task) if config is None else config
    if known.stops_early and one.stop is None:
        config = {"rounds": 40, **config}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return known.fit(config, one, seed, 1)


def said(made: Fitted, X: np.ndarray, task: str) -> np.ndarray:
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
        known.space(trial, Shape(*cells, task, 2))
    assert trial.params == {name: known.default[name] for name in trial.params}
    outside = [n for n, d in trial.distributions.items() if not d._contains(d.to_internal_repr(known.default[n]))]
    assert not outside
    assert known.tunable == bool(trial.params)


@pytest.mark.parametrize(("known", "task"), EACH)
def test_whatever_lies_in_the_space_can_be_fitted(known, task):
    one = part(known, task, rows=80, stop=known.stops_early)
    seed = seed_for(known.name, task)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(4 if known.tunable else 1):
        made = fitted(known, task, one, known.space(study.ask(), one.shape))
        assert np.isfinite(said(made, one.X, task)).all()


# --- The fit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("known", "task"), EACH)
def test_each_task_with_and_without_weights_gives_finite_predictions(known, task, weighted):
    weight = np.random.default_rng(0).uniform(0.1, 3, 200) if weighted else None
    one = part(known, task, weight=weight, stop=known.stops_early)
    made = fitted(known, task, one)
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
    one = part(known, task)
    made = fitted(known, task, one)
    fresh, goal = features(seed=1), target(task, seed=1)
    table = features()
    X = transform(prepared(known, task, table, target(task)).transformer, fresh)
    prediction = said(made, X, task)
    score = prediction if task == "regression" else prediction @ np.arange(prediction.shape[1])
    order = goal if task != "multiclass" else np.array([2, 0, 1])[goal]  # high, low, mid
    score = score if task != "multiclass" else prediction @ np.array([2, 0, 1])
    if known.tunable:
        assert np.corrcoef(score, order)[0, 1] > 0.35
    else:
        assert np.ptp(score) < 1e-9


@pytest.mark.parametrize(("known", "task"), EACH)
def test_the_same_seed_fits_the_same_model(known, task):
    one = part(known, task, stop=known.stops_early)
    first, second = (said(fitted(known, task, one), one.X, task) for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize(("known", "task"), EACH)
def test_heavier_rows_pull_the_prediction_to_themselves(known, task):
    light, goal = np.ones(200), target(task)
    high = goal > np.median(goal) if task == "regression" else goal == 1
    heavy = np.where(high, 8.0, 1.0)

    def mean(weight):
        found = said(fitted(known, task, one := part(known, task, weight=weight)), one.X, task)
        return found.mean() if task == "regression" else found[:, 1].mean()

    assert mean(heavy) > mean(light)


@pytest.mark.parametrize(("known", "task"), EACH)
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
    shape = Shape(rows, 1, task, 0 if task == "regression" else len(np.unique(goal)))
    made = fitted(known, task, Part(x[:, None], goal, np.where(absurd, 1e-9, 1.0), shape))
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


@pytest.mark.parametrize("known", [f for f in families().values() if "multiclass" in f.tasks], ids=lambda f: f.name)
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_that_training_lacks_is_predicted_with_the_floor(known, absent):
    whole = part(known, "multiclass", stop=known.stops_early)
    keep = whole.y != absent
    one = replace(whole, X=whole.X[keep], y=whole.y[keep])
    classes = np.unique(one.y)
    encoded = _encoded(one, classes)
    assert set(encoded.y) == {0, 1}
    made = fitted(known, "multiclass", encoded)
    brief = Brief("", "multiclass", ("a", "b", "c"), None, {}, {}, 1, 0)
    found = predict(made.model, whole.X, classes, brief)
    assert found.shape == (len(whole.X), 3)
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


@pytest.mark.parametrize("known", [f for f in families().values() if not f.stops_early], ids=lambda f: f.name)
def test_a_family_that_does_not_stop_early_reports_no_rounds(known):
    assert fitted(known, known.tasks[0], part(known, known.tasks[0])).rounds is None


# --- What consumers get ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("known", "task"), EACH)
def test_saved_and_loaded_with_the_types_it_declares_it_predicts_the_same(known, task):
    columns = (*LIGHT, "day", "words")
    table, goal = features(columns=columns), target(task)
    made = prepared(known, task, table, goal)
    shape = Shape(len(goal), made.X.shape[1], task, len(np.unique(goal)) if task != "regression" else 0)
    model = fitted(known, task, Part(made.X, goal, None, shape, made.categories)).model
    pipeline = Pipeline([("columns", made.transformer), ("model", model)])
    stored = skops.io.dumps(pipeline)
    needed, declared = set(skops.io.get_untrusted_types(data=stored)), {*known.trusted, *TRUSTED}
    assert needed <= declared
    assert set(known.trusted) - set(TRUSTED) <= {*needed, *_of_other_tasks(known)}
    loaded = skops.io.loads(stored, trusted=sorted(needed))
    odd = awkward(table)
    for rows in (table, odd):
        ours, theirs = (said(Fitted(one), rows, task) for one in (pipeline, loaded))
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
    known = list(families().values())
    assert [f.cost for f in known] == sorted(f.cost for f in known)
    assert all(family(f.name) is f for f in known)
    assert all(f.suits and f.source for f in known)
