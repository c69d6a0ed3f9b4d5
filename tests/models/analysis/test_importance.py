"""What mattered in a search: planted effects are found, with conditions, early stops, failures and few trials."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from models.analysis.importance import FEWEST, gather_trials, measure_importance
from models.tuning.space import to_number
from models.tuning.trial import Trial

SPACE = {
    "rate": FloatDistribution(1e-5, 1.0, log=True),
    "depth": IntDistribution(1, 8),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "idle": FloatDistribution(0.0, 1.0),
}
POWER = {**SPACE, "power": FloatDistribution(1.0, 3.0)}
"""`power` is asked for where the kind is c."""
DEFAULT = {"rate": 1e-2, "depth": 4, "kind": "a", "idle": 0.5}


def score(params):
    """Best at a rate of 1e-4 on its log scale and depth 6; c is bad unless its power is high."""
    bad = 0.8 * (3 - params["power"]) if params["kind"] == "c" else 0.0
    return -((math.log10(params["rate"]) + 4) ** 2) / 8 - 0.05 * (params["depth"] - 6) ** 2 - bad


def drawn(rng):
    params = {"rate": 10 ** rng.uniform(-5, 0), "depth": int(rng.integers(1, 9)), "kind": "abc"[rng.integers(3)]}
    power = {"power": rng.uniform(1, 3)} if params["kind"] == "c" else {}
    return {**params, "idle": rng.uniform(), **power}


def trial(number, params, scores, state="complete", **more):
    space = {name: POWER[name] for name in params}
    return Trial(number, params, {}, state, tuple(scores), distributions=space, **more)


def studies(folds=4, trials=30, noise=0.02, sign=1, seed=0):
    """Studies whose folds differ in level and whose inner folds are noisy."""
    rng = np.random.default_rng(seed)
    found = {}
    for fold in range(folds):
        level = rng.normal()
        params = [DEFAULT, *(drawn(rng) for _ in range(trials - 1))]
        found[str(fold)] = [
            trial(k, p, [sign * (score(p) + level + rng.normal(scale=noise)) for _ in range(3)])
            for k, p in enumerate(params)
        ]
    return found


@pytest.fixture(scope="module")
def mattered():
    return measure_importance(gather_trials(studies(), True))


def shares(mattered, kind):
    return {h.name: getattr(h, kind) and getattr(h, kind).value for h in mattered.hyperparameters}


def test_planted_effects_are_found(mattered):
    alone = shares(mattered, "alone")
    assert next(iter(alone)) == "rate"  # `power` makes more of its own trials, but they are few
    assert alone["rate"] > 0.25 > alone["depth"] > alone["idle"]
    assert alone["idle"] < 0.03
    assert shares(mattered, "best")["rate"] > 0.3 > shares(mattered, "best")["idle"]
    assert mattered.explained > 0.5
    assert (mattered.trials, mattered.complete, mattered.studies) == (120, 120, 4)


def test_intervals_hold_the_share_and_lie_within_bounds(mattered):
    for one in mattered.hyperparameters:
        for share in (one.alone, one.whole, one.best):
            assert 0 <= share.low <= share.value <= share.high <= 1
    assert all(0 <= share.low <= share.value <= share.high <= 1 for _, _, share in mattered.pairs)
    rate = next(h for h in mattered.hyperparameters if h.name == "rate")
    assert 0.01 < rate.alone.high - rate.alone.low < 0.6


def test_a_condition_counts_its_own_trials(mattered):
    power = next(h for h in mattered.hyperparameters if h.name == "power")
    there = sum(t.params["kind"] == "c" for trials in studies().values() for t in trials)
    assert power.trials == there < 60
    assert power.alone.value > 0.05
    together = {frozenset(pair[:2]) for pair in mattered.pairs}
    assert {"rate", "power"} in together
    assert {"kind", "power"} not in together  # where there is a power, the kind is c


def test_two_that_only_matter_together_are_a_pair():
    rng = np.random.default_rng(1)
    params = [{**DEFAULT, "rate": 10 ** rng.uniform(-5, 0), "depth": int(rng.integers(1, 9))} for _ in range(120)]
    either = [(p["rate"] > 10**-2.5) != (p["depth"] > 4) for p in params]
    found = {"1": [trial(k, p, [float(e)]) for k, (p, e) in enumerate(zip(params, either, strict=True))]}
    one, other, share = measure_importance(gather_trials(found, True)).pairs[0]
    assert {one, other} == {"rate", "depth"}
    assert share.value > 0.4


def test_the_same_trials_and_seed_say_the_same():
    few = gather_trials(studies(folds=2, trials=7), True)
    one, again, other = (measure_importance(few, seed=seed) for seed in (0, 0, 1))
    assert one == again != other


def test_a_search_over_the_rows_of_all_folds_is_no_further_study_to_draw():
    """Here it stands out, so the intervals tell whether it was drawn."""
    rng = np.random.default_rng(0)
    found = {}
    for fold in "1234":
        params = [{"rate": 10 ** rng.uniform(-5, 0), "idle": rng.uniform()} for _ in range(12)]
        found[fold] = [trial(k, p, [math.log10(p["rate"])]) for k, p in enumerate(params)]
    other = [replace(t, scores=(4 * t.params["idle"],)) for t in found["4"]]
    one, two = (idle({**found, key: other}) for key in ("5", "all"))
    assert one.value == two.value
    assert one.high - one.low > 2 * (two.high - two.low) > 0
    assert gather_trials({**found, "run/all": other}, True).over_all == {4}


def idle(found):
    return next(h.whole for h in measure_importance(gather_trials(found, True)).hyperparameters if h.name == "idle")


def test_what_is_foretold_is_of_configurations_that_were_not_seen_in_another_fold():
    """Every fold tried the same configurations, whose scores depend on nothing but chance."""
    rng = np.random.default_rng(0)
    params = [DEFAULT, *(drawn(rng) for _ in range(29))]
    luck = rng.normal(size=30)
    found = {str(fold): [trial(k, p, [luck[k]]) for k, p in enumerate(params)] for fold in range(5)}
    assert measure_importance(gather_trials(found, True)).explained < 0.2


def test_less_is_better_is_only_a_sign(mattered):
    turned = {fold: [replace(t, scores=tuple(-s for s in t.scores)) for t in ts] for fold, ts in studies().items()}
    assert measure_importance(gather_trials(turned, False)) == mattered


def test_gains_are_over_the_default_on_the_inner_folds_that_both_have():
    """The first inner fold is hard: against the default's mean a stopped trial would look worse than it was."""
    found = {"1": [trial(0, DEFAULT, (0.0, 1.0, 1.0)), trial(1, {**DEFAULT, "depth": 2}, (0.1,), "pruned"),
                   trial(2, {**DEFAULT, "depth": 3}, (0.1, 1.1, 1.1))]}  # fmt: skip
    assert gather_trials(found, True).gain == pytest.approx([0.0, 0.1, 0.1])


def test_a_default_with_bad_luck_does_not_set_its_fold_apart():
    found = studies(folds=3, trials=20)
    first = found["1"][0]
    found["1"][0] = replace(first, scores=tuple(s - 5 for s in first.scores))
    gains = gather_trials(found, True)
    medians = [np.median(gains.gain[(gains.study == k) & (gains.number > 0)]) for k in range(3)]
    assert np.ptp(medians) < 1


@pytest.mark.parametrize(
    "odd",
    [
        trial(3, DEFAULT, (), "failed", reason="broken"),
        trial(3, DEFAULT, (0.5,), "timeout"),
        trial(3, DEFAULT, (0.5, 0.5, 0.5), "pruned", share=0.1),
        replace(trial(3, DEFAULT, (0.5, 0.5, 0.5)), config={"steps": []}),
        trial(3, DEFAULT, (math.nan,), "pruned"),
    ],
    ids=["failed", "timeout", "part of a fit", "step of a schedule", "not finite"],
)
def test_what_has_no_score_of_whole_fits_is_left_out(odd):
    found = studies(folds=1, trials=3)
    found["0"].append(odd)
    assert len(gather_trials(found, True).gain) == 3


def test_one_that_diverged_is_not_the_whole_variance(mattered):
    found = studies()
    found["0"][5] = replace(found["0"][5], scores=(-1e9, -1e9, -1e9))
    assert shares(measure_importance(gather_trials(found, True)), "alone")["rate"] == pytest.approx(
        shares(mattered, "alone")["rate"], abs=0.15
    )


IN_PART = {
    "1": [
        *(trial(k, {**DEFAULT, "depth": 1 + k}, (0.1 * k,)) for k in range(3)),
        *(trial(3 + k, DEFAULT, (0.5,), "pruned", share=1 / 3) for k in range(12)),
        replace(trial(15, DEFAULT, (0.5,)), config={"steps": [[5, {}]]}),
    ]
}
"""A short search that gives most configurations a part of a trial."""


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, "0 complete trials are too few"),
        (studies(folds=2, trials=FEWEST // 2 - 1), "too few"),
        (IN_PART, r"3 complete trials are too few to tell what mattered: 10 are needed\. 12 partial"),
        ({"1": [trial(k, DEFAULT, [0.5]) for k in range(20)]}, "scored the same"),
        ({"1": [Trial(k, {}, {}, "complete", (0.1 * k,)) for k in range(20)]}, "nothing to choose"),
    ],
)
def test_why_nothing_can_be_said(found, why):
    mattered = measure_importance(gather_trials(found, True))
    assert re.search(why, mattered.lack)
    assert not mattered.hyperparameters


def test_a_condition_with_few_trials_is_named_without_shares():
    found = {"1": [t for t in studies(folds=1, trials=40)["0"] if t.params["kind"] != "c"]}
    rare = studies(folds=1, trials=60, seed=5)["0"]
    found["1"] += [t for t in rare if t.params["kind"] == "c"][:4]
    power = next(h for h in measure_importance(gather_trials(found, True)).hyperparameters if h.name == "power")
    assert (power.trials, power.alone) == (4, None)


def run_with(place, **space):
    """A trial of a run whose space differed."""
    return replace(trial(place, DEFAULT, [0.1 * place]), distributions={**SPACE, **space})


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (IntDistribution(1, 4), IntDistribution(4, 8), IntDistribution(1, 8)),
        (IntDistribution(2, 8, step=2), IntDistribution(1, 8), IntDistribution(1, 8)),
        (IntDistribution(1, 4, log=True), IntDistribution(2, 9, log=True), IntDistribution(1, 9, log=True)),
    ],
)
def test_ranges_of_several_runs_are_joined(first, second, both):
    found = gather_trials({"1": [run_with(0, depth=first)], "2": [run_with(1, depth=second)]}, True)
    assert found.space["depth"] == both
    assert len(found.gain) == 2


def test_numbers_without_steps_get_none_and_choices_are_all_kept():
    narrow = {"idle": FloatDistribution(0.2, 0.5), "kind": CategoricalDistribution(["a"])}
    space = gather_trials({"1": [run_with(0, **narrow)], "2": [run_with(1)]}, True).space
    assert space["idle"] == FloatDistribution(0.0, 1.0)
    assert set(space["kind"].choices) == {"a", "b", "c"}


def test_what_a_family_asked_before_it_was_changed_is_left_out():
    old = run_with(1, depth=CategoricalDistribution([4, 6]))
    other_scale = run_with(1, rate=FloatDistribution(0.0, 1.0))
    found = gather_trials({"1": [run_with(0)], "2": [old], "3": [other_scale]}, True)
    assert len(found.gain) == 1
    assert found.space == SPACE


@pytest.mark.parametrize("one", [FloatDistribution(1e-4, 10, log=True), IntDistribution(1, 64, log=True),
                                 IntDistribution(2, 9), FloatDistribution(-1, 3)])  # fmt: skip
def test_places_and_values_are_each_others_inverse(one):
    for value in (one.low, one.high, (one.low + one.high) // 2 or 1):
        found = gather_trials({"1": [Trial(0, {"x": value}, {}, "complete", (1.0,), distributions={"x": one})]}, True)
        assert to_number(one, found.places[0, 0]) == pytest.approx(value)
