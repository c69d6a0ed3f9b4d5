"""Later rows against what a version keeps of its training table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.errors import InputError, NestorError
from tasks.evaluation.package import package_models
from tasks.evaluation.table_profile import profile_run
from tasks.monitoring.drift import LaterRows, compare_with_profile, mark_trained_rows, read_later_rows
from tasks.registry.load import LoadedVersion
from tests.runs import make_frame, make_small_run, train_run


def version(path: Path, plan: str = "random", task: str = "binary", rows: int = 600, **more: Any) -> LoadedVersion:
    """What `tasks.registry.load.load_version` would give of such a run's version."""
    run = make_small_run(plan, make_frame(rows, task), search={"trials": 1, "families": ("linear",)}, **more)
    evaluation = train_run(run, path)
    (model, twin), work = package_models(evaluation), evaluation.work_rows
    facts = {
        "task": work.task, "classes": list(work.classes), "kinds": work.kinds,
        "reading": evaluation.table.reading.__dict__, "target": "target", "metric": evaluation.metric.name,
    }  # fmt: skip
    keys = {
        "trained": np.unique(evaluation.context.folder.read_array("row_keys")),
        "made_of": np.array(evaluation.division.made_of),
    }
    profile = json.loads(json.dumps(profile_run(evaluation).as_json(), allow_nan=False))
    return loaded(twin or model, facts, keys, profile)


def loaded(model: Any, facts: dict[str, Any], row_keys: Any, profile: Any) -> LoadedVersion:
    known = {"name": "toy", "version": 1, "model": model, "facts": facts, "row_keys": row_keys, "profile": profile}
    return LoadedVersion(**{one.name: known.get(one.name, "") for one in fields(LoadedVersion)})


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> LoadedVersion:
    return version(tmp_path_factory.mktemp("champion"))


def later(rows: int = 400, seed: int = 1, task: str = "binary", **changes: Callable[[pd.DataFrame], Any]) -> Any:
    """Rows like the first ones, but for `changes`."""
    table = make_frame(rows, task, seed=seed)
    return table.assign(**changes)


def test_rows_of_the_same_kind_raise_no_alarm(champion: LoadedVersion) -> None:
    found = compare_with_profile(champion, later())
    assert not found.drifted, found.sentence
    assert found.performance is not None
    assert {c.part for c in found.columns} == {"feature", "prediction"}
    assert found.sentence.startswith("No drift: ")


def test_a_shift_is_found_in_its_column_and_in_the_predictions(champion: LoadedVersion) -> None:
    found = compare_with_profile(champion, later(number=lambda t: t["number"] + 2))
    assert [c.name for c in found.alarms if c.part == "feature"] == ["number"]
    assert "probability of yes" in [c.name for c in found.alarms]
    assert found.sentence.startswith("1 of 7 columns drift: number; predictions drift; ")


def test_labels_that_come_later_tell_that_the_model_is_worse(champion: LoadedVersion) -> None:
    table = later()
    found = compare_with_profile(
        champion, table.assign(target=table["target"].sample(frac=1, random_state=0).to_numpy())
    )
    assert found.performance is not None
    assert found.performance.alarm
    assert found.drifted
    assert not found.alarms
    assert "roc_auc is worse" in found.sentence


def test_a_better_score_is_no_alarm(champion: LoadedVersion) -> None:
    table = later()
    found = compare_with_profile(champion, table.assign(target=np.where(table["number"] > 0, "yes", "no")))
    assert found.performance is not None
    assert not found.performance.alarm


def test_labels_are_known_by_what_they_say_and_strange_ones_are_told(champion: LoadedVersion) -> None:
    table = later()
    some = table["target"].mask(np.arange(len(table)) < 10, "perhaps").mask(np.arange(len(table)) > 300)
    found = compare_with_profile(champion, table.assign(target=some))
    assert found.performance is not None
    assert found.performance.rows == 291
    assert any("does not know the labels perhaps" in note for note in found.notes)


def test_without_labels_there_is_no_score(champion: LoadedVersion) -> None:
    assert compare_with_profile(champion, later().drop(columns="target")).performance is None
    assert compare_with_profile(champion, later(target=lambda t: None)).performance is None
    few = compare_with_profile(champion, later(30))
    assert few.performance is None
    assert any("no score" in note for note in few.notes)


def test_rows_that_the_model_was_trained_on_say_nothing_of_its_predictions(champion: LoadedVersion) -> None:
    old, new = make_frame(600), later(200)
    rows = read_later_rows(champion, pd.concat([old, new], ignore_index=True))
    known = mark_trained_rows(champion, rows, len(champion.row_keys["trained"]))
    assert 400 < known.sum() < 600
    assert not known[600:].any()
    found = compare_with_profile(champion, pd.concat([old, new], ignore_index=True))
    assert not found.drifted, found.sentence
    assert found.performance is not None
    assert found.performance.rows == 800 - known.sum()
    assert any("were trained on" in note for note in found.notes)


def test_rows_that_are_equal_by_chance_are_not_taken_for_known(champion: LoadedVersion) -> None:
    few = len(champion.row_keys["trained"]) * 2 + 1
    assert not mark_trained_rows(champion, read_later_rows(champion, make_frame(600)), few).any()


@pytest.mark.parametrize(("plan", "task"), [("group", "binary"), ("time", "regression"), ("random", "multiclass")])
def test_every_task_and_plan(tmp_path: Path, plan: str, task: str) -> None:
    one = version(tmp_path, plan, task)
    same = later(task=task).assign(group=lambda t: "new " + t["group"])
    found = compare_with_profile(one, same)
    assert not found.drifted, found.sentence
    assert found.performance is not None
    shifted = compare_with_profile(one, same.assign(number=lambda t: t["number"] * 3, when=lambda t: t["when"] + 10**7))
    assert [c.name for c in shifted.alarms if c.part == "feature"] == ["number"], "time goes on, which is no drift"


def test_groups_that_were_trained_on_count_as_known(tmp_path: Path) -> None:
    one = version(tmp_path, "group")
    rows = read_later_rows(one, make_frame(600))
    assert set(one.row_keys["made_of"].tolist()) == {"group:group"}
    known = mark_trained_rows(one, rows, 1_000)
    assert 0 < known.sum() < 600
    assert not set(rows.others["group"][known]) & set(rows.others["group"][~known])


def test_what_is_wrong_with_the_rows_is_said(champion: LoadedVersion) -> None:
    with pytest.raises(InputError, match="lacks the column 'number'"):
        compare_with_profile(champion, later().drop(columns="number"))
    with pytest.raises(InputError, match="is no number"):
        compare_with_profile(champion, later(number="many"))
    bare = loaded(None, champion.facts, {}, None)
    with pytest.raises(NestorError, match="toy/1 keeps no profile"):
        compare_with_profile(bare, later())


def test_a_digest_is_of_the_content() -> None:
    rows = LaterRows(pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame())
    assert rows.digest == LaterRows(pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame()).digest
    assert rows.digest != LaterRows(pd.DataFrame({"a": [1.0, 3.0]}), pd.DataFrame()).digest
