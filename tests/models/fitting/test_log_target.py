"""Targets with a long tail: when their logarithm is offered, and what a model fitted to it predicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest
import skops.io

from models.columns import TRUSTED
from models.families import load_families, load_family
from models.fitting.family import Shape, TrainingData
from models.fitting.fit import fit_family, suggest_configuration
from models.fitting.log_target import is_skewed, transform_target

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(300, 3))
PRICES = np.exp(11 + X @ [1.0, -0.5, 0.2] + 0.1 * DRAW.normal(size=300))
SHAPE = Shape(300, 3, "regression", skewed=True)
LOGGING = [f for f in load_families().values() if f.logs and f.available]


@pytest.mark.parametrize(
    ("target", "said"),
    [(PRICES, True), (-PRICES, False), (PRICES - 2 * PRICES.min(), False), (X[:, 0], False), (np.ones(9), False),
     (np.arange(9.0), False)],
)  # fmt: skip
def test_a_tail_is_seen_where_nothing_is_negative(target, said):
    assert is_skewed(target) == said
    assert is_skewed(target[::-1]) == said


@pytest.mark.parametrize("known", LOGGING, ids=lambda f: f.name)
def test_the_logarithm_is_asked_for_where_there_is_a_tail(known):
    study = optuna.create_study()
    study.enqueue_trial(dict(known.default))
    assert suggest_configuration(known, study.ask(), SHAPE)["log_target"] == known.default["log_target"]
    assert "log_target" not in suggest_configuration(known, study.ask(), Shape(300, 3, "regression"))


def test_on_prices_a_line_through_the_logarithm_is_nearer_and_stays_within_what_was_seen():
    part, known = TrainingData(X, PRICES, None, SHAPE), load_family("linear")
    plain, log = (fit_family(known, {"strength": 1e-3, "log_target": on}, part, 0, 1).model for on in (False, True))
    error = {m: np.sqrt(np.mean((m.predict(X) - PRICES) ** 2)) for m in (plain, log)}
    assert error[log] < 0.5 * error[plain]
    far = log.predict(np.array([[1e9, 0, 0], [-1e9, 0, 0]]))
    assert far == pytest.approx([PRICES.max(), PRICES.min()])
    stored = skops.io.dumps(log)
    assert not skops.io.get_untrusted_types(data=stored)
    assert (skops.io.loads(stored).predict(X) == log.predict(X)).all()


@pytest.mark.parametrize("known", LOGGING, ids=lambda f: f.name)
def test_every_family_learns_the_logarithm_and_is_stored_with_it(known):
    """With rows to stop on where it stops early; what it keeps of the part's rows is made once for both scales."""
    stop = (X, PRICES, None) if known.stops_early else None
    part = TrainingData(X, PRICES, None, SHAPE, stop=stop)
    study = optuna.create_study()
    study.enqueue_trial(dict(known.default))
    config = suggest_configuration(known, study.ask(), SHAPE)
    models = [fit_family(known, {**config, "log_target": on}, part, 0, 1).model for on in (True, True, False)]
    assert type(models[0]).__name__ == "TransformedTargetRegressor"
    predictions = models[0].predict(X)
    assert np.array_equal(predictions, models[1].predict(X))
    assert not np.array_equal(predictions, models[2].predict(X))
    assert np.sqrt(np.mean((predictions - PRICES) ** 2)) < PRICES.std()
    assert (predictions >= PRICES.min() * 0.999).all()
    assert transform_target(part) is transform_target(part)
    rounds = {"rounds": 30} if known.stops_early else {}
    refit = fit_family(known, {**config, "log_target": True, **rounds}, replace(part, stop=None, kept={}), 0, 1).model
    stored = skops.io.dumps(refit)
    trusted = skops.io.get_untrusted_types(data=stored)
    assert set(trusted) <= {*TRUSTED, *known.trusted}
    assert (skops.io.loads(stored, trusted=trusted).predict(X) == refit.predict(X)).all()


def test_rows_to_stop_on_are_on_the_same_scale():
    part = TrainingData(X, PRICES, None, SHAPE, stop=(X, PRICES, None))
    _, on_logs = transform_target(part)
    assert on_logs.stop is not None
    assert on_logs.y == pytest.approx(on_logs.stop[1])
    assert (on_logs.y.min(), on_logs.y.max()) == pytest.approx((0, 1))


def test_targets_below_zero_are_taken_as_they_are():
    part = TrainingData(X, PRICES - PRICES.mean(), None, SHAPE)
    known = load_family("linear")
    plain, log = (fit_family(known, {"strength": 1.0, "log_target": on}, part, 0, 1).model for on in (False, True))
    assert (plain.predict(X) == log.predict(X)).all()
