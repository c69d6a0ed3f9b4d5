"""Nearest neighbours: what is delivered holds plain types, however few the columns."""

from __future__ import annotations

import numpy as np
import pytest
import skops.io

from models.families import load_family
from models.fitting.family import Shape, TrainingData


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("scaling", ["ranks", "spread"])
def test_few_columns_need_no_types_beyond_the_plain_ones(p, scaling):
    X = np.random.default_rng(0).normal(size=(60, 2))
    config = {"n_neighbors": 5, "weights": "distance", "p": p, "scaling": scaling}
    part = TrainingData(X, (X[:, 0] > 0).astype(int), None, Shape(60, 2, "binary", 2))
    stored = skops.io.dumps(load_family("knn").fit(config, part, 0, 1).model)
    assert not skops.io.get_untrusted_types(data=stored)
