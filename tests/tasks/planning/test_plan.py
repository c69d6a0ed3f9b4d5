"""What the shortlist does with what the user asked for: nothing is passed over in silence."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from tasks.planning.plan import make_plan
from tests.runs import begin_run, make_frame, make_small_run


@contextmanager
def listed(tmp_path, **more):
    data = make_frame(300, "regression").drop(columns=["words", "day"])
    sealed = begin_run(make_small_run(data=data, budget={"workers": 1}, **more), tmp_path / "run")
    try:
        yield make_plan(sealed)
    finally:
        sealed.context.close()


def test_settings_of_a_family_that_is_not_tried_are_told(tmp_path):
    settings = {name: {"space": {}} for name in ("linear", "kernel", "tree")}
    with listed(tmp_path, families=settings, search={"trials": 1, "families": ["linear", "naive_bayes"]}) as plan:
        told = [note for note in plan.context.notes if note.startswith("Settings are given for")]
    assert sorted(told) == [
        f"Settings are given for {name}, which is not tried: it is not among the families asked for."
        for name in ("kernel", "tree")
    ]


@pytest.mark.parametrize(("asked", "made"), [({"outer": 2, "inner": 3}, (2, 3)), ({"outer": 3, "inner": None}, (3, 2))])
def test_inner_folds_are_as_many_as_were_asked_for(tmp_path, asked, made):
    with listed(tmp_path, split=asked, search={"trials": 1, "families": "linear"}) as plan:
        assert (plan.scope.outer, plan.scope.inner) == made
        assert {len(fold.inner) for fold in plan.folds.values()} == {made[1]}


GIVEN = {"steps": {"": 4}, "configurations": [{"strength": 0.1}]}


@pytest.mark.parametrize(("search", "passed_over"), [
    ("random", {"steps": "grid", "configurations": "manual"}),
    ("grid", {"configurations": "manual"}),
    ("manual", {"steps": "grid"}),
    ("auto", {"steps": "grid"}),  # takes manual
])  # fmt: skip
def test_settings_for_another_search_are_told(tmp_path, search, passed_over):
    wanted = {"trials": 30, "families": "linear", "strategy": search}
    with listed(tmp_path, families={"linear": GIVEN}, search=wanted) as plan:
        told = [note for note in plan.context.notes if "does not use" in note]
    taken = "manual" if search == "auto" else search
    assert sorted(told) == sorted(
        f"Search {taken} does not use the {setting} set for linear: they are for --search {reader}."
        for setting, reader in passed_over.items()
    )


@pytest.mark.parametrize(("family", "given", "left", "why"), [
    ("tree", {"criterion": "gini", "max_leaf_nodes": 30}, "criterion",
     "tree does not search it on a table like this"),
    ("linear", {"penalty": "l2", "l1_ratio": [0.1, 0.5]}, "l1_ratio",
     "it does not go together with the other settings of linear"),
])  # fmt: skip
def test_settings_without_effect_are_told_and_why(tmp_path, family, given, left, why):
    with listed(tmp_path, families={family: {"space": given}}, search={"trials": 1, "families": family}) as plan:
        told = [note for note in plan.context.notes if "no effect" in note]
    assert told == [f"What is set for {left} has no effect: {why}."]
