"""Names with dots: the same as groups within groups, wherever settings are read, and told of where they clash."""

from __future__ import annotations

from typing import Any

import pytest

from models.config import Retrain, Run
from models.config.places import unfolded
from models.config.problems import valid
from models.errors import InputError

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
    assert unfolded(said, Run) == {"families": LIGHTGBM}
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
    assert unfolded({"families": lines}, Run)["families"]["lightgbm"]["space"] == {
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
        valid(Retrain, {"name": "a", "changes": said})
