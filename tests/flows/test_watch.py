"""Watching over a real registry and a full Prefect server, which keeps events and shows artifacts."""

from __future__ import annotations

import contextvars
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.config import Watch
from models.errors import InputError
from models.monitoring.drift import WatchReport
from models.text.markdown import escape_markdown
from tests.runs import wait_for
from tests.stack import ask_server, find_free_ports, run_nestor
from tests.versions import Registry


def week(seed: int, rows: int = 700) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    table = pd.DataFrame({f"x{i}": draw.normal(size=rows) for i in range(4)})
    table["town"] = draw.choice(["Ulm", "Bonn", "Kiel"], rows)
    return table.assign(paid=np.where(table["x0"] + draw.normal(size=rows) > 0, "yes", "no"))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a whole Prefect server: the small one of a command keeps no events."""
    home, [port] = tmp_path_factory.mktemp("prefect"), find_free_ports(1)
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    env |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    words = ("-m", "prefect", "server", "start", "--no-ui", "--port", str(port))
    with (home / "log").open("wb") as log:
        server = subprocess.Popen([sys.executable, *words], env=env, cwd=home, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"

    def healthy() -> bool:
        try:
            return ask_server(f"{url}/health")
        except OSError:
            return False

    try:
        assert wait_for(healthy, 180), (home / "log").read_text()
        yield url
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, api: str) -> Iterator[Path]:
    """A folder with the model `loans` in its registry; whatever runs here uses that server."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "mlruns").mkdir()
    registry = Registry(folder)
    registry.address = f"sqlite:///{folder / 'mlruns/mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PREFECT_API_URL", api)
        patch.setenv("PREFECT_LOGGING_TO_API_ENABLED", "false")  # at the end there is no server to write to
        patch.delenv("NESTOR_SERVER", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        registry.train("loans", week(0, 1_500), target="paid")
        yield folder


@pytest.fixture(scope="module")
def watched(home: Path) -> Callable[..., WatchReport]:
    def watch(data: Any, **more: Any) -> WatchReport:
        from flows.watch import watch

        # a context of its own: Prefect keeps settings in it
        return contextvars.copy_context().run(watch, Watch(name="loans", data=data, **more))

    return watch


def events(api: str, since: float) -> list[dict[str, Any]]:
    """The drift events that the server has, newest first."""
    stamps = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t)) for t in (since - 1, since + 3_600)]
    where = {"event": {"name": ["nestor.drift"]}, "occurred": {"since": stamps[0], "until": stamps[1]}}
    return ask_server(f"{api}/events/filter", {"filter": where})["events"]


def mlflow(home: Path, run_id: str) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlruns/mlflow.db'}")
    return client, client.get_run(run_id)


def artifact(api: str, key: str) -> dict[str, Any]:
    return ask_server(f"{api}/artifacts/{key}/latest")


def test_drift_is_told_everywhere(home: Path, api: str, watched: Callable[..., WatchReport]) -> None:
    since = time.time()
    found = watched(week(1).assign(x1=lambda t: t["x1"] + 2), level=0.02)
    assert found.drift.drifted
    assert found.event
    assert [c.name for c in found.drift.alarms] == ["x1"]

    sent = wait_for(lambda: events(api, since), 60)[0]
    assert sent["resource"] == {"prefect.resource.id": "nestor.model.loans", "prefect.resource.name": "loans"}
    payload = sent["payload"]
    assert {k: payload[k] for k in ("name", "version", "columns", "count", "run_id")} == {
        "name": "loans", "version": 1, "columns": ["x1"], "count": 1, "run_id": found.run_id,
    }  # fmt: skip
    assert payload["sentence"] == found.drift.sentence
    assert sent["related"][0]["prefect.resource.role"] == "flow-run"

    client, run = mlflow(home, found.run_id or "")
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time
    assert run.data.tags["nestor.kind"] == "watch"
    assert run.data.params["level"] == "0.02"
    assert run.data.metrics["drift_columns"] == 1
    assert run.data.metrics["max_psi"] == pytest.approx(max(c.psi for c in found.drift.columns))
    assert {"prediction_psi", "performance", "performance_z"} <= set(run.data.metrics)
    assert run.inputs.dataset_inputs[0].dataset.name == "loans"
    held = json.loads(Path(client.download_artifacts(run.info.run_id, "drift.json")).read_text())
    assert held["drifted"]
    page = Path(client.download_artifacts(run.info.run_id, "drift.html")).read_text("utf-8")
    assert found.drift.sentence in page
    assert page.count("<svg") == len(found.drift.columns)

    assert escape_markdown(found.drift.sentence) in artifact(api, "nestor-drift-loans")["data"]
    rows = json.loads(artifact(api, "nestor-drift-columns-loans")["data"])
    assert (rows[0]["column"], rows[0]["drifts"]) == ("x1", "yes")


def test_without_drift_or_alarm_no_event_is_sent(api: str, watched: Callable[..., WatchReport]) -> None:
    since = time.time() + 2  # beyond the second of an event before
    wait_for(lambda: time.time() > since, 3)
    same = watched(week(2))
    assert not same.drift.drifted, same.drift.sentence
    assert not same.event
    quiet = watched(week(3).assign(x2=5.0), alarm=False)
    assert quiet.drift.drifted
    assert not quiet.event
    told = watched(week(4).assign(x3=5.0))
    assert wait_for(lambda: events(api, since), 60)[0]["payload"]["run_id"] == told.run_id
    assert len(events(api, since)) == 1


def test_a_notification_that_fails_is_noted(watched: Callable[..., WatchReport]) -> None:
    found = watched(week(5).assign(x0=9.0), notify="slack-webhook/nobody", alarm=False)
    assert any("slack-webhook/nobody" in note for note in found.notes)


def test_watches_are_no_training_runs(home: Path, watched: Callable[..., WatchReport]) -> None:
    from tasks.tracking import list_runs

    watched(week(6))
    assert len(list_runs("loans")) == 1


def test_a_watch_that_was_killed_is_closed(home: Path) -> None:
    from tasks.tracking.orphans import close_orphans, make_process_tags
    from tasks.tracking.store import connect_store

    client = connect_store(f"sqlite:///{home / 'mlruns/mlflow.db'}")
    [experiment] = [e for e in client.search_experiments() if e.name == "loans"]
    gone = {**make_process_tags(os.getpid()), "nestor.pid_start": "1.00"}
    tags = {"nestor.kind": "watch", "nestor.key": "k", "nestor.run": "k", **gone}
    run = client.create_run(experiment.experiment_id, tags=tags)
    close_orphans(client)
    assert client.get_run(run.info.run_id).info.status == "KILLED"


def test_the_command(home: Path, api: str) -> None:
    week(7).assign(town="Rom").drop(columns="paid").to_csv(home / "new.csv", index=False)
    said = run_nestor(home, "watch", "loans", "new.csv", "--no-alarm", "--quiet", env={"PREFECT_API_URL": api})
    assert said.returncode == 0, said.stderr
    lines = said.stdout.strip().splitlines()
    assert lines[-1].startswith("1 of 5 columns drift: town; ")
    assert "100.0%" in next(line for line in lines if line.startswith("town"))


def test_wrong_input_ends_with_2(home: Path, api: str, watched: Callable[..., WatchReport]) -> None:
    week(8).drop(columns="x3").to_csv(home / "less.csv", index=False)
    said = run_nestor(home, "watch", "loans", "less.csv", "--json", env={"PREFECT_API_URL": api})
    assert said.returncode == 2
    assert "lacks the column 'x3'" in said.stderr
    assert "Traceback" not in said.stderr
    assert not said.stdout
    wrong = run_nestor(home, "watch", "loans", "new.csv", "--level", "7", env={"PREFECT_API_URL": api})
    assert wrong.returncode == 2
    assert "level" in wrong.stderr
    from flows.watch import watch

    with pytest.raises(InputError, match="No model 'loan'"):
        contextvars.copy_context().run(watch, Watch(name="loan", data=week(9)))


def test_how_a_retraining_ended_is_told(api: str) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from models.outcome import RetrainReport
    from tasks.monitoring import prefect_events as sent
    from tasks.stages.retrain import send_ending_event

    with temporary_settings({PREFECT_API_URL: api}):
        assert send_ending_event(RetrainReport("a", "promoted", "Better.", 3, 3, verdict={"champion_version": 2}))
        assert send_ending_event(RetrainReport("b", "kept", "No gain.", 2, 4))
        assert send_ending_event(RetrainReport("c", "kept", "None beats a constant.", None, 4))
        assert sent.send_failed("d", flow="retrain", why="The table is gone.")
        assert sent.send_arrived("e", data="new.csv")
    where = {"resource": {"id": [f"nestor.model.{name}" for name in "abcde"]}}

    def found() -> dict[str, Any] | None:
        some = {e["payload"]["name"]: e for e in ask_server(f"{api}/events/filter", {"filter": where})["events"]}
        return some if len(some) == 5 else None

    held = wait_for(found, 60)
    names = ["nestor.promoted", "nestor.kept", "nestor.kept", "nestor.failed", "nestor.data.arrived"]
    assert [held[name]["event"] for name in "abcde"] == names
    assert (held["a"]["payload"]["version"], held["a"]["payload"]["before"]) == (3, 2)
    assert held["c"]["payload"]["version"] is None


def test_what_no_server_takes_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tasks.monitoring import prefect_events as sent

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{find_free_ports(1)[0]}/api"}):
        assert not sent.send_arrived("f", data="new.csv")


def test_a_promotion_stands_where_mlflow_is_gone_when_it_is_to_be_written_down(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from models.outcome import RetrainReport
    from tasks.stages.retrain import report

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{find_free_ports(1)[0]}")
    with temporary_settings({PREFECT_API_URL: api}):
        done = report.fn(RetrainReport("g", "first", "The first.", 1, 1, run_id="0" * 32), None)
    [note] = done.notes
    assert "does not stand on its run in MLflow" in note
    where = {"resource": {"id": ["nestor.model.g"]}}
    assert wait_for(lambda: ask_server(f"{api}/events/filter", {"filter": where})["events"], 60)
    assert escape_markdown(note) in artifact(api, "nestor-retrain-g")["data"]


def test_a_page_that_no_server_takes_costs_nothing(home: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from models.config import Score
    from models.outcome import RetrainReport
    from tasks.stages import retrain, score, watch

    week(11, 50).to_csv("dead.csv", index=False)
    asked = Watch(name="loans", data="dead.csv")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{find_free_ports(1)[0]}/api"}):
        assert retrain.report.fn(RetrainReport("h", "kept", "No gain.", 2, 4), None).notes == ()
        assert score.score.fn(Score(model="loans", data="dead.csv", out="dead.parquet")).rows == 50
        loaded = watch.champion.fn(asked)
        rows = watch.load.fn(asked, loaded)
        drift = watch.compare.fn(asked, loaded, rows)
        assert watch.report.fn(asked, loaded, rows, drift, time.time()).run_id
