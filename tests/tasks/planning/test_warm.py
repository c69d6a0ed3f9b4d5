"""A warm start in whole runs: what is fixed before tuning, what is said, and that it repeats."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.evaluation.evaluate import Evaluation, evaluate
from tasks.planning.plan import make_plan
from tasks.planning.warm_start import describe_savings, measure_savings
from tasks.reporting.artifacts import make_trials_table
from tasks.reporting.publish import publish
from tasks.run.journal import Journal
from tasks.tracking import past as looked_up
from tasks.tracking.mirror.writer import MlflowMirror
from tasks.tracking.store import connect_store, search_runs
from tests import runs
from tests.runs import collect_numbers, make_frame, make_small_run

FAMILIES = ("constant", "linear", "random_forest")


def run(workers: int = 2, warm: bool = True, trials: int = 6, **more: Any):
    data = make_frame().drop(columns=["day", "words"])
    search = {"trials": trials, "families": FAMILIES, "warm_from": "model" if warm else None}
    return make_small_run(data=data, search=search, budget={"workers": workers}, **more)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> dict[str, Any]:
    """A run with another seed, as MLflow hands it over."""
    folder = tmp_path_factory.mktemp("earlier")
    evaluation = runs.train_run(run(warm=False, seed=3), folder)
    make_trials_table(evaluation).to_parquet(folder / "trials.parquet")
    report = {"metric": evaluation.metric.name, "task": evaluation.metric.task}
    return {"run_id": "f" * 32, "name": "model", "config": {}, "report": report,
            "trials": str(folder / "trials.parquet"), "tags": {}}  # fmt: skip


@pytest.fixture(scope="module")
def warm(earlier, tmp_path_factory) -> Evaluation:
    return runs.train_run(run(), tmp_path_factory.mktemp("warm"), past=earlier)


def test_every_study_tries_the_default_and_then_what_the_earlier_run_found(warm):
    assert warm.warm_start.source == "f" * 32
    assert set(warm.warm_start.configurations) == {"linear", "random_forest"}
    for (family, _), trials in warm.trials.items():
        handed = warm.warm_start.configurations.get(family, [])
        assert [dict(t.params) for t in trials[1 : 1 + len(handed)]] == handed
    assert any("are tried right after the defaults" in note for note in warm.context.notes)


def test_only_configurations_cross_over(warm, earlier):
    kept = json.loads((warm.context.folder.path / "warm.json").read_text())["warm"]
    assert set(kept) == {"source", "configurations", "until"}
    tried = {row for row in pd.read_parquet(earlier["trials"])["params"]}
    assert {json.dumps(params) for c in kept["configurations"].values() for params in c} <= tried


def test_the_saving_is_measured_against_the_earlier_run(warm):
    found = measure_savings(warm)
    for name in ("linear", "random_forest"):
        before = warm.warm_start.until[name][0]
        assert found[name]["warm_saved_trials"] == before - found[name]["trials_to_best"]
    mean = sum(found[n]["warm_saved_trials"] for n in ("linear", "random_forest")) / 2
    assert found[""]["warm_saved_trials"] == pytest.approx(mean)
    assert "linear" in describe_savings(warm)


@pytest.mark.parametrize("workers", [1, pytest.param(4, marks=pytest.mark.prove)])
def test_a_warm_run_repeats_with_any_number_of_workers(workers, warm, earlier, trained):
    assert collect_numbers(trained(run(workers), past=earlier)) == collect_numbers(warm)


def test_a_warm_run_taken_up_again_keeps_what_it_was_handed_first(warm, tmp_path):
    """The earlier run is no longer asked for: by now it may be another one."""
    folder = Path(shutil.copytree(warm.context.folder.path, tmp_path / "again"))
    for log in (folder / "studies").glob("linear-*.log"):
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:4]))
    assert collect_numbers(runs.train_run(run(), folder, past={"run_id": "another"})) == collect_numbers(warm)


def test_that_there_was_nothing_to_hand_over_is_fixed_too(tmp_path):
    """Else a run taken up again would begin with what ended meanwhile, unlike an unbroken one."""
    search = {"trials": 6, "families": FAMILIES, "strategy": "meta"}
    asked = make_small_run(data=make_frame().drop(columns=["day", "words"]), search=search, budget={"workers": 2})
    for past in (None, {"run_id": "another"}):
        sealed = runs.begin_run(asked, tmp_path, pool=lambda: None, past=past)
        try:
            plan = make_plan(sealed)
        finally:
            sealed.context.close()
        assert plan.warm_start is None


def test_without_a_warm_start_nothing_is_asked(trained):
    evaluation = trained(run(warm=False, trials=1), past={"run_id": "broken"})
    assert evaluation.warm_start is None
    assert describe_savings(evaluation) == ""
    assert set(measure_savings(evaluation)[""]) == {"trials_to_best", "seconds_to_best"}


# --- The model most like a new one ------------------------------------------------------------------------------------


class Stored(runs.LocalJournal):
    """A journal over a store of MLflow's, which is asked and written in this process; it registers nothing."""

    def __init__(self, workdir: Path, name: str, *, address: str):
        Journal.__init__(self, workdir, name, address, start=False)

    def call(self, name: str, /, *, timeout: float | None = None, **args: Any) -> Any:
        if name in ("past", "similar"):
            return getattr(looked_up, name)(MlflowMirror(self.workdir), **args)
        registered = {"version": 1, "run_id": "0a1b2c", "alias": "champion"}
        return registered if name == "register" else super().call(name, timeout=timeout, **args)

    def drain(self, timeout: float) -> int:
        return MlflowMirror(self.workdir).drain(timeout)


def like(drop: tuple[str, ...] = (), metric: str | None = None, seed: int = 0, **search: Any):
    """A run over the table, maybe without some of its columns."""
    data = make_frame().drop(columns=["day", "words", *drop])
    settings = {"trials": 6, "families": ("constant", "linear"), **search}
    return make_small_run(data=data, metric=metric, seed=seed, search=settings, budget={"workers": 2})


@pytest.fixture(scope="module")
def another(tmp_path_factory) -> Path:
    """The file of a store that holds a finished run of another model, over a table with one column more."""
    folder = tmp_path_factory.mktemp("another")
    address = f"sqlite:///{folder}/m.db"
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(runs, "LocalJournal", lambda path, _: Stored(path, "another", address=address))
        sealed = runs.begin_run(like(seed=3), folder / "run")
    try:
        plan = make_plan(sealed)
        studies = runs.tune_plan(plan)
        make_trials_table(studies).to_parquet(folder / "trials.parquet")
        (folder / "config.json").write_text("{}")
        (folder / "report.json").write_text(json.dumps({"metric": sealed.metric.name, "task": sealed.metric.task}))
        files = [[str(folder / name), ""] for name in ("trials.parquet", "config.json", "report.json")]
        sealed.context.record("run", "pipeline", status="FINISHED", artifacts=files)
        assert sealed.context.journal.drain(30) == 0
    finally:
        sealed.context.close()
    return folder / "m.db"


@pytest.fixture
def store(another, tmp_path, monkeypatch) -> str:
    """The address of a copy of that store, in which the next session looks."""
    address = f"sqlite:///{shutil.copy(another, tmp_path)}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "LocalJournal", partial(Stored, address=address))
    return address


def pipeline(address: str, name: str):
    """The run of the model that the store holds."""
    client = connect_store(address)
    (found,) = search_runs(
        client, [client.get_experiment_by_name(name).experiment_id], "tags.`nestor.kind` = 'pipeline'"
    )
    return found


def test_a_first_run_begins_with_what_the_model_most_like_it_found_and_is_marked_as_warm(store, tmp_path):
    sealed = runs.begin_run(like(drop=("flag",), strategy="meta"), tmp_path / "new")
    try:
        plan = make_plan(sealed)
        assert plan.warm_start is not None
        assert plan.warm_start.source == pipeline(store, "another").info.run_id
        (handed,) = plan.warm_start.configurations.values()
        studies = runs.tune_plan(plan)
        report = publish(evaluate(studies))
    finally:
        sealed.context.close()
    assert handed
    for trials in (told for (family, _), told in studies.trials.items() if family == "linear"):
        assert [dict(t.params) for t in trials[1 : 1 + len(handed)]] == handed
    all_of_them = f"{len(sealed.table.kinds)} of its {len(sealed.table.kinds)} columns"
    assert f"There is no earlier run of model; the table of another has {all_of_them}." in report.notes
    assert report.warm == plan.warm_start.source
    assert "After a warm start the estimate may look too good" in report.sentence
    assert pipeline(store, "model").data.tags["nestor.warm"] == plan.warm_start.source


def test_where_no_model_is_like_a_new_one_it_is_said_and_nothing_is_handed_over(store, tmp_path):
    sealed = runs.begin_run(like(metric="log_loss", strategy="meta"), tmp_path / "new")
    try:
        plan = make_plan(sealed)
    finally:
        sealed.context.close()
    assert plan.warm_start is None
    nothing = "There is no earlier run of model, nor of a model like it, whose configurations could be tried first."
    assert nothing in sealed.context.notes
