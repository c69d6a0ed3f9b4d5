"""Scores on seen and on new points: of the rows that judged, by what training held."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.evaluation.verdict import describe_repeats, describe_result, list_further_warnings
from models.outcome import (
    EvaluationPlan,
    Interval,
    RepeatedRows,
    Report,
    ReportWarning,
    SeenAndNewScores,
    SubsetScore,
    list_subset_scores,
)
from models.splitting.seal import LEAST_ROWS
from tasks.reporting.publish import _list_metrics
from tests.runs import make_small_run, train_run

EMPTY = Report(
    "t", 1, "r", "binary", "roc_auc", "tree", EvaluationPlan("nested", 5, 4), None, None, None, None, (), {}, {}
)


def half_repeats(rows=400):
    """Half of the rows fall on 40 points of two decimals, half are of their own; points say the target."""
    draw = np.random.default_rng(0)
    x = np.where(draw.random(rows) < 0.5, draw.integers(0, 40, rows) / 100, draw.random(rows) * 0.4)
    noise = np.where(draw.random(rows) < 0.2, draw.integers(0, 2, rows), x * 100 % 2 > 1)
    return pd.DataFrame({"x": x, "y": (x * 7).round(6), "target": np.where(noise == 1, "yes", "no")})


@pytest.mark.parametrize("copies", ["apart", "together"])
def test_scores_are_taken_apart_by_what_training_held(tmp_path, monkeypatch, copies):
    monkeypatch.chdir(tmp_path)
    run = make_small_run(
        data=half_repeats(), search={"trials": 1, "families": ("tree",)}, drop=(), weight=None, split={"copies": copies}
    )
    evaluation = train_run(run, tmp_path / "run")
    found, points = evaluation.repeats, evaluation.division.points[evaluation.division.work_places]
    assert found.unit == ("row" if copies == "apart" else "point")
    assert 0.4 < found.share < 0.6
    seen, scores = 0, []
    for name, (target, said, _) in evaluation.outer:
        fold = evaluation.folds[name]
        mask = np.isin(points[fold.judge], points[fold.train])
        seen += mask.sum()
        scores.append(evaluation.metric.score(target[~mask], said[~mask]))
    assert found.estimate.seen.rows == seen
    assert found.estimate.seen.rows + found.estimate.new.rows == evaluation.work_rows.rows
    assert found.estimate.new.score.value == pytest.approx(np.mean(scores))
    assert found.test.seen.rows + found.test.new.rows == evaluation.sealed_rows.rows
    assert (found.estimate.seen.rows > 0) == (copies == "apart")
    numbers = _list_metrics(evaluation)
    assert numbers["estimate_new"] == found.estimate.new.score.value
    assert numbers["share_estimate_seen"] + numbers["share_estimate_new"] == pytest.approx(1)
    assert ("estimate_seen" in numbers) == (copies == "apart")


def part(rows, value=None):
    return SubsetScore(rows, rows / 100, None if value is None else Interval(value, value - 0.1, value + 0.1))


@pytest.mark.parametrize(
    ("unit", "known", "says"),
    [
        (
            "row",
            SeenAndNewScores(part(40, 0.8), part(60, 0.6)),
            "0.8 (0.7 to 0.9) on rows whose features training held (40 %), 0",
        ),
        ("row", SeenAndNewScores(part(LEAST_ROWS - 1), part(71, 0.6)), f"too few ({LEAST_ROWS - 1}) to say on rows"),
        (
            "row",
            SeenAndNewScores(part(4), part(96, 0.6)),
            "0.6 (0.5 to 0.7) without the 4 rows whose features training held.",
        ),
        ("row", SeenAndNewScores(part(100, 0.8), part(0)), "there are no others"),
        ("row", SeenAndNewScores(part(40), part(60, 0.6)), "no number on rows whose"),
        (
            "point",
            SeenAndNewScores(part(0), part(100, 0.6)),
            "held the features of no row that judged, by construction",
        ),
        ("group", SeenAndNewScores(part(0), part(100, 0.6)), "held the features of no row that judged, so it is"),
    ],
)
def test_what_is_said_of_both_numbers(unit, known, says):
    found = RepeatedRows(unit, "the reason", 0.43, 0, 0, known, None)
    said = describe_repeats(replace(EMPTY, repeats=found))
    assert "43 % of the rows have the same features as other rows" in said
    assert says in said
    assert ("the reason" in said) == (unit != "group")
    assert [name for name, _ in list_subset_scores(found)] == ["estimate_seen", "estimate_new"]
    assert Report.from_json(replace(EMPTY, repeats=found).as_json()).repeats == found
    assert describe_repeats(EMPTY) == ""


def test_rows_that_a_given_test_set_takes_from_training_are_said_first():
    warned = (ReportWarning("seal", "Another thing."), ReportWarning("test_set", "40 rows do not train."))
    report = replace(EMPTY, warnings=warned)
    assert describe_result(report).startswith("40 rows do not train. ")
    assert list_further_warnings(report) == warned[:1]
