"""A new table against a champion's: what is said of each way in which it can differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.config import Run
from models.data.table import Finding
from models.errors import InputError
from models.monitoring.table_profile import profile_table
from tasks.data import read_table
from tasks.planning.checks import check_schema
from tasks.registry.load import LoadedVersion

ROWS = 300


def loans(seed: int = 0, rows: int = ROWS) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "income": draw.normal(50, 10, rows).round(2),
            "age": draw.integers(18, 80, rows),
            "city": draw.choice(["Rome", "Oslo", "Bern", "Paris"], rows, p=[0.4, 0.3, 0.2, 0.1]),
            "plan": draw.choice(["s", "m", "l"], rows),
            "zip": [f"{i:05d}" for i in draw.integers(0, 9000, rows)],
            "grade": draw.choice([1, 2, 3], rows),
            "member": draw.choice([True, False], rows),
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(draw.integers(0, 300, rows), "D"),
            "customer": np.arange(rows) // 3,
            "paid": draw.choice(["no", "yes"], rows),
        }
    )


def champion(frame: pd.DataFrame | None = None, kept: bool = True, **settings: Any) -> LoadedVersion:
    """A version as it is loaded: of this table, with or without a profile."""
    run = Run(
        data=loans() if frame is None else frame, **{"target": "paid", "split": {"group": "customer"}, **settings}
    )
    table = read_table(run)
    facts = {"reading": asdict(table.reading), "target": run.target, "classes": table.classes, "kinds": table.kinds}
    whole = profile_table(table.features, table.kinds).as_json() if kept else None
    plain = json.loads(json.dumps({"facts": facts, "profile": whole}))
    values = {"name": "loans", "version": 1, "model": None, "run_id": "1", "digest": "", "row_keys": {}, **plain}
    return LoadedVersion(**{f.name: values[f.name] for f in fields(LoadedVersion) if f.name in values})


@pytest.fixture(scope="module")
def known() -> LoadedVersion:
    return champion(types={"grade": "category"})


def said(found: tuple[Finding, ...]) -> dict[str, str]:
    return {f.check: f.verdict for f in found}


def about(found: tuple[Finding, ...], check: str) -> Finding:
    (one,) = [f for f in found if f.check == check]
    return one


def test_a_table_of_the_same_kind_passes(known: LoadedVersion, tmp_path: Path) -> None:
    found = check_schema(loans(seed=1), known)
    assert set(said(found).values()) == {"pass"}
    loans(seed=1).to_csv(tmp_path / "a.csv", index=False)
    assert said(check_schema(str(tmp_path / "a.csv"), known)) == said(found)


def test_its_own_table_differs_in_nothing(known: LoadedVersion) -> None:
    assert check_schema(loans(), known) == (
        Finding("schema", "pass", "All 8 columns are there, as the champion knows them."),
    )


Change = Callable[[pd.DataFrame], pd.DataFrame]


def some(frame: pd.DataFrame, column: str, value: Any, rows: int) -> pd.DataFrame:
    changed = frame[column].astype(object)
    changed.iloc[:rows] = value
    return frame.assign(**{column: changed})


# The change -> the checks that see something, with their verdict, and what the message has to hold.
CHANGES: dict[str, tuple[Change, dict[str, str], str]] = {
    "missing": (lambda f: f.drop(columns=["income", "age"]), {"missing_column": "stop"}, "missing: income, age."),
    "extra": (lambda f: f.assign(colour="red"), {"extra_column": "warn"}, "does not know: colour"),
    "renamed by name": (
        lambda f: f.rename(columns={"income": "Income (EUR)"}).assign(extra=1),
        {"renamed_column": "stop", "extra_column": "warn"},
        "income (now Income (EUR)? alike by name and content)",
    ),
    "renamed by content": (
        lambda f: f.rename(columns={"city": "ort"}),
        {"renamed_column": "stop"},
        "city (now ort? alike by content)",
    ),
    "another number is no renamed column": (
        lambda f: f.drop(columns="income").assign(height=np.arange(len(f)) / 2),
        {"missing_column": "stop", "extra_column": "warn"},
        "missing: income.",
    ),
    "number to text": (
        lambda f: f.assign(income=f["income"].map(lambda v: "low" if v < 50 else "high")),
        {"data_type": "stop"},
        "income (number before, now 'high' in data row 1",
    ),
    "number to date": (lambda f: f.assign(age=f["since"]), {"data_type": "stop"}, "age (number before, now"),
    "date to text": (lambda f: f.assign(since="soon"), {"data_type": "stop"}, "since (date before, now 'soon'"),
    "boolean to text": (lambda f: f.assign(member="maybe"), {"data_type": "stop"}, "member (boolean before"),
    "codes lost their zeros": (
        lambda f: f.assign(zip=f["zip"].astype(int)),
        {"data_type": "stop"},
        "zip (category before, now number; perhaps '2617' was '02617')",
    ),
    "some odd values": (
        lambda f: some(f, "age", "old", 4),
        {"odd_values": "warn"},
        "age ('old' in data row 1, 4 in all)",
    ),
    "empty": (lambda f: f.assign(city=None), {"completeness": "warn"}, "hold none now: city"),
    "new levels": (
        lambda f: some(f, "city", "Wien", 5),
        {"categorical_values": "warn"},
        "city ('Wien' in 5 rows)",
    ),
    "a level of a column that was pinned": (
        lambda f: some(f, "grade", 4, 6),
        {"categorical_values": "warn"},
        "grade ('4' in 6 rows)",
    ),
    "a few out of range": (lambda f: some(f, "age", 81, 1), {"range": "pass"}, "(1 outside of 18 to 79, such as 81)"),
    "one far out of range": (lambda f: some(f, "age", 7900, 1), {"range": "warn"}, "such as 7900"),
    "many out of range": (lambda f: some(f, "age", 85, 20), {"range": "warn"}, "age (20 outside"),
    "a new class": (lambda f: some(f, "paid", "late", 9), {"target_classes": "warn"}, "'late' in 9 rows"),
    "a class less": (lambda f: f.assign(paid="no"), {"target_classes": "warn"}, "champion knows: yes"),
    "no target": (lambda f: f.drop(columns="paid"), {"missing_column": "stop"}, "The target 'paid' is missing"),
    "the group is no extra column": (lambda f: f.assign(customer=7), {"schema": "pass"}, "All 8 columns"),
    "another order": (lambda f: f[f.columns[::-1]], {"schema": "pass"}, "All 8 columns"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("as_text", [False, True])
def test_each_difference_is_told(known: LoadedVersion, tmp_path: Path, name: str, as_text: bool) -> None:
    change, verdicts, text = CHANGES[name]
    source: Any = change(loans())
    if as_text:
        source.to_csv(tmp_path / "a.csv", index=False)
        source = str(tmp_path / "a.csv")
    found = check_schema(source, known)
    assert said(found) == verdicts
    assert any(text in f.message for f in found), [f.message for f in found]


@pytest.mark.parametrize("name", ["missing", "renamed by name", "number to text", "no target"])
def test_adapt_turns_stops_into_warnings_but_for_the_target(known: LoadedVersion, name: str) -> None:
    found = check_schema(CHANGES[name][0](loans()), known, "adapt")
    assert ("stop" in said(found).values()) == (name == "no target")
    assert "columns: adapt" not in " ".join(f.message for f in found)


def test_a_target_of_numbers_that_holds_words_stops() -> None:
    frame = loans().drop(columns="paid").assign(debt=lambda f: f["income"] * 2)
    known = champion(frame, target="debt")
    assert said(check_schema(frame, known)) == {"schema": "pass"}
    assert said(check_schema(some(frame, "debt", None, 5), known)) == {"schema": "pass"}
    found = check_schema(some(frame, "debt", "much", 5), known, "adapt")
    assert said(found) == {"data_type": "stop"}
    assert "now 'much' in data row 1 (5 such values)" in found[0].message


@pytest.mark.parametrize("classes", [[0, 1], [0.0, 1.0], [True, False], ["0", "1"], ["007", "008"]])
def test_classes_are_the_same_in_a_file_and_in_a_frame(classes: list[Any], tmp_path: Path) -> None:
    frame = loans().assign(paid=np.array(classes)[np.arange(ROWS) % 2])
    frame.to_csv(tmp_path / "a.csv", index=False)
    for one, other in ((frame, str(tmp_path / "a.csv")), (str(tmp_path / "a.csv"), frame)):
        known = champion(one)  # type: ignore[arg-type]
        assert "target_classes" not in said(check_schema(other, known)), (classes, one)


def test_without_a_profile_names_and_types_are_compared(known: LoadedVersion) -> None:
    bare = champion(kept=False, types={"grade": "category"})
    changed = some(loans().drop(columns="plan").assign(since="soon"), "city", "Wien", 5)
    assert said(check_schema(changed, bare)) == {"missing_column": "stop", "data_type": "stop"}
    assert said(check_schema(loans().assign(zip=1), bare)) == {"data_type": "stop"}
    assert said(check_schema(loans(), bare)) == {"schema": "pass"}


def test_codes_among_words_stay_codes_where_only_they_are_left() -> None:
    frame = loans().assign(code=np.array(["1", "2", "a"])[np.arange(ROWS) % 3])
    known = champion(frame)
    assert said(check_schema(frame.assign(code=np.arange(ROWS) % 2 + 1), known)) == {"schema": "pass"}
    assert said(check_schema(frame.assign(code=np.arange(ROWS) % 50 + 7), known))["data_type"] == "stop"


def test_decimal_commas_are_no_other_type(known: LoadedVersion, tmp_path: Path) -> None:
    loans().to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",")
    assert said(check_schema(str(tmp_path / "a.csv"), known)) == {"schema": "pass"}


def test_many_differences_stay_one_screen() -> None:
    wide = pd.DataFrame({f"c{i}": np.arange(ROWS) * (i + 1.5) for i in range(200)}).assign(paid=loans()["paid"])
    known = champion(wide, split={})
    found = check_schema(wide.rename(columns=lambda c: c if c == "paid" else f"other {c * 30}"), known)
    assert max(len(f.message) for f in found) < 1500
    assert max(len(f.columns) for f in found) <= 8


def test_an_empty_table_can_not_be_compared(known: LoadedVersion) -> None:
    with pytest.raises(InputError, match="no rows"):
        check_schema(loans().head(0), known)


def test_keys_and_ordered_categories_are_known_again_and_missed_when_they_change() -> None:
    size = pd.Categorical(["S", "M", "L"] * 100, ["S", "M", "L"], ordered=True)
    frame = loans().head(300).assign(storeId=np.arange(300) % 40, size=size)
    known = champion(frame)
    assert (known.reading.kinds["storeId"], known.reading.kinds["size"]) == ("key", "ordered")
    assert said(check_schema(frame, known)) == {"schema": "pass"}
    assert said(check_schema(frame.astype({"size": "str"}), known)) == {"schema": "pass"}
    words = check_schema(frame.assign(storeId=[f"store {i}" for i in frame["storeId"]]), known)
    assert about(words, "data_type").columns == ("storeId",)
    numbers = check_schema(frame.assign(size=np.arange(300) + 0.5), known)
    assert about(numbers, "data_type").columns == ("size",)
    new = check_schema(frame.assign(size=["S", "M", "XL"] * 100), known)
    assert "XL" in about(new, "categorical_values").message
