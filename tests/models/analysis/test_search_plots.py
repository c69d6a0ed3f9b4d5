"""Figures of a search: there is one of each kind wherever something can be said, whatever the hyperparameters are."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from models.analysis import plots
from models.analysis.importance import gather_trials, measure_importance
from models.analysis.search_plots import plot_search, plot_slices
from models.tuning.trial import Trial

SPACE = {
    "rate $x$": FloatDistribution(1e-6, 10, log=True),
    "leaves": IntDistribution(2, 300, log=True),
    "none or some": CategoricalDistribution([None, "some <b>", 0.5]),
    "offset": FloatDistribution(-3.0, 2.0, step=0.5),
}


def searched(trials=24, names=tuple(SPACE), conditional=False):
    rng = np.random.default_rng(0)

    def one(number):
        params = {
            "rate $x$": 10 ** rng.uniform(-6, 1), "leaves": int(rng.integers(2, 301)),
            "none or some": SPACE["none or some"].choices[rng.integers(3)], "offset": float(rng.integers(-6, 5) / 2),
        }  # fmt: skip
        chosen = [n for n in names if n != "offset" or not conditional or params["none or some"] == 0.5]
        score = np.log10(params["rate $x$"]) * (params["leaves"] > 60) + rng.normal(scale=0.1)
        space = {n: SPACE[n] for n in chosen}
        return Trial(number, {n: params[n] for n in chosen}, {}, "complete", (score,), distributions=space)

    return gather_trials({"1": [one(k) for k in range(trials)]}, True)


def drawn(found):
    with plots.apply_style():
        return {name: (svg(figure), caption) for name, (figure, caption) in made(found).items()}


def made(found):
    return plot_search(found, measure_importance(found), "cost $")


def svg(figure):
    out = io.StringIO()
    figure.savefig(out, format="svg")
    return out.getvalue()


@pytest.fixture(scope="module")
def plain():
    return drawn(searched())


@pytest.mark.parametrize("conditional", [False, True])
def test_every_figure_is_there_and_bears_the_names(conditional, plain):
    found = drawn(searched(trials=60, conditional=True)) if conditional else plain
    assert set(found) == {"importance", "slices", "contour", "rank", "parallel", "history"}
    assert all(caption for _, caption in found.values())
    for name in ("importance", "slices", "parallel"):
        assert all(one.replace("&", "") in found[name][0] for one in SPACE)
    assert "cost $" in found["history"][0]
    lines = [re.sub(r'"data:[^"]*"', "", text).lower() for text, _ in found.values()]
    assert not any(re.search(r"\bnan\b", text) for text in lines)


def test_one_hyperparameter_has_no_pairs():
    assert set(drawn(searched(names=("rate $x$",)))) == {"importance", "slices", "parallel", "history"}


def test_ticks_are_the_ranges_own_values():
    with plots.apply_style():
        figure, _ = plot_slices(searched(), list(SPACE), "cost")
    ticks = {axes.get_title("left"): [t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes}
    assert ticks["none or some"] == ["None", "some <b>", "0.5"]
    assert {"0.0001", "0.01"} & set(ticks["rate $x$"])
    assert set(ticks["leaves"]) <= {"3", "10", "30", "100", "300"}


def test_nothing_is_drawn_of_what_nothing_can_be_said():
    assert made(searched(trials=5)) == {}


def test_text_and_lines_take_the_pages_colours(plain):
    text = plain["slices"][0]
    assert plots.INK in text
    assert plots.GRID in text
    assert not re.search(r"fill: #(000000|ffffff)", text)
