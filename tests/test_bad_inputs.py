"""Broken and awkward inputs: each is stopped with one clear message, or repaired and told; never a raw traceback, never
a silent wrong result."""

from __future__ import annotations

import csv
import gzip
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.config import Run
from models.data.table import Finding, Table
from models.errors import InputError
from tasks.data import read_like, read_table
from tasks.data.chunks import open_table, read_chunks
from tasks.planning.checks import check_table

BAD = Path(__file__).parents[2] / "shared" / "data" / "bad"
ROWS = 120


def expected() -> list[dict[str, str]]:
    if not (BAD / "expect.csv").exists():
        return []
    with (BAD / "expect.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mentions(messages: str, parts: str) -> bool:
    return all(any(p in messages for p in part.split("|")) for part in parts.split(";") if part)


@pytest.mark.parametrize("case", expected(), ids=lambda case: case["file"])
def test_the_shared_bad_inputs(case: dict[str, str]) -> None:
    test = str(BAD / case["test_file"]) if case["test_file"] else None
    table, findings = check_table(
        Run(data=str(BAD / case["file"]), target=case["target"], task=case["task"] or None, test=test)
    )
    stops = [f.message for f in findings if f.verdict == "stop"]
    warned = [f.message for f in findings if f.verdict != "pass"]
    assert bool(stops) is (case["expect"] == "error") or case["expect"] == "either"
    assert mentions("\n".join(stops if case["expect"] == "error" else warned), case["must_mention"])
    assert max(len(message) for message in warned or [""]) < 1000
    assert table is not None or stops


@pytest.fixture
def frame() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": draw.integers(18, 80, ROWS),
            "income": draw.normal(50, 10, ROWS).round(2),
            "city": draw.choice(["Rome", "Oslo", "Bern"], ROWS),
            "class": draw.choice(["no", "yes"], ROWS),
        }
    )


@pytest.fixture
def text(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False)


@pytest.fixture
def seen(tmp_path: Path) -> Callable[..., tuple[Table | None, str, str]]:
    """(table, stops, warnings) of what is given: text, bytes or a frame."""

    def look(data: str | bytes | pd.DataFrame, target: str = "class", name: str = "a.csv", **more: Any) -> Any:
        if not isinstance(data, pd.DataFrame):
            path = tmp_path / name
            path.write_bytes(data.encode() if isinstance(data, str) else data)
            data = str(path)  # type: ignore[assignment]
        table, findings = check_table(Run(data=data, target=target, **more))
        return table, told(findings, "stop"), told(findings, "warn")

    return look


def told(findings: tuple[Finding, ...], verdict: str) -> str:
    messages = [f.message for f in findings if f.verdict == verdict]
    assert all(len(m) < 1000 for m in messages)
    return "\n".join(messages)


STOPPED = {
    "nothing in it": (lambda t: "", "empty"),
    "blanks only": (lambda t: " \n \n", "empty"),
    "a byte order mark only": (lambda t: b"\xef\xbb\xbf", "empty"),
    "a header only": (lambda t: t.splitlines()[0], "no rows"),
    "one column": (lambda t: "class\nyes\nno\n", "one column"),
    "divided by blanks": (lambda t: t.replace(",", " "), "one column"),
    "html": (lambda t: "<!DOCTYPE html><html><body>404</body></html>", "html, not csv"),
    "xml": (lambda t: '<?xml version="1.0"?><a/>', "xml"),
    "json": (lambda t: '[{"age": 1, "class": "x"}]', "json"),
    "a pickle": (lambda t: pickle.dumps([1], 5), "pickle"),
    "bytes of a program": (lambda t: b"\x7fELF" + bytes(100), "program"),
    "any bytes": (lambda t: bytes(range(256)) * 9, "NUL"),
    "a NUL byte": (lambda t: t.replace("Rome", "Ro\0me", 1), "NUL"),
    "a cut-off gzip": (lambda t: gzip.compress(t.encode())[:100], "gzip"),
    "a broken parquet": (lambda t: b"PAR1" + bytes(50), "not a whole parquet"),
    "a line that is too long": (lambda t: t.replace("Rome", "Rome,x", 1), "fields, but the header has 4"),
    "a line that is too short": (lambda t: t + "1,2\n", "line 122: 2 fields"),
    "names of rows": (lambda t: "".join((f"{i}," if i else "") + f"{line}\n" for i, line in enumerate(t.splitlines())),
                      "Every line has one more"),
    "a quote never closed": (lambda t: t + '1,2.0,"Rome,no\n', "line 122: a quote"),
    "a quote closed too soon": (lambda t: t.replace("Rome", '"Ro"me', 1), "a quote"),
    "one class": (lambda t: t.replace(",yes", ",no"), "only one class"),
    "another target": (lambda t: t.replace("class", "clas"), "Did you mean clas?"),
    "a target of ids": (lambda t: "x,class\n" + "".join(f"{i % 7},id{i}\n" for i in range(60)), "looks like an id"),
    "a target of dates": (lambda t: "x,class\n" + "".join(f"{i % 7},2024-01-{i % 28 + 1:02d}\n" for i in range(60)),
                          "dates"),
    "no target values": (lambda t: t.replace(",yes", ",").replace(",no", ",NaN"), "missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", STOPPED)
def test_stops_with_one_clear_message(case: str, seen: Any, text: str) -> None:
    broken, says = STOPPED[case]
    _, stops, _ = seen(broken(text))
    assert says in stops
    assert "Traceback" not in stops


REPAIRED = {
    "missing targets": (lambda t: t.replace(",yes", ",", 5), "5 of 120 rows have no target"),
    "marked targets": (lambda t: t.replace(",yes", ",?", 5), "5 of 120 rows have no target"),
    "spellings of a class": (lambda t: t.replace(",yes", ", Yes ", 5), "'Yes' (as 'yes')"),
    "an index column": (lambda t: "".join(f"{i or ''},{line}\n" for i, line in enumerate(t.splitlines())), "column 1"),
    "one name twice": (lambda t: t.replace("age,income", "age,age"), "age (now age.2)"),
    "one name twice but for blanks": (lambda t: t.replace("age,income", "age, age "), "age (now age.2)"),
    "lines before the header": (lambda t: "# made by x\n# today\n" + t, "2 lines before the header"),
    "a title": (lambda t: "Report\n\n" + t, "before the header"),
    "the header again": (lambda t: t + t, "header stands in the data again"),
    "a line of totals": (lambda t: t + "Total,6000,,all\n", "totals"),
    "a word among numbers": (lambda t: _with(t, 4, 1, "abc"), "'abc' in data row 4"),
    "a number past all bounds": (lambda t: _with(t, 7, 1, "1e400"), "income (data row 7)"),
    "minus infinity": (lambda t: _with(t, 7, 1, "-inf"), "income (data row 7)"),
    "latin-1": (lambda t: t.replace("Rome", "Orléans").encode("latin-1"), "cp1252"),
    "marks among numbers": (lambda t: _with(_with(t, 4, 1, "NA"), 9, 1, "-"), "income ('NA' in 1, '-' in 1 rows)"),
    "cyrillic": (lambda t: t.replace("Rome", "Москва").encode("cp1251"), "encoding cp1251"),
    "utf-8 with a stray byte": (lambda t: t.replace("Rome", "Málaga").encode().replace("á".encode(), b"\xe1", 1),
                                "as cp1252"),
    "levels in two cases": (lambda t: t.replace("Rome", "rome", 9), "upper and lower case"),
    "parquet named csv": (lambda t: _parquet(t), "holds parquet"),
    "a header of numbers": (lambda t: "5.1,3.5,class\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60)),
                            "is the header line missing?"),
    "blanks among numbers": (lambda t: _with(_with(t, 4, 1, "  "), 9, 1, " "), "income (blanks in 2 rows)"),
}  # fmt: skip


def _with(text: str, row: int, column: int, value: str) -> str:
    lines = text.splitlines()
    fields = lines[row].split(",")
    fields[column] = value
    lines[row] = ",".join(fields)
    return "\n".join(lines) + "\n"


def _parquet(text: str) -> bytes:
    return pd.read_csv(io.StringIO(text)).to_parquet()


@pytest.mark.parametrize("case", REPAIRED)
def test_repairs_and_says_so(case: str, seen: Any, text: str) -> None:
    awkward, says = REPAIRED[case]
    table, stops, warnings = seen(awkward(text))
    assert not stops
    assert says in warnings
    assert table.rows >= 60
    assert len(table.classes) == 2


SILENT = {
    "utf-16": lambda t: t.encode("utf-16"),
    "a byte order mark": lambda t: t.encode("utf-8-sig"),
    "semicolons": lambda t: t.replace(",", ";"),
    "tabs": lambda t: t.replace(",", "\t"),
    "bars": lambda t: t.replace(",", "|"),
    "Excel's first line": lambda t: "sep=;\n" + t.replace(",", ";"),
    "gzip": lambda t: gzip.compress(t.encode()),
    "blank lines": lambda t: t.replace("\n", "\n\n"),
    "old Mac lines": lambda t: t.replace("\n", "\r"),
    "Windows lines": lambda t: t.replace("\n", "\r\n"),
    "a separator at the end": lambda t: "".join(
        line + ("," if i else "") + "\n" for i, line in enumerate(t.splitlines())
    ),
    "blanks in the header": lambda t: t.replace("age,income", " age , income "),
    "quotes": lambda t: t.replace("Rome", '"Rome"'),
    "quotes after blanks": lambda t: t.replace("Rome", ' "Rome"'),
    "blanks around values": lambda t: t.replace("Rome", " Rome  "),
}


@pytest.mark.parametrize("case", SILENT)
def test_reads_the_same_table(case: str, text: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    changed = SILENT[case](text)
    path.write_bytes(changed.encode() if isinstance(changed, str) else changed)
    table = read_table(Run(data=str(path), target="class"))
    pd.testing.assert_frame_equal(table.features, read_table(Run(data=frame, target="class")).features)
    assert [table.classes[c] for c in table.target] == list(frame["class"])


def test_a_zip_of_one_csv_is_read_and_a_workbook_is_not(tmp_path: Path, text: str, seen: Any) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inside.csv", text)
    assert read_table(Run(data=str(tmp_path / "a.zip"), target="class")).rows == ROWS
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    assert "Excel" in seen((tmp_path / "b.xlsx").read_bytes())[1]


def test_a_missing_file_names_the_near_ones(tmp_path: Path, text: str) -> None:
    (tmp_path / "loans.csv").write_text(text)
    _, findings = check_table(Run(data=str(tmp_path / "loan.csv"), target="class"))
    assert "Did you mean loans.csv?" in told(findings, "stop")
    _, findings = check_table(Run(data=str(tmp_path), target="class"))
    assert "is a folder" in told(findings, "stop")


def test_numeric_targets(seen: Any, frame: pd.DataFrame) -> None:
    _, stops, _ = seen(_with(frame.to_csv(index=False), 5, 1, "abc"), target="income")
    assert "data row 5" in stops
    assert "'abc'" in stops
    _, stops, _ = seen(_with(frame.to_csv(index=False), 5, 1, "-inf"), target="income")
    assert "inf" in stops
    assert "data row 5" in stops
    _, stops, _ = seen(frame.assign(y=3.5), target="y")
    assert "constant" in stops
    _, stops, _ = seen(frame, task="regression")
    assert "words ('no', 'yes')" in stops
    _, stops, _ = seen(frame, target="city", task="binary")
    assert "3 classes" in stops


def test_many_classes_warn(seen: Any) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"x": draw.normal(size=5000), "class": draw.integers(0, 200, 5000).astype(str)})
    table, stops, warnings = seen(frame, task="multiclass")
    assert not stops
    assert f"{len(table.classes)} classes" in warnings


def test_copies_of_the_target_warn(seen: Any, frame: pd.DataFrame) -> None:
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS) % 50, "D")
    leaks = frame.assign(copy=frame["class"], until=pd.Series(day).where(frame["class"] == "yes"))
    _, _, warnings = seen(leaks)
    assert "copy" in warnings
    assert "until" in warnings


ROLES: dict[str, dict[str, Any]] = {
    "the target": {},
    "the weight": {"weight": "age"},
    "the group": {"split": {"group": "age"}},
    "the time": {"split": {"time": "age"}},
    "an id": {"split": {"id": ["age"]}},
    "to be dropped": {"drop": ["age"]},
    "given a type": {"types": {"age": "category"}},
}


@pytest.mark.parametrize("form", ["csv", "parquet", "frame"])
@pytest.mark.parametrize("role", ROLES)
def test_a_column_that_is_named_in_the_settings_stands_once(
    role: str, form: str, seen: Any, frame: pd.DataFrame, tmp_path: Path
) -> None:
    name = "age" if ROLES[role] else "class"
    double = pd.concat([frame, frame[[name]].iloc[::-1].reset_index(drop=True)], axis=1)
    data: Any = double if form == "frame" else double.to_csv(index=False)
    if form == "parquet":
        pq.write_table(pa.table([pa.array(double.iloc[:, i]) for i in range(5)], list(double.columns)), tmp_path / "p")
        data = (tmp_path / "p").read_bytes()
    _, stops, _ = seen(data, **ROLES[role])
    assert f"holds '{name}' 2 times (columns {[*frame].index(name) + 1}, 5), and it is {role}" in stops


def test_all_columns_of_a_name_may_be_dropped(seen: Any, frame: pd.DataFrame) -> None:
    table, stops, _ = seen(pd.concat([frame, frame[["age"]]], axis=1), drop=["age", "age.2"])
    assert not stops
    assert list(table.features) == ["income", "city"]


@pytest.mark.parametrize("form", ["csv", "frame"])
def test_a_feature_that_stands_twice_is_numbered_and_scored_only_where_it_stands_so_again(
    form: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    def given(table: pd.DataFrame) -> Any:
        if form == "frame":
            return table
        table.to_csv(tmp_path / "a.csv", index=False)
        return str(tmp_path / "a.csv")

    double = pd.concat([frame, frame[["age"]].iloc[::-1].reset_index(drop=True)], axis=1)
    once = read_table(Run(data=given(frame), target="class")).reading
    twice = read_table(Run(data=given(double), target="class")).reading
    for whole in (
        lambda like, data: read_like(like, data),
        lambda like, data: [*read_chunks(like, open_table(data), 50)],
    ):
        with pytest.raises(InputError, match=r"holds 'age' 2 times \(columns 1, 5\)"):
            whole(once, given(double))
        whole(twice, given(double))
        with pytest.raises(InputError, match=r"lacks the column 'age\.2'"):
            whole(twice, given(frame))


@pytest.mark.parametrize("empty", ["", "?", "NaN", " "])
def test_a_column_that_holds_nothing_is_told(empty: str, seen: Any, frame: pd.DataFrame) -> None:
    table, stops, warnings = seen(frame.assign(gone=empty, same="x").to_csv(index=False))
    assert not stops
    assert "gone" in warnings
    assert "same" in warnings
    assert list(table.features) == ["age", "income", "city"]
    _, stops, warnings = seen(frame[["class"]].assign(gone=empty, same="x").to_csv(index=False))
    assert "No feature varies" in stops
    assert "gone" in warnings


def test_nested_values_are_dropped_with_a_word(seen: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "nested.parquet"
    frame.assign(some=[[1, 2]] * ROWS, more=[{"a": 1}] * ROWS).to_parquet(path)
    table, stops, warnings = seen(path.read_bytes(), name="n.parquet")
    assert not stops
    assert "some" in warnings
    assert list(table.features) == ["age", "income", "city"]


def test_long_names_and_values_are_cut_in_messages(seen: Any, text: str) -> None:
    for changed in (text.replace("age", "a" * 3000), text.replace("yes", "y" * 3000), _with(text, 3, 1, "v" * 3000)):
        _, stops, warnings = seen(changed)
        assert not stops
        assert len(warnings) < 1000
    _, stops, _ = seen(_with(text, 3, 1, "v" * 3000), target="income")
    assert len(stops) < 500


def test_odd_names_stay_what_they_are(seen: Any, text: str) -> None:
    table, stops, _ = seen(
        text.replace("age", "🎂").replace("income", '"[a]{b}"').replace("class", "💰 <b>"), target="💰 <b>"
    )
    assert not stops
    assert list(table.features) == ["🎂", "[a]{b}", "city"]


def test_given_test_tables(seen: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    train, later = frame.head(80), frame.tail(40)
    path = tmp_path / "later.csv"
    later[["class", "city", "income", "age"]].assign(bonus=1).to_csv(
        path, index=False, sep=";", decimal=",", encoding="utf-16"
    )
    table, stops, _ = seen(train, test=str(path))
    assert not stops
    assert table.test.sum() == 40
    np.testing.assert_array_equal(table.features["income"], frame["income"])
    later.drop(columns="city").to_csv(path, index=False)
    assert "lacks the column 'city'" in seen(train, test=str(path))[1]
    later.assign(age=["old", *later["age"][1:].astype(str)]).to_csv(path, index=False)
    assert "column 'age', data row 1: 'old' is no number" in seen(train, test=str(path))[1]
    later.drop(columns="class").to_csv(path, index=False)
    assert "lacks the column 'class'" in seen(train, test=str(path))[1]
    train.tail(40).to_csv(path, index=False)
    said = seen(train, test=str(path))[2]
    assert "40 rows have the same features as rows of the given test set and count as copies of them" in said
