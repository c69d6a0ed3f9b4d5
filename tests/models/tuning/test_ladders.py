"""Who goes on from a rung, and what a batch is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from models.data.hashes import derive_seed
from models.families import load_families
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.search import load_strategies
from models.studies.study import Study
from models.tuning.goal import Goal, Limit, make_objective
from models.tuning.ladders import Ladder, climb_ladders, find_richest_rung
from models.tuning.strategy import BATCH, View
from models.tuning.trial import Trial

AUC = make_metric(None, "binary", ("a", "b"))
RMSE = make_metric(None, "regression", ())
KNOWN = load_families()["linear"]
SHAPE = Shape(3_000, 12, "binary", 2)
THIRD, NINTH = 1 / 3, 1 / 9


def trial(number: int, share: float, score: float | None, parent: int | None = None, state: str = "") -> Trial:
    ended = state or ("failed" if score is None else "complete" if share == 1 else "pruned")
    return Trial(number, {"n": number}, {}, ended, () if score is None else (score,), share=share, parent=parent)


def view(told, metric=AUC) -> View:
    return View(KNOWN, SHAPE, metric, told, 1, 1)


def going(trials, metric=AUC) -> list[tuple[int | None, float]]:
    return [
        (p.parent, p.share) for p in Ladder((NINTH, THIRD, 1.0), tuple(trials)).list_survivors(view((), metric).ahead)
    ]


def test_the_best_third_of_a_rung_goes_on_with_three_times_as_much():
    rung = [trial(n, NINTH, score) for n, score in enumerate((0.5, 0.9, 0.7, 0.6, 0.8, 0.4), 1)]
    assert going(rung) == [(2, THIRD), (5, THIRD)]
    assert going(rung, RMSE) == [(6, THIRD), (1, THIRD)]
    assert going(rung[:5]) == [(2, THIRD)]
    assert going(rung[:2]) == []


def test_who_went_on_does_not_again_and_the_top_rung_comes_first():
    rung = [trial(n, NINTH, n / 100) for n in range(1, 10)]
    above = [trial(10, THIRD, 0.3, 9), trial(11, THIRD, 0.5, 8), trial(12, THIRD, 0.1, 7)]
    assert going([*rung, *above[:2]]) == [(7, THIRD)]
    assert going([*rung, *above]) == [(11, 1.0)]
    assert going([*rung, *above, trial(13, 1.0, 0.5, 11)]) == []


def test_what_failed_counts_in_its_rung_and_never_goes_on():
    rung = [trial(1, NINTH, None), trial(2, NINTH, math.nan), trial(3, NINTH, 0.1)]
    assert going(rung) == [(3, THIRD)]
    assert going([trial(n, NINTH, None) for n in range(6)]) == []
    assert going([*rung, trial(4, THIRD, None, 3)]) == []
    assert going([trial(1, NINTH, 0.9, state="timeout"), *rung[1:]]) == [(3, THIRD)]


def test_equal_scores_go_on_in_order_of_their_numbers():
    assert going([trial(n, NINTH, 0.5) for n in (1, 2, 3)]) == [(1, THIRD)]


@pytest.mark.parametrize("several", [False, True])
def test_a_batch_is_full_and_begins_with_who_goes_on(several):
    told = [trial(0, 1.0, 0.5), *(trial(n, NINTH, n / 100) for n in range(1, 25))]
    batch = climb_ladders(view(told), several)
    assert [(p.parent, p.share) for p in batch[:BATCH]] == [(n, THIRD) for n in (24, 23, 22, 21)]
    first = climb_ladders(view(told[:1]), several)
    assert len(first) == BATCH
    assert all(p.parent is None and not p.params for p in first)
    assert {p.share for p in first} == ({NINTH, THIRD, 1.0} if several else {NINTH})


# --- Laws over all that give parts of trials, and others ------------------------------------------------------------


def suited(view: View) -> list[str]:
    """The strategies that can search this family's space, but for those that are slow to ask."""
    quick = (s for s in load_strategies().values() if s.available and s.extra != "bayes" and s.chooses is None)
    return [s.name for s in quick if not s.unsuited(view)]


def ended(one: Trial, **more) -> Trial:
    """The trial with a score by its params."""
    score = derive_seed(sorted(one.params.items())) / 2**32
    slopes = {name: score - 0.2 for name in ("strength",) if name in one.params}
    return replace(
        one, scores=(score,) * 4, rounds=(10,) * 4, state="complete" if one.share == 1 else "pruned",
        gradient=None if one.gradient is None else slopes, **more,
    )  # fmt: skip


BEGUN = [
    pytest.param(name, View(load_families()[family], replace(SHAPE, rows=rows), AUC, (), 0, 0, inner=4, steps={"": 5},
                            configurations=[dict(load_families()[family].default, **{number: value})
                                            for value in range(20, 60)]), id=f"{name}-{family}-{rows}")
    for family, number in (("linear", "strength"), ("mlp", "width"))
    for rows in (600, 30_000)
    for name in suited(View(load_families()[family], SHAPE, AUC, (), 0, 0, steps={"": 5}, configurations=[{}]))
]  # fmt: skip


@pytest.mark.parametrize("trials", [4, 7])
@pytest.mark.parametrize(("name", "begun"), BEGUN)
def test_from_four_configurations_on_others_than_the_default_can_be_best(name, begun, trials):
    study = Study(replace(begun, expected=trials), "1", name)
    while asked := study.ask(trials - study.spent):
        study.tell([ended(one) for one in asked])
    assert study.spent <= trials + 1e-9
    assert sum(t.share == 1 for t in study.told) >= 2


SMALL = [one for one in BEGUN if one.values[1].shape.rows == 600]
"""Of more rows the ladder is longer, and whoever climbs it the same."""


LARGE = [pytest.param(*one.values, id=one.id, marks=pytest.mark.prove) for one in BEGUN if one not in SMALL]


@pytest.mark.parametrize(("name", "begun"), [*SMALL, *LARGE])
def test_who_keeps_a_limit_goes_before_who_breaks_it_with_a_better_score(name, begun):
    """The better the score, the larger the model: without an eye on its size only ones that are too large are left."""
    goal = Goal(AUC, limits=(Limit(make_objective("size", AUC), 0.12),))
    study = Study(replace(begun, goal=goal, limited=True, expected=30), "1", name)
    while asked := study.ask(30 - study.spent):
        scored = [ended(one) for one in asked]
        study.tell([replace(one, measures={"size": one.scores[0]}) for one in scored])
    assert study.best is not None
    assert any(t.share == 1 and goal.keeps(t) for t in study.told[1:])


def simulated(name: str, units: float, noise: float = 0.0, seed: int = 0) -> Study:
    """A search of a linear model's strength: the nearer to 1 the better; a part of a trial tells that with noise."""
    study = Study(View(KNOWN, SHAPE, AUC, (), seed, seed), "1", name)
    draw = np.random.default_rng(seed)
    while study.spent < units - 1e-9 and (asked := study.ask(units - study.spent)):
        told = []
        for one in asked:
            score = 1 - abs(math.log(one.params["strength"])) / 20 + draw.normal() * noise * (1 - one.share)
            told.append(replace(one, scores=(score,), state="complete" if one.share == 1 else "pruned"))
        study.tell(told)
    return study


CLIMBING = [name for name in ("halving", "hyperband", "bohb") if name in load_strategies()]


@pytest.mark.parametrize("name", CLIMBING)
def test_parts_of_a_trial_count_by_their_share(name):
    for units in (1, 2, 7, 20):
        study = simulated(name, units)
        assert units - 1 < study.spent <= units + 1e-9


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("inner", [1, 2])
def test_where_one_fold_is_more_than_a_third_what_counts_in_folds_has_whole_trials_alone(name, inner):
    study = Study(replace(view(()), family=load_families()["knn"], inner=inner), "1", name)
    while study.spent < 13 and (asked := study.ask(13 - study.spent)):
        study.tell([replace(t, scores=(derive_seed(t.number) / 2**31,)) for t in asked])
    assert len(study.told) == 13
    assert {t.share for t in study.told} == {1.0}


@pytest.mark.parametrize("name", CLIMBING)
def test_what_reached_the_top_came_all_the_way_and_only_it_can_be_best(name):
    study = simulated(name, 25, noise=0.05)
    by = {t.number: t for t in study.told}
    for one in study.told:
        if one.parent is not None:
            assert one.share == pytest.approx(3 * by[one.parent].share)
            assert one.params == by[one.parent].params
    assert study.best is not None
    assert study.best.share == 1
    assert {t.share for t in study.told} == {NINTH, THIRD, 1.0}
    for share in (NINTH, THIRD, 1.0):
        assert math.fsum(t.share for t in study.told[1:] if t.share == share) > 2


@pytest.mark.parametrize("name", CLIMBING)
def test_with_parts_that_tell_the_truth_it_finds_better_ones_than_random_for_the_same(name):
    def best(name: str, seed: int) -> float:
        # The default, which is the best there is, stands aside.
        return max(t.score or 0 for t in simulated(name, 12, seed=seed).told[1:] if t.share == 1)

    ours, random = (np.mean([best(one, seed) for seed in range(6)]) for one in (name, "random"))
    assert ours > random


def test_an_estimator_learns_from_the_largest_share_that_enough_were_given():
    told = [trial(n, NINTH, 0.5) for n in range(9)] + [trial(9 + n, THIRD, 0.5) for n in range(3)]
    told += [trial(12, 1.0, 0.5), trial(13, 1.0, None)]
    assert {t.share for t in find_richest_rung(view(told), 1)} == {1.0}
    assert {t.share for t in find_richest_rung(view(told), 2)} == {THIRD}
    assert {t.share for t in find_richest_rung(view(told), 4)} == {NINTH}
    assert find_richest_rung(view(told), 10) == []


def test_whole_trials_that_were_stopped_are_not_enough_to_learn_from_and_never_pass_for_complete():
    """They have the mean of some inner folds: of the worst ones, as they were stopped there."""
    stopped = [trial(n, 1.0, 0.9, state="pruned") for n in range(20, 24)]
    told = [trial(n, THIRD, 0.5) for n in range(5)] + [trial(n, 1.0, 0.5) for n in range(10, 13)] + stopped
    assert {t.share for t in find_richest_rung(view(told), 4)} == {THIRD}
    assert [t.number for t in find_richest_rung(view(told), 3)] == [10, 11, 12, 20, 21, 22, 23]
    more = [replace(t, params={}) for t in (*told, *(trial(n, 1.0, 0.5) for n in range(30, 40)))]
    study = load_strategies()["bohb"].sampler(view(more))._study
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3 + ["PRUNED"] * 4 + ["COMPLETE"] * 10
    assert all(t.intermediate_values == {0: 0.9} for t in study.trials[3:7])


@pytest.mark.parametrize("share", [NINTH, 1.0])
def test_the_estimator_is_told_by_how_much_a_trial_is_over_its_limits(share):
    goal = Goal(AUC, limits=(Limit(make_objective("size", AUC), 2.0),))
    told = [replace(trial(n, share, 0.5), params={}, measures={"size": float(n)}) for n in range(1, 8)]
    study = load_strategies()["bohb"].sampler(replace(view(told), goal=goal, limited=True))._study
    assert [t.constraints["size"] for t in study.trials] == [(n - 2) / 2 for n in range(1, 8)]
