"""Training of networks: what losses aim at, what stops it, what chance may change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.fitting.family import Shape, TrainingData
from models.fitting.torch_training import TrainingSettings, count_outputs, train_module

torch = pytest.importorskip("torch", reason="needs extra neural")

COURSE = TrainingSettings(epochs=60, patience=60, batch_size=64, learning_rate=1e-2)


def module(inputs: int = 1, count: int = 1):
    return torch.nn.Sequential(torch.nn.Linear(inputs, 16), torch.nn.ReLU(), torch.nn.Linear(16, count))


def skewed(**about) -> TrainingData:
    """A target that X says nothing of: its mean, median and quantiles lie far apart."""
    y = np.random.default_rng(0).exponential(10.0, 500)
    return TrainingData(np.zeros((500, 1)), y, None, Shape(500, 1, "regression", **about))


def told(made, X) -> np.ndarray:
    with torch.no_grad():
        return made.module(torch.as_tensor(X, dtype=torch.float32)).numpy()[:, 0] * made.spread + made.centre


@pytest.mark.parametrize(
    ("about", "aim"),
    [
        ({"loss": "squared"}, np.mean),
        ({"loss": "absolute"}, np.median),
        ({"loss": "quantile", "level": 0.9}, lambda y: np.quantile(y, 0.9)),
    ],
)
def test_each_loss_has_its_own_aim(about, aim):
    part = skewed(**about)
    made = train_module(module, part, replace(COURSE, schedule="cosine"), 0, 1)
    assert told(made, part.X[:1])[0] == pytest.approx(aim(part.y), rel=0.12)


def test_a_weight_counts_as_so_many_rows():
    part = skewed()
    heavy = np.where(part.y > 10, 5.0, 1.0)
    made = train_module(module, replace(part, weight=heavy), COURSE, 0, 1)
    assert told(made, part.X[:1])[0] == pytest.approx(np.average(part.y, weights=heavy), rel=0.12)


def test_it_ends_when_the_rows_for_stopping_get_no_better_and_keeps_the_best_weights():
    """Rows of pure noise: what is learned of them makes others worse."""
    draw = np.random.default_rng(1)
    X, y = draw.normal(size=(120, 8)), draw.normal(size=120)
    stop = draw.normal(size=(80, 8)), draw.normal(size=80), None
    part = TrainingData(X, y, None, Shape(120, 8, "regression"), stop=stop)
    made = train_module(lambda: module(8), part, replace(COURSE, patience=5), 0, 1)
    until = train_module(lambda: module(8), replace(part, stop=None), COURSE, 0, 1, rounds=made.rounds)
    longer = train_module(lambda: module(8), replace(part, stop=None), COURSE, 0, 1)
    error = [float(np.mean((told(one, stop[0]) - stop[1]) ** 2)) for one in (made, longer)]
    assert made.rounds < 20
    assert longer.rounds == 60
    assert np.array_equal(told(made, X), told(until, X))
    assert error[0] < error[1]


def test_a_seed_decides_and_leaves_the_chance_of_others_alone():
    part = skewed()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (told(train_module(module, part, COURSE, seed, 1, rounds=2), part.X[:1]) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_last_row_alone_is_not_normalised_alone():
    """Batch normalisation fails on one row: 65 rows are one batch of 65."""
    part = replace(skewed(), X=np.random.default_rng(0).normal(size=(500, 1)))
    one = replace(part, X=part.X[:65], y=part.y[:65])

    def build():
        return torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))

    assert np.isfinite(told(train_module(build, one, COURSE, 0, 1, rounds=1), one.X)).all()


def test_training_that_runs_away_is_an_error():
    away = replace(COURSE, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="1e\\+30"):
        train_module(module, replace(skewed(), X=np.random.default_rng(0).normal(size=(500, 1))), away, 0, 1)


def test_there_are_as_many_outputs_as_classes_in_the_part():
    two = TrainingData(np.zeros((4, 1)), np.array([0, 1, 1, 0]), None, Shape(4, 1, "multiclass", 3))
    assert count_outputs(two) == 2
    assert count_outputs(replace(two, shape=Shape(4, 1, "binary", 2))) == 1
