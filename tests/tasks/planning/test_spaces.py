"""The user's ranges in a whole run: three families, every kind of range, a warm start that does not fit them all."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from models.errors import InputError
from models.tuning.strategy import BATCH
from tasks.data import read_table
from tasks.planning.checks import check_table
from tasks.planning.eligible import choose_families
from tasks.planning.plan import make_plan
from tests import runs
from tests.runs import begin_run, make_frame, make_small_run

RANGES = {
    "linear": {"space": {"penalty": "elasticnet", "strength": [0.5, 5000, "log"]}},
    "random_forest": {"space": ["max_features=0.2,0.4"]},
    "tree": {"space": {"criterion": "entropy"}, "steps": 2},
}


def run(told=RANGES, plan="random", split=None, **search):
    data = make_frame().drop(columns=["day", "words"])
    search = {"trials": 5, "families": tuple(RANGES), **search}
    return make_small_run(plan, data=data, search=search, families=told, budget={"workers": 2}, **split or {})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Two configurations of linear: one that the ranges hold, and one that they do not."""
    fitting = {"strength": 2000.0, "penalty": "elasticnet", "l1_ratio": 0.75}
    rows = [{"strength": 1.0, "penalty": "l2"}, fitting, {"strength": 0.1, "penalty": "l2"}]
    told = [
        {"family": "linear", "fold": str(1 + i // 2), "number": i % 2, "params": json.dumps(rows[n]),
         "state": "complete", "scores": [0.5 + 0.1 * n], "seconds": 1.0}
        for i, n in enumerate((0, 1, 0, 2))
    ]  # fmt: skip
    file = tmp_path_factory.mktemp("earlier") / "trials.parquet"
    pd.DataFrame(told).to_parquet(file)
    return {"run_id": "f" * 32, "name": "model", "config": {}, "trials": str(file), "tags": {},
            "report": {"metric": "roc_auc", "task": "binary"}}  # fmt: skip


@pytest.fixture(scope="module")
def evaluation(earlier, tmp_path_factory):
    return runs.train_run(run(strategy="random", warm_from="model"), tmp_path_factory.mktemp("run"), past=earlier)


def test_every_configuration_of_every_fold_keeps_to_the_ranges(evaluation):
    linear = [t.params for (name, _), trials in evaluation.trials.items() for t in trials if name == "linear"]
    assert {p["penalty"] for p in linear} == {"elasticnet"}
    assert all(0.5 <= p["strength"] <= 5000 and 0.05 <= p["l1_ratio"] <= 1 for p in linear)
    assert linear[0] == {"strength": 1.0, "penalty": "elasticnet", "l1_ratio": 0.525}
    forest = [t.params for (name, _), trials in evaluation.trials.items() for t in trials if name == "random_forest"]
    assert all(0.2 <= p["max_features"] <= 0.4 for p in forest)
    assert {t.params["criterion"] for (n, _), ts in evaluation.trials.items() for t in ts if n == "tree"} == {"entropy"}
    assert {f.name for f in evaluation.families} == set(RANGES)


def test_a_warm_start_hands_over_what_the_ranges_hold_and_says_what_not(evaluation):
    assert evaluation.warm_start.configurations == {
        "linear": [{"strength": 2000.0, "penalty": "elasticnet", "l1_ratio": 0.75}]
    }
    assert evaluation.trials["linear", "1"][1].params["strength"] == 2000.0
    assert any(
        "not taken over from the earlier run: " in note and "linear" in note for note in evaluation.context.notes
    )


def test_a_grid_ends_when_all_is_tried_and_its_size_was_told(tmp_path):
    families = {"tree": {"space": {"criterion": "entropy", **_fixed("tree")}, "steps": 2}}
    evaluation = runs.train_run(run(families, strategy="grid", families=("tree",), trials=9), tmp_path)
    note = next(n for n in evaluation.context.notes if "search grid tries this many configurations: " in n)
    count = int(re.findall(r"\d+", note.rpartition(": ")[2])[0])
    assert {len(trials) for trials in evaluation.trials.values()} == {1 + count}


def test_what_was_tried_before_is_not_fitted_again(tmp_path):
    """All but a choice of two is fixed: the search draws both again and again."""
    families = {"tree": {"space": {"criterion": ["gini", "entropy"], **_fixed("tree", but=0)}}}
    evaluation = runs.train_run(run(families, strategy="random", families=("tree",), trials=9), tmp_path)
    for (name, fold), trials in evaluation.trials.items():
        first = {str(t.config): t.number for t in reversed(trials)}
        assert len(first) == 2
        for one in (t for t in trials if (t.number + BATCH - 1) // BATCH > 1 and t.scores):
            fit = evaluation.context.folder.read_json(
                evaluation.make_job(name, fold, one.number, {}, inner=0).file + ".json"
            )
            assert fit["taken"]
            assert one.scores[0] == trials[first[str(one.config)]].scores[0]


def _fixed(name, but=1):
    """All numbers but one at one value: what is left makes a small grid."""
    from models.families import load_family
    from models.fitting.family import Shape
    from models.tuning.space import list_distributions, to_value

    space = list_distributions(load_family(name), Shape(200, 8, "binary", 2))
    numbers = [n for n, d in space.items() if not hasattr(d, "choices")]
    return {n: to_value(space[n], 0.5) for n in numbers[but:]}


@pytest.mark.parametrize(
    ("families", "search", "says"),
    [
        ({"lightgmb": {"steps": 2}}, {}, "No family 'lightgmb'. Did you mean lightgbm"),
        ({"linear": {"space": {"strength": [5, 1]}}}, {}, "strength is a number: give one value"),
        ({"linear": {"steps": {"x": 2}}}, {}, "No hyperparameter of linear 'x'"),
        *(
            ({"constant": said}, {"families": ("linear", "constant")}, "constant has nothing to tune: leave out what")
            for said in ({"space": {"x": 1}}, {"steps": 2}, {"configurations": [{"x": 1}]})
        ),
        ({}, {"strategy": "manual"}, "no configuration of it is listed"),
        ({"linear": {"steps": 9}}, {"strategy": "grid", "families": ("linear",)}, "its grid has 90 configurations"),
    ],
)
def test_what_can_not_be_searched_is_told_before_any_fit(tmp_path, families, search, says):
    with pytest.raises(InputError, match=says):
        runs.train_run(run(families, **search), tmp_path)


# --- Conditions that depend on the rows ------------------------------------------------------------------------------

NETS = {"linear": {"configurations": [{"penalty": "elasticnet", "l1_ratio": 0.5, "strength": 2.0}]}}


def dear_from(rows, monkeypatch, read):
    """Elastic nets are offered for so many training rows at most."""
    import models.families.linear as linear

    monkeypatch.setattr(linear, "_L1_CELLS", 2 * rows * read.features.shape[1])


def test_a_search_is_checked_on_the_rows_that_it_will_have(monkeypatch):
    """60 training rows of 240: two outer folds, two inner ones."""
    listed = run(NETS, strategy="manual", families=("linear",))
    grid = run({"linear": {"steps": 2}}, strategy="grid", families=("linear",), trials=4)
    table = read_table(listed)
    dear_from(90, monkeypatch, table)
    assert [f.name for f in choose_families(table, listed)[0]] == ["linear"]
    with pytest.raises(InputError, match="its grid has 6 configurations"):
        choose_families(table, grid)


def planned(asked, path, monkeypatch, dear):
    """The plan of this run; in plans by time the folds are of different sizes."""
    sealed = begin_run(asked, path)
    try:
        dear_from(dear, monkeypatch, sealed.work_rows)
        return make_plan(sealed)
    finally:
        sealed.context.close()


def test_what_some_fold_can_not_search_is_told_before_any_search(monkeypatch, tmp_path):
    asked = run(NETS, "time", strategy="manual", families=("linear",))
    with pytest.raises(InputError, match="No hyperparameter of linear 'l1_ratio'") as stopped:
        planned(asked, tmp_path, monkeypatch, dear=60)
    assert [f.message for f in check_table(asked)[1] if f.verdict == "stop"] == [str(stopped.value)]


def test_a_family_that_was_not_asked_for_by_name_is_left_out_where_some_fold_can_not_search_it(monkeypatch, tmp_path):
    asked = run({"linear": {"steps": 2}}, "time", strategy="grid", families=(), trials=4, split={"split": {"outer": 3}})
    scope = planned(asked, tmp_path, monkeypatch, dear=50).scope
    assert "its grid has 6 configurations" in scope.left_out["linear"]
    assert "linear" not in scope.families
