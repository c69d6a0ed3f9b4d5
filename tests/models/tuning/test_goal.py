"""Several objectives and limits: the front holds what nothing dominates, the pick lies on it and keeps the limits, and
the metric alone picks what it always did."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.config import Run
from models.data.hashes import derive_seed
from models.errors import InputError
from models.families import load_families
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.search import load_strategies
from models.studies.study import Study
from models.tuning.goal import (
    Goal,
    Limit,
    Objective,
    find_best_trial,
    list_compared_columns,
    make_goal,
    make_objective,
    mark_front,
    pick_point,
)
from models.tuning.optuna_trials import from_optuna, to_optuna
from models.tuning.strategy import BATCH, View
from models.tuning.trial import Trial

AUC = make_metric(None, "binary", ("a", "b"))
RMSE = make_metric(None, "regression", ())
POINTS = arrays(float, st.tuples(st.integers(1, 25), st.integers(1, 4)), elements=st.integers(0, 6).map(float))
LATENCY, SIZE, F1 = (make_objective(name, AUC) for name in ("latency", "size", "f1"))


def trial(number: int, inner: float | None, **measures: float) -> Trial:
    state = "failed" if inner is None else "complete"
    return Trial(number, {}, {}, state, () if inner is None else (inner,), measures=measures)


def goal(**search) -> Goal:
    return make_goal(AUC, Run(data="x", search=search).search)


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one >= other).all() and (one > other).any())


# --- The front and the pick ------------------------------------------------------------------------------------------


@given(POINTS)
def test_the_front_is_what_no_point_dominates(points):
    wanted = [not any(dominates(other, one) for other in points) for one in points]
    assert mark_front(points).tolist() == wanted


@given(POINTS, st.data())
def test_the_pick_lies_on_the_front_whatever_the_weights(points, data):
    weights = data.draw(arrays(float, points.shape[1], elements=st.floats(0, 5)))
    assert mark_front(points)[pick_point(points, weights)]


@given(POINTS, st.integers(0, 3), st.floats(0.5, 9), st.floats(-5, 5))
def test_the_knee_does_not_depend_on_the_units(points, column, times, more):
    other = points.copy()
    other[:, column % points.shape[1]] = other[:, column % points.shape[1]] * times + more
    assert pick_point(points, np.ones(points.shape[1])) == pick_point(other, np.ones(points.shape[1]))


def test_the_knee_is_farthest_from_the_line_between_the_ends():
    points = np.array([[0.0, 1.0], [0.5, 0.95], [0.9, 0.9], [0.95, 0.4], [1.0, 0.0], [0.2, 0.2]])
    ends = points[4] - points[0]
    away = [abs(ends[0] * (p - points[0])[1] - ends[1] * (p - points[0])[0]) for p in points[:5]]
    assert pick_point(points, np.ones(2)) == int(np.argmax(away)) == 2


def test_differences_that_nobody_would_pay_for_do_not_pick():
    trials = [trial(0, 0.95, latency=4.05), trial(1, 0.93, latency=4.02), trial(2, 0.90, latency=4.0)]
    assert goal(objectives="latency", pick="latency=9,roc_auc=1").pick_best(trials).number == 0
    faster = [*trials[:2], trial(2, 0.90, latency=2.0)]
    assert goal(objectives="latency", pick="latency=9,roc_auc=1").pick_best(faster).number == 2


def test_of_a_front_without_a_knee_the_better_metric_is_picked():
    assert pick_point(np.array([[0.0, 1.0], [0.3, 0.3], [1.0, 0.0]]), np.ones(2)) == 2


# --- One objective and no limits is what it was ----------------------------------------------------------------------

INNER = st.one_of(st.none(), st.floats(0, 1), st.just(math.nan), st.just(math.inf))


@given(st.lists(INNER, max_size=12), st.sampled_from([AUC, RMSE]))
def test_the_metric_alone_picks_the_best_mean_score_and_the_earlier_of_equals(inner, metric):
    trials = [trial(i, score) for i, score in enumerate(inner)]
    finite = [t for t in trials if t.inner is not None and math.isfinite(t.inner)]
    wanted = max(finite, key=lambda t: (metric.gain(t.inner or 0.0), -t.number), default=None)
    assert Goal(metric).pick_best(trials) is wanted
    assert find_best_trial(trials, metric) is wanted


def test_the_metric_alone_is_told_as_one_value_without_constraints():
    told = to_optuna(trial(0, 0.7, latency=3.0), Goal(AUC))
    assert (told.value, told.constraints) == (0.7, {})
    assert Goal(AUC).plain
    assert goal().plain
    assert goal().directions == ("maximize",)


# --- Limits ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 20)), min_size=1, max_size=12), st.floats(0.1, 20))
def test_what_is_picked_keeps_the_limits_and_nothing_that_does_is_better(values, bound):
    one = Goal(AUC, limits=(Limit(LATENCY, bound),))
    trials = [trial(i, score, latency=ms) for i, (score, ms) in enumerate(values)]
    best, kept = one.pick_best(trials), [t for t in trials if t.measures["latency"] <= bound]
    assert (best is None) == (not kept)
    if best is not None:
        assert best in kept
        assert best.inner == max(t.inner for t in kept)
    else:
        assert one.find_nearest(trials).measures["latency"] == min(ms for _, ms in values)


def test_a_limit_of_what_should_be_large_is_a_floor():
    one = goal(limits={"f1": 0.5, "roc_auc": 0.7, "size": 2})
    assert one.keeps(trial(0, 0.8, f1=0.6, size=1.0))
    for inner, f1, size in ((0.6, 0.6, 1.0), (0.8, 0.4, 1.0), (0.8, 0.6, 3.0)):
        broken = trial(0, inner, f1=f1, size=size)
        assert not one.keeps(broken)
        assert sum(over > 0 for over in one.constraints(broken).values()) == 1


def test_what_was_not_measured_keeps_no_limit():
    assert not goal(limits={"size": 2}).keeps(trial(0, 0.8))


def test_limits_hold_for_the_knee_too():
    measured = [(0.9, 9.0, 1.0), (0.89, 2.0, 5.0), (0.8, 3.0, 1.0), (0.5, 1.0, 1.0)]
    trials = [trial(i, inner, latency=ms, size=mb) for i, (inner, ms, mb) in enumerate(measured)]
    assert goal(objectives="latency").pick_best(trials).number == 1
    assert goal(objectives="latency", limits={"size": 2}).pick_best(trials).number == 2


# --- Several objectives ----------------------------------------------------------------------------------------------


def test_weights_name_what_counts():
    trials = [trial(0, 0.9, latency=9.0), trial(1, 0.8, latency=2.0), trial(2, 0.7, latency=1.0)]
    assert goal(objectives="latency", pick="roc_auc=1").pick_best(trials).number == 0
    assert goal(objectives="latency", pick={"latency": 1}).pick_best(trials).number == 2
    assert goal(objectives="latency", limits={"latency": 5}, pick="limits").pick_best(trials).number == 1


def test_guessing_is_no_point_of_the_front_where_something_was_learned():
    trials = [trial(0, 0.5, latency=0.0), trial(1, 0.9, latency=5.0), trial(2, 0.91, latency=9.0)]
    one = goal(objectives="latency", pick="latency=1")
    assert one.pick_best(trials).number == 0
    assert one.pick_best(trials, floor=0.5).number == 1
    assert one.pick_best(trials[:1], floor=0.5).number == 0


def test_what_may_be_guessing_by_its_inner_folds_is_no_point_either():
    lucky = replace(trial(0, 0.52, latency=0.0), scores=(0.475, 0.565))
    steady = replace(trial(1, 0.52, latency=0.1), scores=(0.519, 0.521))
    one, best = goal(objectives="latency", pick="latency=1"), trial(2, 0.9, latency=5.0)
    assert one.pick_best([lucky, best], floor=0.5) is best
    assert one.pick_best([steady, best], floor=0.5) is steady
    assert one.pick_best([lucky], floor=0.5) is lucky
    assert one.make_chooser([lucky, best], floor=0.5)(np.array([[0.52], [0.9]])).tolist() == [1]


def test_families_rank_by_who_would_be_picked_next():
    one = goal(objectives="latency", limits={"size": 10})
    tried = {
        "slow": [trial(0, 0.95, latency=90.0, size=1.0)],
        "knee": [trial(0, 0.9, latency=2.0, size=1.0), trial(1, None)],
        "cheap": [trial(0, 0.5, latency=1.0, size=1.0)],
        "huge": [trial(0, 0.99, latency=1.0, size=30.0)],
        "large": [trial(0, 0.6, latency=1.0, size=20.0)],
        "broken": [trial(0, None)],
    }
    assert one.rank_families(tried) == ["knee", "slow", "cheap", "large", "huge"]
    alone = Goal(AUC).rank_families(tried)
    assert alone == ["huge", "slow", "knee", "large", "cheap"]


def test_bbc_chooses_by_the_same_rule():
    one, trials = goal(objectives="latency"), [trial(i, 0.5, latency=ms) for i, ms in enumerate((1.0, 2.0, 9.0))]
    chosen = one.make_chooser(trials, floor=0.0)(np.array([[0.1, 0.9], [0.9, 0.9], [0.95, 0.9]]))
    assert chosen.tolist() == [1, 0]
    assert Goal(AUC).make_chooser(trials) is None


# --- As Optuna has them ----------------------------------------------------------------------------------------------


def test_a_study_is_told_gains_and_constraints_and_keeps_the_trial_whole():
    one = goal(objectives=["latency", "f1"], limits={"size": 2})
    whole = Trial(0, {}, {}, scores=(0.7, 0.9), measures={"latency": 3.0, "f1": 0.5, "size": 3.0})
    told = to_optuna(whole, one)
    assert told.values == [pytest.approx(0.8), -3.0, 0.5]
    assert told.constraints == {"size": pytest.approx(0.5)}
    assert from_optuna(told) == whole
    study = optuna.create_study(directions=one.directions)
    study.add_trials([told, to_optuna(Trial(1, {}, {}, "failed"), one)])
    assert len(study.get_trials()) == 2


def test_a_stopped_trial_of_several_objectives_tells_of_no_steps():
    stopped = Trial(0, {}, {}, "pruned", (0.7,), measures={"latency": 3.0})
    assert to_optuna(stopped, goal(objectives="latency")).intermediate_values == {}
    assert to_optuna(stopped, Goal(AUC)).intermediate_values == {0: 0.7}


KNOWN = load_families()["linear"]
SHAPE = Shape(500, 12, "binary", 2)


def study(strategy: str) -> Study:
    one = goal(objectives="latency", limits={"size": 0.6})
    view = View(
        KNOWN, SHAPE, AUC, (), 0, 0, one.directions, limited=True, configurations=[{"strength": 0.5}], goal=one
    )  # fmt: skip
    return Study(view, "1", strategy)


def searched(one: Study, trials: int = 13) -> list[Trial]:
    while len(one.told) < trials and (asked := one.ask(trials - len(one.told))):
        one.tell([result(t) for t in asked])
    return one.told


def result(asked: Trial) -> Trial:
    """Some outcome that depends on the configuration: one in nine fails, and about half are over the limit."""
    draws = [derive_seed(sorted(asked.params.items()), name) / 2**31 for name in ("score", "latency", "size")]
    if asked.number % 9 == 5:
        return replace(asked, state="failed", reason="no luck")
    return replace(asked, scores=(draws[0], draws[0] / 2), measures={"latency": draws[1], "size": draws[2]})


SEVERAL = [n for n, s in load_strategies().items() if s.several and s.available and s.chooses is None]


@pytest.mark.parametrize("strategy", SEVERAL)
def test_a_search_for_several_objectives_taken_up_again_goes_on_as_if_unbroken(strategy):
    whole = searched(study(strategy))
    again = study(strategy)
    again.recall([from_optuna(to_optuna(t, again.goal)) for t in whole[:5]])
    assert [(t.params, t.config) for t in searched(again)] == [(t.params, t.config) for t in whole]


def test_the_sampler_learns_of_objectives_and_limits():
    one, other = study("tpe"), study("tpe")
    while len(one.told) < 25:
        one.tell([result(t) for t in one.ask()])
        other.tell(
            [replace(t, measures={**t.measures, "size": 9.0}) if t.measures else t for t in map(result, other.ask())]
        )
    assert [t.params for t in one.told[:9]] == [t.params for t in other.told[:9]]
    assert [t.params for t in one.told[13:]] != [t.params for t in other.told[13:]]


# --- Names -----------------------------------------------------------------------------------------------------------


def test_objectives_are_metrics_costs_and_gaps():
    found = goal(objectives="latency,accuracy,gap:marital status,parity:sex", limits=["memory=500"])
    assert [o.name for o in found.measured] == ["latency", "accuracy", "gap:marital status", "parity:sex", "memory"]
    assert [o.greater_is_better for o in found.measured] == [False, True, False, False, False]
    assert [o.column for o in found.beside] == [None, None, "marital status", "sex"]
    several = Run(data="x", search={"objectives": "gap:a,parity:a", "limits": {"gap:b": 1}})
    assert list_compared_columns(several.search) == ("a", "b")


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"objectives": "latncy"}, "latncy can't be an objective or a limit"),
        ({"objectives": "rmse"}, "does not fit a binary target"),
        ({"objectives": "roc_auc"}, "the metric is an objective already"),
        ({"objectives": "size,size"}, "asked for twice"),
        ({"objectives": "gap:"}, "lacks the column"),
        ({"objectives": "size", "pick": "latency=1"}, "which is no objective"),
    ],
)
def test_what_can_be_no_objective_is_said(search, said):
    with pytest.raises(InputError, match=said):
        goal(**search)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"pick": "knee"}, "give search.objectives"),
        ({"objectives": "size", "pick": "limits"}, "give search.limits"),
        ({"objectives": "size", "pick": "size=-1"}, "are wanted"),
        ({"objectives": "size", "pick": "nearest"}, "are wanted"),
        ({"limits": ["size"]}, "NAME=VALUE"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(search, said):
    with pytest.raises(ValueError, match=said):
        Run(data="x", search=search)


def test_a_bag_is_not_lean():
    with pytest.raises(ValueError, match="deliver: refit"):
        Run(data="x", search={"objectives": "latency"}, final={"deliver": "bag"})
    assert Run(data="x", search={"limits": ["size=1"]}).lean
    assert not Run(data="x", search={"objectives": "gap:sex"}).lean


@pytest.mark.parametrize(
    "search", [{"objectives": "latency"}, {"limits": {"size": 3}}, {"objectives": "f1", "pick": "f1=2"}]
)
def test_the_rule_is_told_in_words(search):
    said = goal(**search).words
    assert "picked" in said
    assert all(o.name in said for o in goal(**search).measured)


def test_costs_come_with_their_units():
    assert isinstance(LATENCY, Objective)
    assert (LATENCY.unit, SIZE.unit, F1.unit) == ("ms", "MB", "")
    assert Limit(LATENCY, 5).words == "latency at most 5 ms"
    assert Limit(F1, 0.5).words == "f1 at least 0.5"


@pytest.mark.parametrize("beside", [(LATENCY,), (LATENCY, SIZE)], ids=["nsga2", "nsga3"])
def test_all_batches_of_a_generation_have_the_same_parents(beside):
    goal = Goal(AUC, beside)
    seen = View(load_families()["linear"], SHAPE, AUC, (), 0, 0, expected=60, directions=goal.directions, goal=goal)
    one = Study(seen, "1", "genetic")
    while len(one.told) < 37:
        asked = one.ask()
        draws = [tuple(derive_seed(t.number, n) / 2**31 for n in range(3)) for t in asked]
        each = [dict(zip((o.name for o in beside), draw, strict=False)) for draw in draws]
        one.tell([replace(t, scores=d[2:], measures=m) for t, d, m in zip(asked, draws, each, strict=True)])
    second = [t for t in one.told if [g for name, g in t.marks.items() if name.endswith("generation")] == [2]]
    assert len(second) == 12
    found = []
    for count in range(second[0].number, 37, BATCH):
        sampler = load_strategies()["genetic"].sampler(replace(seen, seed=count))
        study = optuna.create_study(directions=goal.directions)
        study.add_trials([to_optuna(t, goal) for t in one.told[:count]])
        found.append([t.number for t in sampler.get_parent_population(study, 2)])  # type: ignore[attr-defined]
    assert len(found) == 3
    assert len(found[0]) == 12
    assert found[1:] == found[:1] * 2
