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
from tasks.evaluation.package import delivered
from tasks.evaluation.table_profile import profiled
from tasks.monitoring.drift import Rows, compared, rows_of, trained_on
from tasks.registry.load import Loaded
from tests.sessions import frame, run_over, trained


def version(path: Path, plan: str = "random", task: str = "binary", rows: int = 600, **more: Any) -> Loaded:
    """What `tasks.scoring.score.load` would give of such a run's version."""
    run = run_over(plan, frame(rows, task), search={"trials": 1, "families": ("linear",)}, **more)
    evaluation = trained(run, path)
    (model, twin), work = delivered(evaluation), evaluation.work_rows
    facts = {
        "task": work.task, "classes": list(work.classes), "kinds": work.kinds,
        "reading": evaluation.table.reading.__dict__, "target": "target", "metric": evaluation.metric.name,
    }  # fmt: skip
    keys = {
        "trained": np.unique(evaluation.context.folder.read_array("row_keys")),
        "made_of": np.array(evaluation.division.made_of),
    }
    profile = json.loads(json.dumps(profiled(evaluation).as_json(), allow_nan=False))
    return loaded(twin or model, facts, keys, profile)


def loaded(model: Any, facts: dict[str, Any], row_keys: Any, profile: Any) -> Loaded:
    known = {"name": "toy", "version": 1, "model": model, "facts": facts, "row_keys": row_keys, "profile": profile}
    return Loaded(**{one.name: known.get(one.name, "") for one in fields(Loaded)})


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return version(tmp_path_factory.mktemp("champion"))


def later(rows: int = 400, seed: int = 1, task: str = "binary", **changes: Callable[[pd.DataFrame], Any]) -> Any:
    """Rows like the first ones, but for `changes`."""
    table = frame(rows, task, seed=seed)
    return table.assign(**changes)


def test_rows_of_the_same_kind_raise_no_alarm(champion: Loaded) -> None:
    found = compared(champion, later())
    assert not found.drifted, found.sentence
    assert found.performance is not None
    assert {c.part for c in found.columns} == {"feature", "prediction"}
    assert found.sentence.startswith("No drift: ")


def test_a_shift_is_found_in_its_column_and_in_the_predictions(champion: Loaded) -> None:
    found = compared(champion, later(number=lambda t: t["number"] + 2))
    assert [c.name for c in found.alarms if c.part == "feature"] == ["number"]
    assert "probability of yes" in [c.name for c in found.alarms]
    assert found.sentence.startswith("1 of 7 columns drift: number; predictions drift; ")


def test_labels_that_come_later_tell_that_the_model_is_worse(champion: Loaded) -> None:
    table = later()
    found = compared(champion, table.assign(target=table["target"].sample(frac=1, random_state=0).to_numpy()))
    assert found.performance is not None
    assert found.performance.alarm
    assert found.drifted
    assert not found.alarms
    assert "roc_auc is worse" in found.sentence


def test_a_better_score_is_no_alarm(champion: Loaded) -> None:
    table = later()
    found = compared(champion, table.assign(target=np.where(table["number"] > 0, "yes", "no")))
    assert found.performance is not None
    assert not found.performance.alarm


def test_labels_are_known_by_what_they_say_and_strange_ones_are_told(champion: Loaded) -> None:
    table = later()
    some = table["target"].mask(np.arange(len(table)) < 10, "perhaps").mask(np.arange(len(table)) > 300)
    found = compared(champion, table.assign(target=some))
    assert found.performance is not None
    assert found.performance.rows == 291
    assert any("does not know the labels perhaps" in note for note in found.notes)


def test_without_labels_there_is_no_score(champion: Loaded) -> None:
    assert compared(champion, later().drop(columns="target")).performance is None
    assert compared(champion, later(target=lambda t: None)).performance is None
    few = compared(champion, later(30))
    assert few.performance is None
    assert any("no score" in note for note in few.notes)


def test_rows_that_the_model_was_trained_on_say_nothing_of_its_predictions(champion: Loaded) -> None:
    old, new = frame(600), later(200)
    rows = rows_of(champion, pd.concat([old, new], ignore_index=True))
    known = trained_on(champion, rows, len(champion.row_keys["trained"]))
    assert 400 < known.sum() < 600
    assert not known[600:].any()
    found = compared(champion, pd.concat([old, new], ignore_index=True))
    assert not found.drifted, found.sentence
    assert found.performance is not None
    assert found.performance.rows == 800 - known.sum()
    assert any("were trained on" in note for note in found.notes)


def test_rows_that_are_equal_by_chance_are_not_taken_for_known(champion: Loaded) -> None:
    few = len(champion.row_keys["trained"]) * 2 + 1
    assert not trained_on(champion, rows_of(champion, frame(600)), few).any()


@pytest.mark.parametrize(("plan", "task"), [("group", "binary"), ("time", "regression"), ("random", "multiclass")])
def test_every_task_and_plan(tmp_path: Path, plan: str, task: str) -> None:
    one = version(tmp_path, plan, task)
    same = later(task=task).assign(group=lambda t: "new " + t["group"])
    found = compared(one, same)
    assert not found.drifted, found.sentence
    assert found.performance is not None
    shifted = compared(one, same.assign(number=lambda t: t["number"] * 3, when=lambda t: t["when"] + 10**7))
    assert [c.name for c in shifted.alarms if c.part == "feature"] == ["number"], "time goes on, which is no drift"


def test_groups_that_were_trained_on_count_as_known(tmp_path: Path) -> None:
    one = version(tmp_path, "group")
    rows = rows_of(one, frame(600))
    assert set(one.row_keys["made_of"].tolist()) == {"group:group"}
    known = trained_on(one, rows, 1_000)
    assert 0 < known.sum() < 600
    assert not set(rows.others["group"][known]) & set(rows.others["group"][~known])


def test_what_is_wrong_with_the_rows_is_said(champion: Loaded) -> None:
    with pytest.raises(InputError, match="lacks the column 'number'"):
        compared(champion, later().drop(columns="number"))
    with pytest.raises(InputError, match="is no number"):
        compared(champion, later(number="many"))
    bare = loaded(None, champion.facts, {}, None)
    with pytest.raises(NestorError, match="toy/1 keeps no profile"):
        compared(bare, later())


def test_a_digest_is_of_the_content() -> None:
    rows = Rows(pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame())
    assert rows.digest == Rows(pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame()).digest
    assert rows.digest != Rows(pd.DataFrame({"a": [1.0, 3.0]}), pd.DataFrame()).digest
