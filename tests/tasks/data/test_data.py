"""Reading: formats, kinds, parsers, targets, roles, and the next table read as the first was."""

from __future__ import annotations

import json
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.pandas import column, data_frames, range_indexes

from models.config import Run
from models.data.table import Reading, Table
from models.errors import InputError
from tasks.data import read_like, read_table

ROWS = 60


@pytest.fixture
def frame() -> pd.DataFrame:
    draw = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "age": draw.integers(18, 80, ROWS),
            "income": draw.normal(50, 10, ROWS).round(2),
            "city": draw.choice(["Rome", "Oslo", "Bern"], ROWS),
            "member": draw.choice([True, False], ROWS),
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(draw.integers(0, 300, ROWS), "D"),
            "class": draw.choice(["no", "yes"], ROWS),
        }
    )


def column_read(values: list[Any], name: str = "x", tmp_path: Path | None = None, **settings: Any) -> Table:
    """The table whose column `x` holds the values, read from csv text where a folder is given."""
    frame = pd.DataFrame({name: values, "class": [i % 2 for i in range(len(values))]})
    if tmp_path is None:
        return read_table(Run(data=frame, target="class", **settings))
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    return read_table(Run(data=str(path), target="class", **settings))


@pytest.mark.parametrize("form", ["csv", "csv.gz", "csv.bz2", "csv.xz", "parquet", "frame"])
def test_every_format_gives_the_same_table(form: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / f"loans.{form}"
    if form == "parquet":
        frame.to_parquet(path)
    elif form != "frame":
        frame.to_csv(path, index=False)
    table = read_table(Run(data=frame if form == "frame" else str(path), target="class"))
    assert table.name == ("frame" if form == "frame" else "loans")
    assert table.kinds == {
        "age": "number",
        "income": "number",
        "city": "category",
        "member": "boolean",
        "since": "date",
    }
    assert table.fingerprint == read_table(Run(data=frame, target="class")).fingerprint
    pd.testing.assert_series_equal(table.features["income"], frame["income"])
    pd.testing.assert_series_equal(table.features["since"], frame["since"].astype("datetime64[us]"))
    assert list(table.features.dtypes.astype(str)) == ["float64", "float64", "str", "float64", "datetime64[us]"]


def test_zstd_is_read(frame: pd.DataFrame, tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "a.csv.zst"
    with pa.output_stream(path, compression="zstd") as stream:
        stream.write(frame.to_csv(index=False).encode())
    assert read_table(Run(data=str(path), target="class")).rows == ROWS


@pytest.mark.parametrize(
    ("name", "task", "classes", "columns"),
    [
        ("breast_cancer", "binary", ("benign", "malignant"), 30),
        ("iris", "multiclass", ("setosa", "versicolor", "virginica"), 4),
        ("wine", "multiclass", ("class_0", "class_1", "class_2"), 13),
        ("digits", "multiclass", tuple(range(10)), 64),
        ("diabetes", "regression", (), 10),
        ("linnerud", "regression", (), 3),
    ],
)
def test_scikit_learns_tables(name: str, task: str, classes: tuple[object, ...], columns: int) -> None:
    table = read_table(Run(data=f"sklearn:{name}"))
    assert (table.task, table.classes, table.features.shape[1], table.name) == (task, classes, columns, name)


def test_an_unknown_table_of_scikit_learn_names_the_known() -> None:
    with pytest.raises(InputError, match="Known: breast_cancer"):
        read_table(Run(data="sklearn:boston"))
    with pytest.raises(InputError, match=r"Did you mean iris\?"):
        read_table(Run(data="sklearn:iri"))


@settings(max_examples=40, deadline=None)
@given(
    data_frames(
        [column("a", elements=st.floats(allow_infinity=False, min_value=-1e300, max_value=1e300)),
         column("b", elements=st.integers(-(2**53), 2**53))],
        index=range_indexes(min_size=30, max_size=40),
    )
)  # fmt: skip
def test_csv_gives_back_the_same_numbers(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame) -> None:
    assume((frame["a"].abs() <= 3e38).any())  # a type that fits no value at all is refused
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    frame.assign(y=np.arange(len(frame)) % 2).to_csv(path, index=False)
    table = read_table(Run(data=str(path), target="y", types={"a": "number", "b": "number"}))
    for name in ("a", "b"):
        known = frame[name].to_numpy(np.float64)
        known = np.where(np.abs(known) > 3e38, np.nan, known)
        np.testing.assert_array_equal(table.features[name], known)


# What a column of text is taken for: values that repeat to 60 rows -> kind, and the first value as it is then.
KINDS = [
    (["1", "2", "3"], "number", 1.0),
    (["1,234", "2,345.5", "12"], "number", 1234.0),
    (["1.234,5", "2.345,75", "12,25"], "number", 1234.5),
    (["1,5", "2,25", "3"], "number", 1.5),
    (["$1,000", "$250", "$3"], "number", 1000.0),
    (["1.000,50 €", "250,25 €", "3,00 €"], "number", 1000.5),
    (["(5)", "7", "9"], "number", -5.0),
    (["12%", "15%", "7.5%"], "number", 12.0),
    (["1 234", "22 345", "12"], "number", 1234.0),
    (["1'234", "22'345", "12"], "number", 1234.0),
    (["\u22125", "7", "8"], "number", -5.0),
    (["+5", "-.5", "1e3"], "number", 5.0),
    (["NA", "1", "2"], "number", np.nan),
    (["-", "1", "2"], "number", np.nan),
    (["#DIV/0!", "1", "2"], "number", np.nan),
    (["inf", "1", "2"], "number", np.nan),
    (["1e39", "1", "2"], "number", np.nan),
    (["007", "008", "123"], "category", "007"),
    (["12345678901234567890", "12345678901234567891"], "category", "12345678901234567890"),
    (["2", "4", "more"], "category", "2"),
    (["None", "Brick"], "category", "None"),
    (["NA", "DE", "FR"], "category", "NA"),
    (["?", "DE", "FR"], "category", np.nan),
    (["N/A", "DE", "FR"], "category", np.nan),
    (["Yes", "No"], "category", "Yes"),
    (["true", "FALSE"], "boolean", 1.0),
    (["T", "F"], "boolean", 1.0),
    (["2024-01-31", "2024-02-01"], "date", pd.Timestamp("2024-01-31")),
    (["2024-01-31T12:30:00+02:00", "2024-02-01T00:00:00Z"], "date", pd.Timestamp("2024-01-31 10:30")),
    (["31/01/2024", "01/02/2024"], "date", pd.Timestamp("2024-01-31")),
    (["01/31/2024 10:15", "02/01/2024"], "date", pd.Timestamp("2024-01-31 10:15")),
    (["31.1.2024", "1.2.2024"], "date", pd.Timestamp("2024-01-31")),
    (["5.1.2024", "1.2.2024"], "date", pd.Timestamp("2024-01-05")),
    (["05/01/2024", "02/01/2024"], "date", pd.Timestamp("2024-05-01")),
    (["31 Jan 2024", "1 Feb 2024"], "date", pd.Timestamp("2024-01-31")),
    (["January 31, 2024", "February 1, 2024"], "date", pd.Timestamp("2024-01-31")),
    (["20240131", "20240201", "20240202", "20240203", "20240204"], "date", pd.Timestamp("2024-01-31")),
    (["9999-12-31", "2024-02-01"], "date", pd.NaT),
    (["31/01/2024", "01/31/2024"], "category", "31/01/2024"),
    (["1700000000", "1700003600"], "number", 1.7e9),
]


@pytest.mark.parametrize(("values", "kind", "first"), KINDS, ids=[str(k[0][:2]) for k in KINDS])
def test_kinds_of_text(values: list[str], kind: str, first: object, tmp_path: Path) -> None:
    table = column_read([values[i % len(values)] for i in range(ROWS)], tmp_path=tmp_path)
    assert table.kinds == {"x": kind}
    got = table.features["x"].iloc[0]
    assert (pd.isna(first) and pd.isna(got)) or got == first


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (list(range(1, 61)), "id"),
        (list(range(59, -1, -1)), "id"),
        (list(range(1950, 2010)), "number"),
        ([i * 7 for i in range(60)], "number"),
        ([f"P-{i * 7919:06x}" for i in range(60)], "id"),
        ([10**25 + i * 7919 for i in range(60)], "id"),
        ([f"the {i}th of many long sentences in a row" for i in range(60)], "text"),
        ([f"Mary Smith {i % 9}" for i in range(60)], "category"),
        ([f"Mary{i} Smith" for i in range(60)], "text"),
        ([[1, 2]] * 60, "drop"),
        ([{"a": 1}] * 60, "drop"),
        (pd.to_timedelta(range(60), "h"), "number"),
        ([Decimal(i) / 4 for i in range(60)], "number"),
        (pd.Categorical(["a", "b"] * 30, categories=["a", "b", "never"]), "category"),
        (pd.Categorical([1, 2] * 30), "category"),
        (pd.array([True, None, False] * 20, "boolean"), "boolean"),
        (pd.array([1, None, 7] * 20, "Int16"), "number"),
        (pd.date_range("2024-01-01", periods=60, tz="Europe/Rome"), "date"),
    ],
    ids=lambda v: str(v)[:30],
)
def test_kinds_of_typed_values(values: Any, kind: str) -> None:
    table = column_read(values)
    assert table.reading.kinds["x"] == kind
    assert list(table.features) == ([] if kind in ("id", "drop") else ["x"])


def test_typed_values_in_canonical_form() -> None:
    hours = column_read(pd.to_timedelta(range(60), "h")).features["x"]
    assert hours[2] == 7200.0
    zone = column_read(pd.date_range("2024-07-01", periods=60, tz="Europe/Rome")).features["x"]
    assert zone[0] == pd.Timestamp("2024-06-30 22:00")
    kinds = column_read(pd.Categorical([1, 2] * 30)).features["x"]
    assert kinds[0] == "1"


def test_the_users_types_overrule(tmp_path: Path) -> None:
    assert column_read(["1", "2", "x"] * 20, tmp_path=tmp_path, types={"x": "number"}).features["x"].isna().sum() == 20
    assert column_read([1, 2, 3] * 20, tmp_path=tmp_path, types={"x": "category"}).features["x"][0] == "1"
    assert column_read(["yes", "no"] * 30, tmp_path=tmp_path, types={"x": "boolean"}).features["x"][0] == 1.0
    assert "x" not in column_read([1, 2, 3] * 20, tmp_path=tmp_path, types={"x": "drop"}).features
    assert column_read(list(range(60)), tmp_path=tmp_path, types={"x": "number"}).kinds == {"x": "number"}


def test_na_counts_in_words_where_numbers_write_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": ["1", "NA", "3"] * 20, "c": ["NA", "DE", "FR"] * 20, "class": [0, 1] * 30})
    frame.to_csv(tmp_path / "a.csv", index=False)
    table = read_table(Run(data=str(tmp_path / "a.csv"), target="class"))
    assert table.features["c"].isna().sum() == 20


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["no", "yes"], "binary", ("no", "yes")),
        (["0", "1"], "binary", (0, 1)),
        (["-1", "1"], "binary", (-1, 1)),
        (["0.0", "1.0"], "binary", (0.0, 1.0)),
        (["True", "False"], "binary", (False, True)),
        ([True, False], "binary", (False, True)),
        ([1, 2, 3], "multiclass", (1, 2, 3)),
        (["b", "a", "c"], "multiclass", ("a", "b", "c")),
        (["01", "02", "10"], "multiclass", ("01", "02", "10")),
        (["1", "2", "x"], "multiclass", ("1", "2", "x")),
        ([i / 7 for i in range(60)], "regression", ()),
        (list(range(15)), "regression", ()),
        ([f"${i},500" for i in range(1, 61)], "regression", ()),
    ],
    ids=str,
)
def test_the_task_is_seen_from_the_target(
    values: list[Any], task: str, classes: tuple[Any, ...], tmp_path: Path
) -> None:
    frame = pd.DataFrame({"x": np.arange(ROWS) % 7, "y": [values[i % len(values)] for i in range(ROWS)]})
    if isinstance(values[0], str):
        frame.to_csv(tmp_path / "a.csv", index=False)
    table = read_table(Run(data=str(tmp_path / "a.csv") if isinstance(values[0], str) else frame, target="y"))
    assert (table.task, table.classes) == (task, classes)
    assert [type(c) for c in table.classes] == [type(c) for c in classes]
    assert table.target.dtype == (np.float64 if task == "regression" else np.int64)


def test_an_integer_target_says_how_to_choose_otherwise(frame: pd.DataFrame) -> None:
    table = read_table(Run(data=frame, target="age"))
    assert any("taken as regression" in f.message and "--task multiclass" in f.message for f in table.findings)
    assert read_table(Run(data=frame.assign(y=np.arange(ROWS) % 3), target="y", task="regression")).task == "regression"


def test_the_positive_class_is_last(frame: pd.DataFrame) -> None:
    table = read_table(Run(data=frame, target="class", positive="no"))
    assert table.classes == ("yes", "no")
    assert [table.classes[c] for c in table.target] == list(frame["class"])
    with pytest.raises(InputError, match="no class 'maybe'"):
        read_table(Run(data=frame, target="class", positive="maybe"))


def test_rows_without_target_are_left_out_of_every_member(frame: pd.DataFrame) -> None:
    gaps = frame.assign(g=np.arange(ROWS), w=1.0).astype({"class": object})
    gaps.loc[[3, 9], "class"] = None
    table = read_table(Run(data=gaps, target="class", weight="w", split={"group": "g"}))
    assert table.rows == len(table.features) == len(table.weight) == len(table.group) == ROWS - 2
    assert any(f.check == "missing_target" and f.rows == (4, 10) for f in table.findings)


def test_roles_are_no_features(frame: pd.DataFrame) -> None:
    more = frame.assign(
        w=2.0, g=[f"g{i % 12}" for i in range(ROWS)], key=[f" k{i}" for i in range(ROWS)], s=["test", "train"] * 30
    )
    run = Run(data=more, target="class", weight="w", drop="age",
              split={"group": "g", "time": "since", "id": "key", "test_column": "s"})  # fmt: skip
    table = read_table(run)
    assert list(table.features) == ["income", "city", "member", "since"]
    assert table.ids["key"][3] == "k3"
    assert table.group.max() == 11
    assert table.time.dtype == np.int64
    assert table.test.sum() == 30
    assert (table.weight == 2).all()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"target": "clas"}, "Did you mean class"),
        ({"target": None}, "Which column"),
        ({"drop": "class"}, "another role"),
        ({"drop": "aeg"}, "Did you mean age"),
        ({"types": {"incom": "number"}}, "Did you mean income"),
        ({"types": {"class": "number"}}, "--task"),
        ({"weight": "city"}, "weight column 'city' has no usable value"),
        ({"split": {"time": "city"}}, "neither dates nor numbers"),
        ({"split": {"test_column": "city"}}, "split column 'city' holds"),
        ({"data": "s3://bucket/a.csv"}, "address"),
        ({"data": 5}, "not a int"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_wrong_settings_are_told(settings: dict[str, Any], says: str, frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=says):
        read_table(Run(**{"data": frame, "target": "class", **settings}))


def test_fingerprints_follow_the_content(frame: pd.DataFrame) -> None:
    one = read_table(Run(data=frame, target="class")).fingerprint
    assert one == read_table(Run(data=frame.copy(), target="class")).fingerprint
    assert one != read_table(Run(data=frame.assign(income=frame["income"] + 1), target="class")).fingerprint
    assert one != read_table(Run(data=frame, target="class", drop="age")).fingerprint


def test_the_reading_is_plain_json(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.assign(p=[f"${i},000" for i in range(ROWS)]).to_csv(tmp_path / "a.csv", index=False, sep=";")
    table = read_table(Run(data=str(tmp_path / "a.csv"), target="class"))
    back = json.loads(json.dumps(asdict(table.reading)))
    reading = Reading(**{**back, "missing": tuple(back["missing"])})
    pd.testing.assert_frame_equal(read_like(reading, str(tmp_path / "a.csv")), table.features)


def test_the_next_table_is_read_as_the_first(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "a.csv", index=False)
    first = read_table(Run(data=str(tmp_path / "a.csv"), target="class"))
    later = frame[["city", "since", "member", "income", "age"]].assign(bonus=1, city="Atlantis")
    forms = [later, str(tmp_path / "b.csv"), str(tmp_path / "b.parquet")]
    later.to_csv(tmp_path / "b.csv", index=False, sep=";", decimal=",", encoding="utf-16")
    later.to_parquet(tmp_path / "b.parquet")
    for form in forms:
        pd.testing.assert_frame_equal(
            read_like(first.reading, form), first.features.assign(city="Atlantis").astype({"city": "str"})
        )


def test_words_that_were_missing_in_training_are_missing_again(tmp_path: Path) -> None:
    table = column_read([*map(str, range(100, 158)), "abc", "soon"], tmp_path=tmp_path)
    assert table.features["x"].isna().sum() == 2
    pd.testing.assert_frame_equal(read_like(table.reading, str(tmp_path / "a.csv")), table.features)
    with pytest.raises(InputError, match="'never' is no number"):
        read_like(table.reading, pd.DataFrame({"x": ["never"]}))


def test_one_row_of_one_column_can_be_scored(tmp_path: Path) -> None:
    table = column_read([i * 1.5 for i in range(60)])
    (tmp_path / "b.csv").write_text("x\n4.5\n")
    assert read_like(table.reading, str(tmp_path / "b.csv"))["x"].tolist() == [4.5]


def test_the_next_table_must_fit(frame: pd.DataFrame) -> None:
    reading = read_table(Run(data=frame, target="class")).reading
    with pytest.raises(InputError, match=r"lacks the column 'city'.* Did you mean City"):
        read_like(reading, frame.rename(columns={"city": "City"}))
    with pytest.raises(InputError, match="column 'age', data row 2: 'old' is no number"):
        read_like(reading, frame.assign(age=["1", "old", *["3"] * (ROWS - 2)]))
    with pytest.raises(InputError, match="column 'since', data row 1: 'soon' is no date"):
        read_like(reading, frame.assign(since="soon"))
    with pytest.raises(InputError, match="column 'member', data row 1: 'maybe' is neither"):
        read_like(reading, frame.assign(member="maybe"))


def test_ids_and_unused_columns_may_be_absent(frame: pd.DataFrame) -> None:
    table = read_table(Run(data=frame.assign(id=np.arange(ROWS)), target="class"))
    assert table.reading.kinds["id"] == "id"
    assert list(read_like(table.reading, frame)) == list(table.features)


def test_arrows_and_sparse_types_are_pandas_types(frame: pd.DataFrame) -> None:
    plain = read_table(Run(data=frame, target="class"))
    arrow = read_table(Run(data=frame.convert_dtypes(dtype_backend="pyarrow"), target="class"))
    pd.testing.assert_frame_equal(arrow.features, plain.features)
    sparse = column_read(pd.arrays.SparseArray([0.0, 1.0, 2.0] * 20))
    assert sparse.features["x"].tolist() == [0.0, 1.0, 2.0] * 20


DEV = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.skipif(not (DEV / "catalog.csv").exists(), reason="the shared tables are not here")
def test_the_shared_tables_have_the_task_that_the_catalog_says() -> None:
    for row in pd.read_csv(DEV / "catalog.csv").to_dict("records"):
        table = read_table(Run(data=str(DEV / row["path"]), target=row["target"]))
        assert (table.task, table.rows) == (row["task"], row["rows"]), row["name"]
        if row["task"] != "regression":
            assert len(table.classes) == row["classes"], row["name"]
