"""Narrower spaces from all runs of a model in a real store: which runs count, and what is said where none does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import distribution_to_json

from flows.screen.suggestion import as_values, as_yaml
from models.analysis.narrowing import FEWEST
from models.errors import InputError
from models.families import load_families
from models.fitting.family import Shape
from models.tuning.space import to_value, walk_space
from tasks.reporting.suggest import OLD, OTHER, render_suggestion, suggest_spaces
from tasks.tracking.store import connect_store

FAMILY = load_families()["linear"]


def table(trials, seed=0):
    """Trials of two folds; the score is best at a strength of 1."""
    rng = np.random.default_rng(seed)
    rows = []
    for fold in ("1", "2"):
        for number in range(trials):
            walk = walk_space(
                FAMILY, Shape(800, 10, "binary", 2),
                lambda n, d, number=number: FAMILY.default[n] if number == 0 else to_value(d, rng.uniform()),
            )  # fmt: skip
            score = 0.8 - 0.02 * np.log10(walk.params["strength"]) ** 2 + rng.normal(scale=0.003)
            space = {n: distribution_to_json(d) for n, d in walk.distributions.items()}
            rows.append({"family": "linear", "fold": fold, "number": number, "state": "complete", "inner": score,
                         "scores": [score], "seconds": 0.1, "share": 1.0, "params": json.dumps(walk.params),
                         "space": json.dumps(space)})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An empty store, and a way of putting finished runs into it."""
    folder = tmp_path_factory.mktemp("store")
    address = f"sqlite:///{folder}/m.db"
    client = connect_store(address)

    def put(name, trials, metric="roc_auc", old=False, seed=0):
        found = client.get_experiment_by_name(name)
        place = found.experiment_id if found else client.create_experiment(name, (folder / name).as_uri())
        run = client.create_run(place, tags={"nestor.kind": "pipeline"}).info.run_id
        files = folder / run
        files.mkdir()
        rows = table(trials, seed)
        (rows.drop(columns=["space", "share"]) if old else rows).to_parquet(files / "trials.parquet")
        values = {"config.json": {}, "report.json": {"metric": metric, "task": "binary"}}
        told = {} if old else {"importance.json": {"metric": metric, "greater_is_better": True, "families": {}}}
        for file, value in {**values, **told}.items():
            (files / file).write_text(json.dumps(value))
        client.log_artifacts(run, str(files))
        client.set_terminated(run)
        return run

    return address, put


@pytest.fixture(autouse=True)
def _here(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store[0])


@pytest.fixture(scope="module")
def loans(store):
    _, put = store
    put("loans", 30, old=True)
    put("loans", 30, metric="f1")
    return [put("loans", 15, seed=1), put("loans", 15, seed=2)]


def test_all_runs_with_the_newest_metric_are_learned_from(loans):
    found = suggest_spaces("loans")
    assert set(found.runs) == set(loans)
    assert found.left_out == {OTHER: 1, OLD: 1}
    linear = found.families["linear"]
    assert (linear.importance.trials, linear.importance.studies) == (60, 4)
    assert linear.importance.hyperparameters[0].name == "strength"
    low, high, _ = next(one.range for one in linear.space if one.name == "strength")
    assert 1e-3 < low < 1 < high < 100


def test_it_is_told_and_drawn(loans):
    found = suggest_spaces("loans")
    text = as_yaml(found)
    assert text.startswith("# Learned from 60 trials of 2 runs of loans (roc_auc).")
    assert OTHER in text
    assert "test score" in text
    assert "its estimate may look too good" in text.splitlines()[-1]
    nothing = replace(found, families={n: replace(one, space=()) for n, one in found.families.items()})
    assert "estimate" not in as_yaml(nothing).splitlines()[-1]
    assert as_values(found)["families"]["linear"]["space"]["strength"]
    page = render_suggestion(found)
    assert "Hyperparameters of linear" in page
    assert page.count("<svg") >= 3


def test_a_model_without_runs_and_one_with_few_trials_are_errors(store, loans):
    with pytest.raises(InputError, match=r"No model with a finished run 'lonas'. Did you mean loans"):
        suggest_spaces("lonas")
    store[1]("small", 6)
    with pytest.raises(InputError, match=rf"at most 12 trials of a family \(linear\); {FEWEST} are needed"):
        suggest_spaces("small")
    store[1]("past", 30, old=True)
    said = f"0 runs of past: no trials; {FEWEST} are needed to narrow a space. 1 others {OLD}"
    with pytest.raises(InputError, match=said):
        suggest_spaces("past")
