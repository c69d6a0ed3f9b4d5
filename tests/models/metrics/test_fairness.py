"""Gaps between subgroups are what the field calls them, and speak of groups that are large enough."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from models.evaluation import estimate
from models.metrics.fairness import LEAST, check_subgroups, encode_subgroups, make_gap
from models.metrics.metric import make_metric

BINARY = make_metric(None, "binary", ("no", "yes"))
THREE = make_metric(None, "multiclass", ("a", "b", "c"))
VALUE = make_metric(None, "regression", ())


def rows(seed: int, classes: int = 2, count: int = 400, groups: int = 3):
    draw = np.random.default_rng(seed)
    return draw.integers(0, classes, count), draw.integers(0, classes, count), draw.integers(0, groups, count)


def both(target, group):
    return np.column_stack([target, group])


def rate(said, given):
    return said[given].mean()


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_gap_of_two_classes_is_the_equalized_odds_difference(seed):
    """fairlearn's: the larger of the differences in true and in false positive rates."""
    target, said, group = rows(seed)
    by_class = [[rate(said == 1, (group == g) & (target == t)) for g in range(3)] for t in (0, 1)]
    wanted = max(max(rates) - min(rates) for rates in by_class)
    assert make_gap("gap:g", "gap", BINARY).score(both(target, group), said) == pytest.approx(wanted)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_parity_is_the_demographic_parity_difference(seed):
    target, said, group = rows(seed)
    rates = [rate(said == 1, group == g) for g in range(3)]
    assert make_gap("parity:g", "parity", BINARY).score(both(target, group), said) == pytest.approx(
        max(rates) - min(rates)
    )


def test_of_several_classes_the_widest_rate_counts():
    target, said, group = rows(3, classes=3)
    rates = [
        [rate(said == c, (group == g) & (target == t)) for g in range(3)] for t in range(3) for c in range(3)
    ]  # fmt: skip
    wanted = max(max(one) - min(one) for one in rates)
    assert make_gap("gap:g", "gap", THREE).score(both(target, group), said) == pytest.approx(wanted)


def test_of_numbers_the_mean_absolute_errors_are_compared():
    target, group = np.arange(90.0), np.repeat([0, 1, 2], 30)
    said = target + np.repeat([1.0, -4.0, 2.0], 30)
    assert make_gap("gap:g", "gap", VALUE).score(both(target, group), said) == pytest.approx(3)
    means = [said[group == g].mean() for g in range(3)]
    assert make_gap("parity:g", "parity", VALUE).score(both(target, group), said) == pytest.approx(
        max(means) - min(means)
    )


def test_probabilities_are_judged_by_the_decision_that_is_made_of_them():
    target, said, group = rows(1)
    odds = np.column_stack([1.0 - said * 0.8, said * 0.8])
    one = make_gap("gap:g", "gap", BINARY)
    assert one.score(both(target, group), odds) == one.score(both(target, group), said)


def test_who_treats_all_alike_has_no_gap():
    target, _, group = rows(0)
    for measure in ("gap", "parity"):
        assert make_gap(measure, measure, BINARY).score(both(target, group), np.ones_like(target)) == 0


def test_small_groups_do_not_count_and_two_large_ones_are_needed():
    target = np.zeros(60, int)
    said = np.zeros(60, int)
    group = np.zeros(60, int)
    group[: LEAST - 1], said[: LEAST - 1] = 1, 1
    one = make_gap("gap:g", "gap", BINARY)
    assert np.isnan(one.score(both(target, group), said))
    group[LEAST - 1], said[LEAST - 1] = 1, 1
    assert one.score(both(target, group), said) == 1


def test_row_weights_count():
    target, said, group = rows(2)
    weight = np.where(said == 1, 3.0, 1.0)
    rates = [np.average(said[group == g], weights=weight[group == g]) for g in range(3)]
    one = make_gap("parity:g", "parity", BINARY)
    assert one.score(both(target, group), said, weight) == pytest.approx(max(rates) - min(rates))


def test_its_interval_is_the_bootstraps():
    target, said, group = rows(5, count=2000)
    said = np.where(group == 0, 1, said)
    one, halves = make_gap("gap:g", "gap", BINARY), (slice(0, 1000), slice(1000, 2000))
    folds = [(both(target, group)[h], said[h], None) for h in halves]
    found = estimate.estimate_score(one, folds, [np.arange(1000)] * 2, [1000, 1000], 0)
    assert 0 < found.low < found.value < found.high <= 1
    assert found.value == pytest.approx(np.mean([one.score(*fold) for fold in folds]))


def test_missing_values_are_a_subgroup():
    assert encode_subgroups(pd.Series(["a", None, "b", None])).tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pd.Series(range(200), name="age"), "at most 20"),
        (pd.Series(["a"] * 195 + ["b"] * 5, name="sex"), "a: 195, b: 5"),
        (pd.Series(["a"] * 200, name="sex"), "needs two of them"),
    ],
)
def test_subgroups_that_can_not_be_compared_are_refused(column, said):
    with pytest.raises(InputError, match=said):
        check_subgroups(column, np.arange(200) % 2, by_class=True)
