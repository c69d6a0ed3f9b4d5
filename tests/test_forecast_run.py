"""A run over a panel that forecasts: walk-forward at every level, the mark in the leaderboard, nothing from later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.config import Run
from models.splitting.seal import make_row_keys
from tasks.evaluation import evaluate as concluding
from tasks.evaluation.evaluate import Evaluation
from tasks.execution.inputs import join_sealed_rows
from tasks.planning.plan import make_plan
from tasks.reporting.sentences import describe_forecasts
from tests.runs import begin_run, drop_times, tune_plan
from tests.test_laws import Inline

JUDGE = "2"
FAMILIES = ("constant", "seasonal_naive", "linear")


def sales(days: int = 260) -> pd.DataFrame:
    """Two shops whose week drifts upwards, with noise that a mean takes out and a lag does not."""
    rng = np.random.default_rng(0)
    time = np.tile(np.arange(days), 2)
    sold = 20 + time / 20 + 5 * np.sin(2 * np.pi * time / 7) + rng.normal(0, 2, 2 * days)
    shop, rain = np.repeat(["a", "b"], days), rng.normal(size=2 * days)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(time, unit="D")
    table = pd.DataFrame({"day": day, "shop": shop, "rain": rain, "sold": sold})
    return table.sample(frac=1, random_state=0).reset_index(drop=True)


def run_over(data: pd.DataFrame, folder: Path) -> Evaluation:
    """The run up to its evaluation."""
    split = {"time": "day", "series": "shop", "horizon": "2d", "outer": 2, "inner": 2}
    run = Run.model_validate(
        {"data": data, "target": "sold", "split": split, "search": {"trials": 2, "families": FAMILIES}}
    )
    sealed = begin_run(run, folder, pool=Inline)
    try:
        return concluding.evaluate(tune_plan(make_plan(sealed)))
    finally:
        sealed.context.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run_over(sales(), tmp_path_factory.mktemp("whole"))


def days(evaluation: Evaluation, rows: np.ndarray) -> np.ndarray:
    assert evaluation.work_rows.time is not None
    return evaluation.work_rows.time[rows]


def test_earlier_rows_train_at_every_level(whole):
    evaluation = whole
    assert evaluation.work_rows.time.max() < evaluation.sealed_rows.time.min()
    for fold in evaluation.folds.values():
        pairs = [*fold.inner, *fold.stops, *([(fold.train, fold.judge)] if len(fold.judge) else [])]
        assert all(days(evaluation, train).max() < days(evaluation, judge).min() for train, judge in pairs)
        assert all(set(evaluation.work_rows.series[judge]) == {0, 1} for _, judge in pairs)


def test_the_mark_stands_in_the_leaderboard_and_the_report_says_who_is_better(whole):
    evaluation = whole
    found = {f.name: f.estimate.value for f in evaluation.families}
    assert found["linear"] < found["seasonal_naive"] < found["constant"]
    said = describe_forecasts(evaluation)
    assert "this model needs earlier rows too: those whose 'sold' was known 2 d before it" in said
    assert "it beats the reference seasonal_naive" in said


def test_the_mark_is_the_value_a_week_ago(whole):
    evaluation = whole
    number = evaluation.trials["seasonal_naive", JUDGE][0].number
    said = evaluation.context.folder.read_array(evaluation.make_job("seasonal_naive", JUDGE, number, {}).file)
    judged = evaluation.table.take(evaluation.division.work_places[evaluation.folds[JUDGE].judge])
    then = sales().set_index(["shop", "day"])["sold"]
    ago = judged.features["day"] - pd.Timedelta(days=7)
    np.testing.assert_allclose(said, then.loc[list(zip(judged.features["shop"], ago, strict=True))])


def test_rows_are_known_by_the_tables_own_columns(whole):
    evaluation = whole
    assert "rain" not in evaluation.work_rows.features
    own = make_row_keys(evaluation.table.features)
    np.testing.assert_array_equal(
        evaluation.context.folder.read_array("row_keys"), own[evaluation.division.work_places]
    )
    np.testing.assert_array_equal(
        evaluation.context.folder.read_array("sealed_row_keys"), own[evaluation.division.sealed_places]
    )


def test_a_model_of_all_rows_learns_from_those_that_the_gap_left_out(whole):
    evaluation = whole
    assert evaluation.work_rows.time.max() == evaluation.sealed_rows.time.min() - 2 * 86_400_000_000
    work = evaluation.work_rows
    rows, target, _, _, units = join_sealed_rows(
        evaluation.context.folder, work.features, work.target, None, None, evaluation.keys
    )
    assert len(rows) == len(target) == len(units) == evaluation.table.rows > work.rows + evaluation.sealed_rows.rows
    assert sorted(target) == sorted(evaluation.table.target)


def test_what_judges_changes_nothing_that_was_made_without_it(whole, tmp_path):
    """Law 3b with the history in between: targets and inputs of the judged and of the sealed rows are replaced by
    outliers, and so the columns made of them."""
    evaluation = whole
    data = sales()
    for places in (evaluation.division.work_places[evaluation.folds[JUDGE].judge], evaluation.division.sealed_places):
        data.loc[places, "rain"] = 1e9 * (-1.0) ** np.arange(len(places))
        data.loc[places, "sold"] = 1e6 * (2 + np.arange(len(places)) ** 2)
    other = run_over(data, tmp_path)
    train = evaluation.folds[JUDGE].train
    pd.testing.assert_frame_equal(
        evaluation.work_rows.features.iloc[train], other.work_rows.features.iloc[train], check_exact=True
    )
    for name in FAMILIES:
        assert [drop_times(t) for t in evaluation.trials[name, JUDGE]] == [
            drop_times(t) for t in other.trials[name, JUDGE]
        ]
    assert other.chosen[JUDGE] == evaluation.chosen[JUDGE]
    assert dict(other.outer)[JUDGE][1].tolist() != dict(evaluation.outer)[JUDGE][1].tolist()
