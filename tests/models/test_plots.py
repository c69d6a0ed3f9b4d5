"""Figures show what they are given."""

from __future__ import annotations

import numpy as np
import pytest

from models import plots
from models.outcome import ObjectiveOutcome, Point

NAMES = ("roc_auc", "latency", "size", "gap:sex")


def pareto(count: int):
    """The figure of twelve configurations of a front over the first so many objectives; size may be 5 at most."""
    draw = np.random.default_rng(0)
    values = np.column_stack([draw.uniform(0.6, 0.9, 12), 10.0 ** draw.uniform(-2, 1, 12), draw.uniform(1, 9, (12, 2))])
    points = [
        Point("linear" if k % 2 else "tree", "1", k, tuple(one[:count]), True, True, k == 3)
        for k, one in enumerate(values)
    ]
    outcomes = [
        ObjectiveOutcome(name, name, "", place == 0, 5.0 if name == "size" else None, None, None, None)
        for place, name in enumerate(NAMES[:count])
    ]
    with plots.style():
        figure = plots.pareto(points, outcomes)
        figure.canvas.draw()
    return values, figure


@pytest.mark.parametrize("count", [2, 3, 4])
def test_each_objective_has_a_panel_beside_the_metric(count):
    values, figure = pareto(count)
    assert [axes.get_xlabel().partition(" ")[0] for axes in figure.axes] == list(NAMES[1:count])
    for place, axes in enumerate(figure.axes, 1):
        *clouds, ring = axes.collections
        shown = np.concatenate([np.asarray(one.get_offsets()) for one in clouds])
        assert sorted(map(tuple, shown)) == sorted(zip(values[:, place], values[:, 0], strict=True))
        assert np.asarray(ring.get_offsets()).tolist() == [[values[3, place], values[3, 0]]]
    assert figure.axes[0].get_ylabel().startswith("roc_auc")


def test_a_front_of_two_objectives_is_joined_and_one_of_more_is_no_line():
    assert [len(line.get_xdata()) for line in pareto(2)[1].axes[0].lines] == [12]
    limits = [len(line.get_xdata()) for axes in pareto(4)[1].axes for line in axes.lines]
    assert limits == [2]


def test_numbers_on_a_scale_of_powers_can_be_read():
    axes = pareto(2)[1].axes[0]
    assert axes.get_xscale() == "log"
    assert {"0.1", "1"} <= {tick.get_text() for tick in axes.get_xticklabels()}
