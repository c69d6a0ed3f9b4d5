"""The comparison with peers: every system has the same rows, and what is counted is counted rightly."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import comparison, environments, report, running
from benchmarks.peers.catalogue import Table, list_tables, read_frame
from benchmarks.peers.division import divide_table
from benchmarks.peers.environments import Environment
from benchmarks.peers.judging import UnusablePredictions, score_predictions
from benchmarks.peers.rows import append_row, list_done, make_key, read_rows
from benchmarks.peers.systems import System, choose_systems, load_systems
from models.errors import InputError

# --- The catalogue ---------------------------------------------------------------------------------------------------


def written_catalogue(folder, *lines, head="name,path,target,task,metric,group_col,time_col"):
    path = folder / "catalogue.csv"
    path.write_text("\n".join([head, *lines]), "utf-8")
    return str(path)


def test_a_catalogue_names_tables_and_what_divides_them(tmp_path):
    place = written_catalogue(tmp_path, "visits,v.csv,y,binary,,person,", "adult,a.csv,class,regression,mae,,day")
    first, second = list_tables(place)
    assert (first.metric, first.group, first.time, first.part) == ("roc_auc", "person", None, "report")
    assert (second.metric, second.group, second.time, second.part) == ("mae", None, "day", "tune")
    assert first.place == str(tmp_path.resolve() / "v.csv")
    assert [table.name for table in list_tables(place, "tune")] == ["adult"]
    assert [table.name for table in list_tables(place, only=("visits",))] == ["visits"]


def test_a_catalogue_may_say_itself_what_is_reported_on(tmp_path):
    place = written_catalogue(tmp_path, "adult,a.csv,y,binary,report", head="name,path,target,task,part")
    assert [table.part for table in list_tables(place)] == ["report"]


def test_a_table_that_is_not_in_the_catalogue_is_told(tmp_path):
    place = written_catalogue(tmp_path, "visits,v.csv,y,binary,,,")
    with pytest.raises(InputError, match=r"No table 'visit' in the catalogue\. Known: visits\."):
        list_tables(place, only=("visit",))


# --- The division ----------------------------------------------------------------------------------------------------


def made_table(**roles):
    task = roles.pop("task", "regression")
    return Table("made", "", "y", task, {"regression": "rmse"}.get(task, "log_loss"), "report", **roles)


def made_frame(rows=200):
    draw = np.random.default_rng(0)
    return pd.DataFrame({
        "x": np.arange(rows), "person": draw.integers(0, 40, rows), "day": draw.integers(0, 50, rows),
        "y": draw.normal(size=rows),
    })  # fmt: skip


def test_a_division_is_drawn_from_the_seed_and_loses_no_row():
    frame, table = made_frame(), made_table()
    one, same, other = (divide_table(frame, table, seed) for seed in (0, 0, 1))
    assert sorted([*one.train["x"], *one.test["x"]]) == list(frame["x"])
    assert len(one.test) == 50
    assert one.digest == same.digest
    pd.testing.assert_frame_equal(one.test, same.test)
    assert one.digest != other.digest
    assert set(one.test["x"]) != set(other.test["x"])


def test_the_digest_knows_values_and_what_is_asked():
    frame, table = made_frame(), made_table()
    changed = frame.assign(y=frame["y"].where(frame["x"] != 7, 99.0))
    assert divide_table(changed, table, 0).digest != divide_table(frame, table, 0).digest
    assert divide_table(frame, made_table(time="day"), 0).digest != divide_table(frame, table, 0).digest


def test_rows_without_a_target_are_in_no_part():
    frame = made_frame()
    frame.loc[:9, "y"] = np.nan
    parts = divide_table(frame, made_table(), 0)
    assert len(parts.train) + len(parts.test) == 190


def test_classes_are_in_both_parts_alike():
    frame = made_frame().assign(y=lambda f: np.where(f["x"] < 20, "rare", "usual"))
    parts = divide_table(frame, made_table(task="binary"), 3)
    assert (parts.test["y"] == "rare").sum() == 5


def test_a_group_is_on_one_side():
    parts = divide_table(made_frame(), made_table(group="person"), 0)
    assert not set(parts.train["person"]) & set(parts.test["person"])
    assert parts.test["person"].nunique() == 10


def test_groups_of_a_rare_class_are_on_both_sides():
    frame = made_frame(400).assign(y=lambda f: np.where(f["person"] < 8, "rare", "usual"))
    parts = divide_table(frame, made_table(task="binary", group="person"), 0)
    assert parts.test.loc[parts.test["y"] == "rare", "person"].nunique() == 2


def test_the_newest_rows_are_held_out_and_no_moment_is_divided():
    parts = divide_table(made_frame(), made_table(time="day", group="person"), 0)
    assert parts.train["day"].max() < parts.test["day"].min()
    assert 40 <= len(parts.test) <= 60


# --- The scorer ------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_scikit_learn():
    from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error

    draw = np.random.default_rng(0)
    truth = pd.Series(draw.choice([10, 2, 3], 90))
    odds = draw.dirichlet([1, 1, 1], 90)
    said = pd.DataFrame(odds, columns=["2", "3", "10"])
    assert score_predictions("log_loss", truth, said[["10", "2", "3"]]) == pytest.approx(log_loss(truth, odds))
    two = pd.Series(draw.choice([-1, 1], 90))
    assert score_predictions("roc_auc", two, pd.DataFrame({"-1": 1 - odds[:, 0], "1": odds[:, 0]})) == pytest.approx(
        roc_auc_score(two, odds[:, 0])
    )
    numbers = pd.Series(draw.normal(size=90))
    assert score_predictions("rmse", numbers, pd.DataFrame({"value": odds[:, 0]})) == pytest.approx(
        root_mean_squared_error(numbers, odds[:, 0])
    )


def test_a_label_that_a_system_does_not_know_has_no_probability():
    truth = pd.Series(["a", "b", "c"])
    said = pd.DataFrame({"a": [1.0, 0.0, 0.5], "b": [0.0, 1.0, 0.5]})
    assert score_predictions("log_loss", truth, said) == pytest.approx(-np.log(1e-15) / 3)


@pytest.mark.parametrize(
    ("values", "why"), [([1.0, np.nan], "1 rows have no finite"), ([1.0], "2 rows were asked for, 1 are")]
)
def test_what_can_not_be_scored_is_told(values, why):
    with pytest.raises(UnusablePredictions, match=why):
        score_predictions("rmse", pd.Series([0.0, 1.0]), pd.DataFrame({"value": values}))


def test_a_column_that_is_no_label_is_told_and_not_scored_as_chance():
    said = pd.DataFrame({"0.0": [0.1, 0.9], "1.0": [0.9, 0.1]})
    with pytest.raises(UnusablePredictions, match=r"'0\.0' is no label of the target, whose labels are \['0', '1'\]"):
        score_predictions("roc_auc", pd.Series([1, 0]), said, {"0", "1"})


# --- Rows ------------------------------------------------------------------------------------------------------------


def row(system="nestor", score: float | None = 0.9, **changed):
    told = {
        "system": system, "version": "1", "table": "one", "part": "report", "split": "abc", "seed": 0, "budget": 120.0,
        "cores": 2, "machine": "small", "state": "failed" if score is None else "done", "why": "", "score": score,
        "metric": "roc_auc", "rows": [75, 25], "columns": 4, "commit": "123", "date": "2026-12-01 10:00", "load": 0.1,
        "reported": None,
    }  # fmt: skip
    return told | changed


def test_a_row_is_reused_at_the_same_version_machine_and_split_only():
    done = list_done([row()])
    assert make_key(row(score=0.1)) in done
    for changed in (
        {"version": "2"},
        {"machine": "large"},
        {"split": "x"},
        {"seed": 1},
        {"budget": 60.0},
        {"cores": 4},
    ):
        assert make_key(row(**changed)) not in done


def test_failures_are_results_and_what_was_not_installed_is_tried_again():
    rows = [row("h2o", None), row("flaml", None, state="not installed")]
    assert list_done(rows) == {make_key(rows[0])}
    assert list_done(rows, retry=True) == set()


def test_rows_are_read_back_after_a_kill_in_the_middle_of_a_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_row(path, row())
    path.write_text(path.read_text("utf-8") + '{"system": "nes', "utf-8")
    append_row(path, row(score=0.8))
    append_row(path, row("flaml"))
    assert [(found["system"], found["score"]) for found in read_rows(path)] == [("nestor", 0.8), ("flaml", 0.9)]


# --- The comparison --------------------------------------------------------------------------------------------------


def runs(table, seed=0, metric="roc_auc", **scores):
    return [row(system, score, table=table, seed=seed, metric=metric) for system, score in scores.items()]


def test_places_share_and_failures_are_last():
    gains = comparison.arrange_gains(runs("one", nestor=0.9, flaml=0.9, h2o=0.8, mljar=None))
    assert comparison.rank_systems(gains).iloc[0].to_dict() == {"nestor": 1.5, "flaml": 1.5, "h2o": 3, "mljar": 4}


def test_smaller_errors_are_better():
    gains = comparison.arrange_gains(runs("one", metric="rmse", nestor=10.0, flaml=12.0))
    assert comparison.rank_systems(gains).iloc[0].to_dict() == {"nestor": 1, "flaml": 2}


def test_a_run_that_a_system_has_not_had_is_left_out():
    rows = runs("one", nestor=0.9, flaml=0.8) + runs("two", nestor=0.7) + [row("h2o", None, state="not installed")]
    assert list(comparison.arrange_gains(rows).index) == [("one", 0)]
    assert set(comparison.arrange_gains(rows)) == {"nestor", "flaml"}


def test_wins_count_ties_half_and_failures_as_lost():
    rows = runs("a", nestor=0.9, flaml=0.8) + runs("b", nestor=0.9, flaml=0.9) + runs("c", nestor=None, flaml=0.1)
    wins = comparison.compare_pair(comparison.arrange_gains(rows), "nestor", "flaml")
    assert wins.tolist() == [1, 0.5, 0]


def test_wins_over_all_others():
    gains = comparison.arrange_gains(runs("a", nestor=0.9, flaml=0.8, h2o=0.95))
    assert [comparison.compare_with_all(gains, name).item() for name in ("nestor", "flaml", "h2o")] == [0.5, 0, 1]


def test_tables_count_alike_whatever_their_number_of_seeds():
    rows = runs("a", 0, nestor=0.9, flaml=0.8) + [r for s in range(3) for r in runs("b", s, nestor=0.1, flaml=0.8)]
    mean = comparison.average_tables(comparison.compare_pair(comparison.arrange_gains(rows), "nestor", "flaml"))
    assert (mean.value, mean.low, mean.high) == (0.5, 0, 1)


def test_an_interval_is_of_tables():
    index = pd.MultiIndex.from_product([[f"t{n}" for n in range(100)], [0]], names=["table", "seed"])
    mean = comparison.average_tables(pd.Series(np.arange(100) % 2, index, dtype=float))
    assert mean.value == 0.5
    assert 0.39 < mean.low < 0.41
    assert 0.59 < mean.high < 0.61


def test_the_forest_is_zero_and_the_best_is_one():
    rows = runs("a", forest=0.8, nestor=0.9, flaml=0.85, h2o=0.1, mljar=None) + runs(
        "b", forest=0.9, nestor=0.8, flaml=0.7, h2o=0.6, mljar=0.5
    )
    scaled = comparison.scale_gains(comparison.arrange_gains(rows))
    assert list(scaled.index) == [("a", 0)]
    assert scaled.iloc[0].to_dict() == pytest.approx({"forest": 0, "nestor": 1, "flaml": 0.5, "h2o": -1, "mljar": -1})


@pytest.mark.parametrize(
    ("metric", "reported", "score", "flattery"),
    [("roc_auc", 0.95, 0.9, 0.5), ("roc_auc", 0.85, 0.9, -0.5), ("rmse", 8.0, 10.0, 0.2), ("log_loss", 1.1, 1.0, -0.1)],
)
def test_flattery_is_positive_where_the_report_was_too_good(metric, reported, score, flattery):
    assert comparison.flatter(row(metric=metric, reported=reported, score=score)) == pytest.approx(flattery)


# --- The report ------------------------------------------------------------------------------------------------------


def test_the_section_takes_the_place_of_the_old_one():
    page = "# Results\n\ntext\n\n## Beside the peers\n\nstale\n\n### 60 s\n\nstale\n\n## More\n\nrest\n"
    section = report.make_section(runs("a", forest=0.8, nestor=0.9, flaml=0.85))
    new = report.replace_section(page, section)
    assert "stale" not in new
    assert new.startswith("# Results\n\ntext\n\n## Beside the peers\n")
    assert new.endswith("\n\n## More\n\nrest\n")
    assert report.replace_section(new, section) == new
    assert report.replace_section(report.replace_section("# Results\n", section), section).count(report.TITLE) == 1


def test_tables_for_tuning_are_not_reported_on_unless_asked(tmp_path, capsys, monkeypatch):
    path = tmp_path / "rows.jsonl"
    for one in (*runs("a", forest=0.8, nestor=0.9), *(r | {"part": "tune"} for r in runs("b", forest=0.8, nestor=0.9))):
        append_row(path, one)
    monkeypatch.setattr(sys, "argv", ["report", str(path)])
    report.main()
    monkeypatch.setattr(sys, "argv", ["report", str(path), "--part", "all"])
    report.main()
    first, second = capsys.readouterr().out.split(report.TITLE)[1:]
    assert "| a | report |" in first
    assert "| b | tune |" not in first
    assert "| b | tune |" in second


def test_the_section_tells_of_every_system_and_failure():
    absent = row("h2o", None, table="a", state="not installed", why="no java")
    lines = report.make_section([*runs("a", forest=0.8, nestor=0.9, flaml=None), absent]).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| system | version"))
    ranks = {line.split(" | ")[0]: line for line in lines[start : start + 6]}
    assert "| 1.00 [1.00, 1.00] | 1, 0 | 1.00 [1.00, 1.00] |" in ranks["| Nestor"]
    assert "| a | report | 75 + 25 x 4 | roc_auc | **0.9** |  |  | 0.8 |" in lines
    assert "1 failed of 1" in ranks["| FLAML"]
    assert "not installed: no java" in ranks["| H2O AutoML"]


def test_only_the_last_row_of_a_system_counts_and_only_on_the_split_that_came_last():
    rows = [row(split="old", score=0.1), row("flaml", split="old"), row(score=0.5), row(score=0.9, version="2")]
    assert [(r["system"], r["score"]) for r in report.select_latest(rows)] == [("nestor", 0.9)]


# --- The harness -----------------------------------------------------------------------------------------------------


@pytest.fixture
def own_environment(monkeypatch):
    """What the two systems without a budget need is installed beside this project too: nothing is downloaded."""
    monkeypatch.setattr(command, "make_environment", lambda folder, system: Environment(environments.OWN_PYTHON))


def test_systems_run_on_a_shipped_table_and_are_not_run_again(own_environment, tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    asked = ["sklearn:breast_cancer", "--systems", "forest,lightgbm", "--budget", "30s", "--out", str(out)]
    assert command.main(asked) == 0
    found = {row["system"]: row for row in read_rows(out)}
    assert set(found) == {"forest", "lightgbm"}
    for one in found.values():
        assert one["state"] == "done"
        assert one["score"] > 0.95
        assert one["rows"] == [426, 143]
        assert 0 < one["seconds_model"] <= one["seconds_predictions"] <= one["seconds_exit"]
        assert min(one[name] for name in ("peak_mb", "core_seconds", "rows_per_second", "latency_ms", "size_mb")) > 0
    assert found["forest"]["split"] == found["lightgbm"]["split"]

    before = out.read_text("utf-8")
    assert command.main(asked) == 0
    assert out.read_text("utf-8") == before
    assert capsys.readouterr().err.count(": there") == 2


@pytest.fixture
def run_script(own_environment, tmp_path, monkeypatch):
    """The row of a system whose script has this text."""

    def run(text: str):
        script, out = tmp_path / "script.py", tmp_path / "rows.jsonl"
        script.write_text(text, "utf-8")
        monkeypatch.setattr(System, "script", property(lambda self: script))
        monkeypatch.setattr(command, "choose_systems", lambda names: [System("forest", "a script", "1")])
        assert command.main(["sklearn:iris", "--budget", "30s", "--out", str(out)]) == 0
        (one,) = read_rows(out)
        return one

    return run


def test_a_system_that_fails_leaves_a_row_that_says_why(run_script):
    one = run_script("raise ValueError('no such thing')\n")
    assert (one["state"], one["why"], one["score"]) == ("failed", "ValueError: no such thing", None)


def test_a_system_that_does_not_end_is_ended(run_script, monkeypatch):
    monkeypatch.setattr(running, "compute_patience", lambda budget: 1.0)
    one = run_script("import signal\nsignal.pause()\n")
    assert (one["state"], one["score"]) == ("timeout", None)
    assert one["why"].startswith("ended after ")
    assert one["seconds_exit"] < 60


def test_predictions_that_were_written_count_whatever_comes_after(run_script):
    one = run_script(
        "import pandas as pd\n"
        "rows = len(pd.read_parquet('test.parquet'))\n"
        "odds = pd.DataFrame({label: [1 / 3] * rows for label in '012'})\n"
        "odds.to_parquet('predictions.parquet')\n"
        "raise ValueError('too late')\n"
    )
    assert one["state"] == "done"
    assert one["score"] == pytest.approx(np.log(3))
    assert one["seconds_model"] is None


def test_a_program_that_is_missing_is_told_and_nothing_is_installed(tmp_path):
    made = environments.make_environment(tmp_path, System("h2o", "H2O", "1", ("h2o",), ("no-such-program",)))
    assert made == Environment(None, "no-such-program is not on PATH; H2O needs it")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.csv"], "PLACE must be a csv file"),
        (["sklearn:nothing"], "No table sklearn:nothing"),
        (["sklearn:iris", "--systems", "nestr"], "No system 'nestr'. Known: nestor, "),
        (["sklearn:iris", "--seeds", "a"], "--seeds must be whole numbers"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(arguments, said, tmp_path, capsys):
    assert command.main([*arguments, "--out", str(tmp_path / "rows.jsonl")]) == 2
    assert capsys.readouterr().err.startswith(f"Error: {said}")


def test_every_system_has_a_script_that_knows_nothing_of_this_project():
    for system in load_systems().values():
        text = system.script.read_text("utf-8")
        assert text.startswith('"""')
        assert not [
            line for line in text.splitlines() if line.split()[:2] in (["from", p] for p in ("flows", "models"))
        ]


def test_shipped_tables_are_read_whole():
    assert read_frame("sklearn:iris").shape == (150, 5)
    assert [t.task for t in list_tables("sklearn:iris,diabetes,breast_cancer")] == [
        "multiclass",
        "regression",
        "binary",
    ]
    assert [s.name for s in choose_systems("flaml, nestor")] == ["flaml", "nestor"]


def test_a_coder_gives_new_levels_and_missing_values_no_number_of_their_own(monkeypatch):
    monkeypatch.syspath_prepend(str(load_systems()["forest"].script.parent))
    monkeypatch.delitem(sys.modules, "exchange", raising=False)
    from exchange import Coder

    train = pd.DataFrame({"town": ["a", "b", None], "day": pd.to_datetime(["2024-01-01"] * 3), "n": [1, 2, 3]})
    coder = Coder(train)
    new = coder.to_numbers(train.assign(town=["b", "c", None]))
    assert new["c0"].tolist() == [1, -1, -1]
    assert new["c1"].tolist() == [1704067200.0] * 3
    assert json.dumps(new["c2"].tolist()) == "[1.0, 2.0, 3.0]"
