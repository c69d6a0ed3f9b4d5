"""Text as numbers: signs, groups and units are read as what they mean, by training and by scoring alike; a column of
which most values are numbers is never taken for names of rows, and what is not read in it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.config import Run
from models.data.table import Reading
from models.errors import InputError
from tasks.data import read_like
from tasks.data.column_types.columns import to_canonical
from tasks.data.column_types.kinds import InferredKind, infer_kind
from tasks.data.column_types.target import read_target
from tests.tasks.data.test_data import column_read

ROWS, RUN = 120, Run(data="a.csv", target="y")
VALUES = (np.arange(ROWS) * 0.75 + 0.5).round(2)


def negative(i: int) -> bool:
    return i % 3 == 0


def german(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def indian(value: int) -> str:
    head, tail = divmod(value, 1000)
    return f"{head // 100},{head % 100:02d},{tail:03d}" if head >= 100 else f"{head},{tail:03d}"


Case = tuple[Callable[[int, float], str], Callable[[int, float], float]]
# (row, number) -> what is written, and the number that it is.
READ: dict[str, Case] = {
    "a minus behind": (lambda i, v: f"{v:.2f}" + "-" * negative(i), lambda i, v: -v if negative(i) else v),
    "a minus behind a blank": (lambda i, v: f"{v:.2f}" + " -" * negative(i), lambda i, v: -v if negative(i) else v),
    "a minus behind euros": (lambda i, v: german(v) + " €" + "-" * negative(i), lambda i, v: -v if negative(i) else v),
    "a minus of typesetters": (lambda i, v: "\u2212" * negative(i) + f"{v}", lambda i, v: -v if negative(i) else v),
    "brackets behind dollars": (lambda i, v: f"$({v:.2f})" if negative(i) else f"${v:.2f}",
                                lambda i, v: -v if negative(i) else v),
    "brackets around dollars": (lambda i, v: f"(A${v:.2f})" if negative(i) else f"A${v:.2f}",
                                lambda i, v: -v if negative(i) else v),
    "brackets around percents": (lambda i, v: f"({v}%)" if negative(i) else f"{v}%",
                                 lambda i, v: -v if negative(i) else v),
    "brackets of plain numbers": (lambda i, v: f"({v})" if negative(i) else f"{v}",
                                  lambda i, v: -v if negative(i) else v),
    "groups of India": (lambda i, v: indian(99_000 + 7000 * i), lambda i, v: 99_000 + 7000 * i),
    "rupees": (lambda i, v: f"₹ {indian(99_000 + 7000 * i)}", lambda i, v: 99_000 + 7000 * i),
    "reals": (lambda i, v: f"R$ {german(v + 1100)}", lambda i, v: v + 1100),
    "crowns": (lambda i, v: f"{100 + i} kr", lambda i, v: 100 + i),
    "zloty": (lambda i, v: f"{german(v)} zł", lambda i, v: v),
    "francs": (lambda i, v: f"CHF {v + 1000:,.2f}".replace(",", "'"), lambda i, v: v + 1000),
    "thousands": (lambda i, v: f"{v:.2f}k", lambda i, v: v * 1000),
    "thousands or none": (lambda i, v: f"{v:.2f}k" if i % 2 else str(i), lambda i, v: v * 1000 if i % 2 else i),
    "millions and billions": (lambda i, v: f"${v:.2f}{'MB'[i % 2]}", lambda i, v: v * 10.0 ** (6 + 3 * (i % 2))),
    "kilograms": (lambda i, v: f"{v} kg", lambda i, v: v),
    "kilograms, some without": (lambda i, v: f"{v} kg" if i % 10 else f"{v}", lambda i, v: v),
    "kilograms with commas": (lambda i, v: f"{german(v)} kg", lambda i, v: v),
    "years": (lambda i, v: f"{i} year{'s' * (i != 1)}", lambda i, v: i),
    "degrees": (lambda i, v: f"{v}°C", lambda i, v: v),
    "a fraction of units": (lambda i, v: f"{v} mg/dL", lambda i, v: v),
    "units with powers": (lambda i, v: f"{v} kg/m3", lambda i, v: v),
    "inches": (lambda i, v: f'{v}"', lambda i, v: v),
    "Russian": (lambda i, v: f"{i} кг", lambda i, v: i),
}  # fmt: skip


def looked(values: Sequence[Any], asked: str | None = None, decimal: str = ".") -> tuple[InferredKind, pd.Series]:
    raw = pd.Series(list(values), name="x")
    found = infer_kind(raw, decimal, asked)
    return found, to_canonical(raw, found.kind, found.parser).values


def written(case: Case) -> list[str]:
    return [case[0](i, v) for i, v in enumerate(VALUES)]


def noted(found: InferredKind, check: str) -> str:
    return "; ".join(n.text for n in found.notes if n.check == check)


@pytest.mark.parametrize("asked", [None, "number"])
@pytest.mark.parametrize("case", READ)
def test_numbers_are_what_they_mean_in_training_and_in_scoring(case, asked):
    found, values = looked(written(READ[case]), asked)
    assert found.kind == "number"
    np.testing.assert_allclose(values, [READ[case][1](i, v) for i, v in enumerate(VALUES)], rtol=1e-15)
    assert noted(found, "number_format")
    assert json.loads(json.dumps(found.parser)) == found.parser
    # One row of the next table, and one that is none.
    one = to_canonical(pd.Series([READ[case][0](3, VALUES[3]), "soon"]), "number", found.parser)
    np.testing.assert_allclose(one.values[0], READ[case][1](3, VALUES[3]), rtol=1e-15)
    assert one.bad.tolist() == [False, True]


ODD: dict[str, Callable[[int, float], str]] = {
    "below what is measured": lambda i, v: f"<{v}",
    "above": lambda i, v: f"> {v}",
    "or more": lambda i, v: f"{i}+",
    "about": lambda i, v: f"~{v}",
    "in words": lambda i, v: f"nothing on {i}",
    "names": lambda i, v: f"x{i:04x}",
    "ranges": lambda i, v: f"{i}-{i + 5}",
    "in grams": lambda i, v: f"{v} g",
}


@pytest.mark.parametrize("share", [0.55, 0.8, 0.93])
@pytest.mark.parametrize("case", ODD)
def test_mostly_numbers_are_numbers_and_the_rest_is_told_with_figures(case, share, tmp_path):
    odd = np.random.default_rng(0).permutation(ROWS) >= share * ROWS
    texts = [ODD[case](i, v) if o else f"{v}" for i, (v, o) in enumerate(zip(VALUES, odd, strict=True))]
    table = column_read(texts, tmp_path=tmp_path)
    assert table.kinds == {"x": "number"}
    assert table.features["x"].isna().tolist() == odd.tolist()
    said = next(f.message for f in table.findings if f.check == "unreadable_values")
    assert f"{(~odd).sum()} of {ROWS} values are numbers; others such as" in said
    pd.testing.assert_frame_equal(read_like(table.reading, str(tmp_path / "a.csv")), table.features)


def test_what_is_written_as_the_missing_were_is_missing_in_the_next_table():
    found, _ = looked([f"<{v}" if i % 5 == 0 else f"{v}" for i, v in enumerate(VALUES)])
    later = to_canonical(pd.Series(["<0.07", "0.7", "> 0.7", "0,7", "1.2.3"]), "number", found.parser)
    assert later.values.isna().tolist() == [True, False, True, True, True]
    assert later.bad.tolist() == [False, False, True, True, True]


UNREAD = {
    "two units": lambda i, v: f"{v} kg" if i % 2 else f"{v} lb",
    "below, all of them": lambda i, v: f"<{v}",
    "about": lambda i, v: f"~{v}",
    "with an error": lambda i, v: f"{v} ± 0.2",
}


@pytest.mark.parametrize("case", UNREAD)
def test_numbers_that_cant_be_read_for_sure_are_told_and_no_names_of_rows(case):
    found, _ = looked(UNREAD[case](i, v) for i, v in enumerate(VALUES))
    assert found.kind == "text"
    assert noted(found, "unread_numbers")


NAMES = {
    "parts": lambda i: f"P-{i:04d}",
    "feet and inches": lambda i: f"{i}'{i % 2 + 2}",
    "ratios": lambda i: f"{i}/2",
    "seats": lambda i: f"{i}-A",
    "padded": lambda i: f"{i:05d}X",
    "plates": lambda i: f"{100 + i} {'ABCDEF'[i % 6]}{'GHIJK'[i % 5]}X",
    "hashes": lambda i: f"{i * 2654435761 % 2**32:08x}",
    "addresses": lambda i: f"{i} {'Main St' if i % 3 else 'Oak Ave'}",
    "levels of ages": lambda i: f"{20 + i % 10}{'MF'[i % 7 % 2]}",
    "rooms": lambda i: f"{i % 9 + 1} {'BHK' if i % 4 else 'Bedroom'}",
    "versions": lambda i: f"1.{i % 7}.{i}",
}


@pytest.mark.parametrize("case", NAMES)
def test_names_with_digits_are_no_numbers(case):
    assert looked(NAMES[case](i) for i in range(ROWS))[0].kind not in ("number", "date")


def test_names_of_rows_are_told_with_one_of_them():
    assert "such as 'P-0000'" in noted(looked(f"P-{i:04d}" for i in range(ROWS))[0], "id_columns")


@pytest.mark.parametrize(
    ("first", "later"), [("5 kg", "5 lb"), ("5 kg", "5"), ("$5", "€5"), ("5", "5%"), ("5", "5k"), ("5", "5 kg")]
)
def test_another_unit_than_in_training_stops(first, later):
    found, _ = looked(first.replace("5", f"{v}") for v in VALUES)
    reading = Reading("a.csv", "csv", kinds={"x": "number"}, parsers={"x": found.parser})
    assert read_like(reading, pd.DataFrame({"x": [first]}))["x"].tolist() == [5.0]
    with pytest.raises(InputError, match=f"'{later}' is no number"):
        read_like(reading, pd.DataFrame({"x": [later]}))


@pytest.mark.parametrize("mixture", [[True, 1, 0, False], ["true", "1", "0", "FALSE"], [True, 0.0, None, False, 1.0]])
def test_truth_in_words_and_numbers_is_truth(mixture):
    found, values = looked(mixture * 30)
    assert found.kind == "boolean"
    meant = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
    assert values[: len(mixture)].fillna(-1).tolist() == [meant.get(str(v).lower(), -1) for v in mixture]
    run = column_read([1, 2] * 30).reading  # any reading: its marks are those of every table
    goal = read_target(pd.Series(mixture * 30, name="y"), RUN, ".", run.missing)
    assert (goal.task, goal.classes) == ("binary", (False, True))


@pytest.mark.parametrize("mixture", [["true", "1", "2"], ["yes", "1", "0"], ["1", "0"], ["true", "maybe"]])
def test_other_mixtures_are_no_truth(mixture):
    assert looked(mixture * 30)[0].kind != "boolean"


def test_a_target_in_units_is_a_number_and_few_words_are_classes():
    goal = read_target(pd.Series([f"{v} kg" for v in VALUES], name="y"), RUN, ".", ("",))
    assert goal.task == "regression"
    assert goal.values.tolist() == VALUES.tolist()
    assert "100.0 kg" in goal.findings[0].message or "kg is" in goal.findings[0].message
    goal = read_target(pd.Series(["36 months", "60 months"] * 30, name="y"), RUN, ".", ("",))
    assert goal.classes == ("36 months", "60 months")
