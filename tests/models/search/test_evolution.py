"""Regularised evolution of architectures: one mutation at a time, from parents that are young and good."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from optuna.distributions import IntDistribution

from models.families import load_families
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.search import require_strategy
from models.search.evolution import _POPULATION, _draw_other
from models.studies.study import Study
from models.tuning.fidelity import list_shares
from models.tuning.space import apply_ranges
from models.tuning.strategy import View
from models.tuning.trial import Trial

AUC = make_metric(None, "binary", ("a", "b"))
SHAPE = Shape(3_000, 12, "binary", 2)
NETWORKS = [pytest.param(f, id=f.name) for f in load_families().values() if f.architecture]


def view(known) -> View:
    return View(known, SHAPE, AUC, (), 0, 0)


def worth(trial: Trial) -> float:
    """The narrower and the deeper, the better."""
    return trial.params["layers"] - abs(trial.params["width"] - 64) / 256


def evolved(known, units: float = 14) -> list[Trial]:
    study = Study(view(known), "1", "evolution")
    while study.spent < units - 1e-9 and (asked := study.ask(units - study.spent)):
        study.tell(
            [replace(t, scores=(worth(t),), state="complete" if t.share == 1 else "pruned") for t in asked]
        )  # fmt: skip
    return study.told


@pytest.mark.parametrize("known", NETWORKS)
def test_a_child_differs_from_its_parent_in_one_thing_and_its_parent_is_young(known):
    told = evolved(known)
    least = list_shares(known, SHAPE)[0]
    members = [t for t in told[1:] if t.share == least]
    children = [t for t in members if t.parent is not None]
    assert len(members) - len(children) == _POPULATION
    assert len(children) > 8
    for child in children:
        parent = told[child.parent or 0]
        changed = [n for n in parent.params if n in child.params and child.params[n] != parent.params[n]]
        assert len(changed) == 1
        assert set(changed) < set(known.architecture)
        alive = [t.number for t in members if t.number < child.number][-_POPULATION - 3 :]
        assert parent.number in alive


@pytest.mark.parametrize("ends", [(1, 2), (1, 3), (2, 9), (8, 32, 4)])
def test_a_whole_number_mutates_wherever_it_is_in_its_range(ends):
    """A depth that no child can leave would fill the population."""
    one, draw = IntDistribution(*ends[:2], step=(*ends, 1)[2]), np.random.default_rng(0)
    for value in range(one.low, one.high + 1, one.step):
        others = [_draw_other(one, value, draw) for _ in range(60)]
        assert others.count(value) < 20
        assert {value - one.step, value + one.step} & {v for v in range(one.low, one.high + 1)} <= set(others)


@pytest.mark.parametrize("known", NETWORKS)
def test_what_is_no_architecture_stays_at_the_default(known):
    for trial in evolved(known):
        rest = {n: v for n, v in trial.params.items() if n not in known.architecture}
        assert rest.items() <= {**known.default, "log_target": False}.items()


@pytest.mark.parametrize("known", NETWORKS)
def test_generations_get_better_and_the_best_are_trained_whole(known):
    told = evolved(known)
    least = list_shares(known, SHAPE)[0]
    first, last = (
        [worth(t) for t in told[1:] if t.share == least and (t.parent is None) == beginning]
        for beginning in (True, False)
    )
    assert sum(last) / len(last) > sum(first) / len(first)
    whole = [t for t in told[1:] if t.share == 1]
    assert whole
    for one in whole:
        assert told[one.parent or 0].params == one.params
        assert worth(one) > sum(first) / len(first)


def test_a_family_without_an_architecture_is_told_so():
    assert "no architecture" in require_strategy("evolution").unsuited(view(load_families()["lightgbm"]))
    fixed = apply_ranges(load_families()["mlp"], {"layers": 2, "width": 64, "activation": "relu"}, SHAPE)
    assert "left to be searched" in require_strategy("evolution").unsuited(view(fixed))
    assert not require_strategy("evolution").unsuited(view(load_families()["mlp"]))
