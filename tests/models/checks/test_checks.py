"""The checks: each sees what it is for, and nothing in a sound table."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models import checks
from models.checks import WorkRows
from models.data.table import Finding, Reading, Table

ROWS = 200
DRAW = np.random.default_rng(0)
SOUND = Table(
    name="sound",
    features=pd.DataFrame(
        {"a": DRAW.normal(size=ROWS), "b": pd.Series(DRAW.choice(["x", "y", "z"], ROWS), dtype="str")}
    ),
    target=DRAW.integers(0, 2, ROWS),
    task="binary",
    classes=("no", "yes"),
    reading=Reading("sound.csv", "csv", kinds={"a": "number", "b": "category"}),
    fingerprint="0",
)


def numeric(**columns: Any) -> dict[str, Any]:
    features = pd.DataFrame(columns)
    return {"features": features, "reading": replace(SOUND.reading, kinds=dict.fromkeys(features.columns, "number"))}


def found(name: str, **changes: Any) -> list[Finding]:
    return [f for f in checks.check_form(replace(SOUND, **changes)) if f.check == name and f.verdict != "pass"]


def test_every_file_is_a_check_with_a_sentence_for_sound_tables() -> None:
    modules = checks.load_checks("form") | checks.load_checks("signal")
    assert modules
    for name, module in modules.items():
        assert module.PASSED.endswith("."), name
        assert module.__doc__, name


def test_a_sound_table_passes_every_check() -> None:
    assert {f.verdict for f in checks.check_form(SOUND)} == {"pass"}
    work = WorkRows(SOUND.features, SOUND.target, "binary", SOUND.classes)
    assert {f.verdict for f in checks.check_signal(work)} == {"pass"}
    assert {f.check for f in checks.check_form(SOUND)} == set(checks.load_checks("form"))


WIDE = numeric(**{f"c{i}": DRAW.normal(size=ROWS) for i in range(300)})
MARKED = np.where(np.arange(ROWS) % 9, DRAW.normal(size=ROWS), -999.0)
FORM = [
    ("rows", "stop", "5 rows", {k: getattr(SOUND.take(np.arange(5)), k) for k in ("features", "target")}),
    ("rows", "warn", "50 rows are few", {k: getattr(SOUND.take(np.arange(50)), k) for k in ("features", "target")}),
    ("target_varies", "stop", "only one class ('no')", {"target": np.zeros(ROWS, int), "classes": ("no",)}),
    ("target_varies", "stop", "constant", {"task": "regression", "classes": (), "target": np.full(ROWS, 2.5)}),
    ("rare_classes", "warn", "class 'c' has 1 row (data row 200)",
     {"task": "multiclass", "classes": ("a", "b", "c"), "target": np.r_[SOUND.target[:-1], 2]}),
    ("rare_classes", "stop", "1 of 2 classes", {"target": np.r_[np.zeros(ROWS - 2, int), 1, 1]}),
    ("constant_columns", "warn", "same", numeric(a=SOUND.features["a"], same=np.ones(ROWS))),
    ("constant_columns", "warn", "none", numeric(a=SOUND.features["a"], none=np.full(ROWS, np.nan))),
    ("constant_columns", "stop", "No feature varies", numeric(same=np.ones(ROWS))),
    ("constant_columns", "stop", "no feature left", {"features": SOUND.features[[]]}),
    ("missing_values", "warn", "gaps (99", numeric(a=SOUND.features["a"], gaps=[1.0, 2.0, *[np.nan] * (ROWS - 2)])),
    ("duplicate_rows", "warn", "100 of 200 rows (50 %)",
     {k: getattr(SOUND.take(np.arange(ROWS) % 100), k) for k in ("features", "target")}),
    ("wide_table", "warn", "300 columns for 200 rows", WIDE),
    ("duplicate_columns", "warn", "c (as a)", numeric(a=SOUND.features["a"], c=SOUND.features["a"])),
    ("sentinels", "warn", "c (-999)", numeric(a=SOUND.features["a"], c=MARKED)),
    ("row_weights", "stop", "data rows 2", {"weight": np.r_[1.0, -1.0, np.ones(ROWS - 2)]}),
    ("row_weights", "stop", "All row weights are 0", {"weight": np.zeros(ROWS)}),
    ("many_levels", "warn", "b (200)", {"features": SOUND.features.assign(b=[f"v{i}" for i in range(ROWS)])}),
    ("split_columns", "stop", "one group", {"group": np.zeros(ROWS, int)}),
    ("split_columns", "warn", "5 groups", {"group": np.arange(ROWS) % 5}),
    ("split_columns", "stop", "same time", {"time": np.ones(ROWS)}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "verdict", "says", "changes"), FORM, ids=[f"{c[0]}-{c[1]}-{c[2][:20]}" for c in FORM])
def test_form_checks(name: str, verdict: str, says: str, changes: dict[str, Any]) -> None:
    seen = found(name, **changes)
    assert any(f.verdict == verdict and says in f.message for f in seen), seen


def test_a_column_with_gaps_and_one_value_is_kept() -> None:
    assert not found("constant_columns", **numeric(a=SOUND.features["a"], b=[1.0, *[np.nan] * (ROWS - 1)]))


def test_messages_are_bounded() -> None:
    long = {f"{i}" + "n" * 3000: np.ones(ROWS) for i in range(50)}
    for finding in checks.check_form(
        replace(SOUND, **numeric(a=SOUND.features["a"], **long), classes=("y" * 3000, "n" * 3000))
    ):
        assert len(finding.message) < 1000
        assert len(finding.columns) <= 8


def signals(
    name: str, features: pd.DataFrame, target: np.ndarray, task: Any, classes: tuple[Any, ...] = ()
) -> list[Finding]:
    return [
        f
        for f in checks.check_signal(WorkRows(features, target, task, classes))
        if f.check == name and f.verdict == "warn"
    ]


def test_leaks_are_seen_in_every_task() -> None:
    number = DRAW.gamma(2, size=1000)
    for target, task in (
        (number, "regression"),
        ((number > 2).astype(int), "binary"),
        (np.digitize(number, [1, 2, 3]), "multiclass"),
    ):
        classes = tuple(range(len(np.unique(target)))) if task != "regression" else ()
        leaks = pd.DataFrame({
            "noise": DRAW.normal(size=1000), "copy": target * 1.01 + 0.001 * DRAW.normal(size=1000),
            "hint": number + DRAW.normal(size=1000),
        })  # fmt: skip
        seen = signals("leak", leaks, target, task, classes)
        assert [f.columns for f in seen] == [("copy",)], task


def test_leaks_hide_in_words_dates_and_gaps() -> None:
    target = DRAW.integers(0, 2, 500)
    days = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(DRAW.integers(0, 99, 500), "D"))
    hidden = pd.DataFrame({
        "word": pd.Series(np.where(target, "left", "stays"), dtype="str"),
        "until": days.where(target == 1), "other": days,
    })  # fmt: skip
    seen = signals("leak", hidden, target, "binary", (0, 1))
    assert set(seen[0].columns) == {"word", "until"}


def test_three_thousand_columns_take_seconds() -> None:
    target = DRAW.integers(0, 2, 300)
    wide = pd.DataFrame(DRAW.normal(size=(300, 3000)))
    start = time.process_time()
    assert not signals("leak", wide, target, "binary", (0, 1))
    assert time.process_time() - start < 10


def test_imbalance() -> None:
    target = (np.arange(1000) < 20).astype(int)
    features = pd.DataFrame({"a": DRAW.normal(size=1000)})
    assert "2 %" in signals("imbalance", features, target, "binary", ("no", "yes"))[0].message
    assert not signals("imbalance", features, np.arange(1000) % 2, "binary", ("no", "yes"))
