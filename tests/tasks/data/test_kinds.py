"""Ordered categories, durations and keys, from every source to what is prepared of them and back in the next table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.columns import prepare, transform
from models.config import Run
from models.errors import InputError
from models.fitting.family import Needs
from models.splitting.seal import make_row_keys, to_key_form
from tasks.data import read_like, read_table
from tasks.data.chunks import open_table, read_chunks
from tasks.data.column_types.columns import to_canonical
from tests.tasks.data.test_data import column_read

ROWS = 120
NEEDS = [Needs("codes", True, False), Needs("onehot", False, True), Needs("levels", False, True)]


def table() -> pd.DataFrame:
    draw = np.random.default_rng(2)
    minutes = draw.integers(0, 5000, ROWS)
    cut = pd.Categorical(draw.choice(["Ideal", "Fair", "Good"], ROWS), ["Fair", "Good", "Ideal"], ordered=True)
    frame = pd.DataFrame({
        "cut": cut,
        "band": draw.choice(["6-10", "1-5", ">10"], ROWS),
        "wait": pd.to_timedelta(minutes, "min"),
        "clock": [f"{m // 60 % 24}:{m % 60:02d}" for m in minutes],
        "span": [f"P{m // 1440}DT{m // 60 % 24}H{m % 60}M" for m in minutes],
        "userId": draw.integers(1, 41, ROWS),
        "lists": [[1, 2]] * ROWS,
        "y": draw.normal(size=ROWS),
    })  # fmt: skip
    gone = draw.random(frame.shape) < np.array([0.1, 0.1, 0.1, 0, 0.1, 0.1, 0, 0])
    return frame.mask(gone).astype({"cut": cut.dtype})


def run_over(data: Any) -> Run:
    order = {"cut": ("Fair", "Good", "Ideal")} if str(data).endswith("csv") else {}
    return Run(data=data, target="y", types={"band": "ordered"}, order=order, drop=("lists",))


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Any]:
    folder, frame = tmp_path_factory.mktemp("kinds"), table()
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_parquet(folder / "a.parquet")
    return {"csv": str(folder / "a.csv"), "parquet": str(folder / "a.parquet"), "frame": frame}


@pytest.mark.parametrize("form", ["csv", "parquet", "frame"])
def test_every_source_gives_the_same_columns(sources, form):
    found, like = read_table(run_over(sources[form])), read_table(run_over(sources["frame"]))
    assert found.kinds == {
        "cut": "ordered", "band": "ordered", "wait": "number", "clock": "number", "span": "number", "userId": "key"
    }  # fmt: skip
    assert found.orders == {"cut": ("Fair", "Good", "Ideal"), "band": ("1-5", "6-10", ">10")}
    assert found.fingerprint == like.fingerprint
    pd.testing.assert_frame_equal(found.features, like.features)
    given = table()["wait"].dt.total_seconds()
    np.testing.assert_array_equal(found.features["wait"], given)
    np.testing.assert_array_equal(found.features["span"].dropna() % 60, 0)


@pytest.mark.parametrize("first", ["csv", "parquet"])
@pytest.mark.parametrize("later", ["csv", "parquet", "frame"])
def test_the_next_table_is_read_alike_at_once_and_by_chunks(sources, first, later):
    known = read_table(run_over(sources[first]))
    at_once = read_like(known.reading, sources[later])
    pd.testing.assert_frame_equal(at_once, known.features)
    parts = [c.features for c in read_chunks(known.reading, open_table(sources[later]), 50)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), at_once)


@pytest.mark.parametrize("needs", NEEDS, ids=lambda n: n.categories)
def test_what_is_read_is_prepared_and_one_row_later_too(sources, needs):
    known = read_table(run_over(sources["parquet"]))
    made = prepare(known.features, known.kinds, known.target, known.task, needs, 0, known.orders)
    later = transform(made.transformer, read_like(known.reading, sources["frame"].head(1)))
    plain = len(made.plain)
    np.testing.assert_allclose(later[0, :plain], made.X[0, :plain])
    assert made.plain[:2] == ("cut", "band")


def test_a_key_is_to_a_row_what_the_number_was():
    """The rows that a seal holds stay those that it held before keys were told from numbers."""
    values = [float(i % 7) for i in range(60)]
    key, number = (column_read(values, "userId", types={"userId": kind}) for kind in ("key", "number"))
    assert (make_row_keys(key.features) == make_row_keys(number.features)).all()
    assert (to_key_form("key"), to_key_form("ordered")) == (to_key_form("number"), to_key_form("category"))
    words = column_read(list("ab" * 30))
    ranked = column_read(list("ab" * 30), order={"x": ("b", "a")})
    assert (make_row_keys(words.features) == make_row_keys(ranked.features)).all()


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("userId", [i % 9 for i in range(60)], "key"),
        ("user_id", [float(i % 9) for i in range(59)] + [None], "key"),
        ("id", [str(i % 9) for i in range(60)], "key"),
        ("age", [i % 9 for i in range(60)], "number"),
        ("userId", [i % 9 - 4 for i in range(60)], "number"),
        ("userId", [i % 9 + 0.5 for i in range(60)], "number"),
        ("userId", [7 * i for i in range(60)], "id"),
        ("valid", [i % 9 for i in range(60)], "number"),
        ("isId", [i % 2 for i in range(60)], "number"),
    ],
)
def test_whole_numbers_that_are_called_ids_and_come_again_are_keys(name, values, kind):
    assert column_read(values, name).reading.kinds[name] == kind


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["1 day 02:03:04", "2 days", "0 days 00:00:05", "05:06:07"] * 15, [93784, 172800, 5, 18367]),
        (["2:03", "12:30", "100:00", "?"] * 15, [7380, 45000, 360000, np.nan]),
        (["P1DT2H3M4S", "PT5M", "PT0.5S", "-PT1H"] * 15, [93784, 300, 0.5, -3600]),
    ],
)
def test_text_is_read_as_durations(values, seconds):
    found = column_read(values)
    assert found.reading.kinds["x"] == "number"
    np.testing.assert_array_equal(found.features["x"].head(4), seconds)


@pytest.mark.parametrize("odd", ["5 min", "2 h", "3 days ago", "5 kg"])
def test_a_number_with_a_unit_is_no_number_of_seconds(odd):
    read_as = to_canonical(pd.Series(["0:05:00", "90", odd]), "number", {"duration": True})
    assert read_as.values.tolist()[:2] == [300, 90]
    assert read_as.bad.tolist() == [False, False, True]


@pytest.mark.parametrize("values", [["10:30 am", "11:45 pm"] * 30, ["1:2:3:4", "5:6"] * 30, ["P", "PT"] * 30])
def test_what_only_looks_like_a_duration_stays_what_it_was(values):
    assert column_read(values).reading.kinds["x"] != "number"


def test_durations_are_those_that_are_asked_for():
    values = ["01:00:00", "late"] * 30
    assert column_read(values).reading.kinds["x"] == "category"
    asked = column_read(values, types={"x": "duration"})
    assert asked.features["x"].head(2).tolist()[0] == 3600
    assert any(f.check == "unreadable_values" for f in asked.findings)


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["no", "yes"], ("S", "M", "L")),
        (["no", "yes"], ("False", "True")),
        (["S", "M", "L"], ("s", "m", "l")),
        (["1", "2", "3"], ("one", "two")),
        ([True, False], ("no", "yes")),
        (pd.Categorical(["a", "b"], ordered=True).astype(object), ("c", "d")),
    ],
)
def test_an_order_that_fits_no_level_stops(values, order):
    with pytest.raises(InputError, match=r"holds none of the column's levels: .*Write the levels as the table does"):
        column_read(list(values) * 30, order={"x": order})


def test_an_order_is_said_or_seen_or_asked_for():
    values = ["S", "M", "L", "XL"] * 15
    with pytest.raises(InputError, match=r"(?s)In which order .*'x'.*--order 'x=S,M,L'"):
        column_read(values, types={"x": "ordered"})
    said = column_read(values, order={"x": ("S", "M", "L")})
    assert said.kinds == {"x": "ordered"}
    assert said.orders == {"x": ("S", "M", "L")}
    assert any(f.check == "unordered_levels" and "XL" in f.message for f in said.findings)
    ranked = pd.Series(pd.Categorical(values, ["XL", "L", "M", "S"], ordered=True))
    assert column_read(ranked, order={"x": ("S", "M", "L", "XL")}).orders == {"x": ("S", "M", "L", "XL")}
    with pytest.raises(InputError, match="An order is given for 'z'"):
        column_read(values, order={"z": ("S", "M")})
