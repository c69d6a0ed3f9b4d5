"""Weights by class."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from models.errors import InputError
from models.metrics.class_weight import apply_class_weights, encode_class_weights

Y = np.array([0, 0, 0, 2, 0, 2, 0, 0])


def test_balanced_is_scikit_learns():
    assert apply_class_weights(None, Y, "balanced") == pytest.approx(compute_sample_weight("balanced", Y))


def test_balanced_classes_weigh_the_same_and_the_whole_what_it_did():
    own = np.arange(1.0, 9.0)
    found = apply_class_weights(own, Y, "balanced")
    assert found.sum() == pytest.approx(own.sum())
    assert found[Y == 0].sum() == pytest.approx(found[Y == 2].sum())
    assert (found / own)[[0, 4]] == pytest.approx((found / own)[1]), "within a class rows keep their proportions"


def test_named_labels_count_as_often_as_asked_and_others_once():
    factors = encode_class_weights({"b": 5, "c": 2}, ("a", "b", "c"))
    assert factors == (1.0, 5.0, 2.0)
    assert apply_class_weights(np.full(8, 0.5), Y, factors).tolist() == [0.5, 0.5, 0.5, 1.0, 0.5, 1.0, 0.5, 0.5]


def test_nothing_asked_leaves_weights_as_they_are():
    own = np.arange(8.0)
    assert apply_class_weights(own, Y, encode_class_weights(None, ("a", "b"))) is own
    assert apply_class_weights(None, Y, ()) is None


def test_unknown_labels_and_targets_without_labels_are_refused():
    with pytest.raises(InputError, match=r"No label for class weights 'z'\. Known: a, b"):
        encode_class_weights({"z": 2}, ("a", "b"))
    with pytest.raises(InputError, match="has none"):
        encode_class_weights("balanced", ())
