"""Costs of decisions, and labels as people name them."""

import numpy as np
import pytest

from models.data.labels import find_class_code
from models.errors import InputError
from models.metrics.costs import build_cost_matrix, compute_bayes_threshold
from models.metrics.metric import make_metric


def test_what_nobody_priced_costs_one_and_right_labels_nothing():
    assert build_cost_matrix({"b": {"a": 5}}, ("a", "b", "c")) == ((0, 1, 1), (5, 0, 1), (1, 1, 0))
    assert build_cost_matrix({}, (False, True)) == ((0, 1), (1, 0))


@pytest.mark.parametrize("costs", [{"1": {"0": 5}}, {"0": {"1": 2, "0": -1}}, {"1": {"0": 3, "1": 1}, "0": {"1": 2}}])
def test_the_threshold_of_two_classes_is_where_the_decision_changes(costs):
    at = compute_bayes_threshold(build_cost_matrix(costs, (0.0, 1.0)))
    metric = make_metric(None, "binary", (0.0, 1.0), costs)
    odds = np.array([[1 - p, p] for p in (at - 1e-6, at + 1e-6)])
    assert metric.decide(odds).tolist() == [0, 1]


def test_a_label_is_found_by_what_it_says_and_yaml_may_have_read_yes_as_true():
    assert [find_class_code(label, (0.0, 1.0), "costs") for label in (0, "1", 1.0)] == [0, 1, 1]
    assert [find_class_code(label, ("no", "yes"), "costs") for label in (True, "True", False)] == [1, 1, 0]
    assert find_class_code(True, (False, True), "costs") == 1
    with pytest.raises(InputError, match=r"No label for costs 'maybe'. Known: no, yes\."):
        find_class_code("maybe", ("no", "yes"), "costs")
