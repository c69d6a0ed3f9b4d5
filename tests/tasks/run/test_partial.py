"""Runs whose search gives most configurations a part of a trial: what counts, what is chosen, what a kill leaves."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.reporting.artifacts import make_trials_table
from tests import runs
from tests.runs import collect_numbers, make_small_run, wait_for

TRIALS, FAMILIES = 5, ("constant", "linear", "lightgbm")

SETTINGS = {
    "search": {"trials": TRIALS, "families": FAMILIES, "strategy": "bohb"},
    "drop": ("group", "when", "day", "words", "town"),
    "budget": {"workers": 2},
}

KILLED = """
from pathlib import Path
from tests.runs import make_small_run, train_run
train_run(make_small_run(**{settings!r}), Path({path!r}))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = make_small_run(**SETTINGS)
    return runs.train_run(run, tmp_path_factory.mktemp("whole"))


def searched(evaluation) -> dict:
    return {key: trials for key, trials in evaluation.trials.items() if key[0] != "constant"}


def test_a_count_of_trials_is_what_their_shares_add_up_to(whole):
    for trials in searched(whole).values():
        assert TRIALS - 1 < math.fsum(t.share for t in trials) <= TRIALS + 1e-9
        assert len(trials) > TRIALS


def test_a_part_of_a_trial_is_pruned_and_a_whole_one_has_every_inner_fold(whole):
    for trials in searched(whole).values():
        for one in trials:
            assert one.share == 1 or len(one.scores) == 1
            assert (one.state == "complete") == (one.share == 1 and len(one.scores) == 2)
        assert any(t.share == 1 and t.parent is not None for t in trials), "nothing came to the top"


def test_no_part_of_a_trial_is_chosen_or_refitted(whole):
    members = [(m.family, k, m.trial) for k, one in whole.chosen.items() for m in one.members]
    refitted = [path.parts[-4:-1] for path in whole.context.folder.path.glob("fits/*/*/*/*/refit.json")]
    for family, fold, number in [*members, *refitted]:
        trial = whole.trials[family, fold][int(number)]
        assert (trial.share, trial.state) == (1.0, "complete")
    assert members


def test_what_was_fitted_whole_of_an_inner_fold_is_not_fitted_again(whole):
    taken = fresh = 0

    def fitted(family: str, fold: str, number: int, inner: int) -> dict:
        return whole.context.folder.read_json(whole.make_job(family, fold, number, {}, inner=inner).file + ".json")

    for (family, fold), trials in searched(whole).items():
        for one in trials:
            fits = [fitted(family, fold, one.number, j) for j in range(len(one.scores))]
            assert [f["score"] for f in fits] == list(one.scores)
            for j, fit in enumerate(fits):
                before = trials[one.parent] if one.parent is not None else None
                if before is None or j >= len(before.scores):
                    assert not fit["taken"]
                    continue
                assert before.config == one.config
                assert fit["taken"] == fitted(family, fold, before.number, j)["whole"]
                assert whole.context.folder.has(whole.make_job(family, fold, one.number, {}, inner=j).file + ".npy")
                taken, fresh = taken + fit["taken"], fresh + (not fit["taken"])
    assert taken
    assert fresh


def test_the_journal_and_the_table_of_trials_tell_of_parts(whole):
    lines = [json.loads(line) for line in (whole.context.folder.path / "events.jsonl").read_text().splitlines()]
    told = {line["key"]: line for line in lines if line.get("kind") == "trial"}
    table = make_trials_table(whole)
    for (family, fold), trials in searched(whole).items():
        rows = table[(table.family == family) & (table.fold == fold)]
        assert rows.share.tolist() == [t.share for t in trials]
        for one in trials:
            line = told[f"{family}/{fold}/{one.number}"]
            assert line["metrics"].get("share", 1.0) == one.share
            assert (line["metrics"].get("inner") is not None) == (one.state == "complete")
            assert line["tags"]["nestor.state"] == one.state


@pytest.mark.prove
def test_killed_between_two_rungs_and_resumed_equals_unbroken(whole, tmp_path):
    code = KILLED.format(settings=SETTINGS, path=str(tmp_path))
    for fits in (16, 40):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
        assert wait_for(lambda fits=fits: len(list(tmp_path.glob("fits/**/*.json"))) >= fits, 120)
        everyone = runs.list_process_tree(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert wait_for(lambda everyone=everyone: not runs.list_living(everyone), 20)
    run = make_small_run(**SETTINGS)
    assert collect_numbers(runs.train_run(run, tmp_path)) == collect_numbers(whole)
