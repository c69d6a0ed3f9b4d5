"""A length scale for each group of columns: what a long one does, and where the derivatives lead."""

from __future__ import annotations

import numpy as np
import pytest

from models.families import load_family
from models.fitting.family import Shape, TrainingData
from models.fitting.fit import compute_hypergradient, fit_family
from tests.models.families.test_banded import silent

TASKS = ("binary", "multiclass", "regression")
KERNEL = load_family("kernel")


def part(task: str, seed: int) -> TrainingData:
    """Four groups, of which only the first and the last tell something, together."""
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(240, 6))
    said = np.sin(2 * X[:, 0]) * X[:, 5] + 0.1 * draw.normal(size=240)
    y = said if task == "regression" else np.digitize(said, [-0.3, 0.3] if task == "multiclass" else [0])
    shape = Shape(240, 4, task, 0 if task == "regression" else int(y.max()) + 1)  # type: ignore[arg-type]
    return TrainingData(X, y, None, shape, origins=(0, 1, 1, 2, 2, 3))


def config(lengths: list[float]) -> dict:
    return {"lengths": lengths, "strength": 0.1, "columns": 4}


@pytest.mark.parametrize("group", range(4))
@pytest.mark.parametrize("task", TASKS)
def test_a_long_length_silences_its_own_group_and_no_other(task, group):
    one = part(task, 0)
    model = fit_family(KERNEL, config([1e4 if g == group else 0.5 for g in range(4)]), one, 0, 1).model
    assert silent(model, one) == [origin == group for origin in one.origins]


@pytest.mark.parametrize("task", TASKS)
def test_the_derivatives_ask_for_longer_lengths_above_all_where_there_is_nothing_to_tell(task):
    one, judge = part(task, 0), part(task, 1)
    settings = config([0.5] * 4)
    model = fit_family(KERNEL, settings, one, 0, 1).model
    slopes = compute_hypergradient(KERNEL, settings, one, model, judge, 0)
    noise, told = (slopes["length_1"], slopes["length_2"]), (slopes["length_0"], slopes["length_3"])
    assert max(noise) < min(0, *told)
