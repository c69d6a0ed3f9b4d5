"""The figure of the schedules that a search found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from models.analysis import plots
from tasks.reporting import schedules as module
from tasks.reporting.schedules import render_schedules

FALLING = [[10, {"depth": 3, "learning_rate": 0.1}], [10, {"depth": 3, "learning_rate": 0.05}]]
DEEPER = [[10, {"depth": 3}], [10, {"depth": 4}]]


def trials(*rows: Sequence[Any]) -> pd.DataFrame:
    columns = ("family", "fold", "number", "parent", "state", "inner", "steps")
    return pd.DataFrame([(*row[:-1], row[-1] and json.dumps(row[-1])) for row in rows], columns=columns)


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[Any, ...]]:
    """What is drawn, which it still is."""
    seen, draw = [], plots.plot_schedules

    def noted(*given: Any):
        seen.append(given)
        return draw(*given)

    monkeypatch.setattr(module.plots, "plot_schedules", noted)
    return seen


@pytest.mark.parametrize(("greater", "best"), [(True, FALLING), (False, FALLING[:1])])
def test_members_that_nobody_went_on_from_are_drawn_and_each_folds_best(drawn, greater, best):
    table = trials(
        ("boost", "1", 0, None, "complete", 0.9, None),
        ("boost", "1", 1, None, "complete", 0.5, FALLING[:1]),
        ("boost", "1", 2, None, "failed", None, FALLING[:1]),
        ("boost", "1", 3, 1, "complete", 0.8, FALLING),
        ("linear", "1", 0, None, "complete", 0.9, None),
    )
    assert "boost: learning_rate while models were trained" in render_schedules(table, greater)
    assert drawn == [("learning_rate", [FALLING[:1], FALLING], [best])]


def test_without_a_learning_rate_what_changes_is_drawn(drawn):
    assert "<svg" in render_schedules(trials(("net", "1", 1, None, "complete", 0.5, DEEPER)), True)
    assert drawn[0][0] == "depth"


def test_where_nothing_changed_or_nothing_has_a_schedule_there_is_no_figure():
    assert render_schedules(trials(("net", "1", 1, None, "complete", 0.5, DEEPER[:1])), True) == ""
    assert render_schedules(trials(("net", "1", 0, None, "complete", 0.5, None)), True) == ""
    assert render_schedules(pd.DataFrame(), True) == ""


def test_members_are_thin_the_chosen_thick_and_others_dashed():
    with plots.apply_style():
        axes = plots.plot_schedules("learning_rate", [FALLING, FALLING[:1]], [FALLING], [FALLING[1:]]).axes[0]
    widths = [line.get_linewidth() for line in axes.lines]
    assert widths[0] == widths[1] < widths[2] < widths[3]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", "--", "-"]
    assert axes.lines[0].get_xdata().tolist() == [0, 10, 20]  # pyright: ignore
    assert axes.lines[0].get_ydata().tolist() == [0.1, 0.1, 0.05]  # pyright: ignore


def test_learning_rates_far_apart_are_on_a_log_scale_with_plain_numbers():
    with plots.apply_style():
        figure = plots.plot_schedules("learning_rate", [FALLING, [[20, {"learning_rate": 0.001}]]], [])
        figure.canvas.draw()
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert {"0.001", "0.01", "0.1"} <= {label.get_text() for label in axes.get_yticklabels()}
