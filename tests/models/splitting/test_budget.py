"""How many folds and families a run can afford: more time never buys less, and the order of giving way is fixed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import Split
from models.families import load_family
from models.fitting.family import Shape
from models.splitting.budget import (
    CORE,
    LEAST_TRIALS,
    LEVELS,
    SMALL,
    TIME_LEVELS,
    choose_affordable_plan,
    count_fits,
    count_searches,
    estimate_core_seconds,
    estimate_inner_rows,
    list_levels,
    suggest_fold_counts,
)
from models.splitting.split import SplitPlan, build_folds
from models.tuning.costs import Work, foretell_seconds, load_costs

SECONDS = st.dictionaries(st.sampled_from("abcdefg"), st.floats(0.01, 50), min_size=1)
ORDERS = {by_time: {level: i for i, level in enumerate(list_levels(by_time))} for by_time in (False, True)}
STARTS = st.booleans().flatmap(lambda by_time: st.tuples(st.sampled_from(list_levels(by_time)[:-2]), st.just(by_time)))
"""(outer, inner) and whether the plan is in order of time."""


@given(SECONDS, st.floats(0, 50_000), st.floats(1, 10), STARTS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_more_time_buys_fewer_folds_only_for_more_families(seconds, time, more, start, refit):
    less = choose_affordable_plan(seconds, time, start[0], by_time=start[1], fixed=False, refit_too=refit)
    rich = choose_affordable_plan(seconds, time * more, start[0], by_time=start[1], fixed=False, refit_too=refit)
    places = [ORDERS[start[1]][level.outer, level.inner] for level in (rich, less)]
    assert places[0] <= places[1] or set(less.families) < set(rich.families)
    if places[0] == places[1]:
        assert set(less.families) <= set(rich.families)
    for level, given_seconds in ((less, time), (rich, time * more)):
        each = count_searches(level.outer, refit) * level.inner * min(3, len(level.families))
        assert set(level.configurations) == set(level.families)
        for name, count in level.configurations.items():
            assert count * each * seconds[name] == pytest.approx(given_seconds)


@given(SECONDS, st.floats(0, 50_000), STARTS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_kept_family_has_its_default_and_four_more_in_every_fold_or_all_gave_way(seconds, time, start, refit):
    level = choose_affordable_plan(seconds, time, start[0], by_time=start[1], fixed=False, refit_too=refit)
    kept = {f: seconds[f] for f in level.families}
    if (level.outer, level.inner) != LEVELS[-1]:
        assert estimate_core_seconds(level.outer, level.inner, kept, LEAST_TRIALS, refit, start[1]) <= time
        assert level.trials is None
    else:
        assert level.trials == 1


@given(SECONDS, st.floats(0, 50_000), STARTS, st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_the_dearest_fall_out_first_with_a_sentence_and_the_last_few_never(seconds, time, start, keep):
    level = choose_affordable_plan(seconds, time, start[0], by_time=start[1], fixed=False, refit_too=False, keep=keep)
    assert set(level.families) | set(level.left_out) == set(seconds)
    assert len(level.families) >= min(keep, len(seconds))
    if level.left_out:
        assert max(seconds[f] for f in level.families) <= min(seconds[f] for f in level.left_out)
        assert all(why.startswith("left out to give the other families more") for why in level.left_out.values())


@given(SECONDS, st.floats(0, 50_000), st.floats(1, 10))
@settings(max_examples=200, deadline=None)
def test_more_time_tunes_no_fewer_families_of_the_same_plan(seconds, time, more):
    less, rich = (choose_affordable_plan(seconds, t, (5, 4), fixed=False, refit_too=False) for t in (time, time * more))
    assert 3 <= less.tuned <= 6
    if (less.outer, less.inner, less.families) == (rich.outer, rich.inner, rich.families):
        assert less.tuned <= rich.tuned


PRIORITY = {f: 1 + i % 3 for i, f in enumerate("abcdefg")}


@given(SECONDS, st.floats(0, 50_000), STARTS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_none_is_left_out_that_would_fit_beside_those_of_its_own_priority_and_better(seconds, time, start, refit):
    level = choose_affordable_plan(
        seconds, time, start[0], by_time=start[1], fixed=False, refit_too=refit, priority=PRIORITY
    )
    for name in level.left_out:
        beside = {f: seconds[f] for f in level.families if PRIORITY[f] <= PRIORITY[name]}
        trials = level.trials or LEAST_TRIALS
        cost, alone = (
            estimate_core_seconds(level.outer, level.inner, chosen, trials, refit, start[1])
            for chosen in ({**beside, name: seconds[name]}, {name: seconds[name]})
        )
        assert cost > time or (PRIORITY[name] == 3 and alone > SMALL * time)


@given(SECONDS, st.floats(0, 50_000), STARTS)
@settings(max_examples=300, deadline=None)
def test_folds_never_give_way_to_families_of_the_last_priority_beyond_the_first_four(seconds, time, start):
    """Many cheap families beside four better ones cost no folds."""
    many = {f"z{i}": 0.01 for i in range(9)}
    best = {f"a{f}": s for f, s in seconds.items()}
    alone = choose_affordable_plan(best, time, start[0], by_time=start[1], fixed=False, refit_too=False)
    crowd = choose_affordable_plan(
        {**best, **many},
        time,
        start[0],
        by_time=start[1],
        fixed=False,
        refit_too=False,
        priority=dict.fromkeys(many, 3),
    )
    if len(alone.families) >= CORE:
        order = ORDERS[start[1]]
        assert order[crowd.outer, crowd.inner] <= order[alone.outer, alone.inner]


@given(SECONDS, st.floats(0, 50_000))
@settings(max_examples=100, deadline=None)
def test_folds_that_the_user_fixed_stay(seconds, time):
    level = choose_affordable_plan(seconds, time, (4, 2), fixed=True, refit_too=False)
    assert (level.outer, level.inner) == (4, 2)


@pytest.mark.parametrize("by_time", [False, True])
def test_the_order_of_giving_way(by_time):
    """One family whose fit takes a second: what is done with less and less time."""
    seen, order = set(), ORDERS[by_time]
    for start in ((5, 4), (2, 4)):  # where groups allow two folds only, none at all come next
        done = [
            choose_affordable_plan({"f": 1.0}, time, start, fixed=False, refit_too=False, by_time=by_time)
            for time in range(120, -1, -1)
        ]
        levels = [(level.outer, level.inner) for level in done]
        places = [order.get(level, -1) for level in levels]
        assert places == sorted(places)
        seen |= set(levels)
    assert set(order) <= seen
    assert (done[0].how.method, done[-1].how.method) == ("nested", "holdout")


SIZES = [(100, (5, 4), (5, 4)), (4_000, (5, 4), (5, 4)), (4_001, (5, 4), (5, 3)), (10_001, (5, 2), (5, 1))]


@pytest.mark.parametrize(("rows", "level", "level_by_time"), SIZES)
def test_large_tables_need_little_repeated_validation_inside(rows, level, level_by_time):
    assert suggest_fold_counts(rows, Split()) == level
    assert suggest_fold_counts(rows, Split(time="when")) == level_by_time
    assert suggest_fold_counts(rows, Split(outer=3, inner=2)) == (3, 2)


@pytest.mark.parametrize("by_time", [False, True])
@pytest.mark.parametrize("level", [*LEVELS[:3], *TIME_LEVELS[:5], (3, 2), (10, 4)])
def test_fits_are_counted_as_folds_have_parts(level, by_time):
    """By the folds themselves: how many different parts are fitted, and of how many rows."""
    rows = np.arange(1000)
    plan = SplitPlan("time" if by_time else "random", rows, None, rows if by_time else None, 0, 3)
    folds = build_folds(plan, rows, *level, with_all=False)
    parts = {fold.identify_part(j): len(train) for fold in folds for j, (train, _) in enumerate(fold.inner)}
    assert len(parts) == len(folds) * count_fits(*level, by_time)
    if not by_time:
        split = Split(outer=level[0], inner=level[1])
        assert np.mean(list(parts.values())) == pytest.approx(estimate_inner_rows(1000, split), abs=2)


def test_a_dear_family_of_the_first_priority_stays_while_fewer_folds_hold_it():
    """Five folds of what is cheap are worth less than three with the family that one would try first."""
    seconds = {"best": 3.6, "cheap": 0.1, "other": 0.2}
    level = choose_affordable_plan(
        seconds, 132, (5, 1), fixed=False, refit_too=False, priority={"best": 1, "cheap": 2, "other": 3}
    )
    assert "best" in level.families
    assert level.outer
    level = choose_affordable_plan(
        seconds, 80, (5, 1), fixed=False, refit_too=False, priority={"best": 1, "cheap": 2, "other": 3}
    )
    assert (level.outer, level.inner) == (3, 1)
    assert "best" in level.families


@pytest.mark.parametrize(("rows", "columns", "budget"), [(5_600, 20, 90), (1_500, 20, 60), (16_000, 20, 120)])
def test_in_short_time_boosters_and_linear_models_stay_and_what_is_weak_only_where_it_costs_nothing(
    rows, columns, budget
):
    core_seconds = (budget - 12) * 2 * 0.85
    inner_rows = estimate_inner_rows(rows, Split())
    priority = {name: load_family(name).priority for name in load_costs()}
    seconds = {
        name: foretell_seconds(name, Work(inner_rows, columns, "binary", 2)) or 0.0
        for name in load_costs()
        if not load_family(name).many and not load_family(name).unsuited(Shape(inner_rows, columns, "binary", 2))
    }
    level = choose_affordable_plan(
        seconds, core_seconds, suggest_fold_counts(rows, Split()), fixed=False, refit_too=False, priority=priority
    )
    assert {"lightgbm", "xgboost", "catboost", "linear", "extra_trees"} <= set(level.families)
    assert level.outer
    for name in ("knn", "lda", "naive_bayes", "tree"):
        cost = estimate_core_seconds(level.outer, level.inner, {name: seconds[name]}, LEAST_TRIALS, False)
        assert name not in level.families or cost <= SMALL * core_seconds
