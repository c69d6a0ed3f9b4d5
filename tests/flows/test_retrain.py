"""Retraining as its user has it: one model's life over one Prefect server and one MLflow store, all of it real."""

from __future__ import annotations

import contextvars
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from models.config import Gate, Retrain
from models.errors import InputError, NestorError
from models.evaluation.gate import Verdict
from tasks.run import events
from tests.commands import Command, serve_folder
from tests.runs import wait_for

SMALL = {"search": {"trials": 2, "families": "linear"}, "split": {"outer": 2, "inner": 2, "sealed": 0.3},
         "budget": {"workers": 2}}  # fmt: skip


def week(rows: int, seed: int, noise: float = 0.3) -> pd.DataFrame:
    """Loans of one week: whether they were paid tells of two columns, more or less."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({f"x{i}": rng.normal(size=rows).round(4) for i in range(4)})
    table["town"] = rng.choice(["Ulm", "Bonn", "Kiel"], rows)
    value = table["x0"] - table["x1"] + rng.normal(size=rows) * noise
    return table.assign(paid=np.where(value > 0, "yes", "no"))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Path]:
    """The folder that everything happens in, with its Prefect server."""
    folder, before = tmp_path_factory.mktemp("home"), Path.cwd()
    os.chdir(folder)
    week(700, 0, noise=60.0).to_csv("week1.csv", index=False)  # little can be learned of it
    week(900, 1).to_csv("week2.csv", index=False)
    week(900, 2).to_csv("week3.csv", index=False)
    week(300, 5).drop(columns="x1").to_csv("broken.csv", index=False)
    try:
        with serve_folder(folder):
            yield folder
    finally:
        os.chdir(before)


def retrained(**values: Any) -> Any:
    from flows.retrain import retrain

    return retrain(Retrain(**{"name": "loans", **values}))


@contextmanager
def prefect() -> Iterator[Any]:
    """A client of the server."""
    from flows.server.called import use_server

    with use_server():
        from prefect import get_client

        with get_client(sync_client=True) as client:
            yield client


def mlflow() -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{Path('mlruns/mlflow.db').resolve()}")


def pipelines() -> list[Any]:
    """The pipeline runs, newest first."""
    client = mlflow()
    return client.search_runs([e.experiment_id for e in client.search_experiments()], "tags.`nestor.kind` = 'pipeline'")


def champion() -> str:
    return str(mlflow().get_registered_model("loans").aliases["champion"])


def running() -> list[str]:
    """What Prefect or MLflow shows as not ended."""
    from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter

    at_work = {"state": {"type": {"any_": ["RUNNING", "PENDING", "PAUSED", "SCHEDULED"]}}}
    with prefect() as client:
        flows = [r.name for r in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(at_work))]
        tasks = [r.name for r in client.read_task_runs(task_run_filter=TaskRunFilter.model_validate(at_work))]
    store = mlflow()
    runs = store.search_runs([e.experiment_id for e in store.search_experiments()], "attributes.status = 'RUNNING'")
    return [*flows, *tasks, *(r.info.run_name for r in runs)]


@pytest.fixture(scope="module")
def first(home) -> Any:
    """The first retraining of a name that was never trained."""
    return retrained(data="week1.csv", changes={**SMALL, "target": "paid"})


# --- A model's life --------------------------------------------------------------------------------------------------


def test_a_name_that_was_never_trained_asks_for_a_table_and_a_target(home):
    with pytest.raises(InputError, match="never been trained here, so there is no table"):
        retrained(name="nobody")
    with pytest.raises(InputError, match="its target is not known"):
        retrained(name="nobody", data="week1.csv")
    assert pipelines() == []


def test_the_first_version_that_beats_a_constant_becomes_champion(first):
    assert (first.ending, first.champion, first.challenger) == ("first", 1, 1)
    assert first.verdict is None
    assert first.report.warm is None
    assert json.loads(json.dumps(first.as_json()))["report"]["name"] == "loans"
    run = pipelines()[0]
    assert run.data.tags["nestor.ending"] == "first"
    known = json.loads(Path(mlflow().download_artifacts(run.info.run_id, "identity.json")).read_text())
    assert json.loads(known["nestor.source"]) == {"data": "week1.csv", "query": None, "bound": {}}
    assert champion() == "1"


def test_where_nothing_has_changed_it_says_so_and_trains_nothing(first):
    folders = set(Path("mlruns/work").iterdir())
    again = retrained()
    assert (again.ending, again.champion) == ("unchanged", 1)
    assert "the same table, settings and libraries" in again.sentence
    assert len(pipelines()) == 1
    assert set(Path("mlruns/work").iterdir()) == folders


def test_where_drift_has_asked_nothing_new_is_a_failure_that_says_so(first):
    with pytest.raises(NestorError, match=r"nothing new to train on: week1.csv .* --data DATA"):
        retrained(data="", needs_new=True)
    assert champion() == "1"


def test_a_worker_calls_it_with_plain_values(first):
    from prefect.flow_engine import run_flow

    from flows.retrain import retrain

    with prefect():
        assert run_flow(retrain, parameters={"retrain": {"name": "loans"}}).ending == "unchanged"


def test_a_table_that_is_not_like_the_champions_stops_it_and_leaves_the_champion(first):
    with pytest.raises(InputError, match="x1"):
        retrained(data="broken.csv")
    assert champion() == "1"
    assert len(pipelines()) == 1


def test_settings_that_are_none_are_said_before_anything_is_trained(first):
    with pytest.raises(InputError, match=r"split.outer: should be greater than or equal to 2"):
        retrained(changes={"split": {"outer": 1}})
    assert len(pipelines()) == 1


@pytest.fixture(scope="module")
def second(first, bell) -> Any:
    """Better data, a warm start, and a person who is asked."""
    from flows.server.approval import ApprovalForm

    with prefect() as client:
        ended: list[Any] = []
        manual = Gate(approval="manual", wait=240)
        work = beside(lambda: ended.append(retrained(data="week2.csv", gate=manual, notify="custom-webhook/bell")))
        paused = wait_for(lambda: [r for r in runs_of(client) if r.state.is_paused()] or not work.is_alive(), 240)
        assert paused is not True, "it ended without asking"
        description = answered(client, paused[0], promote=True, who="Ada", why="it is better")
        work.join(120)
    assert ApprovalForm.model_fields["promote"].description
    assert "champion of loans?" in description
    return ended[0]


def answered(client: Any, run: Any, **values: Any) -> str:
    """Fills the form in, as the page does; what stands above it."""
    from prefect.exceptions import PrefectHTTPStatusError

    key = run.state.state_details.run_input_keyset["description"]

    def form() -> str:
        with suppress(PrefectHTTPStatusError):  # the run is paused a moment before its form is there
            return client.read_flow_run_input(run.id, key)
        return ""

    description = wait_for(form, 30)
    assert client.resume_flow_run(run.id, run_input=values).status.value == "ACCEPT"
    return description


def runs_of(client: Any, flow: str = "retrain") -> list[Any]:
    from prefect.client.schemas.filters import FlowFilter

    return client.read_flow_runs(flow_filter=FlowFilter.model_validate({"name": {"any_": [flow]}}))


HEARD: list[dict[str, Any]] = []


@pytest.fixture(scope="module")
def bell(home) -> Iterator[None]:
    """A notification block that rings here."""

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            HEARD.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    ear = HTTPServer(("127.0.0.1", 0), Ear)
    threading.Thread(target=ear.serve_forever, daemon=True).start()
    with prefect():
        from prefect.blocks.notifications import CustomWebhookNotificationBlock

        CustomWebhookNotificationBlock(
            name="bell", url=f"http://127.0.0.1:{ear.server_port}",
            json_data={"subject": "{{subject}}", "body": "{{body}}"},
        ).save("bell", overwrite=True)  # fmt: skip
    yield
    ear.shutdown()


def test_a_better_challenger_is_promoted_with_a_persons_word(second):
    assert (second.ending, second.champion, second.approved) == ("promoted", 2, True)
    assert champion() == "2"
    assert second.verdict["promoted"] is True
    assert second.changed == ("the table",)
    assert "champion of loans, as a person decided" in second.sentence
    history = [v for k, v in mlflow().get_registered_model("loans").tags.items() if k.startswith("nestor.move.")]
    assert any("Ada" in move and "it is better" in move for move in history)


def test_a_retrained_run_is_warm_and_says_what_that_saved(second):
    run = pipelines()[0]
    assert run.data.tags["nestor.warm"] == second.report.warm == pipelines()[1].info.run_id
    assert {"trials_to_best", "warm_saved_trials", "warm_saved_seconds"} <= set(run.data.metrics)
    # What it says beyond that depends on whether the defaults were the best there were.
    assert any(note.startswith("Warm start from run") for note in second.report.notes)


def test_the_ending_stands_on_the_run_and_on_the_page(second):
    run = pipelines()[0]
    told = run.data.tags["nestor.verdict_sentence"]
    assert told.startswith("Version 2 is now champion of loans, as a person decided")
    kept = json.loads(Path(mlflow().download_artifacts(run.info.run_id, "retrain.json")).read_text())
    assert kept["ending"] == "promoted"
    with prefect() as client:
        from prefect.client.schemas.filters import ArtifactFilter

        where = ArtifactFilter.model_validate({"key": {"any_": ["nestor-retrain-loans"]}})
        page = client.request(
            "POST", "/artifacts/filter", json={"artifacts": where.model_dump(mode="json"), "sort": "CREATED_DESC"}
        ).json()[0]["data"]
    assert "# loans: promoted" in page
    assert run.info.run_id in page
    assert "| challenger 2 |" in page
    assert "## Drift" in page


def test_whoever_is_to_be_told_is_told(second):
    assert HEARD[-1] == {"subject": "loans: promoted", "body": second.sentence}


def test_a_notice_that_fails_is_a_warning_and_a_failure_is_told_too(second, caplog):
    result = retrained(notify="custom-webhook/nobody")
    assert result.ending == "unchanged"
    assert any("custom-webhook/nobody failed" in note for note in result.notes)
    with pytest.raises(InputError):
        retrained(data="broken.csv", notify="custom-webhook/bell")
    assert HEARD[-1]["subject"] == "loans: retraining failed"
    assert "x1" in HEARD[-1]["body"]


# --- One at a time ---------------------------------------------------------------------------------------------------


def beside(work: Any) -> threading.Thread:
    """The work in a thread that knows the same server."""
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    return thread


@contextmanager
def at_work(name: str) -> Iterator[threading.Event]:
    """Another retraining of this name, until the event is set."""
    from prefect import flow
    from prefect.runtime import flow_run

    from flows.server import turn

    begun, go_on = threading.Event(), threading.Event()

    @flow(name="retrain", flow_run_name=name)
    def holding() -> None:
        with turn.take_turn(name, "refuse", str(flow_run.id)):
            begun.set()
            go_on.wait(60)

    with prefect():
        other = beside(holding)
        try:
            assert begun.wait(60)
            yield go_on
        finally:
            go_on.set()
            other.join(30)


def test_a_second_retraining_of_a_model_is_refused_and_one_of_another_model_is_not(home):
    """A name that was never trained comes no further than its turn."""
    with at_work("busy"):
        with pytest.raises(NestorError, match="Another retraining of busy is at work: nothing was trained"):
            retrained(name="busy")
        with pytest.raises(InputError, match="never been trained"):
            retrained(name="others")
    with pytest.raises(InputError, match="never been trained"):
        retrained(name="busy")


@pytest.mark.parametrize(("needs_new", "state"), [(False, "Skipped"), (True, "Failed")])
def test_a_deployments_run_that_meets_another_is_skipped_unless_its_data_would_be_forgotten(
    needs_new, state, home, monkeypatch
):
    from flows.retrain import retrain

    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "of a schedule")
    with at_work("busy"):
        found = retrain(Retrain(name="busy", needs_new=needs_new), return_state=True)
    assert found.name == state
    assert "Another retraining of busy is at work: nothing was trained" in found.message


def test_or_it_waits_for_its_turn(home, monkeypatch):
    from flows.server import turn

    monkeypatch.setattr(turn, "POLL", 0.2)
    ended: list[str] = []

    def waits() -> None:
        try:
            retrained(name="queued", overlap="queue")
        except InputError as error:
            ended.append(str(error))

    with at_work("queued") as go_on:
        said: list[Any] = []
        with events.listen_to_events(said.append):
            waiting = beside(waits)
            assert wait_for(lambda: any("this one waits" in getattr(event, "text", "") for event in said), 60)
        assert not ended
        go_on.set()
        waiting.join(60)
    assert "never been trained" in ended[0]


def test_a_slot_that_a_forgetful_server_keeps_taken_is_cleared(home):
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    from tasks.run.fingerprint import to_folder_name

    with prefect() as client:
        limit = f"nestor-retrain-{to_folder_name('forgotten')}"
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=limit, limit=1, active_slots=1))
        with pytest.raises(InputError, match="never been trained"):
            retrained(name="forgotten")
        assert client.read_global_concurrency_limit_by_name(limit).active_slots == 0


# --- A person who is asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [False, None], ids=["no", "nobody answers"])
def test_without_a_yes_the_champion_stays(home, answers):
    from prefect import flow

    from flows.server import approval

    verdict = Verdict("better", 0.95, 0.0, promoted=True, name="loans", champion_version=1, challenger_version=2)

    @flow(name="asks")
    def asks() -> Any:
        return approval.ask_for_approval(verdict, Gate(approval="manual", wait=60 if answers is False else 1))

    ended: list[Any] = []
    with prefect() as client:
        work = beside(lambda: ended.append(asks()))
        if answers is False:
            paused = wait_for(lambda: [r for r in runs_of(client, "asks") if r.state.is_paused()], 30)
            answered(client, paused[0], promote=False, why="not yet")
        work.join(60)
        states = {r.state.name for r in runs_of(client, "asks")}
    assert ended[0].promote is False
    assert (ended[0].why, bool(ended[0].note)) == (("not yet", False) if answers is False else ("", True))
    assert states == {"Completed"}


# --- Killed in the middle --------------------------------------------------------------------------------------------


@pytest.mark.prove  # three whole runs: a minute
def test_a_retraining_that_was_killed_is_taken_up_by_the_next_attempt(second, home):
    asked = ("retrain", "loans", "--data", "week3.csv", "--config", "more.yaml", "--json", "--quiet")
    changes = {"search": {"trials": 12, "families": ["linear", "random_forest"]}}
    (home / "more.yaml").write_text(json.dumps({"changes": changes}))
    before = set((home / "mlruns/work").iterdir())
    killed = Command(home, *asked)
    begun = lambda: [p for p in set((home / "mlruns/work").iterdir()) - before if list(p.glob("studies/*"))]  # noqa: E731
    assert wait_for(lambda: begun() or killed.process.poll() is not None, 240)
    folder = begun()[0]
    assert killed.reached(killed.events() + 5)
    assert killed.kill("main")
    result = Command(home, *asked).result()
    assert result["resumed"] is True
    assert result["report"]["workdir"].endswith(folder.name)
    assert result["ending"] in ("promoted", "kept")
    assert result["champion"] == int(champion())
    assert running() == []
    with prefect() as client:
        assert "CRASHED" in {r.state.type.value for r in runs_of(client)}
        assert UUID(str(runs_of(client)[0].id))


def test_a_challenger_that_never_met_the_champion_meets_it_without_being_trained_again(second, monkeypatch):
    from tasks.retrain import outcome

    def broken(*_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(outcome, "compare_with_champion", broken)
        with pytest.raises(OSError, match="no space left"):
            retrained(force=True)
    trained, before = len(pipelines()), champion()
    result = retrained()
    assert len(pipelines()) == trained
    assert (result.ending, result.resumed, result.verdict["challenger_version"]) == ("kept", True, result.challenger)
    assert champion() == before
    assert retrained().ending == "unchanged"
