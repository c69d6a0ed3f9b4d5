"""A narrower space: it holds the planted optimum, drops what never was good, fixes what does not matter, and is a space
that the family takes."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from models.analysis.importance import FEWEST as TELLING
from models.analysis.importance import HyperparameterImportance, Importance, gather_trials, measure_importance
from models.analysis.narrowing import FEWEST, find_best_of_studies, narrow_space
from models.families import load_families
from models.fitting.family import Shape
from models.tuning.space import apply_ranges, list_distributions, to_place, to_value, walk_space
from models.tuning.trial import Trial

SPACE = {
    "rate": FloatDistribution(1e-5, 1.0, log=True),
    "depth": IntDistribution(1, 40),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "idle": FloatDistribution(0.0, 1.0),
}
DEFAULT = {"rate": 1e-2, "depth": 20, "kind": "a", "idle": 0.5}


def studies(trials=60, folds=4, best=1e-3, seed=0, sharp=1):
    """Best at that rate; deep is bad; c is worse than a and b; `idle` does nothing."""
    rng = np.random.default_rng(seed)

    def one(number):
        drawn = {"rate": 10 ** rng.uniform(-5, 0), "depth": int(rng.integers(1, 41)), "idle": rng.uniform(),
                 "kind": str(rng.choice(["a", "b", "c"]))}  # fmt: skip
        params = DEFAULT if number == 0 else drawn
        gain = -sharp * ((math.log10(params["rate"] / best)) ** 2) / 4 - params["depth"] / 40 - (params["kind"] == "c")
        return Trial(number, params, {}, "complete", (gain + rng.normal(scale=0.03),) * 2, distributions=SPACE)

    return {str(fold): [one(k) for k in range(trials)] for fold in range(folds)}


def plainly(found):
    """An importance that names the hyperparameters and says nothing of them: no forest is fitted."""
    return Importance(120, 120, 4, hyperparameters=tuple(HyperparameterImportance(n, 120) for n in found.space))


def boxed(**how):
    found = gather_trials(studies(**how), True)
    return {one.name: one for one in narrow_space(found, plainly(found), DEFAULT)}


@cache
def suggested(**how):
    found = gather_trials(studies(**how), True)
    return {one.name: one for one in narrow_space(found, measure_importance(found), DEFAULT)}


def test_the_box_holds_the_optimum_and_is_narrower():
    found = suggested()
    low, high, scale = found["rate"].range
    assert 1e-5 < low < 1e-3 < high < 0.3
    assert scale == "log"
    assert found["depth"].range[0] == 1
    assert 10 <= found["depth"].range[1] < 35


def test_choices_that_were_never_good_go_and_what_does_not_matter_is_the_default():
    found = suggested()
    assert set(found["kind"].range) == {"a", "b"}
    assert (found["idle"].range, found["idle"].fixed) == (0.5, True)


def test_no_range_is_narrower_than_a_quarter_nor_beyond_the_old_one():
    for best in (1e-5, 1e-3, 1.0):
        low, high, _ = boxed(best=best, sharp=1000, trials=400)["rate"].range
        assert 1e-5 <= low <= best <= high <= 1.0
        assert 0.25 * 5 - 0.01 <= math.log10(high / low) < 0.3 * 5


def test_a_best_end_is_said():
    assert "try beyond" in boxed(best=1e-6, trials=400)["rate"].why
    assert "try beyond" not in suggested()["rate"].why


def test_few_trials_narrow_nothing():
    assert boxed(trials=FEWEST // 4 - 1) == {}
    assert boxed(trials=FEWEST // 4 + 2) != {}


def test_each_study_gives_its_own_best():
    """A fold with large gains must not be the only one that is heard."""
    whole = studies(trials=20)
    whole["0"] = [t if k == 0 else Trial(t.number, t.params, {}, t.state, (t.scores[0] + 5,) * 2, distributions=SPACE)
                  for k, t in enumerate(whole["0"])]  # fmt: skip
    found = gather_trials(whole, True)
    assert np.bincount(found.study[find_best_of_studies(found)]).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("name", sorted(n for n, f in load_families().items() if f.tunable and "binary" in f.tasks))
def test_the_family_takes_what_is_suggested(name):
    """Random trials over the family's own space, whose scores are better the lower their first hyperparameters are."""
    known, rng = load_families()[name], np.random.default_rng(0)
    shape = Shape(1_000, 20, "binary", 2, grid=(4, 5))
    wide = list_distributions(known, shape)

    def one(number):
        walk = walk_space(known, shape, lambda n, d: known.default[n] if number == 0 else to_value(d, rng.uniform()))
        score = -sum(to_place(d, walk.params[n]) / 2**k for k, (n, d) in enumerate(walk.distributions.items()))
        return Trial(number, walk.params, {}, "complete", (score,), distributions=walk.distributions)

    found = gather_trials({str(fold): [one(k) for k in range(40)] for fold in range(3)}, True)
    ranges = {one.name: one.range for one in narrow_space(found, plainly(found), known.default)}
    assert ranges
    inside = list_distributions(apply_ranges(known, ranges, shape), shape)
    for hyperparameter in (n for n in ranges if n in inside):
        narrow, whole = inside[hyperparameter], wide[hyperparameter]
        if hasattr(whole, "choices"):
            assert set(narrow.choices) < set(whole.choices)
        else:
            assert whole.low <= narrow.low <= narrow.high <= whole.high
            assert (narrow.low, narrow.high) != (whole.low, whole.high)


def test_the_docs_say_how_many_trials_it_takes():
    text = (Path(__file__).parents[3] / "docs" / "importance.md").read_text("utf-8")
    assert f"A family needs {FEWEST} trials" in text
    assert f"under {TELLING} complete trials" in text
