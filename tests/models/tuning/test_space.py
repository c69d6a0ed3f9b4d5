"""Spaces as values: the user's ranges, lists and grids; whatever can't be is told in words before any fit."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import models.search.grid
from models.config import Run
from models.errors import InputError
from models.families import load_families
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.search import load_strategies
from models.search.grid import _measure_grid, _walk_grid
from models.studies.study import Study
from models.studies.warm_start import explain_misfit
from models.tuning.space import (
    apply_ranges,
    complete_configuration,
    find_unasked,
    list_distributions,
    make_view,
    to_place,
    to_value,
    walk_space,
)
from models.tuning.strategy import View
from models.tuning.trial import Trial

SHAPE = Shape(500, 12, "binary", 2)
AUC = make_metric(None, "binary", ("a", "b"))
LINEAR, LIGHTGBM, TREE = (load_families()[name] for name in ("linear", "lightgbm", "tree"))


def view(known, **more) -> View:
    return View(known, SHAPE, AUC, (), 0, 0, **more)


def proposals(name: str, seen: View, batches: int = 100) -> list[dict]:
    """Params of all that a strategy plans, batch by batch, each told before the next."""
    told: list[Trial] = [Trial(0, dict(walk_space(seen.family, SHAPE, lambda n, d: seen.family.default[n]).params), {})]
    for _ in range(batches):
        planned = load_strategies()[name].plan(replace(seen, told=tuple(told)))
        if not planned:
            break
        told += [Trial(len(told) + i, dict(p.params), {}) for i, p in enumerate(planned)]
    return [dict(t.params) for t in told[1:]]


# --- Places ----------------------------------------------------------------------------------------------------------

RANGES = [FloatDistribution(-2, 3), FloatDistribution(1e-4, 1e3, log=True), IntDistribution(2, 9)]


@pytest.mark.parametrize(
    "distribution", [FloatDistribution(0.1, 0.9, step=0.2), IntDistribution(1, 3), IntDistribution(8, 32, step=4)]
)
def test_every_value_of_a_range_of_few_has_an_equal_share_of_it_and_its_place_is_the_middle(distribution):
    values = [to_value(distribution, (i + 0.5) / 420) for i in range(420)]
    count = len(set(values))
    assert [values.count(v) for v in sorted(set(values))] == [420 / count] * count
    assert [to_place(distribution, v) for v in sorted(set(values))] == pytest.approx(
        [(i + 0.5) / count for i in range(count)]
    )


@pytest.mark.parametrize("distribution", [*RANGES, IntDistribution(1, 64, log=True), CategoricalDistribution([1, "a"])])
def test_places_reach_from_end_to_end_and_back(distribution):
    values = [to_value(distribution, i / 500) for i in range(500)]
    assert all(distribution._contains(distribution.to_internal_repr(v)) for v in values)
    assert [to_value(distribution, to_place(distribution, v)) for v in set(values)] == pytest.approx(list(set(values)))
    if isinstance(distribution, CategoricalDistribution):
        assert set(values) == {1, "a"}
        return
    assert [values[0], to_value(distribution, 1.0)] == [distribution.low, distribution.high]
    if isinstance(distribution, FloatDistribution) and not distribution.step:
        assert all(math.isclose(to_place(distribution, v), i / 500, abs_tol=1e-9) for i, v in enumerate(values))


# --- The user's ranges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "given", "default"),
    [
        (LIGHTGBM, {"learning_rate": [0.01, 0.05, "log"]}, {"learning_rate": 0.05, "num_leaves": 31}),
        (LIGHTGBM, {"num_leaves": [1000, 2000]}, {"num_leaves": 1000}),
        (LIGHTGBM, {"subsample": 0.7, "extra_trees": True}, {"subsample": 0.7, "extra_trees": True}),
        (LIGHTGBM, {"reg_alpha": 0, "num_leaves": [31, 31]}, {"reg_alpha": 0.0, "num_leaves": 31}),
        (LINEAR, {"penalty": "elasticnet"}, {"penalty": "elasticnet", "l1_ratio": 0.525, "strength": 1.0}),
        (LINEAR, {"l1_ratio": [0.9, 1.0], "strength": [10, 20, "linear"]}, {"penalty": "l2", "strength": 10.0}),
        (TREE, {}, dict(TREE.default)),
    ],
)
def test_the_default_moves_into_the_users_ranges(known, given, default):
    narrow = apply_ranges(known, given, SHAPE)
    assert default.items() <= narrow.default.items()
    asked = Study(view(narrow), "1", "random").ask()[0]
    assert asked.params.items() <= narrow.default.items()
    for name, distribution in list_distributions(narrow, SHAPE).items():
        if name in given and isinstance(distribution, (FloatDistribution, IntDistribution)):
            ends = (
                [e for e in given[name] if not isinstance(e, str)] if isinstance(given[name], list) else [given[name]]
            )
            assert (distribution.low, distribution.high) == (ends[0], ends[-1])


@pytest.mark.parametrize(
    ("known", "given", "says"),
    [
        (LIGHTGBM, {"lerning_rate": 0.1}, "No hyperparameter of lightgbm 'lerning_rate'. Did you mean learning_rate"),
        (LIGHTGBM, {"learning_rate": [0.3, 0.1]}, "learning_rate is a number: give one value, .low, high. or "),
        (LIGHTGBM, {"learning_rate": [0, 0.1]}, "its range must lie above 0, not begin at 0"),
        (LIGHTGBM, {"learning_rate": None}, "learning_rate is a number"),
        (LIGHTGBM, {"num_leaves": [3.5, 8]}, "num_leaves is a whole number: its range can't be from 3.5 to 8"),
        (LIGHTGBM, {"num_leaves": "many"}, "num_leaves is a number"),
        (LINEAR, {"penalty": ["l1", "l2"]}, "penalty can be one of l2, elasticnet, not 'l1'"),
        (LINEAR, {"l1_ratio": ["a", "b"]}, "l1_ratio is a number"),
        (load_families()["constant"], {"x": 1}, "No hyperparameter of constant 'x': there is none.$"),
    ],
)
def test_a_range_that_can_not_be_is_told_even_where_only_a_choice_brings_it(known, given, says):
    with pytest.raises(InputError, match=says):
        apply_ranges(known, given, SHAPE)


@pytest.mark.parametrize("name", ["linear", "banded"])
def test_a_penalty_that_the_user_names_is_asked_for_on_large_tables_too(name):
    large, known = replace(SHAPE, rows=1_000_000), load_families()[name]
    assert find_unasked(known, large, ["penalty", "nonsense"]) == ["penalty", "nonsense"]
    for more in ({}, {"l1_ratio": [0.1, 0.3]}):
        narrow = apply_ranges(known, {"penalty": "elasticnet", **more}, large)
        assert find_unasked(narrow, large, ["penalty", "l1_ratio"]) == []
        assert narrow.default["penalty"] == "elasticnet"
        assert narrow.default["l1_ratio"] == (0.2 if more else 0.525)


@pytest.mark.parametrize("name", ["linear", "banded"])
def test_who_names_what_a_penalty_brings_has_that_penalty_searched_on_large_tables_too(name):
    large = replace(SHAPE, rows=1_000_000)
    narrow = apply_ranges(load_families()[name], {"l1_ratio": [0.1, 0.3]}, large)
    assert find_unasked(narrow, large, ["penalty", "l1_ratio"]) == []
    assert narrow.default["penalty"] == "l2"


def test_a_warm_start_keeps_to_the_users_ranges():
    narrow = apply_ranges(LINEAR, {"strength": [0.1, 10], "penalty": "l2"}, SHAPE)
    assert explain_misfit(narrow, SHAPE, {"strength": 1.0, "penalty": "l2"}) == ""
    assert "strength = 100.0 is out of range" in explain_misfit(narrow, SHAPE, {"strength": 100.0, "penalty": "l2"})
    assert explain_misfit(narrow, SHAPE, {"strength": 1.0, "penalty": "elasticnet", "l1_ratio": 0.5})
    assert explain_misfit(LINEAR, SHAPE, {"strength": 100.0, "penalty": "l2"}) == ""


def wanted(**settings) -> Run:
    return Run.model_validate({"data": "t.csv", "families": {"linear": settings}})


def test_steps_of_a_hyperparameter_that_is_not_there_are_told():
    with pytest.raises(InputError, match="No hyperparameter of linear 'strenth'"):
        make_view(LINEAR, SHAPE, AUC, wanted(steps={"strenth": 3}))


def test_steps_of_a_hyperparameter_that_a_range_brings_or_leaves_out_are_taken():
    large = replace(SHAPE, rows=1_000_000)
    brought = wanted(space={"penalty": "elasticnet"}, steps={"l1_ratio": 5})
    assert make_view(LINEAR, large, AUC, brought).steps == {"l1_ratio": 5}
    with pytest.raises(InputError, match=r"No hyperparameter of linear 'l1_ratio'"):
        make_view(LINEAR, large, AUC, wanted(steps={"l1_ratio": 5}))
    left_out = wanted(space={"penalty": "l2"}, steps={"l1_ratio": 5})
    assert make_view(LINEAR, SHAPE, AUC, left_out).steps == {"l1_ratio": 5}


@pytest.mark.parametrize("rows", [500, 1_000_000])
def test_a_range_that_another_one_leaves_out_is_none_that_is_unknown(rows):
    narrow = apply_ranges(LINEAR, {"penalty": "l2", "l1_ratio": [0.1, 0.3]}, replace(SHAPE, rows=rows))
    assert find_unasked(narrow, replace(SHAPE, rows=rows), ["penalty", "l1_ratio"]) == ["l1_ratio"]


def test_a_configuration_that_goes_against_a_range_is_not_said_to_be_unknown():
    narrow = apply_ranges(LINEAR, {"penalty": "l2"}, SHAPE)
    with pytest.raises(InputError, match="it: l1_ratio does not go with the rest of it"):
        complete_configuration(narrow, SHAPE, {"l1_ratio": 0.5}, "it")


# --- manual ----------------------------------------------------------------------------------------------------------


def test_a_list_is_tried_in_order_and_completed_by_the_default():
    listed = ({"strength": 2}, {"penalty": "elasticnet", "l1_ratio": 0.5}, {"strength": 1.0}, {"strength": 2.0})
    tried = proposals("manual", view(LINEAR, configurations=listed))
    assert tried == [
        {"strength": 2.0, "penalty": "l2"},
        {"strength": 1.0, "penalty": "elasticnet", "l1_ratio": 0.5},
    ]  # the default has been tried, and nothing is tried twice


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"strenth": 1}, "No hyperparameter of linear 'strenth'. Did you mean strength?"),
        (
            {"strength": 1e9},
            "configuration 1 of linear: strength can be from 0.0001 to 1000, not 1000000000.0; --space",
        ),
        ({"strength": "big"}, "strength can be from 0.0001 to 1000, not 'big'"),
        ({"penalty": "l1"}, "penalty can be one of l2, elasticnet, not 'l1'"),
        ({"penalty": "elasticnet"}, "configuration 1 of linear needs l1_ratio too, from 0.05 to 1"),
        ({"l1_ratio": 0.5}, "configuration 1 of linear: l1_ratio does not go with the rest of it"),
    ],
)
def test_a_configuration_that_can_not_be_is_told(given, says):
    with pytest.raises(InputError, match=says):
        load_strategies()["manual"].unsuited(view(LINEAR, configurations=(given,)))


def test_a_listed_configuration_may_lie_where_the_user_widened():
    wide = apply_ranges(LIGHTGBM, {"num_leaves": [4, 5000]}, SHAPE)
    assert complete_configuration(wide, SHAPE, {"num_leaves": 4000.0}, "it")["num_leaves"] == 4000
    with pytest.raises(InputError, match=r"num_leaves can be from 4 to 5000, not 4000\.5"):
        complete_configuration(wide, SHAPE, {"num_leaves": 4000.5}, "it")


def test_a_list_says_how_many_trials_it_wants():
    seen = view(LINEAR, configurations=({"strength": 2}, {"strength": 3}))
    assert load_strategies()["manual"].size(seen) == 2
    assert load_strategies()["manual"].unsuited(replace(seen, expected=3)) == ""
    assert "give --trials 3" in load_strategies()["manual"].unsuited(replace(seen, expected=2))
    assert "families.linear.configurations" in load_strategies()["manual"].unsuited(view(LINEAR))


# --- grid ------------------------------------------------------------------------------------------------------------


def test_a_grid_has_every_combination_once_and_conditions_only_where_they_hold():
    seen = view(LINEAR, steps={"strength": 4, "l1_ratio": 2})
    tried = proposals("grid", seen)
    assert len(tried) == load_strategies()["grid"].size(seen) == 4 + 4 * 2
    assert len({str(sorted(p.items())) for p in tried}) == 12
    assert {p.get("l1_ratio") for p in tried if p["penalty"] == "elasticnet"} == {0.05, 1.0}
    assert all("l1_ratio" not in p for p in tried if p["penalty"] == "l2")
    assert sorted({p["strength"] for p in tried}) == pytest.approx([1e-4, 10 ** (-4 + 7 / 3), 10 ** (-4 + 14 / 3), 1e3])


def test_whole_numbers_that_fall_together_are_tried_once():
    fixed = {name: value for name, value in LIGHTGBM.default.items() if name != "num_leaves"}
    seen = view(apply_ranges(LIGHTGBM, fixed | {"num_leaves": [4, 6]}, SHAPE), steps={"": 9})
    assert load_strategies()["grid"].size(seen) == 3
    assert sorted(p["num_leaves"] for p in proposals("grid", seen)) == [4, 5]  # 6 is the default, which was tried


def test_a_grid_that_is_too_large_is_refused_with_its_number_and_what_to_do():
    seen, grid = view(LIGHTGBM, expected=12), load_strategies()["grid"]
    assert "its grid has 4,374 configurations, more than the 11 that --trials 12" in grid.unsuited(seen)
    assert "give --trials 4375" in grid.unsuited(seen)
    assert "--steps lightgbm=2" in grid.unsuited(seen)
    assert grid.unsuited(replace(seen, expected=4375)) == ""
    assert "4,374 configurations, more than the 399" in grid.unsuited(replace(seen, expected=None))
    assert grid.unsuited(replace(seen, steps={"": 1})) == ""
    fine = grid.unsuited(replace(seen, steps={"": 60}))
    assert "its grid has 3,251,923,200,000 configurations" in fine
    assert "give --trials" not in fine


def test_the_number_of_a_large_grid_is_a_bound_where_a_condition_hangs_on_a_number():
    def space(trial, shape):
        config = {name: trial.suggest_int(name, 0, 9) for name in "abcd"}
        return config | ({"e": trial.suggest_int("e", 0, 9)} if config["d"] > 4 else {})

    known = replace(LINEAR, default=dict.fromkeys("abcd", 1), space=space)
    said = load_strategies()["grid"].unsuited(view(known, expected=12, steps={"": 10}))
    assert "its grid has at least 10,000 configurations" in said
    assert load_strategies()["grid"].unsuited(view(known, expected=20_000, steps={"": 10}))


def test_a_grid_counted_by_its_choices_has_as_many_configurations_as_are_walked(monkeypatch):
    seen = {f.name: view(f, steps={"": 2}) for f in load_families().values() if f.tunable}
    walks = {name: sum(1 for _ in islice(_walk_grid(one), 3000)) for name, one in seen.items()}
    small = [name for name, count in walks.items() if count < 3000]
    monkeypatch.setattr(models.search.grid, "_MOST_WALKS", 7)
    sizes = {name: _measure_grid(seen[name]) for name in small}
    assert all(size == walks[name] if whole else size <= walks[name] for name, (size, whole) in sizes.items())
    assert {"lightgbm", "extra_trees", "mlp"} <= {name for name in small if walks[name] > 7 and sizes[name][1]}


# --- sobol -----------------------------------------------------------------------------------------------------------


def test_batches_go_on_with_the_sequence_and_cover_every_range_evenly():
    tried = [p["strength"] for p in proposals("sobol", view(LINEAR), batches=16)]
    assert len(set(tried)) == 64
    strength = list_distributions(LINEAR, SHAPE)["strength"]
    bins = [sum(int(to_place(strength, s) * 8) == k for s in tried) for k in range(8)]
    assert bins == [8] * 8
    other = proposals("sobol", replace(view(LINEAR), study_seed=1), batches=1)
    assert other[0]["strength"] not in tried


# --- genetic, cmaes --------------------------------------------------------------------------------------------------


def learned(name: str, trials: int, wanted: float = 0.2, seed: int = 0) -> list[Trial]:
    """A search in which the nearer a strength lies to a place, the better, and elastic nets are worse."""
    one = Study(replace(view(LINEAR, expected=trials), study_seed=seed), "1", name)
    strength = list_distributions(LINEAR, SHAPE)["strength"]
    while len(one.told) < trials:
        asked = one.ask(trials - len(one.told))
        off = [abs(to_place(strength, t.params["strength"]) - wanted) + 0.1 * ("l1_ratio" in t.params) for t in asked]
        one.tell([replace(t, scores=(1 - o, 1 - o)) for t, o in zip(asked, off, strict=True)])
    return one.told


def test_generations_of_a_genetic_search_go_on_though_each_batch_begins_anew():
    gains = []
    for seed in range(8):
        told = learned("genetic", 61, seed=seed)
        generations = [t.marks.get("Genetic:generation", 0) for t in told]
        assert generations == sorted(generations)
        assert [generations.count(g) for g in range(1, 5)] == [12] * 4
        gains.append(sum(t.inner for t in told[-12:]) - sum(t.inner for t in told[1:13]))
        assert any("l1_ratio" in t.params for t in told)
    assert min(gains) > 0
    assert sum(gains) / len(gains) > 1


@pytest.mark.skipif(not load_strategies()["cmaes"].available, reason="the package cmaes is not there")
def test_the_distribution_of_cmaes_moves_though_each_batch_begins_anew():
    told = learned("cmaes", 65)
    generations = [t.marks["cmaes"]["generation"] for t in told[1:]]
    assert generations == [i // 8 for i in range(64)]
    assert sum(t.inner for t in told[-16:]) > sum(t.inner for t in told[1:17]) + 1.5
