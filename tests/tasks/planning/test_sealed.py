"""What was sealed stays sealed, whatever becomes of a table; what can't be kept stops, and no seal is drawn unasked."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.seal import CHANGES, Change, enter_own_folder, make_table, seal_rows, write_csv
from models.config import Retrain, Run
from models.errors import InputError, NestorError
from models.splitting.seal import Seal, make_row_keys, mark_sealed_rows, number_repeats
from tasks.data import read_table
from tasks.planning.checks import check_table
from tasks.retrain.data import RetrainInputs
from tasks.retrain.settings import pin_kinds
from tasks.run.fingerprint import select_identity_settings
from tasks.run.journal import find_default_address
from tasks.run.resume import to_run_settings
from tasks.tracking import seal_copy
from tests.runs import begin_run, make_small_run

ROWS = 300


@pytest.fixture(scope="module")
def drawn():
    """A table, what of it a name's first run seals, and what that keeps."""
    whole = make_table(ROWS)
    with enter_own_folder():
        return whole, seal_rows(whole, Change())[0], seal_copy.find_seal_settings("loans")


@pytest.fixture
def first(drawn, tmp_path, monkeypatch):
    """A table that a name's first run has sealed, and what of it; in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    seal_copy.keep_seal_copy("loans", find_default_address(), drawn[2])
    return drawn[:2]


@pytest.mark.parametrize("name", CHANGES)
def test_no_change_of_a_table_moves_a_row(name: str, first: tuple[pd.DataFrame, pd.Index]) -> None:
    (whole, before), change = first, CHANGES[name]
    frame = change.frame(whole)
    kept = seal_copy.find_seal_settings("loans")
    if change.stop:
        run = Run.model_validate({"data": write_csv(frame, change.form), "target": "target", **change.settings})
        (stop,) = [f.message for f in check_table(run)[1] if f.verdict == "stop"]
        assert re.search(rf"can't stay sealed: .*{re.escape(change.stop)}.*--name.*--new-seal", stop)
        assert seal_copy.find_seal_settings("loans") == kept
        return
    after, _ = seal_rows(frame, change)
    both = whole.index.intersection(frame.index)
    assert both.intersection(before).equals(both.intersection(after).sort_values())
    assert len(after) > 20


def test_a_new_seal_is_asked_for_written_down_and_kept(first: tuple[pd.DataFrame, pd.Index]) -> None:
    whole, before = first
    old, began = seal_copy.find_seal_settings("loans"), time.time()
    assert old is not None
    less = whole.drop(columns="colour")
    after, said = seal_rows(less, Change(settings={"split": {"new_seal": True}}))
    kept = seal_copy.find_seal_settings("loans")
    assert kept is not None
    assert any("number 2 of this name: it knows rows by 6 columns" in one for one in said)
    assert kept["number"] == 2
    assert began <= kept["drawn"] <= time.time()
    assert "lacks 'colour'" in kept["why"]
    assert kept["salt"] != old["salt"]
    assert [(one["number"], one["salt"], one["drawn"]) for one in kept["earlier"]] == [(1, old["salt"], old["drawn"])]
    assert seal_rows(less, Change())[0].equals(after)
    third, _ = seal_rows(whole, Change(settings={"split": {"new_seal": True, "sealed": 0.3}}))
    last = seal_copy.find_seal_settings("loans")
    assert last is not None
    assert (last["number"], last["why"]) == (3, "30 % of the rows are to be sealed (--sealed), and it seals 20 %")
    assert len({last["salt"], *(one["salt"] for one in last["earlier"])}) == 3
    assert not third.equals(before)


def test_a_seal_is_given_up_when_that_is_asked_for(first: tuple[pd.DataFrame, pd.Index]) -> None:
    whole, _ = first
    none, _ = seal_rows(whole, Change(settings={"split": {"new_seal": True, "sealed": 0.0}}))
    assert not len(none)
    assert not len(seal_rows(whole, Change())[0])
    with pytest.raises(InputError, match="20 % of the rows are to be sealed"):
        seal_rows(whole, Change(settings={"split": {"sealed": 0.2}}))


def test_a_seal_of_an_earlier_version_means_what_it_meant(first: tuple[pd.DataFrame, pd.Index]) -> None:
    """Before, the names of columns were kept, and not how they were read."""
    whole, _ = first
    kept = seal_copy.find_seal_settings("loans")
    assert kept is not None
    names = ("kind", "columns", "fraction", "salt", "cut")
    old = {**{name: kept[name] for name in names}, "share": None, "target": "binary:number", "asked": False}
    then = read_table(Run(data=write_csv(whole, {}), target="target")).features[kept["columns"]]
    before = whole.index[mark_sealed_rows(Seal.from_json(old), make_row_keys(then))]
    seal_copy.keep_seal_copy("loans", find_default_address(), old)
    for name in ("nothing", "a column added", "numbers read as levels"):
        assert seal_rows(CHANGES[name].frame(whole), CHANGES[name])[0].equals(before)
    now = seal_copy.find_seal_settings("loans")
    assert now is not None
    assert now["reading"] == kept["reading"]


@pytest.mark.parametrize("unit", ["row", "point"])
@pytest.mark.parametrize("more", [0, 150])
def test_rows_that_repeat_stay_where_they_were(unit: str, more: int, tmp_path: Path, monkeypatch: Any) -> None:
    """Counted in the order of the file, or whole points; rows that come beneath move nothing."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"a": draw.integers(0, 20, 400 + more), "b": draw.integers(0, 3, 400 + more)})
    frame["target"] = np.where(draw.random(len(frame)) > 0.5, "good", "bad")
    how = Change(settings={"split": {"copies": {"row": "apart", "point": "together"}[unit], "sealed": 0.3}})
    before, _ = seal_rows(frame[:400], how)
    after, _ = seal_rows(frame, how)
    assert before.equals(after[after < 400])
    kept = seal_copy.find_seal_settings("loans")
    assert kept is not None
    assert kept["unit"] == unit
    split = frame.assign(sealed=frame.index.isin(after)).groupby(["a", "b"])["sealed"].nunique() > 1
    assert split.any() == (unit == "row")
    other = Change(settings={"split": {"copies": {"row": "together", "point": "apart"}[unit]}})
    with pytest.raises(InputError, match=r"rows with equal features .* in it, and are not to"):
        seal_rows(frame, other)


def test_the_first_of_equal_rows_keeps_the_key_of_its_point() -> None:
    points = make_row_keys(pd.DataFrame({"a": [1, 2, 1, 1, 2, 3]}))
    found = number_repeats(points)
    assert (found == points).tolist() == [True, True, False, False, False, True]
    assert len(set(found)) == 6
    assert (number_repeats(points[:4]) == found[:4]).all()


def test_a_time_plan_never_seals_again_what_it_gave_back(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    frame, how = make_table(ROWS).sort_values("day", ignore_index=True), Change(settings={"split": {"time": "day"}})
    whole, _ = seal_rows(frame, how)
    sides = [seal_rows(frame[:200], how)[0], whole]
    assert len(sides[0]) < 30  # the window has moved on, and stays
    assert sides[0].isin(whole).all()
    assert seal_rows(frame.drop(columns="colour"), how)[0].equals(whole)
    with pytest.raises(InputError, match="was read as dates when rows were sealed, and is now as numbers"):
        seal_rows(frame.assign(day=np.arange(ROWS)), how)


def test_a_new_seal_is_asked_for_once(tmp_path: Path, monkeypatch: Any) -> None:
    """The settings that the next retraining takes over ask for none."""
    run = Run.model_validate({"data": "t.csv", "target": "y", "split": {"new_seal": True}})
    assert to_run_settings(run)["split"]["new_seal"]
    assert "new_seal" not in select_identity_settings(to_run_settings(run))["split"]
    assert "new_seal" not in to_run_settings(run.model_copy(update={"split": replace_split(run)}))["split"]


def test_a_run_that_is_resumed_goes_on_with_the_seal_that_it_drew(tmp_path: Path) -> None:
    run = make_small_run(split={"new_seal": True})
    for _ in range(2):
        sealed = begin_run(run, tmp_path)
        sealed.context.close()
        assert sealed.division.seal is not None
        assert sealed.division.seal.number == 1


def test_a_run_stops_where_another_has_drawn_a_seal_of_its_name_meanwhile(tmp_path: Path, monkeypatch: Any) -> None:
    """Both began while the name had none; MLflow keeps the first one's, and the next start goes by it."""
    monkeypatch.chdir(tmp_path)
    sealed = begin_run(make_small_run(), tmp_path / "run")
    sealed.context.seals.agree()
    own = sealed.context.folder.read_json("seal.json")
    sealed.context.seals.store_is_new, sealed.context.seals._in_mlflow = False, {**own, "salt": own["salt"] + 1}
    with pytest.raises(NestorError, match=r"sealed otherwise in MLflow.*The same command again goes by that seal"):
        sealed.context.seals.agree()
    sealed.context.close()
    kept = seal_copy.find_seal_settings("model", sealed.context.journal.tracking_uri)
    assert kept is not None
    assert kept["salt"] == own["salt"] + 1
    sealed = begin_run(make_small_run(), tmp_path / "run")
    sealed.context.close()
    assert sealed.division.seal == Seal.from_json(kept)


def test_a_new_seal_goes_without_configurations_that_were_chosen_on_its_rows(
    first: tuple[pd.DataFrame, pd.Index],
) -> None:
    given = {"data": write_csv(first[0], {}), "target": "target"}
    with pytest.raises(ValueError, match="so the test would flatter"):
        Run.model_validate({**given, "split": {"new_seal": True}, "search": {"warm_from": "loans"}})
    past: Any = SimpleNamespace(run_id="abc")
    for new_seal in (True, False):
        one = RetrainInputs(Retrain(name="loans"), past, None, given["data"], {}, seal_copy._make_folder())
        run = Run.model_validate({**given, "split": {"new_seal": new_seal}})
        assert pin_kinds(one, run, read_table(run)).search.warm_from == (None if new_seal else "abc")


def replace_split(run: Run) -> Any:
    return run.split.model_copy(update={"new_seal": False})


def test_what_is_kept_reads_as_what_was_drawn(first: tuple[pd.DataFrame, pd.Index]) -> None:
    kept = seal_copy.find_seal_settings("loans")
    assert kept is not None
    seal = Seal.from_json(kept)
    assert Seal.from_json(replace(seal, cut=3.5).as_json()).cut == 3.5
    assert Seal.from_json(seal.as_json()) == seal
