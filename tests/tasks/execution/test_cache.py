"""The inner training parts that a worker keeps: so many bytes of them, and no score changes by it."""

from __future__ import annotations

import numpy as np
import pytest

from models.families import load_family
from models.fitting.family import Shape, TrainingData
from tasks.execution import worker
from tasks.execution.cache import InnerFoldData, TrainingCache
from tasks.planning.plan import make_plan
from tasks.planning.studies import make_default_job
from tests.runs import begin_run, make_frame, make_small_run

FAMILIES = ("lightgbm", "xgboost", "random_forest")


def training(rows: int) -> InnerFoldData:
    one = TrainingData(np.zeros((rows, 10)), np.zeros(rows), None, Shape(rows, 10, "regression"))
    return InnerFoldData(one, np.zeros(1), {"1": np.zeros((5, 10))})


def kept(room: float) -> TrainingCache:
    parts = TrainingCache()
    parts.room = room
    return parts


def test_what_is_kept_is_made_once():
    parts, made = kept(1e6), []
    found = [parts.get("a", lambda: made.append(1) or training(10)) for _ in range(3)]
    assert len(made) == 1
    assert found[0] is found[1] is found[2]


def test_those_of_longest_ago_make_room():
    size = training(100).bytes
    parts = kept(2.5 * size)
    first, _ = (parts.get(name, lambda: training(100)) for name in "ab")
    assert parts.get("a", lambda: training(100)) is first
    parts.get("c", lambda: training(100))  # b goes: a was used later
    assert parts.get("a", lambda: training(100)) is first
    assert len(parts) == 2


@pytest.mark.parametrize("room", [0, 100])
def test_what_there_is_no_room_for_is_made_and_not_kept(room):
    parts = kept(room)
    assert parts.get("a", lambda: training(100)).part.X.shape == (100, 10)
    assert len(parts) == 0


def test_rows_to_stop_on_count_too():
    one = training(100)
    stop = (np.zeros((100, 10)), np.zeros(100), None)
    with_stop = InnerFoldData(
        TrainingData(one.part.X, one.part.y, None, one.part.shape, stop=stop), one.classes, one.X_judge
    )
    assert with_stop.bytes == 2 * one.bytes


@pytest.fixture
def plan(tmp_path):
    """A run's plan, in whose folder nothing is fitted."""
    table = make_frame(900).drop(columns=["words", "day"])
    sealed = begin_run(make_small_run(data=table, search={"trials": 1, "families": FAMILIES}), tmp_path / "run")
    try:
        yield make_plan(sealed)
    finally:
        sealed.context.close()


def test_scores_and_predictions_are_the_same_with_and_without(plan, monkeypatch):
    """Three families, three configurations of each on one part, whatever others have made of its rows before."""
    found, configs = {}, [{}, {"learning_rate": 0.2}, {}]
    for room in (0.0, 1e9):
        monkeypatch.setattr(worker, "parts", kept(room))
        for name in FAMILIES:
            for number, settings in enumerate(configs):
                config = {
                    **make_default_job(plan, name, "1").config,
                    **(settings if load_family(name).stops_early else {}),
                }
                job = plan.make_job(name, "1", number, config, inner=0)
                score = worker._fit_inner_fold(job, plan.context.folder).score
                found[name, number, room] = score, plan.context.folder.read_array(job.file).tolist()
    assert len(worker.parts) == 2, "the boosters share one, the forest has another"
    for name, number, _ in found:
        assert found[name, number, 1e9] == found[name, number, 0.0]
        assert found[name, 0, 1e9] == found[name, 2, 1e9]
        assert (found[name, 0, 1e9] != found[name, 1, 1e9]) == load_family(name).stops_early
