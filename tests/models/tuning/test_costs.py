"""What default fits cost, foretold: near what is measured, never less for more, and silent where nothing is known."""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes
from threadpoolctl import threadpool_limits

from models.columns import prepare
from models.columns.width import estimate_width
from models.families import load_families, load_family
from models.fitting.family import Needs, Shape, TrainingData
from models.fitting.fit import fit_family, suggest_configuration
from models.tuning.costs import (
    CostModel,
    Work,
    estimate_speed,
    fit_cost_model,
    foretell_mb,
    foretell_seconds,
    load_costs,
)
from models.tuning.space import Walk

WORK = st.builds(
    Work, st.integers(1, 10**7), st.integers(1, 5000), st.sampled_from(("binary", "regression")), st.just(2)
)


def test_the_file_knows_what_is_tried_without_being_named():
    known = load_costs()
    assert set(known) <= set(load_families())
    assert {"linear", "lightgbm", "xgboost", "catboost", "extra_trees", "random_forest", "knn", "mlp"} <= set(known)
    assert all(model.spread > 0 for models in known.values() for what, model in models.items() if what == "seconds")


@pytest.mark.parametrize("family", load_costs())
@given(work=WORK, more=st.floats(1, 100))
@settings(max_examples=25, deadline=None)
def test_more_rows_columns_or_classes_never_cost_less(family, work, more):
    seconds = foretell_seconds(family, work)
    assert seconds is not None
    assert seconds > 0
    for rows, columns, classes in ((more, 1, 1), (1, more, 1), (1, 1, more)):
        larger = Work(int(work.rows * rows), int(work.columns * columns), work.task, int(work.classes * classes))
        assert (foretell_seconds(family, larger) or 0.0) >= seconds
        assert (foretell_mb(family, larger) or 0.0) >= (foretell_mb(family, work) or 0.0)


def test_a_family_that_was_not_measured_is_not_foretold():
    assert foretell_seconds("no such family", Work(100, 10, "binary", 2)) is None
    assert foretell_mb("no such family", Work(100, 10, "binary", 2)) is None


def _measure_default(name: str, task: str) -> tuple[float, float]:
    """Processor seconds of a default fit on a table of scikit-learn, the least of two, and what is foretold."""
    X, y = (load_breast_cancer if task == "binary" else load_diabetes)(return_X_y=True, as_frame=True)
    family, classes = load_family(name), 2 if task == "binary" else 0
    kinds, target = dict.fromkeys(X.columns, "number"), y.to_numpy()
    prepared = prepare(X, kinds, target, task, family.needs, 0)  # pyright: ignore[reportArgumentType]
    shape = Shape(len(X), prepared.X.shape[1], task, classes)  # pyright: ignore[reportArgumentType]
    walk = Walk(lambda parameter, _: family.default[parameter])
    config = suggest_configuration(family, walk, shape)  # pyright: ignore[reportArgumentType]
    times: list[float] = []
    stops, rest = np.arange(len(X)) % 5 == 0, np.arange(len(X)) % 5 > 0
    stop = (prepared.X[stops], target[stops], None) if family.stops_early else None
    rows = rest if family.stops_early else np.arange(len(X)) >= 0
    # The first fit pays for what libraries load late; with more threads than cores that are free they wait for another.
    while not times or (len(times) < 2 and times[0] < 1):
        part = TrainingData(prepared.X[rows], target[rows], None, shape, prepared.categories, stop=stop)
        start = time.process_time()
        with threadpool_limits(1):
            model = fit_family(family, config, part, 0, 1).model
            getattr(model, "predict_proba" if task == "binary" else "predict")(prepared.X[stops])
        times.append(time.process_time() - start)
    width = estimate_width(X, kinds, family.needs, classes)
    return min(times), foretell_seconds(name, Work(len(X), width, task, classes)) or 0.0  # pyright: ignore


_FACTOR = 4.0
"""How far from measured a foretold cost may be, beyond the machine's own speed; and what is too short to be judged."""
_SHORT = 0.03


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_what_is_foretold_is_near_what_is_measured_on_tables_that_the_file_does_not_know(task):
    """Ratios are against their own median: that is the speed of the machine that this runs on."""
    names = [n for n in load_costs() if load_family(n).available and task in load_family(n).tasks]
    found = {n: _measure_default(n, task) for n in names if not load_family(n).unsuited(Shape(569, 30, task))}  # pyright: ignore
    ratios = {n: max(m, _SHORT) / max(f, _SHORT) for n, (m, f) in found.items()}
    speed = np.median([r for n, r in ratios.items() if max(found[n]) > _SHORT])
    far = {n: (round(r, 2), found[n]) for n, r in ratios.items() if not 1 / _FACTOR < r / speed < _FACTOR}
    assert len(ratios) > 10
    assert not far


def test_a_formula_is_found_again_from_what_it_says():
    truth = CostModel(scale=-1.0, rows=1.1, columns=0.6, classes=0.8, regression=0.3, floor=0.05, spread=0.0)
    rng = np.random.default_rng(0)
    work = [
        Work(int(10 ** rng.uniform(2, 5)), int(10 ** rng.uniform(0.5, 2.5)), task, classes)
        for task, classes in (("binary", 2), ("multiclass", 5), ("multiclass", 20), ("regression", 0)) * 30
    ]
    noise = np.exp(rng.normal(0, 0.05, len(work)))
    found = fit_cost_model(work, [truth.foretell(one) * e for one, e in zip(work, noise, strict=True)])
    assert max(abs(math.log(found.foretell(one) / truth.foretell(one))) for one in work) < 0.2


def test_a_slow_machine_is_told_by_its_first_fits_as_far_as_formulas_can_be_trusted():
    names = list(load_costs())
    assert estimate_speed([]) == 1.0
    one, several = (estimate_speed((n, 1.0, 3.0) for n in names[:count]) for count in (1, len(names)))
    assert 1.0 < one < several < 3.0
    assert estimate_speed([(names[0], 2.0, 2.0)]) == pytest.approx(1.0)


COLUMNS = pd.DataFrame({
    "number": np.arange(600.0), "few": np.arange(600) % 7, "two": np.arange(600) % 2, "many": np.arange(600) % 100,
}).astype({"few": str, "two": str, "many": str})  # fmt: skip
KINDS = {"number": "number", "few": "category", "two": "category", "many": "category"}


@pytest.mark.parametrize(("categories", "scaled"), [("codes", False), ("onehot", True), ("levels", False)])
@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("multiclass", 4), ("regression", 0)])
def test_the_width_is_that_of_what_is_prepared(categories, scaled, task, classes):
    needs = Needs(categories=categories, missing=False, scaled=scaled)
    target = np.arange(600) % classes if classes else np.arange(600.0)
    prepared = prepare(COLUMNS, KINDS, target, task, needs, 0)
    assert estimate_width(COLUMNS, KINDS, needs, classes) == prepared.X.shape[1]
