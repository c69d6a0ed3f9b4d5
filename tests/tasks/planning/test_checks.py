"""Validation: the form checks act or stop, the signal checks warn."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from models.config import Run
from models.errors import InputError
from tasks.data import read_table
from tasks.planning.checks import check_form, check_table, check_work_rows
from tests import runs


@pytest.fixture
def frame() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {"a": draw.normal(size=150), "same": 1, "b": draw.choice(["x", "y"], 150), "y": draw.integers(0, 2, 150)}
    )


def test_constant_columns_are_dropped_and_told(frame: pd.DataFrame) -> None:
    table = check_form(read_table(Run(data=frame, target="y")))
    assert list(table.features) == ["a", "b"]
    assert table.reading.kinds["same"] == "drop"
    assert any(f.check == "constant_columns" and f.columns == ("same",) for f in table.findings)


def test_all_stops_come_at_once(frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"(?s)No feature varies.*1 row.*only one class"):
        check_form(read_table(Run(data=frame.head(1), target="y")))


def test_check_tells_stops_instead_of_raising(frame: pd.DataFrame) -> None:
    table, findings = check_table(Run(data=frame, target="z"))
    assert table is None
    assert [f.verdict for f in findings] == ["stop"]
    table, findings = check_table(Run(data=frame, target="y"))
    assert table is not None
    assert not [f for f in findings if f.verdict == "stop"]
    assert {"leak", "imbalance"} <= {f.check for f in findings}


def test_signal_checks_never_stop(frame: pd.DataFrame) -> None:
    target = frame["y"].to_numpy()
    found = check_work_rows(frame[["a"]].assign(copy=target), target, "binary", (0, 1))
    assert any(f.check == "leak" and f.columns == ("copy",) for f in found)
    assert all(f.verdict != "stop" for f in found)


def test_given_test_rows_are_out_of_sight_of_signal_checks(frame: pd.DataFrame) -> None:
    sealed = np.arange(150) % 2 == 0
    leak = np.where(sealed, frame["y"], np.random.default_rng(1).normal(size=150))
    _, findings = check_table(Run(data=frame.assign(leak=leak, s=sealed), target="y", split={"test_column": "s"}))
    assert not any(f.check == "leak" and f.verdict == "warn" for f in findings)


@pytest.mark.parametrize("given", ["table", "column"])
def test_a_label_that_only_given_test_rows_have_is_told_and_stops(frame: pd.DataFrame, given: str) -> None:
    frame["y"] = np.where(np.arange(150) < 5, "new", frame["y"].map({0: "low", 1: "high"}))
    sealed = np.arange(150) < 40
    own = {"test": frame[sealed]} if given == "table" else {"split": {"test_column": "s"}}
    run = Run(data=frame[~sealed] if given == "table" else frame.assign(s=sealed), target="y", **own)
    _, findings = check_table(run)
    assert [f.check for f in findings if f.verdict == "stop"] == ["unseen_classes"]
    with pytest.raises(InputError, match=r"test rows only can't be learned: new\. Leave those rows out of"):
        check_form(read_table(run), run)


def test_a_constant_column_stays_where_its_kind_is_given() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3, 4] * 10, "b": 1, "c": None, "d": "x", "y": [0, 1] * 20})
    table = check_form(read_table(Run(data=frame, target="y", types={"b": "number", "c": "category"})))
    assert table.kinds == {"a": "number", "b": "number", "c": "category"}
    assert table.reading.kinds["d"] == "drop"
    told = [f.message for f in table.findings if f.check == "constant_columns"]
    assert told == [
        "1 column is constant or empty and not used: d.",
        "2 columns are constant or empty and kept, as was asked: b, c.",
    ]


def test_rows_are_named_as_the_source_counts_them() -> None:
    labels = [None, None, *["no", "yes"] * 20, "rare", None, "rare"]
    frame = pd.DataFrame({"a": np.arange(45) % 7 + 0.5, "w": [1.0] * 42 + [-1, 1, 1], "y": labels})
    table, findings = check_table(Run(data=frame, target="y", weight="w"))
    assert table is not None
    assert table.data_rows.tolist() == [*range(3, 44), 45]
    told = {f.check: f for f in findings}
    assert told["missing_target"].rows == (1, 2, 44)
    assert told["rare_classes"].rows == (43, 45)
    assert "data rows 43, 45" in told["rare_classes"].message
    assert told["row_weights"].rows == (43,)
    assert table.take(np.array([40, 0])).data_rows.tolist() == [43, 3]


def test_constant_columns_alone_stop_whoever_gave_their_kind() -> None:
    frame = pd.DataFrame({"a": 1, "y": [0, 1] * 20})
    with pytest.raises(InputError, match="No feature varies"):
        check_form(read_table(Run(data=frame, target="y", types={"a": "number"})))


def test_an_id_stays_where_its_kind_is_given() -> None:
    frame = pd.DataFrame({"id": range(1, 41), "key": [f"k{i}" for i in range(40)], "a": [1, 2] * 20, "y": [0, 1] * 20})
    pinned = read_table(Run(data=frame, target="y", types={"id": "number", "key": "category"}))
    assert pinned.kinds == {"id": "number", "key": "category", "a": "number"}
    assert pinned.reading.pinned == ("id", "key")
    assert read_table(Run(data=frame, target="y")).kinds == {"a": "number"}


def test_the_kinds_of_a_table_pin_those_of_the_next() -> None:
    first = read_table(Run(data=frame_of_kinds(0), target="y"))
    later = frame_of_kinds(1).assign(flag=True, day=None, town="Rome", note=None)
    table = check_form(read_table(Run(data=later, target="y", types=first.kinds)))
    assert table.kinds == first.kinds
    assert list(table.features.dtypes) == list(first.features.dtypes)


def frame_of_kinds(seed: int) -> pd.DataFrame:
    return runs.make_frame(120, seed=seed)[["number", "colour", "town", "day", "words"]].assign(
        flag=[True, False, None] * 40, note=[f"n{i % 50}" for i in range(120)], y=[0, 1] * 60
    )


def test_data_without_a_name_is_checked_without_one(tmp_path, monkeypatch) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        runs.make_frame(60)[["number", "noise", "target"]].to_sql("t", connection)
    monkeypatch.setenv("SHOP", f"sqlite:///{tmp_path / 'shop.db'}")
    run = Run(data="env:SHOP", query="select * from t where number < 9", target="target")
    assert not [f.message for f in check_table(run)[1] if f.verdict == "stop"]
