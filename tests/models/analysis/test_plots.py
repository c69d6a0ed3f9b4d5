"""Figures show what they are given."""

from __future__ import annotations

import numpy as np
import pytest

from models.analysis import plots
from models.outcome import FrontPoint, Interval, ObjectiveOutcome

NAMES = ("roc_auc", "latency", "size", "gap:sex")


def pareto(count: int):
    """The figure of twelve configurations of a front over the first so many objectives; size may be 5 at most."""
    draw = np.random.default_rng(0)
    values = np.column_stack([draw.uniform(0.6, 0.9, 12), 10.0 ** draw.uniform(-2, 1, 12), draw.uniform(1, 9, (12, 2))])
    points = [
        FrontPoint("linear" if k % 2 else "tree", "1", k, tuple(one[:count]), True, True, k == 3)
        for k, one in enumerate(values)
    ]
    outcomes = [
        ObjectiveOutcome(name, name, "", place == 0, 5.0 if name == "size" else None, None, None, None)
        for place, name in enumerate(NAMES[:count])
    ]
    with plots.apply_style():
        figure = plots.plot_pareto(points, outcomes)
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


DRAW = np.random.default_rng(0)
SHAPES = {
    "normal": DRAW.normal(150, 40, 300),
    "uniform": DRAW.uniform(0, 1, 300),
    "mostly zero": np.r_[np.zeros(200), DRAW.uniform(1, 9, 100)],
    "few": np.array([0.91, 0.92, 0.9, 0.93, 0.89]),
}


@pytest.mark.parametrize("far", [1e4, -1e9, 1e300])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.08])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_window_shows_all_but_what_would_flatten_it(shape, share, far):
    values = SHAPES[shape]
    outliers = np.full(max(1, int(share * len(values))) if share else 0, far)
    assert plots.choose_window(np.r_[outliers, values, np.nan]) == (values.min(), values.max())


def test_a_window_of_nothing_and_of_one_value_is_a_window():
    assert plots.choose_window(np.array([np.nan])) == (0.0, 1.0)
    assert plots.choose_window(np.array([3.0])) == (3.0, 3.0)
    assert plots.choose_window(np.zeros(20)) == (0.0, 0.0)


@pytest.mark.parametrize("diverged", [0.02, 0.2, 0.45])
@pytest.mark.parametrize("greater", [True, False])
def test_trials_that_diverged_do_not_flatten_the_others(diverged, greater):
    good = DRAW.uniform(0.8, 0.9, 200)
    bad = np.full(int(diverged * 200), -1e6 if greater else 1e6)
    low, high = plots.choose_score_range(np.r_[bad, good], greater)
    assert low >= 0.5
    assert high <= 1.2
    assert (high if greater else low) == (good.max() if greater else good.min())


@pytest.mark.parametrize("far", [(), (3,), (3, 50, 51)])
@pytest.mark.parametrize("draw", [plots.plot_predicted_true, plots.plot_residuals])
def test_every_row_is_drawn_and_those_far_out_are_named(draw, far):
    target = np.linspace(0, 100, 200)
    prediction = target + DRAW.normal(size=200)
    target[list(far)] = 1e7
    with plots.apply_style():
        figure = draw(target, prediction)
        figure.canvas.draw()
    [axes] = figure.axes
    counts = [len(one.get_offsets()) for one in axes.collections]
    assert counts == [200 - len(far), *([len(far)] if far else [])]
    assert max(map(abs, axes.get_ylim())) < 200
    named = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert named == ([f"{len(far)} farther out"] if far else [])


def test_an_interval_that_goes_on_ends_in_an_arrow_and_the_first_rows_are_whole():
    near = [Interval(0.8 + k / 100, 0.78, 0.86) for k in range(5)]
    rows = [Interval(0.5, 0.1, 0.9), *near, Interval(-3e5, -9e5, 2e5)]
    with plots.apply_style():
        figure = plots.plot_intervals([(f"row {k}", one) for k, one in enumerate(rows)], "r2", 1)
        figure.canvas.draw()
    [axes] = figure.axes
    low, high = axes.get_xlim()
    assert low < 0.1 < 0.9 < high
    assert high - low < 2
    arrows = [line for line in axes.lines if line.get_marker() in (8, 9)]
    assert {float(line.get_ydata()[0]) for line in arrows} == {6.0}
