"""The result in words: one number for one thing, nothing undefined told, and nothing that contradicts another."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from flows.screen.board import Board, draw_board
from flows.screen.tables import make_final_table
from models.config.gate import Gate
from models.evaluation.gate import ModelCost, PublishedScore, Verdict, make_undecided_verdict
from models.evaluation.verdict import describe_result, format_interval, format_score
from models.outcome import (
    Basis,
    Coverage,
    EvaluationPlan,
    FamilyOutcome,
    Interval,
    ObjectiveOutcome,
    Report,
    RetrainReport,
    format_number,
)
from tasks.reporting.note import describe_version
from tasks.reporting.report import ReportDetails, render_report
from tasks.run.events import PlanEvent, TrialEvent
from tasks.run.journal import JournalRecord
from tasks.stages import artifacts
from tasks.tracking.mirror.entry import make_entry

UNDEFINED = (math.nan, math.inf, -math.inf)
NAN = re.compile(r"(?<![A-Za-z])(nan|NaN|inf|Infinity|None)(?![A-Za-z])")


def made(**more: Any) -> Report:
    values: dict[str, Any] = {
        "name": "loans", "version": 2, "run_id": "r", "task": "binary", "metric": "roc_auc", "winner": "svm",
        "how": EvaluationPlan("nested", 5, 4), "estimate": Interval(0.99, 0.98, 1.0),
        "test": Interval(0.98, 0.97, 0.99),
        "optimism": 0.01, "agreement": 0.5, "trials": {"complete": 3}, "seconds": {"total": 9.0}, "openings": 1,
        "families": (FamilyOutcome("svm", None, 0.99, 3, 1.0, weight=1.0), FamilyOutcome("knn", None, 0.9, 3, 1.0)),
        "alias": "champion",
    }  # fmt: skip
    report = Report(**{**values, **more})
    return replace(report, sentence=describe_result(report))


def test_the_usual_result() -> None:
    assert made().sentence == (
        "Expect roc_auc 0.99 (0.98 to 1) on new rows. By inner scores the best family is svm. The sealed test set, "
        "opened for the first time, gave 0.98 (0.97 to 0.99). The two agree (z = +0.5)."
    )


def test_the_best_family_is_one_that_was_judged_in_every_fold() -> None:
    judged, not_judged = FamilyOutcome("knn", Interval(0.9), 0.91, 3, 1.0), FamilyOutcome("svm", None, 0.99, 3, 1.0)
    told = made(families=(judged, not_judged), winner="knn").sentence
    assert "By inner scores the best family that was judged in every fold is knn." in told


def test_a_seal_that_was_opened_before_is_not_said_to_be_opened_once() -> None:
    assert "opened by 3 runs so far, gave 0.98" in made(openings=3).sentence


def test_over_time_the_newest_rows_are_told_first_where_they_differ() -> None:
    report = made(over_time=True, metric="rmse", estimate=Interval(72.9), test=Interval(89.0), agreement=7.7)
    assert report.sentence.startswith("Expect rmse 89 on new rows: that is what the newest rows gave")
    assert "Older rows gave 72.9. The newest are harder to predict: the table drifts (z = +7.7)." in report.sentence
    assert made(over_time=True).sentence.startswith("Expect roc_auc 0.99")


@pytest.mark.parametrize("apart", [3.0, -3.0])
def test_after_a_warm_start_one_number_is_to_be_relied_on(apart: float) -> None:
    told = made(warm="r0", agreement=apart).sentence
    assert "too good: rely on the test score, as long as no gate has chosen by it. The two differ by more" in told
    assert "neither" not in told
    gated = made(warm="r0", agreement=apart, promoted=True).sentence
    assert "rely" not in gated, "the verdict names the score to publish"


@pytest.mark.parametrize(("alias", "end"), [(None, ", so it gets no alias."), ("challenger", "prediction.")])
def test_what_is_no_better_than_a_constant_is_told_with_what_became_of_it(alias: str | None, end: str) -> None:
    told = made(beats_constant=False, alias=alias).sentence
    assert told.endswith(f"It is no better than a constant prediction{end if alias is None else '.'}")


COVERED = (Coverage(0.8, 0.973, 1.0), Coverage(0.9, 0.98, 1.01))


def test_coverage_in_words() -> None:
    assert made(coverage=COVERED).coverage_sentence == (
        "Prediction sets asked to cover 80 % of rows covered 97.3 % of the sealed rows, with 1 label on average; asked "
        "to cover 90 % covered 98 %, with 1.01 labels."
    )
    widths = (Coverage(0.8, 0.7, 4.1), Coverage(0.9, 0.8, 12345.6))
    assert made(task="regression", coverage=widths).coverage_sentence == (
        "Prediction intervals asked to cover 80 % of rows covered 70 % of the sealed rows, 4.1 wide on average; asked "
        "to cover 90 % covered 80 %, 12,346 wide."
    )


def undefined_reports() -> list[Report]:
    """Reports in which whatever may be undefined is."""
    objective = ObjectiveOutcome("gap:sex", "a gap", "", False, None, math.nan, Interval(math.nan), Interval(math.nan))
    cost = replace(objective, name="latency", unit="ms", delivered=math.inf)
    found = []
    for value, over_time, warm in product((math.nan, math.inf, None), (False, True), (None, "r0")):
        score = None if value is None else Interval(value, value, value)
        family = FamilyOutcome("svm", score, value, 3, 1.0, weight=1.0)
        told = {"optimism": value, "agreement": value, "families": (family,), "over_time": over_time, "warm": warm}
        sizes = (Coverage(0.8, 0.7, 1.0 if value is None else value),)
        found += [
            made(estimate=score, test=score, coverage=sizes, objectives=(objective, objective, cost), **told),
            made(test=score, **told),
            made(estimate=score, **told),
        ]
    return found


def screen(*shown: Any) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(*shown)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("report", undefined_reports())
def test_nothing_undefined_is_told_in_words_tables_or_json(report: Report) -> None:
    for told in (report.sentence, report.coverage_sentence, screen(make_final_table(report))):
        assert not NAN.search(told), NAN.search(told)
    json.dumps(report.as_json(), allow_nan=False)


def test_nothing_undefined_is_told_on_the_page() -> None:
    for report in undefined_reports()[:2]:
        page = render_report(report, ReportDetails(trials=pd.DataFrame()))
        text = re.sub(r"<(style|svg).*?</\1>|<[^>]+>", " ", page, flags=re.S)
        assert not NAN.search(text), NAN.search(text)


@pytest.mark.parametrize("value", UNDEFINED)
def test_no_artifact_of_prefects_page_holds_nan(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(artifacts, "_create_artifact", lambda create, key, **what: shown.append(what))
    monkeypatch.setattr(artifacts, "_link_mlflow_run", lambda report: "")
    family = FamilyOutcome("svm", Interval(value, value, value), value, 3, 1.0, weight=1.0)
    metric, context = SimpleNamespace(name="roc_auc"), SimpleNamespace(name="m")
    evaluation = SimpleNamespace(metric=metric, context=context, families=(family,))
    artifacts.show_leaderboard(evaluation)  # type: ignore[arg-type]
    artifacts.show_verdict(made(estimate=family.estimate, test=family.estimate, agreement=value, families=(family,)))
    assert len(shown) == 2
    assert not NAN.search(repr([{**one, "description": ""} for one in shown]))


@pytest.mark.parametrize("value", UNDEFINED)
def test_the_board_shows_no_nan(value: float) -> None:
    board = Board(0.0, 60.0)
    board.tell(PlanEvent(("svm",), ("1",), "1 x 1", "roc_auc", True, {}, None))
    board.tell(TrialEvent("svm", "1", 0, "complete", value, True))
    assert not NAN.search(screen(draw_board(board, 80, 24, 5.0)) + board.summarize(5.0))


@pytest.mark.parametrize("value", UNDEFINED)
def test_no_number_is_shown_as_nan(value: float) -> None:
    assert format_number(value) == "-"
    assert format_interval(Interval(value)) == ""
    assert format_interval(Interval(1.5, value, 2.0)) == "1.5"
    assert format_score(1.5) == "1.5"


VERDICTS = [
    Verdict("better", 0.95, 0.0, "roc_auc", 300, 300, "row", Interval(v), Interval(v), Interval(v, v), False,
            champion_cost=ModelCost(v, v), challenger_cost=ModelCost(v, v),
            published=PublishedScore(Interval(v), 3, "x"))
    for v in UNDEFINED
]  # fmt: skip


@pytest.mark.parametrize("verdict", [*VERDICTS, make_undecided_verdict(Gate(), "Why.")])
def test_no_verdict_holds_nan(verdict: Verdict) -> None:
    assert not NAN.search(verdict.sentence + verdict.to_publish)
    json.dumps(RetrainReport("m", "kept", "", 1, verdict=verdict.as_json()).as_json(), allow_nan=False)


def test_a_verdict_says_what_is_asked_and_what_came() -> None:
    score = PublishedScore(Interval(0.85, 0.8, 0.9), 371, "rows that arrived since the last opening")
    verdict = Verdict(
        "better", 0.95, 0.0, "roc_auc", 371, 371, "row", Interval(0.5), Interval(0.8464), Interval(0.3464, 0.3105),
        True, champion_version=1, challenger_version=2, published=score,
    )  # fmt: skip
    assert verdict.sentence == (
        "On 371 rows that neither was trained on, the challenger (version 2) has roc_auc 0.8464, the champion (version "
        "1) 0.5000. The gain is 0.3464; with 95 % confidence it is above 0.3105. To be promoted it must surely gain "
        "more than 0, which it does. The rule promotes the challenger."
    )
    assert verdict.to_publish == (
        "The score to publish is roc_auc 0.85 (0.8 to 0.9), on 371 rows that no earlier version had sealed."
    )


@pytest.mark.parametrize("value", UNDEFINED)
def test_no_metric_and_no_description_of_a_version_holds_nan(value: float) -> None:
    record = JournalRecord("run", "pipeline", metrics={"bad": value, "good": 1.0}, series={"s": (1.0, value, 2.0)})
    kept = make_entry(record, "r", None)
    assert kept.metrics == {"good": [1.0], "s": [1.0, 2.0]}
    score = Interval(value, value, value, Basis(0, 0, 0))
    evaluation = SimpleNamespace(metric=SimpleNamespace(name="roc_auc"), estimate=score, test=score)
    told = describe_version(evaluation)  # type: ignore[arg-type]
    assert not NAN.search(told)


def test_what_a_number_rests_on_is_told_beside_it() -> None:
    groups = Interval(0.9, 0.8, 0.95, Basis(1140, 8, 12, "group"))
    report = made(estimate=groups, test=replace(groups, basis=Basis(114, 3, 114)))
    for told in (screen(make_final_table(report)), render_report(report, ReportDetails(trials=pd.DataFrame()))):
        assert "(1,140 rows, 8 of the smallest class, 12 groups)" in told
        assert "(114 rows, 3 of the smallest class)" in told
    assert report.as_json()["test"]["basis"] == {"rows": 114, "smallest": 3, "units": 114, "unit": "row"}
    assert Report.from_json(report.as_json()).test == report.test
