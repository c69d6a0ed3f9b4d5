"""What mattered in a whole run: reckoned by its own workers, written down, and never waited for beyond the budget."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from models.outcome import FamilyOutcome
from tasks.evaluation.evaluate import Evaluation
from tasks.planning.load_and_seal import check_signal_of_table
from tasks.planning.plan import make_plan
from tasks.planning.warm_start import read_studies
from tasks.reporting.artifacts import make_trials_table
from tasks.reporting.hyperparameters import render_family, render_importance
from tasks.reporting.importance import ImportanceQueue, draw_importance, write_importance
from tasks.reporting.page_parts import to_html
from tasks.values import Studies, advance
from tests import runs
from tests.runs import make_frame, make_small_run


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Studies of a run whose pool still lives, with what its end needs to know of families."""
    data = make_frame().drop(columns=["day", "words"])
    search = {"trials": 9, "families": ("constant", "linear", "naive_bayes")}
    run = make_small_run(data=data, search=search, budget={"workers": 2}, split={"outer": 2, "inner": 2})
    sealed = runs.begin_run(run, tmp_path_factory.mktemp("run"))
    check_signal_of_table(sealed)
    yield runs.tune_plan(make_plan(sealed))
    sealed.context.close()


FIGURES = ("importance", "slices", "contour", "rank", "parallel", "history")
"""All that there are; those of two hyperparameters only where there are two."""


ALL = {"constant": 0.0, "naive_bayes": 0.2, "linear": 0.8}


def weighed(studies: Studies, weights: Mapping[str, float]) -> Evaluation:
    """As much of an evaluation as a drawing asks for: what each family weighs in the delivered model."""
    families = tuple(FamilyOutcome(name, None, None, 0, 0.0, weight=weight) for name, weight in weights.items())
    return advance(
        Evaluation, studies, chosen={}, families=families, winner="linear", estimate=None, test=None, optimism=None,
        agreement=None, beats_constant=False, outer=(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(studies):
    return ImportanceQueue(weighed(studies, ALL)).collect()


def test_every_family_that_was_searched_is_drawn_the_delivered_first(made):
    assert list(made) == ["linear", "naive_bayes"]
    for one in made.values():
        assert one.importance.lack == ""
        assert {"importance", "slices", "parallel", "history"} <= set(one.figures)
        assert all(text.startswith("<svg") and caption for text, caption in one.figures.values())


def test_a_worker_says_what_this_process_would(studies, made):
    mine = {fold: t for (family, fold), t in studies.trials.items() if family == "linear"}
    metric = studies.metric
    assert (
        draw_importance(mine, metric.greater_is_better, metric.name, studies.run.seed).importance
        == made["linear"].importance
    )


def test_files_are_whole_and_alone(studies, made, tmp_path):
    write_importance(made, studies.metric, tmp_path)
    told = json.loads((tmp_path / "importance.json").read_text("utf-8"))
    assert (told["metric"], told["greater_is_better"]) == (studies.metric.name, studies.metric.greater_is_better)
    assert {h["name"] for h in told["families"]["linear"]["hyperparameters"]} >= {"strength", "penalty"}
    figures = sorted((tmp_path / "figures" / "linear").glob("*.svg"))
    assert {f.stem for f in figures} == set(made["linear"].figures)
    for file in figures:
        text = file.read_text("utf-8")
        HTMLParser().feed(text)
        assert "xmlns" in text
        assert set(re.findall(r"var\((--\w+)\)", text)) <= set(re.findall(r"(--\w+):", text))


def test_the_page_has_a_line_for_each_family_and_folds_the_figures(made):
    page = render_importance(made, ("linear",), "All others are elsewhere.")
    assert page.count("<details>") == 1
    assert "Hyperparameters of linear" in page
    assert "naive_bayes" in page
    assert "elsewhere" in page
    assert "explains" in render_family(made["linear"])
    shown = [page.find(to_html(made["linear"].figures[name][1])) for name in FIGURES if name in made["linear"].figures]
    assert len(shown) == len(made["linear"].figures) >= 4
    assert -1 not in shown
    assert shown == sorted(shown)
    assert render_importance({}, ("linear",), "x") == ""


def test_what_can_not_be_said_is_said(studies):
    few = {"1": studies.trials["linear", "1"][:3]}
    one = draw_importance(few, True, "roc_auc", 0)
    assert one.figures == {}
    assert render_family(one) == ""
    assert "too few" in render_importance({"linear": one}, ("linear",))


def test_what_was_only_tried_in_part_is_told_of(studies):
    parts = [replace(t, number=90 + t.number, share=0.3, state="pruned") for t in studies.trials["linear", "1"][:3]]
    mine = {fold: trials for (family, fold), trials in studies.trials.items() if family == "linear"}
    for whole, in_lack in ((mine, False), ({"1": mine["1"][:3]}, True)):
        one = draw_importance({**whole, "1": [*whole["1"], *parts]}, True, "roc_auc", 0)
        assert "3 partial trials are not counted" in render_importance({"linear": one}, ("linear",))
        assert bool(one.importance.lack) == in_lack


def test_nothing_is_waited_for_when_the_time_is_up(studies, monkeypatch):
    monkeypatch.setattr(studies.context.ledger, "limit", studies.context.ledger.elapsed + 1)
    begun = time.time()
    drawing = ImportanceQueue(weighed(studies, ALL))
    assert drawing.collect() == {}
    assert time.time() - begun < 5
    assert drawing._enough.wait(60)
    assert "naive_bayes" not in {**drawing.made, **drawing.lack}  # nothing more was asked for
    assert any(note.startswith("Skipped: ") and "(out of time)" in note for note in studies.context.notes)


def test_under_a_budget_only_the_delivered_model_is_waited_for(studies, monkeypatch):
    monkeypatch.setattr(studies.context.ledger, "limit", studies.context.ledger.elapsed + 1000)
    drawing = ImportanceQueue(weighed(studies, {"naive_bayes": 1.0, "linear": 0.0}))
    assert drawing.awaited == ["naive_bayes"]
    assert "naive_bayes" in drawing.collect()


def test_a_family_whose_drawing_fails_is_noted_and_the_others_are_there(studies):
    studies.context.notes.clear()
    broken = [replace(t, scores=("no number",)) for t in studies.trials["naive_bayes", "1"]]
    harmed = replace(studies, trials={**studies.trials, ("naive_bayes", "1"): broken})
    assert set(ImportanceQueue(weighed(harmed, ALL)).collect()) == {"linear"}
    assert [note for note in studies.context.notes if "naive_bayes" in note and "Error" in note]


def test_a_run_s_trials_are_read_back_with_their_ranges(studies, tmp_path):
    make_trials_table(studies).to_parquet(tmp_path / "trials.parquet")
    back = read_studies(pd.read_parquet(tmp_path / "trials.parquet"))
    for (family, fold), trials in studies.trials.items():
        assert [(t.number, dict(t.params), t.state, t.scores, t.share) for t in back[family][fold]] == [
            (t.number, dict(t.params), t.state, t.scores, t.share) for t in trials
        ]
        assert [dict(t.distributions) for t in back[family][fold]] == [dict(t.distributions) for t in trials]


def test_a_step_of_a_schedule_is_read_back_as_one(studies):
    table = make_trials_table(studies).assign(steps='[[5, {"rate": 0.1}]]')
    assert not any(t.stoppable for t in read_studies(table)["linear"]["1"])
    assert all(t.stoppable for t in read_studies(make_trials_table(studies))["linear"]["1"])


def test_a_table_of_before_ranges_were_kept_is_read_too(studies):
    old = make_trials_table(studies).drop(columns=["space", "share"])
    assert all(not t.distributions and t.share == 1 for t in read_studies(old)["linear"]["1"])
