"""What a worker hands to a family, and what it makes of the answer."""

from __future__ import annotations

import numpy as np
import pytest

from models.columns import PreparedRows
from models.families import load_family
from models.fitting.family import Shape, TrainingData
from models.fitting.fit import fit_family
from models.splitting.split import ALL
from tasks.execution import worker
from tasks.execution.inputs import encode_classes, split_early_stopping
from tasks.execution.job import FitContext
from tasks.execution.worker import predict_rows
from tasks.planning.plan import make_plan
from tests.runs import begin_run, make_frame, make_small_run


def test_groups_and_targets_go_with_their_rows_and_those_to_stop_by_are_cut_off():
    row = np.arange(20)
    train = row[::2]
    brief = FitContext("2x2", "regression", (), None, {}, {}, 1, 0, group=row * 10)
    prepared = PreparedRows(None, train[:, None].astype(float), ())
    for stop in (None, (train[[0, 2, 5]], train[[1, 3]])):
        part = split_early_stopping(prepared, train, row * 100, row * 1000, brief, stop)
        kept = train if stop is None else stop[0]
        assert part.group is not None
        assert part.weight is not None
        for values, times in ((part.X[:, 0], 1), (part.group, 10), (part.y, 100), (part.weight, 1000)):
            np.testing.assert_array_equal(values, kept * times)


@pytest.mark.parametrize("seen", [(1,), (2,), (0, 2)])
@pytest.mark.parametrize("rounds", [{"rounds": 100}, {}], ids=["refit", "search"])
@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "hist_gradient_boosting", "mlp"])
def test_a_training_part_that_lacks_classes_says_those_that_it_has(name, rounds, seen):
    """These have two columns where they saw one class alone."""
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.resize(seen, 60)
    X[:, 0] += 4 * y
    config = {k: v for k, v in load_family(name).default.items() if k not in ("selected", "log_target")} | rounds
    for labels in ("ab", "abc")[max(seen) > 1 :]:
        brief = FitContext("2x2", "binary" if len(labels) == 2 else "multiclass", tuple(labels), None, {}, {}, 1, 0)
        shape = Shape(60, 2, brief.task, len(labels))
        part = encode_classes(TrainingData(X, y, None, shape, stop=None if rounds else (X, y, None)), np.array(seen))
        odds = predict_rows(fit_family(load_family(name), config, part, 0, 1).model, X, np.array(seen), brief)
        assert odds.shape == (60, len(labels))
        assert odds.sum(axis=1) == pytest.approx(1)
        assert (odds.argmax(axis=1) == y).all()


def test_the_last_fit_with_the_sealed_rows_knows_their_groups_too(tmp_path, monkeypatch):
    """Families that take out what is a group's alone do so in the delivered model as in its tested twin."""
    plain = make_frame().drop(columns=["day", "words", "town"])
    run = make_small_run("group", plain, search={"trials": 1, "families": ("linear",)}, final={"rows": "all"})
    sealed = begin_run(run, tmp_path, pool=lambda: None)
    plan = make_plan(sealed)
    seen: list[TrainingData] = []
    monkeypatch.setattr(worker, "fit_family", lambda *asked: (seen.append(asked[2]), fit_family(*asked))[1])
    for with_sealed in (False, True):
        job = plan.make_job("linear", ALL, 0, dict(load_family("linear").default), with_sealed=with_sealed)
        worker._refit_fold(job, sealed.context.folder)
    (twin, last), groups = seen, sealed.table.group
    assert groups is not None
    both = np.concatenate([sealed.division.work_places, sealed.division.sealed_places])
    np.testing.assert_array_equal(twin.group, groups[sealed.division.work_places])
    np.testing.assert_array_equal(last.y, sealed.table.target[both])
    np.testing.assert_array_equal(last.group, groups[both])
