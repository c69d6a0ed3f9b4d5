"""Our way of writing a skops file: skops reads the same model from it."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from models.families.hist_gradient_boosting import _share_empty_arrays
from tasks.registry.skops_file import dump_skops

MODELS = {
    "linear": LogisticRegression(max_iter=500),
    "forest": RandomForestClassifier(n_estimators=3, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=4, random_state=0),
}


@pytest.mark.parametrize("name", MODELS)
def test_skops_reads_what_was_written_with_the_types_of_its_own_file(tmp_path, name):
    X, y = load_iris(return_X_y=True)
    model = MODELS[name].fit(X, y)
    schema = dump_skops(model, tmp_path / "ours.skops")
    skops.io.dump(model, tmp_path / "theirs.skops")
    types = skops.io.get_untrusted_types(file=tmp_path / "ours.skops")
    assert types == skops.io.get_untrusted_types(file=tmp_path / "theirs.skops")
    loaded = skops.io.load(tmp_path / "ours.skops", trusted=types)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    with zipfile.ZipFile(tmp_path / "ours.skops") as ours, zipfile.ZipFile(tmp_path / "theirs.skops") as theirs:
        assert json.loads(ours.read("schema.json")).keys() == json.loads(theirs.read("schema.json")).keys()
        assert json.loads(ours.read("schema.json")) == schema
        assert len(set(ours.namelist())) == len(ours.namelist()) == len(theirs.namelist())


def test_trees_without_categories_are_written_as_one_file_each_and_predict_the_same(tmp_path):
    X, y = load_iris(return_X_y=True)
    model = HistGradientBoostingClassifier(max_iter=4, random_state=0).fit(X, y)
    before, trees = model.predict_proba(X), 4 * 3
    dump_skops(model, tmp_path / "apart.skops")
    _share_empty_arrays(model)
    dump_skops(model, tmp_path / "shared.skops")
    counts = [len(zipfile.ZipFile(tmp_path / f"{name}.skops").namelist()) for name in ("apart", "shared")]
    assert counts[0] - counts[1] == 2 * trees - 1
    types = skops.io.get_untrusted_types(file=tmp_path / "shared.skops")
    np.testing.assert_array_equal(skops.io.load(tmp_path / "shared.skops", trusted=types).predict_proba(X), before)
