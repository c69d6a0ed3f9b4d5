"""What a run is stopped by before anything is fitted: sealed rows that leave nothing of a class to learn from."""

import numpy as np
import pytest

from models.errors import InputError
from tests.sessions import begun, frame, run_over


@pytest.mark.parametrize(("begins", "stops"), [(0.85, True), (0.7, False)])
def test_a_class_that_is_sealed_whole_stops_the_run_before_it_begins(begins, stops, tmp_path):
    """In time plans the newest rows are sealed, and a label may be new."""
    data = frame(task="multiclass")
    early = np.arange(len(data)) < begins * len(data)
    data.loc[early & (data["target"] == "high"), "target"] = "mid"
    run = run_over("time", data)
    if not stops:
        assert set(begun(run, tmp_path, pool=lambda: None).work.target) == {0, 1, 2}
        return
    with pytest.raises(InputError, match=r"All rows with the target high are sealed.*--sealed"):
        begun(run, tmp_path, pool=lambda: None)
