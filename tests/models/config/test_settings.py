"""Names with dots: the same as groups within groups, wherever settings are read, and told of where they clash."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.config import Gate, Retrain, Run, Score
from models.config.places import unfold_groups
from models.config.problems import validate_settings
from models.errors import InputError
from tasks.data import read_table

LIGHTGBM = {"lightgbm": {"space": {"learning_rate": [0.01, 0.1], "num_leaves": 15}}}


@pytest.mark.parametrize(
    "said",
    [
        {"families.lightgbm.space.learning_rate": [0.01, 0.1], "families.lightgbm.space.num_leaves": 15},
        {"families": {"lightgbm.space": {"learning_rate": [0.01, 0.1]}, "lightgbm.space.num_leaves": 15}},
        {"families": {"lightgbm": {"space": {"learning_rate": [0.01, 0.1]}}, "lightgbm.space": {"num_leaves": 15}}},
        {"families.lightgbm": {"space": {"learning_rate": [0.01, 0.1]}}, "families": {"lightgbm.space.num_leaves": 15}},
    ],
)
def test_dots_are_groups_at_every_depth(said):
    assert unfold_groups(said, Run) == {"families": LIGHTGBM}
    changed = Retrain(name="a", changes=said)
    assert changed.changes == {"families": LIGHTGBM}
    assert Run(data="t.csv", **changed.changes) == Run.model_validate({"data": "t.csv", "families": LIGHTGBM})


@pytest.mark.parametrize("said", [{"types": {"a.b": "number"}}, {"types.a.b": "number"}, ["types.a.b=number"]])
def test_beneath_the_last_group_dots_belong_to_the_name_of_a_column(said: Any):
    assert Retrain(name="a", changes=said).changes == {"types": {"a.b": "number"}}


def test_single_families_are_read_so_in_python_and_in_lines_too():
    lines: Any = ["lightgbm.space.learning_rate=0.01,0.1", "lightgbm.space.num_leaves=15"]
    dotted: Any = {"lightgbm.space": {"learning_rate": [0.01, 0.1], "num_leaves": 15}}
    assert Run(data="t.csv", families=lines) == Run(data="t.csv", families=dotted)
    assert unfold_groups({"families": lines}, Run)["families"]["lightgbm"]["space"] == {
        "learning_rate": "0.01,0.1",
        "num_leaves": "15",
    }


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"split": {"outer": 3}, "split.outer": 4}, "outer is given twice, as 3 and as 4"),
        ({"split": 3, "split.outer": 4}, "split can't be both a value and a group of fields"),
        (["families.linear.steps=3", "families.linear.steps.strength=4"], "steps can't be both a value and a group"),
    ],
)
def test_what_is_said_twice_is_told(said, why):
    with pytest.raises(InputError, match=why):
        validate_settings(Retrain, {"name": "a", "changes": said})


def test_columns_that_are_called_by_numbers_are_named_by_them():
    """As frames without names have them: 0, 1, 2."""
    given: Any = {"target": 0, "weight": np.int64(1), "drop": 2, "types": {3: "category"}, "order": {4: ["s", "m"]}}
    more: Any = {"monotone": {5: "rising"}, "split": {"group": 6, "id": (7, "b"), "time": 8, "test_column": 9}}
    run = Run(data="t.csv", **given, **more)
    assert (run.target, run.weight, run.drop, run.types) == ("0", "1", ("2",), {"3": "category"})
    assert (run.order, run.monotone) == ({"4": ("s", "m")}, {"5": "rising"})
    assert (run.split.group, run.split.id, run.split.time, run.split.test_column) == ("6", ("7", "b"), "8", "9")
    assert Score(model="a", data="t.csv", out="o.csv", keep=[1, "x"]).keep == ("1", "x")  # type: ignore[arg-type]
    assert Gate(subgroup=1).subgroup == "1"  # type: ignore[arg-type]


def test_a_frame_whose_columns_are_numbers_is_read_by_them():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)))
    table = read_table(Run(data=frame, target=2, drop=0))  # type: ignore[arg-type]
    assert list(table.features) == ["1"]
    np.testing.assert_array_equal(table.target, frame[2])


@pytest.mark.parametrize("wrong", [True, ["y"], {"y": 1}, object()])
def test_what_names_no_column_is_told_in_a_line(wrong):
    with pytest.raises(InputError, match=r"^target: should be a valid string, not "):
        validate_settings(Run, {"data": "t.csv", "target": wrong})
