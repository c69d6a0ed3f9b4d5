"""What default fits cost is foretold: with a budget few are fitted before there is a plan."""

from __future__ import annotations

import pytest

from models.families import load_family
from tasks.planning.plan import make_plan
from tests.runs import begin_run, make_frame, make_small_run

NAMES = ("constant", "linear", "lightgbm", "random_forest", "knn")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A plan with a budget, and the families that were fitted for it."""
    data = make_frame(300, "binary").drop(columns=["words", "day"])
    run = make_small_run(data=data, budget={"workers": 1, "seconds": 600}, search={"families": NAMES, "trials": None})
    sealed = begin_run(run, tmp_path_factory.mktemp("run"))
    try:
        plan = make_plan(sealed)
        yield plan, {path.parent.parent.parent.name for path in plan.context.folder.path.glob("fits/*/*/*/*/*.json")}
    finally:
        sealed.context.close()


def test_before_the_plan_only_the_last_resort_and_the_quickest_family_are_fitted(planned):
    assert planned[1] == {"constant", "linear"}


def test_every_family_of_the_plan_has_seconds_and_a_size(planned):
    plan = planned[0]
    assert set(plan.scope.families) == set(NAMES)
    assert set(plan.default_seconds) == set(NAMES)
    assert all(seconds > 0 for seconds in plan.default_seconds.values())
    assert all(plan.model_mb[name] > 0 for name in NAMES if load_family(name).tunable)
    assert plan.default_seconds["random_forest"] > plan.default_seconds["knn"]
