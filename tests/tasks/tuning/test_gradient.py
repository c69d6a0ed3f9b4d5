"""Gradients in a run: what workers measure, what the study is told, and which families are tried."""

from __future__ import annotations

import pytest

from models.errors import InputError
from tasks.data import read_table
from tasks.execution import worker
from tasks.planning.eligible import choose_families
from tasks.planning.plan import make_plan
from tasks.planning.studies import make_default_job
from tasks.tuning.tune import StudyFile
from tests.runs import begin_run, make_frame, make_small_run, tune_plan


def run(task: str = "regression", **search):
    data = make_frame(300, task).drop(columns=["words", "day"])
    return make_small_run(data=data, metric={"regression": "mse"}.get(task), search=search, budget={"workers": 2})


@pytest.fixture
def plan(tmp_path):
    sealed = begin_run(run(trials=6, strategy="gradient", families=("linear", "banded")), tmp_path / "run")
    try:
        yield make_plan(sealed)
    finally:
        sealed.context.close()


@pytest.mark.parametrize(("name", "derived", "asked"), [("linear", "strength", "strength"),
                                                        ("banded", "strength_0", "strengths")])  # fmt: skip
def test_a_worker_measures_what_a_small_change_does_to_the_weighted_loss(plan, name, derived, asked):
    def of(trial: int, factor: float, gradient: bool = False):
        config = dict(make_default_job(plan, name, "1").config)
        value = config[asked]
        config[asked] = value * factor if name == "linear" else [value[0] * factor, *value[1:]]
        job = plan.make_job(name, "1", trial, config, inner=0, gradient=gradient)
        return worker._fit_inner_fold(job, plan.context.folder)

    measured, above, below = of(1, 1.0, True), of(2, 1.001), of(3, 0.999)
    assert measured.gradient is not None
    assert above.score is not None
    assert below.score is not None
    assert measured.gradient[derived] == pytest.approx((above.score - below.score) / 0.002, rel=1e-5)
    assert above.gradient is None


def test_the_first_timed_fit_of_a_default_measures_the_gradient_too(plan):
    """It is the study's trial 0, which is not fitted again."""
    assert make_default_job(plan, "linear", "1").gradient
    assert not make_default_job(plan, "linear", "1").with_sealed


def test_trials_are_told_with_their_mean_gradient_and_kept_with_it(plan):
    studies = tune_plan(plan)
    for name in ("linear", "banded"):
        trials = studies.trials[name, "1"]
        assert len(trials) == 6
        assert all(t.gradient for t in trials if t.state == "complete")
        kept = StudyFile(studies, name, "1").trials
        assert [(t.gradient, t.parent) for t in trials] == [(kept[t.number].gradient, t.parent) for t in trials]
        fits = [
            studies.context.folder.read_json(f"fits/{studies.fit_context.plan}/{name}/1/0/{i}.json") for i in range(2)
        ]
        for hyperparameter, slope in trials[0].gradient.items():
            assert slope == pytest.approx(sum(f["gradient"][hyperparameter] for f in fits) / 2)


def test_a_family_of_many_penalties_is_tried_where_it_is_named_or_searched_by_gradient():
    plain, by_gradient, named = run(strategy="tpe"), run(strategy="gradient"), run(strategy="tpe", families="banded")
    table = read_table(plain)
    assert "--search gradient" in choose_families(table, plain)[1]["banded"]
    assert [f.name for f in choose_families(table, named)[0]] == ["banded"]
    kept, left_out = choose_families(table, by_gradient)
    assert {"linear", "banded"} <= {f.name for f in kept}
    assert "no derivative" in left_out["lightgbm"]


def test_where_no_family_is_left_the_search_is_refused_with_those_that_would_do():
    wanted = run(strategy="gradient", families=("lightgbm", "tree"))
    with pytest.raises(InputError, match="linear"):
        choose_families(read_table(wanted), wanted)
