"""Where time is too short for outer folds, what is delivered is still judged, sealed rows included."""

from __future__ import annotations

import pytest

from models.config import Run
from models.plan import Level
from tasks import conclude as concluding
from tasks import shortlist
from tasks.deliver import delivered
from tests.sessions import begun, frame, tuned


@pytest.mark.parametrize(("inner", "method"), [(5, "bbc"), (1, "holdout")])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_without_outer_folds_the_estimate_comes_from_inner_ones(tmp_path, monkeypatch, task, inner, method):
    monkeypatch.chdir(tmp_path)
    run = Run(data=frame(task=task), target="target", search={"trials": 2}, drop=("group", "weight"))
    session = begun(run, tmp_path / "run")
    try:
        shortlist._laid_out(session, 0, inner)
        level = Level(0, inner, ("constant", "linear"), {"lightgbm": "a test"})
        session.workdir.write_pickle("plan", (level, session.folds, {}))
        shortlist.shortlist(session)
        concluded = concluding.conclude(tuned(session))
        model, twin = delivered(session, concluded)
    finally:
        session.close()
    assert session.level.how.method == method
    assert concluded.estimate is not None
    assert concluded.estimate.low <= concluded.estimate.value <= concluded.estimate.high
    assert concluded.test is not None
    assert (concluded.optimism, concluded.agreement, twin) == (None, None, None)
    assert (concluded.conformal, concluded.coverage) == (None, ())
    assert len(model.predict(session.sealed.features)) == session.sealed.rows
