"""Hashes are those of pandas, by which tables of earlier versions are known again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.data import hashes

ROWS = 300
DRAW = np.random.default_rng(0)
COLUMNS = {
    "numbers": np.where(DRAW.random(ROWS) < 0.1, np.nan, DRAW.normal(size=ROWS)),
    "whole": DRAW.integers(0, 9, ROWS),
    "words": pd.array(DRAW.choice(["a", "é", "", "two words", None], ROWS), dtype="str"),
    "different": pd.array([f"w{i}" for i in range(ROWS)], dtype="str"),
    "nothing": pd.array([None] * ROWS, dtype="str"),
    "dates": pd.Timestamp("2024-01-01") + pd.to_timedelta(DRAW.integers(0, 99, ROWS), unit="D"),
    "objects": pd.Series(DRAW.choice(["a", "b", None], ROWS), dtype=object),
}


@pytest.mark.parametrize("rows", [0, 1, ROWS])
def test_they_are_those_of_pandas(rows, monkeypatch):
    monkeypatch.setattr(hashes, "_AT_ONCE", 7)
    frame = pd.DataFrame(COLUMNS).head(rows)
    assert hashes.hash_rows(frame).tolist() == pd.util.hash_pandas_object(frame, index=False).tolist()
    for name in frame:
        assert hashes.hash_values(frame[name]).tolist() == pd.util.hash_pandas_object(frame[name], index=False).tolist()
