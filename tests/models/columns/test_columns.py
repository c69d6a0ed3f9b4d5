"""Preparation: numbers that every family can take, made from training rows alone and row by row."""

from __future__ import annotations

import io
import warnings
import zipfile
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
import skops.io

from models.columns import MOST_CODES, TRUSTED, PreparedRows, count_many_levels, prepare, transform
from models.columns.given import walk_steps
from models.families import load_families
from models.fitting.family import Needs
from tests.runs import KINDS, make_frame

NEEDS = sorted({f.needs for f in load_families().values()}, key=astuple)
EVERY = [Needs(c, m, s) for c in ("codes", "onehot", "levels") for m in (True, False) for s in (True, False)]  # type: ignore[arg-type]
COLUMNS = ["number", "noise", "flag", "colour", "town", "day", "words", "grade", "shop", "user", "essay"]
MINE = {"grade": "ordered", "shop": "key", "user": "key", "essay": "text"}
ORDERS = {"grade": ("low", "mid", "high")}
NOUNS = ("tea", "bread", "salt", "oil", "rice", "soup", "milk", "corn", "plum", "fish", "cake", "bean")


def name(needs: Needs) -> str:
    return f"{needs.categories}{'-missing' * needs.missing}{'-scaled' * needs.scaled}"


def table(rows: int = 240, columns: list[str] | None = None) -> pd.DataFrame:
    """Columns of every kind; a tenth of what is added here is missing."""
    draw = np.random.default_rng(5)
    more = pd.DataFrame({
        "grade": draw.choice(ORDERS["grade"], rows), "shop": draw.integers(1, 9, rows),
        "user": draw.integers(100, 160, rows), "essay": [" ".join(draw.choice(NOUNS, 12)) for _ in range(rows)],
    })  # fmt: skip
    types = {"grade": "str", "essay": "str", "shop": float, "user": float}
    more = more.mask(draw.random(more.shape) < 0.1).astype(types)
    return pd.concat([make_frame(rows), more], axis=1)[COLUMNS if columns is None else columns]


def kinds(features: pd.DataFrame) -> dict[str, str]:
    return {c: {**KINDS, **MINE}.get(c, "number") for c in features.columns}


def goal(task: str = "regression", rows: int = 240) -> np.ndarray:
    values = make_frame(rows, task)["target"]
    return values.to_numpy(float) if task == "regression" else np.unique(values, return_inverse=True)[1]


def made(
    features: pd.DataFrame, needs: Needs, target: np.ndarray | None = None, task: str = "regression"
) -> PreparedRows:
    target = goal() if target is None else target
    return prepare(features, kinds(features), target, task, needs, 0, ORDERS)  # type: ignore[arg-type]


def blank(features: pd.DataFrame) -> pd.DataFrame:
    """The same columns with nothing in them."""
    return features.where(np.zeros(features.shape, bool))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("needs", EVERY, ids=name)
def test_what_is_needed_of_the_numbers_is_so(needs, task):
    found = made(table(), needs, goal(task), task)
    X = found.X
    assert X.dtype == np.float64
    assert len(X) == 240
    assert not np.isinf(X).any()
    assert needs.missing or not np.isnan(X).any()
    if needs.scaled:
        numbers = X[:, : len(found.plain)]
        assert np.allclose(np.nanmean(numbers, axis=0), 0, atol=1e-9)
        assert np.allclose(np.nanstd(numbers, axis=0), 1, atol=1e-9)


@pytest.mark.parametrize("needs", NEEDS, ids=name)
def test_a_row_is_prepared_alike_whatever_rows_stand_beside_it(needs):
    features = table()
    transformer = made(features, needs).transformer
    whole = transform(transformer, features)
    for rows in (features.iloc[:1], features.iloc[[7, 3, 99]], features.iloc[::-1]):
        assert np.array_equal(transform(transformer, rows), whole[rows.index], equal_nan=True)


@pytest.mark.parametrize("needs", NEEDS, ids=name)
def test_the_same_seed_and_rows_make_the_same_columns(needs):
    first, second = (made(table(), needs).X for _ in range(2))
    assert np.array_equal(first, second, equal_nan=True)


@pytest.mark.parametrize("needs", NEEDS, ids=name)
def test_unseen_levels_and_empty_rows_become_what_the_family_can_take(needs):
    features = table()
    transformer = made(features, needs).transformer
    odd = features.head(8).assign(
        colour="ultraviolet", town="nowhere", words="unheard of", grade="none", shop=99.0, user=-1.0, essay="unheard of"
    )
    for rows in (odd.astype(features.dtypes.to_dict()), blank(features.head(3))):
        X = transform(transformer, rows)
        assert not np.isinf(X).any()
        assert needs.missing or not np.isnan(X).any()


@pytest.mark.parametrize("needs", NEEDS, ids=name)
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_alone_is_enough_and_so_is_one_that_is_empty_in_training(column, needs):
    features = table(columns=[column])
    X = made(features, needs).X
    assert X.shape[1] >= 1
    empty = blank(features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformer = made(table(columns=["noise"]).assign(**{column: empty[column]}), needs).transformer
    found = transform(transformer, table(columns=["noise"]).assign(**{column: features[column]}))
    assert len(found) == 240


def test_category_codes_are_named_and_whole():
    needs = Needs("codes", missing=True, scaled=False)
    found = made(table(), needs)
    codes = found.X[:, list(found.categories)]
    assert codes.shape == (240, 2), "colour and shop; town and user have too many levels for codes"
    assert set(codes[:, 0][~np.isnan(codes[:, 0])]) == {0.0, 1.0, 2.0, 3.0}
    assert set(codes[:, 1][~np.isnan(codes[:, 1])]) == set(range(8))
    assert made(table(), Needs("onehot", missing=True, scaled=False)).categories == ()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_no_row_is_encoded_by_the_targets_of_its_own_unit(task):
    """Each unit has levels and a target of its own, so no row of another unit says anything of it."""
    units = np.repeat(np.arange(80), 5)
    by_unit = np.random.default_rng(0).permutation(80) % (2 if task == "binary" else 3)
    target = by_unit[units] + (0.0 if task == "regression" else np.zeros(400, int))
    table = pd.DataFrame({"town": [f"town {unit}" for unit in units]})
    alone, apart = (
        prepare(table, {"town": "category"}, target, task, Needs("codes", True, False), 0, units=one)  # type: ignore[arg-type]
        for one in (None, units)
    )
    assert abs(np.corrcoef(alone.X[:, -1], target == target.max())[0, 1]) > 0.7
    assert np.ptp(apart.X, axis=0) == pytest.approx(0, abs=0.3), "but the folds' means differ a little"
    assert not [one for one in walk_steps(apart.transformer) if isinstance(getattr(one, "cv", 5), list)]


def test_many_levels_become_one_number_each():
    features = pd.DataFrame({"few": [f"l{i % MOST_CODES}" for i in range(240)],
                             "many": [f"l{i % (MOST_CODES + 1)}" for i in range(240)]}, dtype="str")  # fmt: skip
    found = prepare(features, dict.fromkeys(features, "category"), goal(), "regression", EVERY[0], 0)
    assert found.X.shape[1] == 2
    assert found.categories == (0,)


def test_target_encoding_of_a_training_row_does_not_know_its_own_target():
    """In regression the inner folds depend on the seed alone, so this is exact."""
    features, target = table(columns=["town"]), goal()
    row = int(features["town"].duplicated().argmax())
    moved = target.copy()
    moved[row] += 1000.0
    needs = Needs("codes", missing=True, scaled=False)
    before, after = made(features, needs, target).X, made(features, needs, moved).X
    assert before[row] == after[row]
    same = (features["town"] == features["town"][row]).to_numpy()
    assert (before != after)[same].any(), "other rows of the same town know of it"


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_levels_of_noise_do_not_predict_the_rows_they_were_encoded_by(task):
    draw = np.random.default_rng(0)
    features = pd.DataFrame({"noise": [f"level {i}" for i in draw.integers(0, 120, 400)]}, dtype="str")
    target = draw.normal(size=400) if task == "regression" else draw.integers(0, 2, 400)
    found = prepare(features, {"noise": "category"}, target, task, Needs("codes", True, False), 0)  # type: ignore[arg-type]
    assert np.corrcoef(found.X[:, 0], target)[0, 1] < 0.1
    naive = transform(found.transformer, features)
    assert np.corrcoef(naive[:, 0], target)[0, 1] > 0.3, "encoded by all rows they would"


def test_rows_outside_training_change_nothing():
    features, target = table(), goal()
    needs = Needs("onehot", missing=False, scaled=True)
    first = made(features.head(160), needs, target[:160])
    other = features.copy()
    other.loc[160:, "number"] = 1e6
    second = made(other.head(160), needs, target[:160])
    assert np.array_equal(first.X, second.X)


def test_awkward_column_names_are_only_names():
    features = table(columns=["number", "colour"]).set_axis(["a[<1>]", "ä, {b}\n"], axis=1)
    found = prepare(features, {"a[<1>]": "number", "ä, {b}\n": "category"}, goal(), "regression", EVERY[0], 0)
    assert found.X.shape == (240, 2)


@pytest.mark.parametrize("column", ["number", "colour", "town", "words", "grade", "shop", "user", "essay"])
@pytest.mark.parametrize("needs", NEEDS, ids=name)
def test_a_missing_value_is_one_whatever_stands_for_it(needs, column):
    """A single row over HTTP has None, a frame made by hand NaN in a column of objects or of floats. (Of the latter
    scikit-learn's OrdinalEncoder says that it can't be; MLflow refuses it by the signature before.)"""
    features = table()
    fitted = made(features, needs).transformer
    row = features.dropna().iloc[[0]]
    usual = transform(fitted, row.assign(**{column: pd.Series([None], index=row.index, dtype=features[column].dtype)}))
    for value, dtype in ((None, object), (np.nan, object), (np.nan, float)):
        coded = column in ("colour", "town") if needs.categories == "levels" else column == "colour"
        if value is None or (column != "words" and not (coded and needs.categories != "onehot")):
            other = row.assign(**{column: pd.Series([value], index=row.index, dtype=dtype)})
            np.testing.assert_array_equal(transform(fitted, other), usual)


@pytest.mark.parametrize("needs", NEEDS, ids=name)
def test_an_ordered_category_is_its_place_in_the_order_and_rises_with_it(needs):
    found = made(table(), needs)
    assert found.plain[0] == "grade"
    places = [found.X[(table()["grade"] == level).to_numpy(), 0] for level in ORDERS["grade"]]
    assert all(len(set(one)) == 1 for one in places)
    low, mid, high = (one[0] for one in places)
    assert low < mid < high
    assert high - mid == pytest.approx(mid - low)


def test_a_key_is_its_target_mean_and_beside_it_a_number_only_for_who_cuts_numbers():
    trees, linear = (made(table(columns=["user"]), Needs(c, True, False)) for c in ("codes", "onehot"))  # type: ignore[arg-type]
    assert (trees.plain, linear.plain) == (("user",), ())
    assert np.array_equal(trees.X[:, 1:], linear.X)
    seen = transform(trees.transformer, pd.DataFrame({"user": [100.0, 101.0]}))
    assert seen[0, 1] != seen[1, 1]


def test_families_that_ask_for_levels_get_the_code_of_each():
    found = made(table(), Needs("levels", missing=False, scaled=True))
    codes = found.X[:, list(found.categories)]
    features = table()
    for place, column in enumerate(["colour", "town", "shop", "user"]):
        pairs = pd.DataFrame({"code": codes[:, place], "level": features[column]}).drop_duplicates()
        assert pairs["code"].is_unique
        assert (pairs["code"] == -1).sum() == pairs["level"].isna().sum()
    assert count_many_levels(features, kinds(features)) == 2


def test_an_outlier_does_not_squeeze_the_other_values_where_scale_is_asked_for():
    features = pd.DataFrame({"x": np.append(np.random.default_rng(0).normal(size=239), 1e9)})
    X = prepare(features, {"x": "number"}, goal(), "regression", Needs("onehot", False, True), 0).X
    assert X[:-1, 0].std() > 0.7
    assert X[-1, 0] == X[:, 0].max()


def test_december_lies_beside_january_for_who_weighs_numbers():
    days = pd.DataFrame({"day": pd.date_range("2023-01-01", periods=730, freq="D").astype("datetime64[us]")})
    target = np.zeros(730)
    X = prepare(days, {"day": "date"}, target, "regression", Needs("onehot", False, True), 0).X
    trees = prepare(days, {"day": "date"}, target, "regression", Needs("codes", True, False), 0).X
    cyclic = [c for c in range(X.shape[1]) if abs(X[334, c] - X[365, c]) < abs(X[334, c] - X[180, c])]
    assert len(cyclic) >= 2, "1 December lies nearer to 1 January than to 30 June"
    assert X.shape[1] > trees.shape[1]
    assert trees.shape[1] == 5, "year, month, day, weekday and the date itself: no clock, no hour"


@pytest.mark.parametrize("needs", NEEDS, ids=name)
def test_a_constant_column_and_one_that_is_missing_later_harm_nothing(needs):
    features = table().assign(noise=1.0, colour="red", grade="low")
    transformer = made(features.astype(table().dtypes.to_dict()), needs).transformer
    for column in COLUMNS:
        gone = table().head(5).assign(**{column: blank(table().head(5))[column]})
        X = transform(transformer, gone)
        assert not np.isinf(X).any()
        assert needs.missing or not np.isnan(X).any()


@pytest.mark.parametrize("needs", NEEDS, ids=name)
def test_what_is_prepared_is_loaded_again_with_the_types_named(needs):
    features = table()
    transformer = made(features, needs).transformer
    stored = skops.io.dumps(transformer)
    assert set(skops.io.get_untrusted_types(data=stored)) <= set(TRUSTED)
    again = skops.io.loads(stored, trusted=list(TRUSTED))
    assert np.array_equal(transform(again, features), transform(transformer, features), equal_nan=True)


def test_words_count_in_long_texts_and_characters_in_short_ones():
    found = made(table(), Needs("codes", True, False)).transformer
    said = [str(one) for name, one, _ in found.transformers_ if "text" in name]
    assert [("TfidfVectorizer" in one, "StringEncoder" in one) for one in said] == [(False, True), (True, False)]


def test_words_are_no_files_of_their_own_in_what_is_stored():
    """A model of many texts would else take minutes to write."""
    words = np.random.default_rng(0).choice([f"word{i}" for i in range(300)], (400, 12))
    table = pd.DataFrame({"words": [" ".join(row) for row in words]})
    made = prepare(table, {"words": "text"}, np.arange(400) % 2, "binary", Needs("codes", True, False), 0)
    assert "TfidfVectorizer" in repr(made.transformer)
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(made.transformer))) as stored:
        assert len(stored.namelist()) < 50


@pytest.mark.parametrize("task", ["regression", "multiclass"])
@pytest.mark.parametrize("needs", NEEDS, ids=name)
def test_a_prepared_column_depends_on_the_column_that_it_is_said_to_come_of_and_on_no_other(needs, task):
    features = table()
    features.loc[::7, ["number", "user"]] = np.nan
    found = made(features, needs, goal(task), task)
    assert len(found.origins) == found.X.shape[1]
    before = transform(found.transformer, features)
    for place, column in enumerate(features.columns):
        shuffled = features.assign(**{column: features[column].to_numpy()[::-1]})
        same = np.isclose(transform(found.transformer, shuffled), before, equal_nan=True).all(axis=0)
        assert {found.origins[i] for i in np.flatnonzero(~same)} <= {place}
    assert set(found.origins) == set(range(features.shape[1]))
