"""Over pyfunc a version takes what it was trained on, in whatever types rows come, or says what is wrong with them."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from models.columns import prepare
from models.data.table import Table
from models.families import load_families
from tasks.data.column_types.columns import to_canonical
from tasks.data.column_types.kinds import infer_kind
from tasks.data.column_types.words import NUMBER_MARKS
from tasks.registry.served import NO_NUMBER, Served
from tests.tasks.data import test_dates, test_numbers
from tests.versions import Registry

ROWS = 200


def mixed(seed: int = 0, rows: int = ROWS) -> pd.DataFrame:
    """A column of each type that frames have; all of them tell of the target."""
    rng = np.random.default_rng(seed)
    truth, whole, code = rng.integers(0, 3, rows), rng.integers(0, 13, rows), rng.integers(1, 5, rows)
    start = pd.Timestamp("2024-01-01")
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=rows),
            "flag": rng.random(rows) < 0.5,
            "maybe": pd.array([(True, False, None)[k] for k in truth], dtype="boolean"),
            "whole": pd.array([None if k == 12 else int(k) for k in whole], dtype="Int64"),
            "code": pd.Categorical(code),
            "grade": pd.Categorical(rng.choice(["lo", "mid", "hi"], rows), ["lo", "mid", "hi"], ordered=True),
            "town": rng.choice(["Rome", "Oslo"], rows),
            "when": (start + pd.to_timedelta(rng.integers(0, 9000, rows), unit="h")).tz_localize(
                "Europe/Berlin", ambiguous=True, nonexistent="shift_forward"
            ),
            "wait": pd.to_timedelta(rng.integers(0, 5000, rows), unit="s"),
            "price": [Decimal(int(v)) / 100 for v in rng.integers(100, 9999, rows)],
            "month": pd.PeriodIndex(start + pd.to_timedelta(rng.integers(0, 900, rows), unit="D"), freq="M"),
        }
    )
    score = (
        frame["number"] + 2.0 * frame["flag"] + code + 3 * (frame["grade"] == "hi") + frame["wait"].dt.seconds / 3000
    )
    score += 2 * (frame["town"] == "Rome") + frame["whole"].fillna(20).astype(float) / 5 + frame["when"].dt.hour / 20
    return frame.assign(target=np.where(score > score.median(), "yes", "no"))


def linear(work: Table) -> Any:
    """What the linear family makes of the table."""
    needs = load_families()["linear"].needs
    made = prepare(work.features, work.kinds, work.target, work.task, needs, 0, work.orders)
    return make_pipeline(made.transformer, LogisticRegression(max_iter=500) if work.classes else Ridge())


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Registry:
    found = Registry(tmp_path_factory.mktemp("store"))
    found.train("mixed", mixed(), linear)
    return found


@pytest.fixture(scope="module")
def model(registry) -> Any:
    return pyfunc(registry, "mixed")


def pyfunc(registry: Registry, name: str) -> Any:
    import mlflow

    from tasks.tracking.store import connect_store

    connect_store(registry.address)
    return mlflow.pyfunc.load_model(f"models:/{name}/1")


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows as numbers, words and naive dates."""
    floats = {c: frame[c].astype("Float64").to_numpy(float, na_value=np.nan) for c in ("flag", "maybe", "whole")}
    return frame.drop(columns="target").assign(
        **floats,
        code=frame["code"].astype(str),
        grade=frame["grade"].astype(str),
        when=frame["when"].dt.tz_convert("UTC").dt.tz_localize(None),
        wait=frame["wait"].dt.total_seconds(),
        price=frame["price"].astype(float),
        month=frame["month"].dt.to_timestamp(),
    )


def said(model: Any, rows: Any) -> np.ndarray:
    """The probabilities."""
    return model.predict(rows, params={"predict_method": "predict_proba"}).to_numpy()


def test_the_frame_as_it_was_trained_on_is_taken(model, registry, tmp_path):
    """And gives what scoring gives."""
    from models.config import Score
    from tasks.scoring.score import score

    rows = mixed(1, 60)
    score(Score(model="mixed", data=rows, out=str(tmp_path / "o.parquet")), registry.address)
    scored = pd.read_parquet(tmp_path / "o.parquet")
    np.testing.assert_allclose(said(model, rows.drop(columns="target")), scored[["probability_no", "probability_yes"]])
    assert list(model.predict(rows)) == list(scored["prediction"])
    np.testing.assert_allclose(said(model, plain(rows)), said(model, rows))


FORMS = {
    "code": {"int": lambda c: c.astype(int), "float": lambda c: c.astype(float),
             "padded": lambda c: "0" + c.astype(str),
             "string": lambda c: c.astype("string"), "floats as text": lambda c: c.astype(float).astype(str)},
    "grade": {"str": lambda c: c.astype(str), "category of another order": lambda c: c.astype(str).astype("category")},
    "whole": {"float": lambda c: c.astype("Float64"), "arrow": lambda c: c.astype("int64[pyarrow]"),
              "object": lambda c: c.astype(object), "text": lambda c: c.astype("string").astype(object)},
    "number": {"text": lambda c: c.map(repr), "object": lambda c: c.astype(object),
               "Float64": lambda c: c.astype("Float64")},
    "flag": {"text": lambda c: c.map({True: "True", False: "false"}), "int": lambda c: c.astype(int),
             "object": lambda c: c.astype(object), "Int64": lambda c: c.astype("Int64")},
    "maybe": {"object": lambda c: c.astype(object).where(c.notna(), None), "Int8": lambda c: c.astype("Int8")},
    "town": {"category": lambda c: c.astype("category"), "string": lambda c: c.astype("string"),
             "bytes": lambda c: c.map(str.encode), "blanks": lambda c: c + " "},
    "when": {"another zone": lambda c: c.dt.tz_convert("America/New_York"),
             "text": lambda c: c.map(pd.Timestamp.isoformat),
             "objects": lambda c: c.map(pd.Timestamp.to_pydatetime).astype(object),
             "nanoseconds": lambda c: c.dt.as_unit("ns")},
    "wait": {"objects": lambda c: c.map(pd.Timedelta.to_pytimedelta).astype(object), "text": lambda c: c.astype(str),
             "seconds": lambda c: c.dt.total_seconds().astype(int)},
    "price": {"float": lambda c: c.astype(float), "arrow": lambda c: c.astype(float).astype("double[pyarrow]")},
    "month": {"text": lambda c: c.astype(str), "day": lambda c: c.dt.to_timestamp().dt.date},
}  # fmt: skip


@pytest.mark.parametrize(("column", "form"), [(c, f) for c, forms in FORMS.items() for f in forms])
def test_each_column_in_each_of_its_types(model, column, form):
    rows = mixed(1, 30)
    other = rows.assign(**{column: FORMS[column][form](rows[column])})
    np.testing.assert_allclose(said(model, other), said(model, rows))


def test_what_is_missing_is_missing_in_whatever_form(model):
    rows, nothing = mixed(1, 6), [None, np.nan, pd.NA, pd.NaT]
    for column in rows.columns.drop("target"):
        found = [said(model, rows.assign(**changed)) for changed in ({column: value} for value in nothing)]
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)


def test_an_empty_frame_gives_no_rows(model):
    none = mixed(1, 30).head(0)
    assert list(model.predict(none)) == []
    found = model.predict(none, params={"predict_method": "predict_proba"})
    assert (len(found), list(found.columns)) == (0, ["no", "yes"])


def test_rows_keep_their_order_whatever_their_index(model):
    rows = mixed(1, 20)
    for index in ([0] * 20, list("abcdefghijklmnopqrst"), range(20, 0, -1)):
        assert list(model.predict(rows.set_axis(index, axis=0))) == list(model.predict(rows))
    assert list(model.predict(rows.iloc[:, ::-1].assign(more=1))) == list(model.predict(rows))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"number": "dear"}, "Column 'number', row 1: 'dear' is no number."),
        ({"number": pd.Timestamp("2024-01-01")}, "Column 'number', row 1: '2024-01-01 00:00:00' is no number."),
        ({"number": [[1]]}, "Column 'number' holds lists or objects"),
        ({"flag": "maybe"}, "Column 'flag', row 1: 'maybe' is neither true nor false."),
        ({"flag": 7}, "Column 'flag', row 1: '7' is neither true nor false."),
        ({"when": "soon"}, "Column 'when', row 1: 'soon' is no date. Dates are text such as 2024-01-31"),
        ({"when": 1706659200000}, "Column 'when', row 1: '1706659200000' is a number. Dates are text such as 2024"),
        ({"town": "rome"}, "Perhaps 'rome' is 'Rome' there: write the values as in training."),
        ({"grade": "HI"}, "Perhaps 'HI' is 'hi' there"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_sentence(model, change, sentence):
    rows = mixed(1, 1)
    values: dict[str, Any] = {c: [v] if isinstance(v, list) else v for c, v in change.items()}
    with pytest.raises(MlflowException) as caught:
        model.predict(rows.assign(**values))
    assert sentence in caught.value.message
    assert caught.value.get_http_status_code() == 400


def test_a_new_level_is_answered_and_most_new_ones_are_warned_of(model):
    rows = mixed(1, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(rows.head(1).assign(town="Bern"))
    with pytest.warns(UserWarning, match="30 of 30 values of 'town' were never seen in training, such as 'Bern'"):
        model.predict(rows.assign(town="Bern"))


def test_a_method_that_the_model_lacks_is_a_sentence(registry, model):
    with pytest.raises(
        MlflowException, match=r"No predict_method 'explain': this model knows predict and predict_proba."
    ):
        model.predict(mixed(1, 1), params={"predict_method": "explain"})
    registry.train("sums", mixed().assign(target=lambda f: f["number"] * 2), linear)
    sums = pyfunc(registry, "sums")
    assert len(sums.predict(mixed(1, 3))) == 3
    with pytest.raises(MlflowException, match=r"No predict_method 'predict_proba': this model knows predict."):
        sums.predict(mixed(1, 1), params={"predict_method": "predict_proba"})


def test_a_version_carries_files_that_need_nothing_of_nestor(registry):
    """Their names tell what they hold, so that versions of two Nestors may be loaded side by side."""
    from mlflow.artifacts import download_artifacts

    where = download_artifacts("models:/mixed/1", tracking_uri=registry.address)
    from pathlib import Path

    (package,) = [p for p in (Path(where) / "code").iterdir() if p.is_dir() and p.name != "__pycache__"]
    files = {p.name: p.read_text("utf-8") for p in package.glob("*.py")}
    assert set(files) == {"__init__.py", "served.py", "history.py", "spelling.py"}
    for text in files.values():
        assert not any(f"{word} {ours}" in text for word in ("from", "import") for ours in ("models", "tasks", "flows"))


def test_dates_of_the_standard_library(model):
    rows = mixed(1, 5)
    day = dt.date(2024, 3, 1)
    np.testing.assert_array_equal(
        said(model, rows.assign(month=[day] * 5)), said(model, rows.assign(month=pd.Timestamp(day)))
    )
    assert json.loads(json.dumps(model.predict(rows).tolist()))


def both(texts: list[str], kind: str, parser: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """What training reads each text as and what a version does, "refused" where it does not fit."""
    column = to_canonical(pd.Series(texts, dtype="str", name="x"), kind, parser)
    trained = ["refused" if bad else value for value, bad in zip(column.values, column.bad, strict=True)]
    reader = Served(None, {"reading": {"kinds": {"x": kind}, "parsers": {"x": parser}}}, {})
    served = []
    for text in texts:
        try:
            served.append(reader.features(pd.DataFrame({"x": [text]}))["x"].iloc[0])
        except MlflowException:
            served.append("refused")
    return trained, served


def assert_alike(texts: list[str], kind: str, parser: dict[str, Any]) -> None:
    for text, trained, served in zip(texts, *both(texts, kind, parser), strict=True):
        assert served == trained or (pd.isna(served) and pd.isna(trained)), (text, parser, trained, served)


DAYS = ["15/03/45", "15/03/29", "15/03/30", "15/03/68", "15/03/69", "15/03/2001", "32/03/45", "15/13/45", "3.4.45"]
TEXTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("date", {"format": "%d/%m/%y", "first": 1930}, DAYS),
    ("date", {"format": "%d/%m/%y", "first": 1950}, DAYS),
    ("date", {"format": "%d/%m/%y"}, DAYS),
    ("date", {"format": "ISO8601"}, ["9999-12-31", "0001-01-01", "1677-12-31", "1678-01-01", "2261-12-31", "2262-01-01",
                                     "2024-01-31-10.30.00", "2024-1-5", "2024W105", "2024-13-01", "20240131T10"]),
    *(("date", {"format": form}, [text + zone for zone in test_dates.ZONES]) for form, text in (
        ("ISO8601", "2024-01-31T10:20"), ("%d %b %Y", "31 Jan 2024 10:20:30"), ("%Y%m%d", "20240131T1020"))),
    ("date", {"format": "%d.%m.%Y"}, ["31.12.9999", "1.1.0001", "31.01.2024 10:30", "31.01.2024 25:00"]),
    ("date", {"format": "%d %b %Y"}, ["03-Jan-2024", "3 January 2024", "Wed, 3 Jan 2024 05:06 +0100", "3 Foo 2024"]),
    ("date", {"format": "%m/%d/%Y"}, ["1/31/2024 5:30 PM", "1/31/2024, 12:00 am", "1/31/2024 13:00 PM", "31/1/2024"]),
    ("date", {"format": "%Y Q%q"}, ["2024 Q3", "2024Q1", "2024-Q4", "2024 Q5"]),
    ("date", {"format": "%GW%V"}, ["2024W10", "2024-W01", "2021W53", "2020W53"]),
    ("date", {"format": "%Y%m%d"}, ["20240131", "202401311530", "20240231"]),
    ("number", {"decimal": ",", "thousands": "."}, ["1.5", "1.500", "1.500,5", "12.34.567", "1,5", "1500", "1.5e3"]),
    ("number", {"thousands": ","}, ["1,5", "1,500", "1,10,000", "1,500.5", "1,50,00", "15,00", ",5", "1_000", "1.5e3"]),
    ("number", {"decimal": ","}, ["1,5", "1.5", "1.500", "15", "-,5"]),
    ("number", {"unit": "kg"}, ["5 kg", "5kg", "5 kgs", "5 lb", "5", "-5 kg", "1e400 kg"]),
    ("number", {"unit": "kg", "bare": True}, ["5 kg", "5", "5%"]),
    ("number", {"signs": ["%"]}, ["12%", "12 %", "12", "$12", "(12%)"]),
    ("number", {"scaled": True}, ["1.5k", "2M", "2bn", "7", "7 kg", "3b"]),
    ("number", {"missing": ["<#", "n/r"]}, ["<0.5", "<12", "<", "n/r", "N/R", ">5", "12"]),
    ("number", {"signs": ["$", "EUR"], "thousands": ","}, ["$1,500", "($1,500.25)", "12 EUR", "£3", "USD 3", "-$5"]),
    ("number", {}, ["5", "+5", "5.", "$5", "5%", "5-", "1 500", "1'500", "\u22125", "inf", "-Infinity", "0x10", "1_0"]),
    ("number", {"duration": True}, ["2:03", "1 day 02:03:04", "P1DT2H", "90", "25:61", "5 min", "2 h"]),
    ("number", {}, [*NUMBER_MARKS, *map(str.upper, NUMBER_MARKS)]),
    ("date", {}, [*NUMBER_MARKS, *map(str.upper, NUMBER_MARKS)]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "parser", "texts"), TEXTS)
def test_text_is_read_and_refused_as_in_training(kind, parser, texts):
    assert_alike(texts, kind, parser)


def test_words_for_missing_numbers_are_those_of_training():
    assert set(NO_NUMBER) <= set(NUMBER_MARKS)


@pytest.mark.parametrize("case", test_numbers.READ)
def test_numbers_in_every_style_of_training(case):
    texts = test_numbers.written(test_numbers.READ[case])
    assert_alike([*texts[:6], "soon", "12", "1,5"], "number", infer_kind(pd.Series(texts, name="x"), ".", None).parser)


@pytest.mark.parametrize("case", test_dates.FORMS)
def test_dates_in_every_form_of_training(case):
    texts = [test_dates.FORMS[case][0](moment) for moment in test_dates.MOMENTS]
    assert_alike([*texts[:6], "soon"], "date", infer_kind(pd.Series(texts, name="x"), ".", None).parser)
