"""Preparation: numbers that every family can take, made from training rows alone and row by row."""

from __future__ import annotations

import warnings
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest

from models.columns import MOST_CODES, Prepared, prepare, transform
from models.families import Needs, families
from tests.sessions import KINDS, frame

NEEDS = sorted({f.needs for f in families().values()}, key=astuple)
EVERY = [Needs(c, m, s) for c in ("codes", "onehot") for m in (True, False) for s in (True, False)]  # type: ignore[arg-type]
COLUMNS = ["number", "noise", "flag", "colour", "town", "day", "words"]


def name(needs: Needs) -> str:
    return f"{needs.categories}{'-missing' * needs.missing}{'-scaled' * needs.scaled}"


def table(rows: int = 240, columns: list[str] | None = None) -> pd.DataFrame:
    return frame(rows)[COLUMNS if columns is None else columns]


def kinds(features: pd.DataFrame) -> dict[str, str]:
    return {c: KINDS.get(c, "number") for c in features.columns}


def goal(task: str = "regression", rows: int = 240) -> np.ndarray:
    values = frame(rows, task)["target"]
    return values.to_numpy(float) if task == "regression" else np.unique(values, return_inverse=True)[1]


def made(features: pd.DataFrame, needs: Needs, target: np.ndarray | None = None, task: str = "regression") -> Prepared:
    return prepare(features, kinds(features), goal() if target is None else target, task, needs, 0)  # type: ignore[arg-type]


def blank(features: pd.DataFrame) -> pd.DataFrame:
    """The same columns with nothing in them."""
    return features.where(np.zeros(features.shape, bool))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("needs", EVERY, ids=name)
def test_what_is_needed_of_the_numbers_is_so(needs, task):
    X = made(table(), needs, goal(task), task).X
    assert X.dtype == np.float64
    assert len(X) == 240
    assert not np.isinf(X).any()
    assert needs.missing or not np.isnan(X).any()
    if needs.scaled:
        numbers = X[:, :2]
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
    odd = features.head(8).assign(colour="ultraviolet", town="nowhere", words="unheard of")
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
    assert codes.shape == (240, 1), "colour; town has too many levels for codes"
    seen = codes[~np.isnan(codes)]
    assert set(seen) == {0.0, 1.0, 2.0, 3.0}
    assert made(table(), Needs("onehot", missing=True, scaled=False)).categories == ()


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


@pytest.mark.parametrize("column", ["number", "colour", "town", "words"])
@pytest.mark.parametrize("needs", EVERY, ids=name)
def test_a_missing_value_is_one_whatever_stands_for_it(needs, column):
    """A single row over HTTP has None, a frame made by hand NaN in a column of objects or of floats. (Of the latter
    scikit-learn's OrdinalEncoder says that it can't be; MLflow refuses it by the signature before.)"""
    features = table()
    fitted = made(features, needs).transformer
    row = features.dropna().iloc[[0]]
    usual = transform(fitted, row.assign(**{column: pd.Series([None], index=row.index, dtype=features[column].dtype)}))
    for value, dtype in ((None, object), (np.nan, object), (np.nan, float)):
        if value is None or column in ("number", "town") or (column == "colour" and needs.categories == "onehot"):
            other = row.assign(**{column: pd.Series([value], index=row.index, dtype=dtype)})
            np.testing.assert_array_equal(transform(fitted, other), usual)
