"""Greedy weights: chosen by inner predictions, few, and never worse there than the best configuration alone."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.ensemble import MOST_MEMBERS, MOST_PER_FAMILY, Candidate, shortlist_candidates, weigh_candidates
from models.metrics.metric import make_metric

METRICS = {
    "binary": make_metric(None, "binary", ("a", "b")),
    "multiclass": make_metric(None, "multiclass", ("a", "b", "c")),
    "regression": make_metric(None, "regression", ()),
}
FOLDS, ROWS = 3, 40


def pool(task: str, count: int, seed: int = 0, names: str = "abcd"):
    """Configurations of several families, each right in its own way, with their targets."""
    draw = np.random.default_rng(seed)
    metric = METRICS[task]
    classes = len(metric.classes)
    targets, made = [], [[] for _ in range(count)]
    for _ in range(FOLDS):
        truth = draw.normal(size=ROWS)
        target = truth if not classes else np.clip((truth * 1.2 + 1).astype(int), 0, classes - 1)
        targets.append(target)
        for folds in made:
            noisy = truth + draw.normal(size=ROWS)
            if not classes:
                folds.append(noisy)
                continue
            score = np.exp(-((noisy[:, None] * 1.2 + 1 - np.arange(classes)[None] - 0.5) ** 2))
            folds.append(score / score.sum(axis=1, keepdims=True))
    return [
        Candidate(names[i % len(names)], i, tuple(folds), inner(metric, targets, folds)) for i, folds in enumerate(made)
    ], targets


def inner(metric, targets, folds) -> float:
    return metric.score_folds([(y, p, None) for y, p in zip(targets, folds, strict=True)])


@pytest.mark.parametrize("task", METRICS)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_weights_sum_to_one_over_few_members_and_never_lose_to_the_best_alone(task, seed, count):
    metric = METRICS[task]
    candidates, targets = pool(task, count, seed)
    members, score = weigh_candidates(candidates, targets, [None] * FOLDS, metric)
    assert sum(m.weight for m in members) == pytest.approx(1)
    assert all(m.weight > 0 for m in members)
    assert len(members) <= MOST_MEMBERS
    assert max(Counter(m.family for m in members).values()) <= MOST_PER_FAMILY
    assert metric.gain(score) >= max(metric.gain(c.inner) for c in candidates)
    by = {(c.family, c.trial): c for c in candidates}
    blend = [sum(m.weight * by[m.family, m.trial].folds[k] for m in members) for k in range(FOLDS)]
    assert inner(metric, targets, blend) == pytest.approx(score)


@pytest.mark.parametrize("task", METRICS)
def test_the_order_of_candidates_does_not_matter(task):
    candidates, targets = pool(task, 8)
    first = weigh_candidates(candidates, targets, [None] * FOLDS, METRICS[task])
    random.Random(0).shuffle(candidates)
    assert weigh_candidates(candidates, targets, [None] * FOLDS, METRICS[task]) == first


@pytest.mark.parametrize("task", METRICS)
def test_two_that_err_differently_are_better_together(task):
    candidates, targets = pool(task, 2)
    members, _ = weigh_candidates(candidates, targets, [None] * FOLDS, METRICS[task])
    assert len(members) == 2


def test_a_copy_of_the_best_adds_nothing():
    candidates, targets = pool("regression", 1)
    twin = Candidate("b", 9, candidates[0].folds, candidates[0].inner)
    members, _ = weigh_candidates([*candidates, twin], targets, [None] * FOLDS, METRICS["regression"])
    assert [(m.family, m.weight) for m in members] == [("a", 1.0)]


def test_rows_of_no_weight_do_not_choose():
    candidates, targets = pool("regression", 2)
    good = Candidate("good", 0, tuple(np.where(np.arange(ROWS) < 20, y, 9.0) for y in targets), 1.0)
    weights = [np.where(np.arange(ROWS) < 20, 1.0, 0.0)] * FOLDS
    members, score = weigh_candidates([good, *candidates], targets, weights, METRICS["regression"])
    assert [m.family for m in members] == ["good"]
    assert score == 0


def test_at_most_three_of_a_family_go_on_the_best_first():
    candidates, _ = pool("regression", 9, names="a")
    kept = shortlist_candidates(candidates, METRICS["regression"])
    assert [c.inner for c in kept] == sorted(c.inner for c in candidates)[:MOST_PER_FAMILY]
