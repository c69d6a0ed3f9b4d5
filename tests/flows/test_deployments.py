"""deployments/prefect.yaml and automations.yaml: by the forms they must fit, and on a real Prefect server with its
events; what the page shows of a run; what a run says whose settings are wrong."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from prefect import flow
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, is_valid_schema, validate

from flows.screen.board import Board
from flows.server import automations, meter
from flows.server.serving import copy_layout
from models.config import Retrain, Run
from models.config.form import format_duration
from models.config.run import FIRST, Budget, Search
from models.families import load_families
from models.search import load_strategies
from tasks.context import RunContext
from tasks.run import events
from tasks.run.ledger import Ledger
from tasks.tracking.past import find_run_page
from tests.commands import QUIET
from tests.runs import wait_for
from tests.stack import ask_server, find_free_ports

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deployments" / "prefect.yaml"
DEPLOYMENTS = {one["name"]: one for one in yaml.safe_load(FILE.read_text("utf-8"))["deployments"]}


def form(name: str) -> dict[str, Any]:
    """The schema from which Prefect draws a deployment's form."""
    found = load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"])
    return parameter_schema(found).model_dump_for_openapi()


# -- the forms


def test_train_retrain_score_and_watch_are_deployed():
    assert set(DEPLOYMENTS) == {"train", "train-advanced", "retrain", "score", "watch"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_file_names_only_what_the_form_has(name):
    schema, one = form(name), DEPLOYMENTS[name]
    is_valid_schema(schema)
    validate(one.get("parameters") or {}, schema, raise_on_error=True, ignore_required=True)
    for schedule in one["schedules"]:
        assert schedule["active"] is False
        assert schedule["timezone"]
        validate(schedule["parameters"], schema, raise_on_error=True)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_field_of_a_form_explains_itself_and_has_a_box_of_its_own(name):
    schema = form(name)
    groups = schema["definitions"]
    run = schema["properties"].get("run", {}).get("properties", {})  # the short form has its groups in itself
    parts = [{"properties": run}] * bool(run) + [one for one in run.values() if "properties" in one]
    assert groups or parts
    for group in [*groups.values(), *parts]:
        for field, said in group["properties"].items():
            known = groups[said["$ref"].rpartition("/")[2]] if "$ref" in said else said
            assert known.get("description"), field
            assert known.get("type") in ("string", "integer", "number", "boolean", "array", "object"), field
            assert known["type"] != "object" or known.get("properties"), f"{field} would be a box of raw JSON"
        places = [said["position"] for said in group["properties"].values()]
        assert places == sorted(places)


def test_the_form_of_a_run_begins_with_the_table_and_hides_what_would_confuse():
    schema = form("train-advanced")
    assert list(schema["properties"]) == ["run"]
    assert list(schema["definitions"]["Run"]["properties"])[:5] == ["data", "target", "name", "budget", "search"]


def test_the_form_of_train_has_the_ten_fields_that_people_set_first():
    run = form("train")["properties"]["run"]
    boxes = [
        f"{name}.{inner}" if inner else name
        for name, said in run["properties"].items()
        for inner in said.get("properties", [""])
    ]
    assert tuple(boxes) == FIRST
    assert len(boxes) == 10
    assert run["required"] == ["data"]


@pytest.mark.parametrize(
    "more",
    [
        {"split": {"outer": 3, "sealed": 0.1}},
        {"families": {"linear": {}}},
        {"families": {"lightgbm": {"space": {"learning_rate": [0.01, 0.1, "log"]}}}},
        {"search": {"strategy": "random", "families": ["linear"]}, "types": ["zip=category"]},
        {"budget": {"trials": 1}, "families": {"linear": {}}},
        {"final": {"deliver": "refit"}, "seed": 3, "positive": "yes"},
    ],
)
def test_all_other_settings_may_be_given_to_train_as_json(more):
    given = {"data": "a.csv", **more}
    validate({"run": given}, form("train"), raise_on_error=True)
    Run.model_validate(given)


def test_a_budget_may_be_a_number_of_trials():
    assert Run.model_validate({"data": "a.csv", "budget": {"trials": 7, "workers": 2}}) == Run(
        data="a.csv", budget=Budget(workers=2), search=Search(trials=7)
    )
    with pytest.raises(ValueError, match="trials"):
        Run.model_validate({"data": "a.csv", "budget": {"trials": 7}, "search": {"trials": 8}})
    with pytest.raises(ValueError, match="not both"):
        Run.model_validate({"data": "a.csv", "budget": {"trials": 7, "seconds": "5m"}})


def test_drop_downs_name_what_there_is():
    assert form("train")["properties"]["run"]["properties"]["search"]["properties"]["families"]["items"]["enum"]
    search = form("train-advanced")["definitions"]["Search"]["properties"]
    assert search["families"]["items"]["enum"] == sorted(load_families())
    assert search["strategy"]["enum"] == sorted(load_strategies())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"budget": {"seconds": "soon"}}, "a duration such as 90s, 10m or 1h30m"),
        ({"split": {"outer": 1}}, "1 is less than the minimum of 2"),
        ({"budget": {"seconds": "10m"}, "search": {"trials": 5}}, "a budget or trials, not both"),
        ({"trails": 3}, "'trails' was unexpected"),
        ({"task": "clustering"}, "'binary', 'multiclass', 'regression'"),
        ({"search": {"families": ["lniear"]}}, "'lniear' is not one of"),
        ({"types": ["zip=postcode"]}, "zip=postcode"),
        ({"name": "a/b"}, "does not match"),
        ({"data": None}, "None is not of type 'string'"),
    ],
)
def test_nonsense_is_refused_before_a_run_starts(wrong, why):
    with pytest.raises(ValidationError) as refused:
        validate({"run": {"data": "a.csv", **wrong}}, form("train-advanced"), raise_on_error=True)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"budget": {"seconds": "soon"}}, "a duration such as 90s, 10m or 1h30m"),
        ({"budget": {"seconds": "10m"}, "search": {"trials": 5}}, "a budget or trials, not both"),
        ({"trails": 3}, "'trails' is not one of"),
        ({"search": {"families": ["lniear"]}}, "'lniear' is not one of"),
        ({"name": "a/b"}, "does not match"),
    ],
)
def test_the_short_form_refuses_nonsense_too(wrong, why):
    with pytest.raises(ValidationError) as refused:
        validate({"run": {"data": "a.csv", **wrong}}, form("train"), raise_on_error=True)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    "right",
    [
        {"target": None, "task": None, "drop": None, "split": {"outer": None, "group": None}},
        {"budget": {"seconds": "1h30m"}, "search": {"trials": None}},
        {"budget": {"seconds": None}, "search": {"trials": 5}},
        {"types": ["a=b=category"], "bound": ["since=today-7d"], "drop": ["x"]},
    ],
)
def test_what_is_left_empty_or_right_is_taken_by_the_form_and_by_the_flow(right):
    for name in ("train", "train-advanced"):
        validate({"run": {"data": "a.csv", **right}}, form(name), raise_on_error=True)
    Run.model_validate({"data": "a.csv", **{k: v for k, v in right.items() if k not in ("drop",) or v}})


def test_lines_of_a_form_become_what_they_stand_for():
    run = Run(data="a.csv", types=cast(Any, ["a=b=category", "c = number"]), bound=cast(Any, ["since=today-7d"]))
    assert (run.types, run.bound) == ({"a=b": "category", "c": "number"}, {"since": "today-7d"})
    changed = Retrain(name="a", changes=cast(Any, ["search.families=linear,lightgbm", "split.outer=3", "seed=4"]))
    whole = Run(data="a.csv", **changed.changes)
    assert (whole.search.families, whole.split.outer, whole.seed) == (("linear", "lightgbm"), 3, 4)
    assert [format_duration(s) for s in (86400, 5400, 600, 90)] == ["1d", "90m", "10m", "90s"]


# -- how far a run is


def test_the_share_that_is_done_is_of_the_time_or_of_the_trials():
    timed = Board(began=1000.0, budget=100.0)
    assert [meter.compute_share_done(timed, now) for now in (1000.0, 1050.0, 1200.0)] == [0.0, 0.5, 0.99]
    counted = Board(began=1000.0)
    assert meter.compute_share_done(counted, 1000.0) == pytest.approx(0.02)
    counted.tell(events.PlanEvent(("linear",), ("0", "1"), "2 x 2", "roc_auc", True, {}, 2))
    counted.tell(events.Began("tune"), 1000.0)
    for fold, number in (("0", 0), ("0", 1)):
        counted.tell(events.TrialEvent("linear", fold, number, "complete", 0.9, True))
    assert meter.compute_share_done(counted, 1010.0) == pytest.approx(0.46)
    assert "10 s left" in counted.summarize(1010.0)
    counted.tell(events.Began("register"))
    assert meter.compute_share_done(counted, 1020.0) == pytest.approx(0.97)


def test_a_link_is_given_only_where_there_is_a_page(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.delenv("NESTOR_MLFLOW_UI", raising=False)
    assert find_run_page("abc") is None
    monkeypatch.setenv("NESTOR_MLFLOW_UI", "http://127.0.0.1:5000/")
    assert find_run_page("abc") == "http://127.0.0.1:5000/#/runs/abc"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@team:80")
    link = find_run_page("abc")
    assert link is not None
    assert link.endswith("@team:80/#/runs/abc")
    assert "secret" not in link


# -- on a server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a whole Prefect server with the deployments on it."""
    folder, [port] = tmp_path_factory.mktemp("server"), find_free_ports(1)
    copy_layout(folder)
    api = f"http://127.0.0.1:{port}/api"
    env = {
        **QUIET, "PREFECT_HOME": str(folder), "PREFECT_API_URL": api, "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1", "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
    }  # fmt: skip
    prefect = [sys.executable, "-P", "-m", "prefect"]
    with (folder / "log").open("wb") as log:
        command = [*prefect, "server", "start", "--port", str(port), "--no-ui"]
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        assert wait_for(lambda: _answers(api), 90), (folder / "log").read_text()
        ask_server(f"{api}/work_pools/", {"name": "nestor", "type": "process"})
        deploy = [*prefect, "--no-prompt", "deploy", "--all", "--prefect-file", str(FILE)]
        done = subprocess.run(deploy, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        with temporary_settings({PREFECT_API_URL: api}):
            yield api
    finally:
        process.terminate()
        process.wait(20)


def _answers(api: str) -> bool:
    try:
        return ask_server(f"{api}/health") is True
    except OSError:
        return False


def deployment(server: str, name: str) -> dict[str, Any]:
    return ask_server(f"{server}/deployments/name/{name.partition('-')[0]}/{name}")


def test_every_deployment_is_there_with_its_limit_schedule_and_pool(server):
    for name, said in DEPLOYMENTS.items():
        found = deployment(server, name)
        assert found["work_pool_name"] == "nestor"
        assert found["tags"] == ["nestor"]
        assert found["description"].strip() == said["description"].strip()
        assert found["global_concurrency_limit"]["limit"] == said["concurrency_limit"]["limit"]
        assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert found["enforce_parameter_schema"] is True
        assert [s["active"] for s in found["schedules"]] == [False]
        assert found["pull_steps"] == [{"flows.server.place.work_here": {}}]


def test_automations_put_there_twice_are_there_once_and_speak_of_this_servers_heartbeat(server, monkeypatch):
    before = {one["name"] for one in ask_server(f"{server}/automations/filter", {})}
    assert {one["name"] for one in yaml.safe_load(automations.FILE.read_text("utf-8"))["automations"]} < before
    assert len(before) == 4  # two of them are triggers of retrain
    automations.apply()
    after = ask_server(f"{server}/automations/filter", {})
    assert sorted(one["name"] for one in after) == sorted(before)
    [within] = [one["trigger"]["within"] for one in after if one["trigger"]["posture"] == "Proactive"]
    assert within == 3 * (get_current_settings().flows.heartbeat_frequency or 180) + 30
    told = next(one for one in after if one["actions"] == [{"type": "do-nothing"}])
    mine = {"enabled": False, "actions": [{"type": "cancel-flow-run"}]}
    body = {k: told[k] for k in ("name", "description", "trigger")} | mine
    ask_server(f"{server}/automations/{told['id']}", body, "PUT")
    automations.apply()
    kept = ask_server(f"{server}/automations/{told['id']}")
    assert kept["enabled"] is False, "what is switched off on the page stays off"
    assert [one["type"] for one in kept["actions"]] == ["cancel-flow-run"], "what is chosen on the page stays"
    monkeypatch.setenv("NESTOR_NOTIFY", "slack-webhook/team")
    with pytest.raises(automations.InputError, match="slack-webhook/team"):
        automations.apply()


def test_drift_and_new_data_start_a_retraining_of_the_model_they_name(server):
    def sent(event: str, name: str, **payload: Any) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat()
        resource = {"prefect.resource.id": f"nestor.model.{name}"}
        one = {"id": str(uuid.uuid4()), "occurred": now, "event": event, "resource": resource}
        ask_server(f"{server}/events", [{**one, "payload": {"name": name, **payload}}])

    def asked() -> list[dict[str, Any]]:
        where = {"deployments": {"id": {"any_": [deployment(server, "retrain")["id"]]}}}
        return ask_server(f"{server}/flow_runs/filter", where)

    measured = {
        "train_data": "secret:shop",
        "train_query": 'select "a" from x\nwhere d > :d',
        "train_bound": '["d=today-7d"]',
    }
    sent("nestor.drift", "loans", version=3)
    sent("nestor.drift", "shops", version=1, **measured)
    sent("nestor.data.arrived", "bikes", data="bikes-%Y.csv")
    sent("nestor.kept", "others")
    assert wait_for(lambda: len(asked()) >= 3, 60)
    found = {run["parameters"]["retrain"]["name"]: Retrain(**run["parameters"]["retrain"]) for run in asked()}
    assert found == {
        "bikes": Retrain(name="bikes", data="bikes-%Y.csv"),
        "loans": Retrain(name="loans", data="", query="", needs_new=True),
        "shops": Retrain(
            name="shops", data="secret:shop", query=measured["train_query"], bound={"d": "today-7d"}, needs_new=True
        ),
    }


def test_the_page_shows_how_far_a_run_is_and_a_dead_server_costs_nothing(server, monkeypatch):
    monkeypatch.setattr(meter, "EVERY", 0.1)

    def shown() -> dict[str, float]:
        where = {"artifacts": {"key": {"any_": ["nestor-progress"]}}}
        found = ask_server(f"{server}/artifacts/filter", where)
        return {one["description"]: one["data"] for one in found}

    context = cast(RunContext, SimpleNamespace(ledger=Ledger(60.0, time.time() - 30)))

    @flow
    def at_work() -> None:
        with meter.show_progress(context):
            events.emit(events.Began("tune"))
            assert wait_for(lambda: any("tune" in text and "left" in text for text in shown()), 20)
            assert 40 < min(shown().values()) < 80

    at_work()
    assert wait_for(lambda: any(text.endswith("done") and share == 100 for text, share in shown().items()), 5)
    began, threads = time.monotonic(), threading.active_count()
    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{find_free_ports(1)[0]}/api"}),
        meter.show_progress(context),
    ):
        pass
    assert time.monotonic() - began < 5
    assert threading.active_count() <= threads + 1


def test_work_is_done_in_the_folder_that_the_worker_names(tmp_path, monkeypatch):
    from flows.server.place import work_here

    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("NESTOR_HOME", str(tmp_path / "home"))
    assert work_here() == {"directory": str(tmp_path / "home")} == {"directory": os.getcwd()}
    monkeypatch.delenv("NESTOR_HOME")
    monkeypatch.setenv("PWD", str(tmp_path))
    assert work_here() == {"directory": str(tmp_path)}
