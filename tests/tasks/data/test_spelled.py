"""One value, two spellings: read as one where a whole number stands behind both, else told before a wrong answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.config import Run, Score
from models.data.labels import match_class
from models.data.spelling import Spelling, Tally, parse_whole
from models.errors import InputError
from tasks.data import read_like, read_table
from tasks.data.chunks import open_table, read_chunks
from tasks.monitoring import drift
from tasks.planning.checks import check_schema
from tasks.registry.load import LoadedVersion, load_version
from tasks.scoring.score import score
from tests.versions import Registry

TOWNS = ["Genève", "Oslo", "New York"]
EFFECT = np.array([0.0, 5.0, 10.0])


def shops(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    """A target that codes, shops, towns, answers and days alone tell of."""
    rng = np.random.default_rng(seed)
    zips, shop, town, told, day = (rng.integers(0, n, rows) for n in (3, 3, 3, 2, 3))
    y = EFFECT[zips] + 3 * EFFECT[shop] + EFFECT[town] + 7 * told + EFFECT[day] + rng.normal(0, 0.1, rows)
    return pd.DataFrame(
        {
            "zip": np.array(["00501", "02134", "08028"])[zips],
            "shop": np.array(["1", "2", "5"])[shop],
            "town": np.array(TOWNS)[town],
            "told": np.array(["yes", "no"])[told],
            "day": np.array(["2024-01-01", "2024-02-01", "2024-03-01"])[day],
            "x": rng.normal(size=rows),
            "y": y,
        }
    )


TYPES = {"shop": "category", "day": "category"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Registry:
    found = Registry(tmp_path_factory.mktemp("store"))
    shops().to_csv(found.folder / "shops.csv", index=False)
    found.train("shops", str(found.folder / "shops.csv"), target="y", types=TYPES)  # type: ignore[arg-type]
    return found


@pytest.fixture(scope="module")
def loaded(registry: Registry) -> LoadedVersion:
    return load_version("shops", registry.address)


def features(loaded: LoadedVersion, data: Any, rows: int = 7) -> tuple[pd.DataFrame, list[str]]:
    """What the model is given, and the notes, as scoring reads some rows at a time."""
    speller = loaded.make_speller()
    parts = [chunk.features for chunk in read_chunks(loaded.reading, open_table(data), rows, (), speller)]
    return pd.concat(parts, ignore_index=True), speller.notes


# The column and how each of its values is written, though it is one whole number.
ALIKE = {
    "zeros lost": ("zip", lambda v: v.lstrip("0")),
    "a number": ("zip", int),
    "a float": ("zip", float),
    "an apostrophe": ("zip", lambda v: f"'{v}"),
    "a formula": ("zip", lambda v: f'="{v}"'),
    "zeros lost, and a float": ("zip", lambda v: f"{int(v)}.0"),
    "shops as floats": ("shop", lambda v: f"{v}.0"),
    "shops with zeros": ("shop", lambda v: f"0{v}"),
    "shops with more decimals": ("shop", lambda v: f"{v}.000"),
    "digits of another script": ("shop", lambda v: chr(0x0660 + int(v))),
}
# The same where another thing than a whole number stands behind both, and what is said.
UNLIKE = {
    "lower case": ("town", str.lower, "there: write the values"),
    "accents": ("town", lambda v: v.replace("è", "e").upper(), "there: write the values"),
    "underscores": ("town", lambda v: v.replace(" ", "_").lower(), "there: write the values"),
    "read as cp1252": ("town", lambda v: v.upper().encode().decode("cp1252"), "there: write the values"),
    "truth": ("told", {"yes": "True", "no": "False"}.get, "Perhaps 'False' is 'no'"),
    "truth as numbers": ("told", {"yes": 1, "no": 0}.get, "Perhaps '0' is 'no'"),
    "other days": ("day", lambda v: f"01.0{v[6]}.2024", "is '2024-0"),
    "days with a time": ("day", lambda v: f"{v} 00:00:00", "is '2024-0"),
    "letters before": ("shop", lambda v: f"S{v}", "Write them as in training"),
    "another language": ("town", {"Genève": "Ginevra", "Oslo": "Kristiania", "New York": "NYC"}.get, "Write them"),
    "none of it": ("town", lambda _: "Rome", "Write them as in training"),
}


@pytest.mark.parametrize("kind", ["frame", "csv", "parquet"])
@pytest.mark.parametrize("case", ALIKE)
def test_whole_numbers_are_read_alike(loaded, tmp_path, case, kind):
    column, change = ALIKE[case]
    rows = shops(40, seed=1)
    data = written(rows.assign(**{column: rows[column].map(change)}), tmp_path, kind)
    expected, before = features(loaded, rows)
    found, _ = features(loaded, data)
    pd.testing.assert_frame_equal(found, expected)
    pd.testing.assert_frame_equal(drift.read_later_rows(loaded, data).features, expected)
    assert before == []


def written(frame: pd.DataFrame, folder: Path, kind: str) -> Any:
    """The frame as such, or the path of a file that holds it."""
    if kind == "frame":
        return frame
    path = folder / f"new.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("case", UNLIKE)
def test_other_spellings_of_most_values_stop_the_scoring(loaded, case):
    column, change, said = UNLIKE[case]
    rows = shops(40, seed=1)
    other = rows.assign(**{column: rows[column].map(change)})
    with pytest.raises(InputError, match=rf"40 of 40 values of '{column}' were never seen in training, such.*{said}"):
        features(loaded, other)


def test_scoring_predicts_alike_with_a_note_or_writes_nothing(registry, tmp_path):
    rows, out = shops(40, seed=1), tmp_path / "out.csv"
    asked = Score(model="shops", data=rows.assign(zip=rows["zip"].astype(int)), out=str(out), chunk=9)
    said = score(asked, registry.address).notes
    assert said[0].startswith("'zip': 40 of 40 values are written otherwise than in training and read alike, such as '")
    assert np.corrcoef(pd.read_csv(out)["prediction"], rows["y"])[0, 1] > 0.99
    out.unlink()
    with pytest.raises(InputError, match="were never seen in training"):
        score(asked.model_copy(update={"data": rows.assign(town="Rome")}), registry.address)
    assert not list(tmp_path.iterdir())


def test_what_differs_in_blanks_or_in_its_unicode_form_alone_is_the_same(loaded):
    rows = shops(40, seed=1)
    expected, _ = features(loaded, rows)
    for change in (lambda v: f" {v}\t", lambda v: v.replace("è", "e\u0300"), lambda v: f"\u00a0{v}\u00a0"):
        found, notes = features(loaded, rows.assign(town=rows["town"].map(change)))
        pd.testing.assert_frame_equal(found, expected)
        assert notes == []


@pytest.mark.parametrize("new", ["Rome", "None", "oslo"])
def test_a_new_level_among_many_goes_on_with_a_note(loaded, new):
    rows = shops(40, seed=1)
    rows.loc[:3, "town"] = new
    _, (note,) = features(loaded, rows)
    assert note.startswith(f"'town': 4 of 40 values were never seen in training ('{new}' in 4).")
    assert ("Perhaps 'oslo' is 'Oslo' there." in note) == (new == "oslo")


def test_a_new_shop_alone_in_a_few_rows_goes_on(loaded):
    _, notes = features(loaded, shops(5, seed=1).assign(shop="9"))
    assert "'shop': 5 of 5 values were never seen in training ('9' in 5)." in notes


def test_empty_values_are_no_new_levels(loaded):
    assert features(loaded, shops(40, seed=1).assign(town=None, shop=np.nan))[1] == []


def test_two_levels_that_are_one_number_are_kept_apart():
    spelling = Spelling({"7": 5, "007": 5, "8": 5})
    assert [spelling.find_level(v) for v in ("7", "007", "07", "08", "9")] == ["7", "007", None, "8", None]


def test_watching_reads_alike_stops_at_misspelt_columns_and_tells_of_new_levels(loaded):
    rows = shops(60, seed=1)
    usual = drift.compare_with_profile(loaded, rows)
    alike = drift.compare_with_profile(loaded, rows.assign(zip=rows["zip"].astype(int), shop=rows["shop"] + ".0"))
    assert not usual.drifted
    assert not alike.drifted
    with pytest.raises(InputError, match=r"60 of 60 values of 'town'.*Perhaps 'new york' is 'New York' there"):
        drift.compare_with_profile(loaded, rows.assign(town=rows["town"].str.lower()))
    new = drift.compare_with_profile(
        loaded, rows.assign(town=rows["town"].map({"Genève": "Bern", "Oslo": "Rome"}).fillna("Wien"))
    )
    assert [c.name for c in new.alarms if c.part == "feature"] == ["town"]
    assert any("'town': 60 of 60 values were never seen in training" in note for note in new.notes)


def test_a_retraining_stops_at_other_spellings_and_reads_whole_floats_as_whole(loaded, tmp_path):
    frame = shops(seed=2)
    frame.assign(shop=frame["shop"] + ".0").to_csv(tmp_path / "floats.csv", index=False)
    assert {f.verdict for f in check_schema(str(tmp_path / "floats.csv"), loaded)} == {"pass"}
    table = read_table(Run(data=str(tmp_path / "floats.csv"), target="y", types=TYPES))
    assert set(table.features["shop"]) == {"1", "2", "5"}
    zeros = ("shop", lambda v: f"0{v}", "Perhaps '0"), ("zip", int, "perhaps '")
    for column, change, said in (*UNLIKE.values(), *zeros):
        other = frame.assign(**{column: frame[column].map(change)})
        stops = [f.message for f in check_schema(other, loaded) if f.verdict == "stop"]
        assert any(said in message or "; perhaps '" in message for message in stops), (column, said, stops)
        assert "stop" not in {f.verdict for f in check_schema(other, loaded, "adapt")}


def test_a_test_table_is_read_as_the_training_table():
    frame, later = shops(), shops(40, seed=1)
    run = Run(data=frame, target="y", types=TYPES, test=later.assign(zip=later["zip"].str.lstrip("0")))
    table = read_table(run)
    assert set(table.features["zip"]) == {"00501", "02134", "08028"}
    with pytest.raises(InputError, match=r"40 of 40 values of 'town'.*Perhaps 'new york' is 'New York' there"):
        read_table(run.model_copy(update={"test": later.assign(town=later["town"].str.lower())}))


@pytest.mark.parametrize("role", ["group", "id", "category"])
def test_names_that_are_whole_numbers_are_the_same_in_csv_and_in_parquet(tmp_path, role):
    """pandas writes 3.0 for 3 where one is missing in the column, or was once."""
    frame = shops().assign(shop=lambda f: f["shop"].astype(int))
    run: dict[str, Any] = {"types": TYPES} if role == "category" else {"types": {}, "split": {role: "shop"}}
    frame.astype({"shop": float}).to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "b.csv", index=False)
    frame.to_parquet(tmp_path / "c.parquet")
    tables = [read_table(Run(data=str(tmp_path / name), target="y", **run)) for name in ("a.csv", "b.csv", "c.parquet")]
    kept = [{"group": t.group_names, "id": t.ids, "category": t.features[["zip"]]}[role] for t in tables]
    for other in kept[1:]:
        pd.testing.assert_frame_equal(kept[0], other)
    if role == "category":
        pd.testing.assert_frame_equal(read_like(tables[0].reading, str(tmp_path / "a.csv")), tables[0].features)
        assert set(tables[0].features["shop"]) == {"1", "2", "5"}


def test_versions_and_other_fractions_stay_words(tmp_path):
    shops().assign(shop=lambda f: f["shop"].map({"1": "1.0", "2": "1.1", "5": "2.0"})).to_csv(tmp_path / "a.csv")
    table = read_table(Run(data=str(tmp_path / "a.csv"), target="y", types=TYPES))
    assert set(table.features["shop"]) == {"1.0", "1.1", "2.0"}


@pytest.mark.parametrize(
    ("label", "classes", "code"),
    [
        ("1.0", [0, 1], 1), (1.0, ["0", "1"], 1), ("01", [1, 2], 0), (True, [0, 1], 1), (1, [False, True], 1),
        ("TRUE", [False, True], 1), ("Yes", ["no", "yes"], 1), (" so  so ", ["bad", "So so"], 1),
        ("a", ["A", "a"], 1), ("maybe", ["no", "yes"], None), (2, [False, True], None), ("1", ["01", "1"], 1),
        ("1.0", ["01", "001"], None),
    ],
)  # fmt: skip
def test_a_label_is_the_class_that_it_means(label, classes, code):
    assert match_class(label, classes) == code


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("00501", 501), ("2.0", 2), ("'01001", 1001), ('="01001"', 1001), ("02", 2), ("1,000", 1000), ("-3.", -3),
        ("+7", 7), ("1,00", None), ("2.5", None), ("1e3", None), ("", None), ("x", None), ("9" * 50, None),
    ],
)  # fmt: skip
def test_the_whole_number_behind_a_text(text, number):
    assert parse_whole(text) == number


def test_columns_in_which_ever_new_levels_come_are_no_reason_to_stop():
    """Of names of which most came once, most are new the next time too."""
    names = Spelling({f"Anna {k}": 1 for k in range(200)})
    tally = Tally("name", names)
    tally.add({f"Berta {k}": 1 for k in range(40)})
    assert not tally.strange
    assert tally.notes == []
    tally.add({f"anna {k}": 1 for k in range(40)})
    assert tally.strange, "known names in lower case are known names"
