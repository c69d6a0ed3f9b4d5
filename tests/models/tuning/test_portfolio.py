"""Portfolios: what other tables have taught is tried first, and is a configuration of this table."""

from __future__ import annotations

from dataclasses import replace

import pytest

import models.tuning.portfolio
from models.config import Search
from models.families import load_families
from models.fitting.family import Shape
from models.fitting.ranges import Range
from models.metrics.metric import make_metric
from models.search import load_strategies
from models.studies.study import Study
from models.tuning.goal import make_goal
from models.tuning.portfolio import (
    LearnedConfiguration,
    Portfolio,
    load_portfolio,
    order_greedily,
    plan_portfolio,
    weigh_table,
)
from models.tuning.space import apply_ranges, list_distributions
from models.tuning.strategy import BATCH, View
from models.tuning.trial import Trial
from tests.models.studies.test_study import searched

SHAPE = Shape(500, 12, "binary", 2)
TABLES = {
    "near": {"rows": 500, "columns": 12, "task": "binary", "classes": 2},
    "far": {"rows": 60_000, "columns": 200, "task": "regression", "classes": 0},
}
DEFAULT = LearnedConfiguration({}, {"near": 1.0, "far": 1.0})
SLOW = LearnedConfiguration({"learning_rate": 0.02, "num_leaves": 8}, {"near": 0.1, "far": 0.9})
QUICK = LearnedConfiguration({"learning_rate": 0.3, "num_leaves": 200}, {"near": 0.9, "far": 0.1})
POOR = LearnedConfiguration({"learning_rate": 0.05}, {"near": 0.95, "far": 0.95})


@pytest.fixture
def taught(monkeypatch):
    known = Portfolio(TABLES, {"lightgbm": (DEFAULT, POOR, QUICK, SLOW)})
    monkeypatch.setattr(models.tuning.portfolio, "load_portfolio", lambda: known)


def view(shape: Shape = SHAPE, ranges: dict[str, Range] | None = None, name: str = "lightgbm") -> View:
    known = apply_ranges(load_families()[name], ranges or {}, shape)
    return View(known, shape, make_metric(None, shape.task, tuple(range(shape.classes))), (), 0, 0)


def test_tables_alike_weigh_more():
    weights = {name: weigh_table(SHAPE, table) for name, table in TABLES.items()}
    assert 0 < weights["far"] < weights["near"] == 1


def test_each_choice_adds_most_to_those_before():
    order = order_greedily((DEFAULT, POOR, QUICK, SLOW), {"near": 1.0, "far": 0.9})
    assert order == [SLOW, QUICK, POOR]
    assert order_greedily((DEFAULT, POOR, QUICK, SLOW), {"near": 0.1, "far": 1.0}, 1) == [QUICK]


def test_what_was_good_on_like_tables_comes_first_then_the_sampler(taught):
    batch = plan_portfolio(view())
    assert len(batch) == BATCH
    assert [dict(p.params).get("learning_rate") for p in batch[:3]] == [0.02, 0.3, 0.05]
    assert batch[0].params["reg_alpha"] == load_families()["lightgbm"].default["reg_alpha"]
    assert dict(batch[3].params) == {}


def test_it_stays_in_the_ranges_of_the_user(taught):
    narrow = view(ranges={"learning_rate": [0.04, 0.06]})
    for proposal in plan_portfolio(narrow)[:3]:
        inside = list_distributions(narrow.family, SHAPE)["learning_rate"]
        assert inside.low <= proposal.params["learning_rate"] <= inside.high


def test_nothing_is_tried_twice_and_a_broken_search_goes_on_with_the_next(taught):
    study = Study(view(), "1", "portfolio")
    told = searched(study, 9)
    first = [t.params["learning_rate"] for t in told[1:4]]
    assert first == [0.02, 0.3, 0.05]
    again = Study(view(), "1", "portfolio")
    again.recall(told[:5])
    assert [t.params for t in searched(again, 9)] == [t.params for t in told]


@pytest.mark.parametrize("name", ["portfolio", "meta"])
def test_several_objectives_begin_with_the_same_configurations_and_all_of_them_count_then(taught, name):
    assert load_strategies()[name].several
    goal = make_goal(view().metric, Search(objectives=("size",)))
    both = replace(view(), directions=goal.directions, goal=goal)

    def tried(view: View, sign: int = 1) -> list:
        study = Study(view, "1", name)
        while len(study.told) < 17:
            asked = study.ask()
            study.tell([replace(t, scores=(t.number / 40,), measures={"size": 50 + sign * t.number}) for t in asked])
        return [t.params for t in study.told]

    whole = tried(both)
    assert whole == tried(both)
    assert whole[:4] == tried(view())[:4]
    assert whole[13:] != tried(both, -1)[13:]


def test_a_family_that_nothing_was_learned_of_is_left_to_the_sampler(taught):
    assert [dict(p.params) for p in plan_portfolio(view(name="linear"))] == [{}] * BATCH


def test_auto_says_what_it_takes(taught):
    default = load_families()["lightgbm"].default
    held = {n: default[n] for n in list_distributions(load_families()["lightgbm"], SHAPE)}
    few = view(ranges={**held, "num_leaves": [30, 32], "min_child_samples": [19, 20]})
    for asked, taken in (
        (view(), "portfolio"),
        (view(name="linear"), "tpe"),
        (view(replace(SHAPE, rows=6_749)), "portfolio"),
        (view(replace(SHAPE, rows=6_750)), "bohb"),
        (replace(view(replace(SHAPE, rows=6_750)), affords=7.9), "portfolio"),
        (replace(view(replace(SHAPE, rows=6_750)), expected=8), "bohb"),
        (view(replace(SHAPE, rows=6_750), name="linear"), "tpe"),
        (replace(view(replace(SHAPE, rows=6_750)), directions=("maximize", "minimize")), "portfolio"),
        (replace(view(), directions=("maximize", "minimize")), "portfolio"),
        (replace(view(name="linear"), directions=("maximize", "minimize")), "tpe"),
        (replace(few, affords=7), "grid"),
        (replace(few, affords=6), "portfolio"),
        (replace(few, expected=7, affords=6), "grid"),
        (replace(view(), configurations=({"num_leaves": 7},)), "manual"),
        (replace(view(), steps={"": 3}), "grid"),
    ):
        study = Study(asked, "1", "auto")
        assert study.strategy.name == taken
        assert study.why


@pytest.mark.parametrize("name", sorted(load_portfolio().families))
def test_what_it_holds_are_configurations_of_its_families(name):
    """A range that was narrowed, or a hyperparameter that is gone, would make a part of the file dead."""
    known = load_families()[name]
    shapes = [SHAPE, replace(SHAPE, task="multiclass", classes=4), replace(SHAPE, task="regression", skewed=True)]
    whole = {n for shape in shapes for n in list_distributions(known, replace(shape, columns=100))}
    for one in load_portfolio().families[name]:
        assert set(one.params) <= whole
        assert set(one.regret) == set(load_portfolio().tables)
    assert "portfolio" in load_strategies()


@pytest.mark.usefixtures("taught")
def test_on_a_long_tail_the_other_scale_is_tried_first_and_the_better_one_kept():
    """Whatever other tables had: whether the logarithm is fitted is for this table's inner folds to say."""
    skewed = view(Shape(500, 12, "regression", skewed=True))
    told = Trial(0, {**skewed.family.default}, {}, scores=(1.0,))
    first = [dict(p.params) for p in plan_portfolio(replace(skewed, told=(told,)))]
    assert first[0] == {**skewed.family.default, "log_target": True}
    assert [params["log_target"] for params in first[1:]] == [False] * 3
    for score, kept in ((0.5, True), (2.0, False)):  # rmse: less is better
        trials = (told, *(Trial(n, p, {}, scores=(score,)) for n, p in enumerate(first[:1], 1)))
        later = [dict(p.params) for p in plan_portfolio(replace(skewed, told=trials)) if p.params]
        assert later
        assert {params["log_target"] for params in later} == {kept}
    fixed = view(skewed.shape, {"log_target": (False,)})
    proposals = plan_portfolio(replace(fixed, told=(replace(told, params=dict(fixed.family.default)),)))
    assert not any(p.params.get("log_target") for p in proposals)
