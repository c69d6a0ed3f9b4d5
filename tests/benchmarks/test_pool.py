"""What the list of tables says of each is what was learned from it."""

from __future__ import annotations

from benchmarks.pool import NAMED, UNNAMED, WEKA
from models.tuning.portfolio import load_portfolio


def test_each_table_has_the_kind_of_target_with_which_it_was_collected():
    said = {name: task for name, _, _, task, _ in NAMED} | {name: task for name, _, task in UNNAMED}
    said |= {file.lower(): "regression" for file in WEKA}
    assert said == {name: shape["task"] for name, shape in load_portfolio().tables.items()}
