"""The delivered model speaks the table's labels, whatever order the classes stand in."""

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from models.config import Run
from tasks.data import read
from tasks.deliver import model


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_the_positive_class_may_be_either(positive, tmp_path):
    size = np.random.default_rng(0).normal(size=300)
    frame = pd.DataFrame({"size": size, "sold": np.where(size > 0, "no", "yes")})
    table = read(Run(data=frame, target="sold", positive=positive))
    assert table.classes[1] == positive
    fitted = make_pipeline(LogisticRegression()).fit(table.features, table.target)
    file = tmp_path / "model.skops"
    skops.io.dump(model(table, [("one", fitted, 1.0)]), file)
    loaded = skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))
    assert list(loaded.classes_) == list(table.classes)
    assert (loaded.predict(table.features) == frame["sold"]).mean() > 0.97
    of_positive = loaded.predict_proba(table.features)[:, 1]
    assert of_positive[(frame["sold"] == positive).to_numpy()].min() > 0.4
