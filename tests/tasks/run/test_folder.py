"""The files of a run's folder."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.run.folder import Workdir


def test_a_table_is_mapped_whatever_it_holds_and_comes_back_as_it_was(tmp_path):
    rows, draw = 100_000, np.random.default_rng(0)
    gaps = draw.random(rows) < 0.1
    frame = pd.DataFrame(
        {
            "whole": draw.normal(size=rows),
            "gaps": np.where(gaps, np.nan, draw.normal(size=rows)),
            "words": pd.Series(np.where(gaps, None, "ab"), dtype="str"),
            "day": pd.Series(pd.date_range("2020-01-01", periods=rows, freq="min")).astype("datetime64[us]"),
        }
    )
    workdir = Workdir(tmp_path)
    workdir.write_frame("work", frame)
    workdir.read_frame("work")
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        read = workdir.read_frame("work")
        taken = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - before
    finally:
        tracemalloc.stop()
    assert taken < (tmp_path / "work.arrow").stat().st_size / 20
    pd.testing.assert_frame_equal(read, frame, check_exact=True)
