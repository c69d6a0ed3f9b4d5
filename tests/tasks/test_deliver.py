"""The delivered model speaks the table's labels, whatever order the classes stand in, and all of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from models.config import Run
from models.errors import NestorError
from models.split import ALL
from tasks.data import read
from tasks.deliver import delivered, model
from tests.sessions import frame, run_over, trained


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


def test_where_no_member_knows_every_class_it_is_said_what_to_do(tmp_path):
    """The last of three classes first occurs in the window that judges last."""
    data = frame(task="multiclass").drop(columns=["day", "words", "town"])
    early = np.arange(len(data)) < 0.65 * len(data)
    data.loc[early & (data["target"] == "high"), "target"] = "mid"
    search = {"trials": 1, "families": ("constant", "linear")}
    session, concluded = trained(run_over("time", data, search=search, final={"deliver": "bag"}), tmp_path)
    with pytest.raises(NestorError, match=r"no row with the target high, so none can be delivered\..*--deliver refit"):
        delivered(session, concluded)
    session.folds[ALL] = replace(session.folds["1"], name=ALL)  # as planned, and nothing of it could be fitted
    with pytest.raises(NestorError, match=r"all work rows made no model\..*--resume"):
        delivered(session, concluded)
