"""What a run is stopped by before anything is fitted: sealed rows that leave nothing of a class to learn from."""

import numpy as np
import pytest

from models.errors import InputError
from tests.runs import begin_run, make_frame, make_small_run


@pytest.mark.parametrize(("begins", "stops"), [(0.85, True), (0.7, False)])
def test_a_class_that_is_sealed_whole_stops_the_run_before_it_begins(begins, stops, tmp_path):
    """In time plans the newest rows are sealed, and a label may be new."""
    data = make_frame(task="multiclass")
    early = np.arange(len(data)) < begins * len(data)
    data.loc[early & (data["target"] == "high"), "target"] = "mid"
    run = make_small_run("time", data)
    if not stops:
        assert set(begin_run(run, tmp_path, pool=lambda: None).work_rows.target) == {0, 1, 2}
        return
    with pytest.raises(InputError, match=r"All rows with the target high are sealed.*--sealed"):
        begin_run(run, tmp_path, pool=lambda: None)


def test_a_class_that_lies_in_the_gap_is_not_said_to_be_sealed(tmp_path):
    data, split = make_frame(task="multiclass"), {"gap": 20}
    usual = begin_run(make_small_run("time", data, split=split), tmp_path / "usual", pool=lambda: None).division
    gap = np.setdiff1d(np.arange(len(data)), [*usual.work_places, *usual.sealed_places])
    data["target"] = np.where(np.isin(np.arange(len(data)), gap), "high", data["target"].replace("high", "mid"))
    with pytest.raises(InputError, match=r"high are sealed for the final test, or left out.*the gap.*split\.gap"):
        begin_run(make_small_run("time", data, split=split), tmp_path / "new", pool=lambda: None)


def test_a_class_whose_rows_are_copies_of_given_test_rows_is_said_to_be_left_out(tmp_path):
    data = make_frame(task="multiclass").drop(columns=["group", "when"])
    test = data[data["target"] == "high"]
    run = make_small_run(data=data, drop=(), test=test, split={"copies": "together"})
    with pytest.raises(InputError, match=r"high are sealed for the final test, or left out.*copies.*\. Give other"):
        begin_run(run, tmp_path, pool=lambda: None)
