"""Where a run's seconds go is told of a real run, and its phases leave no second out."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks.command import CommandResult, run_nestor, stop_server
from benchmarks.spending import PHASES, list_fits, make_row


def test_the_phases_of_a_run_add_up_to_its_wall_seconds(tmp_path):
    began = time.time()
    options = ["--families", "linear,tree", "--trials", "2", "--json", "--quiet"]
    try:
        done = run_nestor("train", "sklearn:wine", *options, folder=tmp_path, timeout=240)
    finally:
        stop_server(tmp_path)
    assert done.report is not None, done.err
    row = make_row(done, tmp_path, began, 120.0)
    assert sum(row[phase] for phase in PHASES) == pytest.approx(done.wall)
    assert min(row[phase] for phase in PHASES) >= 0
    assert row["not used"] == pytest.approx(120 - done.wall)
    assert (row["rows"], row["columns"], row["task"]) == (178, 13, "multiclass")
    # The report books the same fits, and each of them once.
    assert row["fitting"] == pytest.approx(done.report["seconds"]["fitting"], rel=0.1)
    assert row["fits"] > row["trials"] == 4 * 5


def test_a_fit_that_another_stands_for_is_not_counted(tmp_path):
    place = tmp_path / "fits" / "5x4" / "linear" / "0" / "3"
    place.mkdir(parents=True)
    for name, taken in (("0", False), ("1", True)):
        (place / f"{name}.json").write_text(json.dumps({"seconds": 2.0, "preparing": 0.5, "taken": taken}))
    assert [fit["taken"] for fit in list_fits(tmp_path)] == [False]


def test_a_run_that_failed_says_why(tmp_path):
    done = CommandResult(2, 1.5, "", "Error: there is no file x.csv.\n", {})
    assert make_row(done, tmp_path, 0.0, 60.0) == {
        "exit": 2, "wall": 1.5, "not used": 58.5, "error": "Error: there is no file x.csv.",
    }  # fmt: skip
