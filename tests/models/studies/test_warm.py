"""Warm starts: what is handed over, what no longer fits, and what it saved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.families import load_families
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.studies.warm_start import MOST, choose_initial_params, count_until_best, explain_misfit
from models.tuning.trial import Trial

AUC = make_metric(None, "binary", ("a", "b"))
RMSE = make_metric(None, "regression", ())
LINEAR = load_families()["linear"]
SHAPE = Shape(500, 12, "binary", 2)


def trials(*scored: tuple[float, float | None], seconds: float = 1.0) -> list[Trial]:
    """(strength, inner score) of each; None: it failed."""
    return [
        Trial(i, {"strength": s, "penalty": "l2"}, {}, "failed" if v is None else "complete", () if v is None else (v,),
              seconds=seconds)
        for i, (s, v) in enumerate(scored)
    ]  # fmt: skip


def strengths(found) -> list[float]:
    return [params["strength"] for params in found]


def test_each_folds_best_is_handed_over_and_the_one_furthest_ahead_of_its_default_first():
    studies = {
        "0": trials((1.0, 0.70), (2.0, 0.72), (3.0, 0.71)),
        "1": trials((1.0, 0.60), (4.0, 0.69)),
        "2": trials((1.0, 0.90), (5.0, 0.905)),
    }
    assert strengths(choose_initial_params(studies, AUC, LINEAR.default)) == [4.0, 2.0, 5.0]
    assert strengths(choose_initial_params(studies, AUC, LINEAR.default, most=1)) == [4.0]


def test_the_last_settings_of_a_schedule_are_not_handed_over():
    scheduled = replace(trials((2.0, 0.9))[0], number=2, config={"steps": [[5, {"strength": 2.0}]]})
    studies = {"0": [*trials((1.0, 0.5), (3.0, 0.6)), scheduled]}
    assert strengths(choose_initial_params(studies, AUC, LINEAR.default)) == [3.0]


def test_smaller_is_better_where_the_metric_says_so():
    studies = {"0": trials((1.0, 5.0), (2.0, 4.0), (3.0, 6.0)), "1": trials((1.0, 5.0), (7.0, 1.0))}
    assert strengths(choose_initial_params(studies, RMSE, LINEAR.default)) == [7.0, 2.0]


def test_a_configuration_is_handed_over_once_and_the_default_never():
    same = {k: trials((1.0, 0.5), (2.0, 0.6)) for k in "01"}
    assert strengths(choose_initial_params({**same, "2": trials((1.0, 0.9), (2.0, 0.6))}, AUC, LINEAR.default)) == [2.0]


def test_no_more_than_a_batch_holds_is_handed_over_and_nothing_of_folds_without_a_score():
    studies = {str(k): trials((1.0, 0.5), (2.0 + k, 0.6 + k / 100)) for k in range(6)}
    studies["failed"] = trials((1.0, None), (9.0, None))
    assert strengths(choose_initial_params(studies, AUC, LINEAR.default)) == [7.0, 6.0, 5.0][:MOST]


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"strength": 2.0, "penalty": "l2"}, ""),
        ({"strength": 2.0, "penalty": "elasticnet", "l1_ratio": 0.5}, ""),
        ({"strength": 1e9, "penalty": "l2"}, "strength = 1000000000.0 is out of range"),
        ({"strength": 2.0, "penalty": "l7"}, "'l7' not in"),
        ({"strength": 2.0, "penalty": "l2", "depth": 3}, "there is no hyperparameter 'depth' any more"),
        ({"penalty": "l2"}, "strength"),
    ],
)
def test_what_no_longer_fits_the_space_is_told(params, why):
    said = explain_misfit(LINEAR, SHAPE, params)
    assert why in said
    assert bool(said) == bool(why)


def test_what_fits_depends_on_the_tables_shape():
    params = {"strength": 2.0, "penalty": "l2"}
    assert explain_misfit(LINEAR, SHAPE, params) == ""
    assert "penalty" in explain_misfit(LINEAR, replace(SHAPE, rows=10**6), params)


@pytest.mark.parametrize("known", [f for f in load_families().values() if f.tunable], ids=lambda f: f.name)
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_every_default_fits_its_space(known, task):
    from optuna.trial import FixedTrial

    shape = replace(SHAPE, task=task, classes=0 if task == "regression" else 2)
    asked = FixedTrial(dict(known.default))
    known.space(asked, shape)
    assert explain_misfit(known, shape, {name: known.default[name] for name in asked.distributions}) == ""


def test_the_best_is_reached_when_a_score_is_as_good_as_makes_no_difference():
    assert count_until_best(trials((1, 0.8), (2, 0.8999), (3, 0.9), seconds=2.0), AUC) == (2, 4.0)
    assert count_until_best(trials((1, None), (2, 0.9), seconds=2.0), AUC) == (2, 4.0)
    assert count_until_best(trials((1, 5.0), (2, 4.001), (3, 4.0)), RMSE) == (2, 2.0)
    assert count_until_best(trials((1, None)), AUC) is None
