"""Narrower spaces as text: what is printed is what the config and the options take."""

from __future__ import annotations

import shlex

import pandas as pd
import pytest
import yaml

from flows.screen.suggestion import as_yaml
from models.analysis.importance import HyperparameterImportance, Importance, gather_trials
from models.analysis.narrowing import NarrowedRange
from models.config import Run
from models.outcome import Interval
from tasks.reporting.suggest import LearnedSpace, Suggestion

SPACE = {
    "learning_rate": [0.01, 0.1, "log"],
    "reg_alpha": [1e-5, 0.3, "log"],
    "num_leaves": [4, 63, "log"],
    "subsample": [0.75, 1.0],
    "min_child_samples": 20,
    "reg_lambda": 1e-5,
    "extra_trees": False,
}
WORDS = {"kernel": ["rbf", "laplacian"], "machine": "smooth", "kind": ["no", "a b", "1"]}


def learned(space, trials=120):
    share = Interval(0.3, 0.1, 0.5)
    mattered = Importance(
        trials, trials, 4, 0.5, tuple(HyperparameterImportance(n, trials, share, share, share) for n in space)
    )
    return LearnedSpace(
        gather_trials({}, True), mattered, tuple(NarrowedRange(n, r, "so it is") for n, r in space.items())
    )


def suggestion(**families):
    return Suggestion("loans", ("a" * 32,), "roc_auc", families, {})


def test_the_yaml_is_read_back_as_it_was_meant():
    text = as_yaml(suggestion(lightgbm=learned(SPACE), svm=learned(WORDS)))
    assert yaml.safe_load(text) == {"families": {"lightgbm": {"space": SPACE}, "svm": {"space": WORDS}}}
    assert "0.30 (0.10 to 0.50): so it is" in text


def test_the_config_and_the_options_take_it():
    text = as_yaml(suggestion(lightgbm=learned(SPACE)))
    ranges = Run(data=pd.DataFrame(), **yaml.safe_load(text)).families["lightgbm"].space
    assert {n: list(r) if isinstance(r, tuple) else r for n, r in ranges.items()} == SPACE
    line = next(line for line in text.splitlines() if "--space" in line)
    words = shlex.split(line.lstrip("# "))
    assert words[::2] == ["--space"] * len(SPACE)
    said = [word.removeprefix("lightgbm.") for word in words[1::2]]
    again = Run(data=pd.DataFrame(), families={"lightgbm": {"space": said}}).families["lightgbm"].space
    assert again == ranges


@pytest.mark.parametrize(
    ("trials", "why"), [(12, "stays as it is: 12 trials, and"), (120, "stays as it is: nothing to narrow")]
)
def test_what_stays_is_said(trials, why):
    text = as_yaml(suggestion(lightgbm=learned(SPACE), linear=learned({}, trials)))
    assert f"# linear {why}" in text
    nothing = as_yaml(suggestion(linear=learned({}, trials)))
    assert yaml.safe_load(nothing) is None
    assert "nothing to narrow" in nothing
