"""The screen: what a scripted run looks like, with the names that break screens."""

import io
import math
import re
import time

import pytest
from rich.console import Console

from flows.screen import tables
from flows.screen.board import Board, draw_board
from flows.screen.live import format_event, show_live
from models.data.table import Finding
from models.outcome import (
    EvaluationPlan,
    FamilyOutcome,
    Interval,
    Report,
    ReportWarning,
    format_number,
    to_json_value,
)
from tasks.run import events
from tasks.run.events import Began, FindingEvent, NoteEvent, PlanEvent, TrialEvent

WEIRD = "Über 50k? - größer/кто 目标 [red]x[/red] [/] \x1b[31m\n\u202e"
FOLDS = tuple("12345")


def planned(**more):
    values = {
        "families": ("linear", "[red]forest"),
        "folds": FOLDS,
        "how": "5 outer x 4 inner folds",
        "metric": "roc_auc",
        "greater_is_better": True,
        "left_out": {"svm": "too slow"},
        "trials": None,
    }
    return PlanEvent(**{**values, **more})


def tried(family, fold, inner, state="complete"):
    return TrialEvent(family, fold, 0, state, inner, False)


def board(*events, budget=120.0, began=0.0):
    made = Board(began, budget)
    for event in events:
        made.tell(event, now=10.0)
    return made


def text(renderable, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()


def widths(shown):
    from rich.cells import cell_len

    return max(cell_len(row) for row in shown.splitlines())


STORY = (
    Began("read", WEIRD),
    Began("check"),
    FindingEvent(Finding("rows", "pass", "Enough.")),
    *(FindingEvent(Finding(f"c{k}", "warn", f"{WEIRD} {k} " + "long " * 50)) for k in range(6)),
    planned(),
    Began("tune"),
    tried("linear", "1", 0.8),
    tried("linear", "1", 0.9),
    tried("linear", "2", 0.7),
    tried("[red]forest", "1", 0.85),
    tried("[red]forest", "2", 0.95),
    tried("[red]forest", "2", None, "failed"),
    tried("[red]forest", "3", math.nan, "pruned"),
    NoteEvent(WEIRD),
)


def test_a_run_in_the_midst():
    shown = text(draw_board(board(*STORY), 80, 24, 45.0))
    assert "✓ read  ✓ seal  ✓ check  ✓ plan  ● tune 35 s  · evaluate  · register" in shown
    assert re.search(r"▸ \[red\]forest +1 0\.850 +2 0\.950 +1 - ", shown)
    assert re.search(r"  linear +2 0\.900 +1 0\.700 +·", shown)
    assert "5 complete · 1 pruned · 1 failed" in shown
    assert "best  [red]forest 0.9000" in shown
    assert "1 passed · 6 warned" in shown
    assert "! and 2 more in the report" in shown
    assert "45 s of 2:00 · 1:15 left" in shown


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_it_fits_and_holds_no_control_characters(width):
    folds = (*FOLDS, "all")
    shown = text(draw_board(board(*STORY, planned(folds=folds)), width, 24, 45.0), width)
    assert widths(shown) <= width
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_the_leader_has_scores_in_the_most_folds_and_the_better_mean():
    assert board(planned()).find_leader() is None
    assert board(planned(), tried("linear", "1", 0.8), tried("[red]forest", "1", 0.9)).find_leader() == "[red]forest"
    more = board(planned(), tried("linear", "1", 0.1), tried("linear", "2", 0.1), tried("[red]forest", "1", 0.9))
    assert more.find_leader() == "linear"
    less_is_better = planned(greater_is_better=False)
    assert board(less_is_better, tried("linear", "1", 3.0), tried("[red]forest", "1", 4.0)).find_leader() == "linear"
    assert board(less_is_better, tried("linear", "1", 3.0), tried("linear", "1", 2.0)).average_best("linear") == (
        1,
        2.0,
    )


def test_a_count_of_trials_tells_what_is_left():
    made = board(planned(trials=2), Began("tune"), *[tried("linear", f, 0.5) for f in FOLDS], budget=None)
    assert made.measure_done(20.0) == (0.25, 30.0)  # 5 of 20 trials in the 10 s since tuning began


def test_a_terminal_sees_a_live_picture_that_goes_away():
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    with show_live(time.time(), 60.0, console=console):
        for event in STORY:
            events.emit(event)
        time.sleep(0.5)
    assert "● tune" in console.file.getvalue()
    assert not events._listeners


def test_elsewhere_there_are_plain_lines():
    console = Console(width=80, file=io.StringIO())
    with show_live(time.time(), 60.0, console=console):
        for event in STORY:
            events.emit(event)
    lines = console.file.getvalue().splitlines()
    assert lines[1] == "check"
    assert "plan: 5 outer x 4 inner folds, roc_auc, linear, [red]forest; not tried: svm" in lines
    assert sum(row.startswith("warn: ") for row in lines) == 6
    assert len(lines) == 3 + 6 + 1 + 1
    assert format_event(tried("linear", "1", 0.5)) is None


def test_a_line_tells_how_far_it_is_now_and_then(monkeypatch):
    monkeypatch.setattr("flows.screen.live.LINE_EVERY", 0.0)
    console = Console(width=80, file=io.StringIO())
    with show_live(time.time(), 60.0, console=console):
        for event in (planned(), Began("tune"), tried("linear", "1", 0.5)):
            events.emit(event)
    assert "tune, 1 trials, best linear 0.5000, 1:00 left" in console.file.getvalue()


def test_quiet_is_quiet():
    console = Console(file=io.StringIO())
    with show_live(time.time(), 60.0, quiet=True, console=console):
        events.emit(Began("read"))
    assert console.file.getvalue() == ""


def report(**more):
    values = {
        "name": WEIRD, "version": 3, "run_id": "3f2a91c0d4e5f607", "task": "binary", "metric": "roc_auc",
        "winner": "[red]forest", "how": EvaluationPlan("nested", 5, 4), "estimate": Interval(0.9213, 0.9155, 0.927),
        "test": Interval(0.9182), "optimism": 0.0041, "agreement": 0.31,
        "families": (
            FamilyOutcome("[red]forest", Interval(0.92, 0.91, 0.93), 0.93, 212, 3.0, (), 0.7),
            FamilyOutcome("linear", None, None, 5, 0.1),
        ),
        "trials": {"complete": 217}, "seconds": {"total": 119.2},
        "warnings": tuple(ReportWarning("w", f"{WEIRD} {k}") for k in range(12)),
        "left_out": {WEIRD: "too [b]slow[/b]"},
        "sentence": "In words.", "notes": ("A note.",), "alias": "champion", "tracking_uri": "sqlite:////a b/mlflow.db",
    }  # fmt: skip
    return Report(**{**values, **more})


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_final_table(width):
    shown = text(tables.make_final_table(report()), width)
    assert widths(shown) <= width
    assert "\x1b" not in shown
    if width >= 80:
        assert re.search(r"▸ \[red\]forest +0\.9200 +\[0\.9100, 0\.9300\] +0\.9300 +212 +70%", shown)
        assert re.search(r"linear +- +- +5 +-", shown)
    for part in ("In words.", "A note.", "and 4 more", "not tried:", "nestor report 3f2a91c0d4e5", "1:59"):
        assert part in shown
    assert shown.rindex("models:/Über") > shown.rindex("nestor score")


@pytest.mark.parametrize("method", ["bbc", "holdout"])
def test_the_final_table_without_what_may_be_absent(method):
    absent = dict.fromkeys(("version", "run_id", "estimate", "test", "optimism", "agreement", "alias", "tracking_uri"))
    bare = report(**absent, how=EvaluationPlan(method, 0, 4), families=(), warnings=(), left_out={}, notes=())
    assert "no model was registered" in text(tables.make_final_table(bare))


def test_numbers_for_people():
    got = [format_number(v) for v in (None, math.nan, 0.0, 0.92134, 12.3456, 1234.5678, 1e-7, 2e9, -3.0)]
    assert got == ["-", "-", "0.0000", "0.9213", "12.346", "1,234.6", "1.00e-07", "2.00e+09", "-3.0000"]
    assert [tables.format_clock(s) for s in (0.4, 59, 72, 7390)] == ["0 s", "59 s", "1:12", "2:03:10"]


def test_values_for_json_are_plain_and_finite():
    import numpy as np

    value = {1: (math.nan, math.inf, 1.5), "a": np.float64(2.0), "b": np.int64(3), "c": {"d"}, "e": np.float64("nan")}
    assert to_json_value(value) == {"1": [None, None, 1.5], "a": 2.0, "b": 3, "c": ["d"], "e": None}


def test_findings_stand_with_stops_first():
    found = [Finding("a", "pass", "Fine."), Finding("[b]", "stop", WEIRD), Finding("c", "warn", "Hm.")]
    rows = text(tables.make_findings_table(found)).splitlines()
    assert [row[0] for row in rows if row[:1] in "✗!✓" and row] == ["✗", "!", "✓"]
    assert text(tables.make_findings_line(found)) == "1 passed, 1 warning, 1 stop\n"


FAMILIES = tuple(f"family_{k}" for k in range(16))


@pytest.mark.parametrize("height", [24, 30, 12])
def test_the_time_is_on_the_screen_whatever_its_height(height):
    made = board(*STORY, planned(families=FAMILIES), *[tried(f, "1", k / 20) for k, f in enumerate(FAMILIES)])
    shown = text(draw_board(made, 80, height, 45.0)).splitlines()
    assert len(shown) <= height
    assert "45 s of 2:00 · 1:15 left" in shown[1]
    assert "▸ family_15" in "".join(shown)  # the best is never left out


@pytest.mark.parametrize("stage", ["evaluate", "register"])
def test_a_stage_without_trials_shows_that_time_goes_by(stage):
    made = board(*STORY, Began(stage))
    assert f"● {stage} 35 s" in text(draw_board(made, 80, 24, 45.0))
    assert f"● {stage} 36 s" in text(draw_board(made, 80, 24, 46.0))


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_a_table_breaks_no_word(width):
    rows = [("2026-11-30 17:00", "breast_cancer", "12 @champion", "1e3e5741", "nested", "0.9934", "0.9961", "FINISHED")]
    columns = ("when", "name", "version", "run", "how", "estimate", "test", "status")
    shown = text(tables.make_rows_table(columns, rows, spared=("how", "test", "status")), width)
    assert widths(shown) <= width
    assert "…" not in shown
    assert "breast_cancer" in shown
    assert "@champion" in shown
