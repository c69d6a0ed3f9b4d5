"""What benchmarks/search says of strategies rests on these: regret, ranks, what a trial costs, the surrogate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import qmc

from benchmarks.search import ranks
from benchmarks.search.drive import drive_study
from benchmarks.search.regret import RegretScale, mark_defaults, trace_over_trials
from benchmarks.search.several import compute_volume
from benchmarks.search.surrogate import encode_params
from models.config import Run
from models.families import load_family
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.tuning.space import list_distributions, make_view

SHAPE = Shape(1000, 10, "binary", 2)
AUC = make_metric("roc_auc", "binary", (0, 1))


def view(name="lightgbm", trials=12):
    known = replace(load_family(name), fidelity="folds")
    return make_view(known, SHAPE, AUC, Run(data="", search={"trials": trials}))


def peak(trial, inner, share):
    """Best at a learning rate of 0.05; folds differ a little; a fit takes a second."""
    return 0.9 - abs(np.log(trial.params["learning_rate"] / 0.05)) / 10 + inner / 1000, 1.0


@pytest.mark.parametrize("strategy", ["random", "halving", "tpe"])
def test_a_study_spends_the_trials_it_is_given_and_parts_count_by_their_share(strategy):
    rows = drive_study(view(), strategy, peak, 12)
    assert rows[0]["number"] == 0
    assert 12 < sum(row["share"] for row in rows) <= 13 + 1e-9
    assert all(row["fits"] == 4 for row in rows if row["state"] == "complete")


def test_folds_of_a_smaller_share_are_not_fitted_again():
    rows = drive_study(view(trials=20), "halving", peak, 20)
    parts = [row for row in rows if row["share"] < 1]
    whole = {row["params"]: row for row in rows[1:] if row["share"] == 1}
    again = [part for part in parts if part["params"] in whole]
    assert again
    assert all(part["seconds"] + whole[part["params"]]["seconds"] <= 4 for part in again)


def test_a_failed_fit_ends_the_trial_and_not_the_study():
    def fails(trial, inner, share):
        return (None, 1.0) if trial.number % 2 else peak(trial, inner, share)

    rows = drive_study(view(), "random", fails, 8)
    assert {row["state"] for row in rows[1::2]} == {"failed"}
    assert len(rows) == 9


def test_what_a_configuration_has_not_is_told_apart():
    whole = list_distributions(load_family("linear"), SHAPE)
    places = dict(zip(whole, encode_params(whole, {"strength": 1.0, "penalty": "l2"}), strict=True))
    assert places["l1_ratio"] == -1
    assert 0 <= places["strength"] <= 1


def test_regret_falls_with_what_is_found_and_begins_at_the_default():
    rows = pd.DataFrame({
        "strategy": "random", "problem": "a", "seed": 0, "number": [0, 1, 2, 3], "share": [1.0, 1.0, 1 / 3, 1.0],
        "inner": [0.6, 0.5, np.nan, 0.9], "params": ["d", "x", "y", "z"],
    })  # fmt: skip
    found = trace_over_trials(
        mark_defaults(rows, ["random"]), {"a": RegretScale(AUC, best=1.0, usual=0.5, default=0.6)}, 3
    )
    assert found.to_numpy()[0] == pytest.approx([0.8, 0.8, 0.8, 0.2])


def test_who_has_nothing_whole_yet_stands_at_the_default():
    rows = pd.DataFrame({
        "strategy": ["random", "other", "other"], "problem": "a", "seed": 0, "number": [0, 0, 1],
        "share": [1.0, 0.5, 1.0], "inner": [0.6, np.nan, 0.9], "params": ["d", "x", "y"],
    })  # fmt: skip
    found = trace_over_trials(
        mark_defaults(rows, ["random"]), {"a": RegretScale(AUC, best=1.0, usual=0.5, default=0.6)}, 2
    )
    assert found.loc[("other", "a", 0)].to_list() == pytest.approx([0.8, 0.8, 0.2])


def test_ranks_are_those_of_demsar():
    # Demsar 2006, section 3.2.4: with four classifiers on 14 data sets the critical difference is 1.25 at 0.05.
    table = pd.DataFrame(qmc.Halton(4, scramble=False).random(14), columns=list("abcd"))
    found = ranks.compute_ranks(table)
    assert found.difference == pytest.approx(1.25, abs=0.005)
    assert found.mean.sum() == pytest.approx(10)


def test_holm_multiplies_by_what_is_left():
    assert ranks.adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_strategies_that_do_not_differ_are_joined():
    assert ranks.find_alike(np.array([1.0, 1.5, 3.0, 3.2]), 1.0) == [(1.0, 1.5), (3.0, 3.2)]


@pytest.mark.parametrize(("points", "whole"), [
    ([[1.0, 1.0]], 1.0),
    ([[0.5, 1.0], [1.0, 0.5]], 0.75),
    ([[0.5, 1.0], [1.0, 0.5], [0.4, 0.4], [2.0, -1.0], [0.5, 1.0]], 0.75),
    ([[-1.0, 2.0]], 0.0),
])  # fmt: skip
def test_a_front_dominates_the_area_under_its_steps(points, whole):
    assert compute_volume(np.array(points)) == pytest.approx(whole)
