"""The search by gradients: where it steps, over a loss whose derivatives are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from models.families import load_families
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.studies.study import Study
from models.tuning.goal import Goal, Limit, make_objective
from models.tuning.space import apply_ranges
from models.tuning.strategy import BATCH, View
from models.tuning.trial import Trial

RMSE = make_metric(None, "regression", ())
SHAPE = Shape(500_000, 14, "regression")
"""So large that linear models have no choice of penalty."""
BEST = {f"strength_{g}": 10.0 ** (g % 5 - 2) for g in range(14)}


def study(name: str = "banded", shape: Shape = SHAPE, metric=RMSE, ranges=None, strategy: str = "gradient") -> Study:
    known = apply_ranges(load_families()[name], ranges or {}, shape)
    return Study(View(known, shape, metric, (), 0, 0), "1", strategy)


def bowl(trial: Trial) -> Trial:
    """A loss that is least at BEST, steeper in some hyperparameters than in others, and its derivatives."""
    apart = {name: math.log10(trial.params[name] / best) for name, best in BEST.items()}
    steep = {name: 1.0 + place % 3 for place, name in enumerate(BEST)}
    loss = sum(steep[name] * (math.sqrt(1 + one**2) - 1) for name, one in apart.items())
    slopes = {
        name: steep[name] * one / math.sqrt(1 + one**2) / (math.log(10) * trial.params[name])
        for name, one in apart.items()
    }
    return replace(trial, scores=(loss,), gradient=slopes if trial.gradient is not None else None)


def searched(one: Study, trials: int = 25, told=bowl) -> list[Trial]:
    while len(one.told) < trials and (asked := one.ask(trials - len(one.told))):
        one.tell([told(t) for t in asked])
    return one.told


def test_fourteen_penalties_are_found_in_twenty_trials():
    first, *_ = found = searched(study(), 21)
    assert min(t.scores[0] for t in found) < 0.02 * first.scores[0]
    assert min(t.scores[0] for t in searched(study(strategy="tpe"), 21)) > 0.5 * first.scores[0]


def test_steps_are_made_from_what_keeps_the_limits_and_not_from_a_better_score_that_breaks_them():
    best = min(searched(study(), 5), key=lambda t: t.scores[0]).number
    view = View(
        load_families()["banded"],
        SHAPE,
        RMSE,
        (),
        0,
        0,
        goal=Goal(RMSE, limits=(Limit(make_objective("size", RMSE), 1.0),)),
    )
    one = Study(view, "1", "gradient")
    searched(one, 5, lambda t: replace(bowl(t), measures={"size": 2.0 if t.number == best else 0.5}))
    assert min(one.told, key=lambda t: t.scores[0]).number == best
    assert {t.parent for t in one.ask()} <= {t.number for t in one.told} - {best}


def test_every_trial_is_asked_for_its_gradient_and_names_where_it_stepped_from():
    found = searched(study(), 13)
    assert all(t.gradient is not None for t in found)
    assert [t.parent for t in found[:5]] == [None, 0, 0, 0, 0]
    for trial in found[1:]:
        assert trial.parent is not None
        before = found[trial.parent]
        down = sum((before.gradient or {})[n] * (trial.params[n] - before.params[n]) for n in BEST)
        assert down < 0


def test_where_the_gradient_leads_out_of_the_range_it_stays_on_the_bound():
    ranges = {"strength_4": [0.1, 1.0], "strength_0": [0.5, 20.0, "linear"], "strength_2": 3.0}
    found = searched(study(ranges=ranges), 25)
    assert all(0.1 <= t.params["strength_4"] <= 1.0 and 0.5 <= t.params["strength_0"] <= 20.0 for t in found)
    assert {t.params["strength_2"] for t in found} == {3.0}
    best = min(found, key=lambda t: t.scores)
    assert (best.params["strength_4"], best.params["strength_0"]) == (1.0, 0.5)


def test_other_choices_get_a_start_of_their_own_and_up_while_the_best_goes_on():
    one = study("linear", replace(SHAPE, rows=500, skewed=True))

    def told(trial: Trial) -> Trial:
        apart = math.log10(trial.params["strength"]) - 1.0
        worse = 5.0 * (trial.params["penalty"] == "elasticnet") + trial.params["log_target"]
        slope = 2 * apart / (math.log(10) * trial.params["strength"])
        return replace(trial, scores=(apart**2 + worse,), gradient={"strength": slope})

    found = searched(one, 17, told)
    assert [t.parent for t in found[1:5]] == [None, None, 0, 0]
    ways = {(t.params["penalty"], t.params["log_target"]) for t in found[:9]}
    assert {("l2", True), ("l2", False), ("elasticnet", True)} <= ways
    best = min(found, key=lambda t: t.scores)
    assert (best.params["penalty"], best.params["log_target"]) == ("l2", False)
    assert best.params["strength"] == pytest.approx(10, rel=0.05)


def test_once_there_it_begins_elsewhere_and_follows_that_too():
    one = study("linear", SHAPE)

    def told(trial: Trial) -> Trial:
        slope = 1.0 / trial.params["strength"]  # ever less penalty: the least is on the bound
        return replace(trial, scores=(math.log(trial.params["strength"]),), gradient={"strength": slope})

    found = searched(one, 33, told)
    assert min(t.params["strength"] for t in found) == pytest.approx(1e-4)
    starts = [t for t in found if t.parent is None]
    assert len(starts) > BATCH
    assert any(t.parent is not None and t.parent == starts[1].number for t in found)
    assert len({str(t.params) for t in found}) >= 0.9 * len(found)


def test_trials_without_a_gradient_are_no_place_to_step_from():
    def told(trial: Trial) -> Trial:
        if trial.number % 3 == 0:
            return replace(trial, state="failed")
        return bowl(trial)

    found = searched(study(), 21, told)
    assert all(t.parent is None or found[t.parent].state == "complete" for t in found)
    assert any(t.parent is not None for t in found)


@pytest.mark.parametrize("known", [f for f in load_families().values() if f.tunable], ids=lambda f: f.name)
def test_a_family_without_derivatives_says_so_and_names_those_that_have_some(known):
    said = study(known.name).unsuited
    assert bool(said) == (known.hypergradient is None)
    if said:
        assert "linear" in said
        assert "banded" in said


def test_a_median_or_a_quantile_has_none():
    for name in ("mae", "pinball:0.9"):
        metric = make_metric(name, "regression", ())
        shape = replace(SHAPE, loss=metric.loss, level=metric.level)
        assert metric.name in study("linear", shape, metric).unsuited
    assert not study("linear", SHAPE, make_metric("r2", "regression", ())).unsuited
