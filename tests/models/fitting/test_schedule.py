"""Training in steps whose settings change: the same whether it is gone through at once or taken up from checkpoints.

A family is held to these laws by declaring `steps`."""

from __future__ import annotations

import pickle
import re
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import skops.io

from models.columns import TRUSTED
from models.errors import NestorError
from models.families import load_families
from models.fitting.family import Shape, TrainingData
from models.fitting.fit import fit_family, suggest_configuration
from models.fitting.schedule import Checkpoint, count_rounds, describe_changes, extend_schedule
from models.tuning.space import Walk
from models.tuning.strategy import find_reachable
from models.tuning.trial import Trial

ROWS = 120
STEPS = [f for f in load_families().values() if f.steps is not None]
CASES = [
    pytest.param(f, task, id=f"{f.name}-{task}", marks=[] if f.available else pytest.mark.skip(reason=f.lack))
    for f in STEPS
    for task in ("multiclass", "regression")
]
ONCE = [pytest.param(f, id=f.name, marks=[] if f.available else pytest.mark.skip(reason=f.lack)) for f in STEPS]
WHOLE = {"subsample": 1.0, "colsample_bytree": 1.0, "colsample_bylevel": 1.0, "extra_trees": False}
"""No draws of rows and columns: LightGBM and XGBoost begin to draw anew with every step, so steps of equal settings
draw otherwise than one long step does. Scikit-learn's boosting and the networks keep their chance in checkpoints."""
NOISE = {"catboost": {"random_strength": 0.0}}
"""Nor draws of what a split is worth."""
PLAIN = [case for case in ONCE if case.id in ("lightgbm", "xgboost", "hist_gradient_boosting", "catboost")]
"""Networks have a learning rate of their own that falls; along a schedule it is the schedule's."""


@cache
def part(task: str) -> TrainingData:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(ROWS, 4))
    value = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=ROWS)
    y = {"binary": (value > 0).astype(int), "multiclass": np.digitize(value, [-1, 1]), "regression": value + 9}[task]
    return TrainingData(
        X, y, rng.uniform(0.5, 2, ROWS), Shape(ROWS, 4, task, {"regression": 0}.get(task, int(y.max()) + 1))
    )  # type: ignore[arg-type]


def config(known, task: str, **more) -> dict:
    default = {**known.default, **more}
    return suggest_configuration(known, Walk(lambda name, _: default[name]), part(task).shape)  # pyright: ignore[reportArgumentType]


def scheduled(known, base, *steps) -> dict:
    found = None
    for count, factor in steps:
        found = extend_schedule(known, {**base, "learning_rate": factor * base["learning_rate"]}, count, found)
    assert found is not None
    return found


def fit(known, settings, task, begun=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit_family(known, settings, part(task), 3, 1, begun)


def said(made, task) -> np.ndarray:
    X = part(task).X
    return made.model.predict(X) if task == "regression" else made.model.predict_proba(X)


@pytest.mark.parametrize(("known", "task"), CASES)
def test_training_taken_up_from_a_checkpoint_is_the_whole_schedule_gone_through(known, task):
    base = config(known, task)
    whole = scheduled(known, base, (4, 1.0), (3, 0.5), (2, 2.0))
    first = fit(known, {**whole, "steps": whole["steps"][:1]}, task)
    stored = pickle.dumps(first.checkpoint)
    expected = said(fit(known, whole, task), task)
    # The second time from the same object: to go on must not change it.
    for begun in (pickle.loads(stored), first.checkpoint, first.checkpoint):
        np.testing.assert_array_equal(said(fit(known, whole, task, begun), task), expected)
    other = scheduled(known, base, (4, 1.0), (3, 2.0), (2, 2.0))
    assert np.any(said(fit(known, other, task, first.checkpoint), task) != expected)


@pytest.mark.parametrize("known", [case for case in ONCE if case.values[0].needs.categories == "codes"])
def test_a_schedule_goes_on_with_categories_and_with_what_is_held_monotone(known):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    X[:, 3] = rng.choice([*range(14), np.nan], 600)
    y = (X[:, 1] + np.isin(X[:, 3], (2, 3, 5, 7)) > 0.5).astype(int)
    shape = Shape(600, 4, "binary", 2, monotone=True)
    one = TrainingData(X, y, None, shape, categories=(3,), monotone=(0, 1, 0, 0))
    base = suggest_configuration(known, Walk(lambda name, _: known.default[name]), shape)  # pyright: ignore[reportArgumentType]
    whole = scheduled(known, base, (9, 1.0), (9, 0.5), (9, 2.0))
    first = fit_family(known, {**whole, "steps": whole["steps"][:1]}, one, 3, 1)
    begun = pickle.loads(pickle.dumps(first.checkpoint))
    model = fit_family(known, whole, one, 3, 1).model
    expected = model.predict_proba(X)
    np.testing.assert_array_equal(fit_family(known, whole, one, 3, 1, begun).model.predict_proba(X), expected)
    other = X.copy()
    other[:, 3] = np.where(np.isin(X[:, 3], (2, 3, 5, 7)), 4, 5)
    assert np.abs(model.predict_proba(other) - expected).max() > 0.05
    rising = np.array([[0.0, v, 0.0, level] for level in (1, 2) for v in np.linspace(-2, 2, 30)])
    assert np.diff(model.predict_proba(rising)[:, 1].reshape(2, 30)).min() >= -1e-12


@pytest.mark.parametrize("known", ONCE)
def test_steps_of_equal_settings_are_one_long_step(known):
    base = {**config(known, "binary"), **{name: v for name, v in WHOLE.items() if name in known.default}}
    base |= NOISE.get(known.name, {})
    long, short = (fit(known, scheduled(known, base, *s), "binary") for s in ([(7, 1.0)], [(4, 1.0), (3, 1.0)]))
    # CatBoost adds up a checkpoint's trees anew, so to the last digit only.
    np.testing.assert_allclose(said(short, "binary"), said(long, "binary"), rtol=1e-13)
    assert np.any(said(fit(known, scheduled(known, base, (4, 1.0)), "binary"), "binary") != said(long, "binary"))


@pytest.mark.parametrize("known", PLAIN)
def test_one_step_is_a_plain_fit_of_so_many_rounds(known):
    base = config(known, "regression")
    plain, one = (
        fit(known, {**base, "rounds": 6}, "regression"),
        fit(known, scheduled(known, base, (6, 1.0)), "regression"),
    )
    np.testing.assert_array_equal(said(plain, "regression"), said(one, "regression"))


def test_a_checkpoint_of_another_schedule_is_not_taken_up():
    known = load_families()["lightgbm"]
    base = config(known, "binary")
    whole, other = (scheduled(known, base, (4, 1.0), (3, f)) for f in (0.5, 2.0))
    longer = fit(known, scheduled(known, base, (4, 1.0), (3, 0.5), (3, 1.0)), "binary").checkpoint
    for wrong in (fit(known, other, "binary").checkpoint, longer, Checkpoint([[4, {}]], None)):
        np.testing.assert_array_equal(
            said(fit(known, whole, "binary", wrong), "binary"), said(fit(known, whole, "binary"), "binary")
        )


@pytest.mark.parametrize("known", ONCE)
def test_columns_and_the_logarithm_are_fixed_over_a_schedule_and_only_library_classes_are_delivered(known):
    wrapped = {"selected": 0.5, "log_target": True}
    whole = {**scheduled(known, config(known, "regression"), (4, 1.0), (3, 0.5)), **wrapped}
    first = fit(known, {**whole, "steps": whole["steps"][:1]}, "regression")
    made = fit(known, whole, "regression", pickle.loads(pickle.dumps(first.checkpoint)))
    expected = said(made, "regression")
    np.testing.assert_array_equal(said(fit(known, whole, "regression"), "regression"), expected)
    assert made.model.regressor_.estimator["selected"].get_support().sum() == 2
    trained = []
    counted = replace(known, steps=lambda *given: trained.append(given[0]["rounds"]) or known.steps(*given))
    fit(counted, whole, "regression", first.checkpoint)
    assert trained == [3]
    stored = skops.io.dumps(made.model)
    needed = set(skops.io.get_untrusted_types(data=stored))
    assert needed <= {*known.trusted, *TRUSTED}
    loaded = skops.io.loads(stored, trusted=sorted(needed))
    np.testing.assert_array_equal(loaded.predict(part("regression").X), expected)


def test_a_family_that_does_not_train_step_by_step_says_so():
    known = load_families()["linear"]
    with pytest.raises(NestorError, match="linear does not train step by step"):
        fit(known, {**config(known, "binary"), "steps": [[3, {}]]}, "binary")


def test_the_docs_name_the_families_that_train_step_by_step_and_the_networks_that_do_not():
    docs = (Path(__file__).parents[3] / "docs" / "searches.md").read_text("utf-8")
    found = re.search(r"Those that train step by step:(.*?)\. It can't search\s+others(.*?):", docs, re.S)
    assert found is not None
    named, others = found.groups()
    assert set(re.findall(r"`(\w+)`", named)) == {known.name for known in STEPS}
    lacking = {f.name for f in load_families().values() if f.steps is None}
    in_rounds = {name for name in lacking if load_families()[name].fidelity == "rounds"}
    assert in_rounds <= set(re.findall(r"`(\w+)`", others)) <= lacking


def test_explored_hyperparameters_are_there():
    for known in STEPS:
        assert known.explores
        assert set(known.explores) <= set(known.default)


def test_a_schedule_in_words():
    known = load_families()["lightgbm"]
    base = config(known, "binary")
    whole = scheduled(known, base, (40, 1.0), (20, 1.0), (20, 0.5))
    assert count_rounds(whole) == 80
    assert describe_changes(whole) == {"schedule.learning_rate": "60 x 0.1, 20 x 0.05"}
    assert describe_changes(base) == {}
    assert count_rounds(base) == 0


def test_checkpoints_within_reach_are_those_of_the_last_batch_and_of_what_it_went_on_from():
    first = [Trial(n, {}, {}) for n in range(5)]
    second = [Trial(n, {}, {}, parent=p, goes_on=True) for n, p in ((5, 1), (6, 2), (7, 3), (8, 2))]
    third = [Trial(n, {}, {}, parent=p, goes_on=True) for n, p in ((9, 5), (10, 2), (11, 5))]
    assert find_reachable([*first, *second, *third, Trial(12, {}, {}, parent=4)]) == {9, 10, 11, 12, 5, 2}
    assert find_reachable([]) == set()
