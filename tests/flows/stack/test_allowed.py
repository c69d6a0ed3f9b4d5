"""What a worker may run: the deployments that stand in the folder's file or in the project's, and no others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessJobConfiguration

from flows.stack.allowed import PROJECT, explain_not_allowed

SHELL = {"prefect.deployments.steps.run_shell_script": {"script": "touch canary"}}
HERE = {"flows.server.place.work_here": {}}
ENV = {"env": {"A": "1"}}
FOLDERS_OWN = {
    "pull": [{"prefect.deployments.steps.git_clone": {"repository": "https://example.com/mine"}}],
    "deployments": [
        {"name": "a", "entrypoint": "mine.py:clean"},
        {"name": "b", "entrypoint": "mine.py:other", "pull": [SHELL], "work_pool": {"job_variables": ENV}},
        {"name": "c", "entrypoint": "{{ $WHERE }}.flow", "pull": []},
        {"name": "d", "entrypoint": "mine.py:bare", "pull": None},
    ],
}  # fmt: skip


def deployed(**changed: Any) -> Any:
    """One of ours, as Prefect has it, but for what is changed."""
    ours = {"entrypoint": "flows.train.train", "pull_steps": [HERE], "storage_document_id": None, "path": None}
    return SimpleNamespace(**{**ours, **changed})


def test_ours_are_run(tmp_path):
    for entry in yaml.safe_load(PROJECT.read_text("utf-8"))["deployments"]:
        assert explain_not_allowed(tmp_path, deployed(entrypoint=entry["entrypoint"]), {}) is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"pull_steps": [SHELL]}, "steps before the run"),
        ({"pull_steps": [HERE, SHELL]}, "steps before the run"),
        ({"pull_steps": [SHELL, HERE]}, "steps before the run"),
        ({"pull_steps": [{"flows.server.place.work_here": {"requires": "evil-package"}}]}, "steps before the run"),
        ({"pull_steps": [{**HERE, **SHELL}]}, "steps before the run"),
        ({"pull_steps": None}, "steps before the run"),
        ({"pull_steps": []}, "steps before the run"),
        ({"storage_document_id": "an id"}, "steps before the run"),
        ({"path": "/tmp/evil"}, "steps before the run"),
        ({"entrypoint": "os.system"}, "'os.system'"),
        ({"entrypoint": "/tmp/evil.py:train"}, "evil.py:train'"),
        ({"entrypoint": "flows/train.py:train"}, "flows/train.py:train'"),
        ({"entrypoint": None}, "None"),
    ],
)
def test_what_stands_in_no_file_is_refused(tmp_path, changed, why):
    said = explain_not_allowed(tmp_path, deployed(**changed), {})
    assert said is not None
    assert why in said
    assert str(PROJECT) in said
    assert "NESTOR_ALLOW_ANY_DEPLOYMENT" in said


@pytest.mark.parametrize("name", ["command", "working_dir", "env"])
def test_settings_of_the_infrastructure_are_refused(tmp_path, name):
    said = explain_not_allowed(tmp_path, deployed(), {name: {"PYTHONPATH": "/tmp/evil"} if name == "env" else "evil"})
    assert said is not None
    assert f"infrastructure ({name})" in said


def test_a_run_without_a_deployment_is_refused(tmp_path):
    assert "no deployment" in str(explain_not_allowed(tmp_path, None, {}))


def test_what_stands_in_the_folders_own_file_is_run_as_it_stands_there(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", "package")
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(FOLDERS_OWN))
    clone = FOLDERS_OWN["pull"]
    for right in (
        (deployed(entrypoint="mine.py:clean", pull_steps=clone), {}),
        (deployed(entrypoint="mine.py:other", pull_steps=[SHELL]), ENV),
        (deployed(entrypoint="package.flow", pull_steps=[]), {}),
        (deployed(entrypoint="mine.py:bare", pull_steps=clone), {}),
        (deployed(), {}),
    ):
        assert explain_not_allowed(tmp_path, *right) is None
    for wrong in (
        (deployed(entrypoint="mine.py:clean", pull_steps=[SHELL]), {}),
        (deployed(entrypoint="mine.py:clean", pull_steps=clone), ENV),
        (deployed(entrypoint="mine.py:other", pull_steps=[SHELL]), {"env": {"A": "2"}}),
        (deployed(entrypoint="package.flow", pull_steps=[], path="/tmp/evil"), {}),
        (deployed(entrypoint="mine.py:bare", pull_steps=[]), {}),
        (deployed(pull_steps=[SHELL]), {}),
    ):
        assert str(tmp_path / "prefect.yaml") in str(explain_not_allowed(tmp_path, *wrong))


def test_without_steps_in_the_file_it_is_prefects_own_step(tmp_path):
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"deployments": [{"entrypoint": "mine.py:bare"}, {}]}))
    name = "prefect.deployments.steps.set_working_directory"
    right, wrong = ([{name: {"directory": str(directory)}}] for directory in (tmp_path, "/tmp"))
    assert explain_not_allowed(tmp_path, deployed(entrypoint="mine.py:bare", pull_steps=right), {}) is None
    assert explain_not_allowed(tmp_path, deployed(entrypoint="mine.py:bare", pull_steps=wrong), {}) is not None
    assert explain_not_allowed(tmp_path, deployed(entrypoint=None, pull_steps=right), {}) is not None


def test_whoever_wants_more_may_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("NESTOR_ALLOW_ANY_DEPLOYMENT", "true")
    assert explain_not_allowed(tmp_path, deployed(pull_steps=[SHELL]), {"command": "sh"}) is None
    monkeypatch.setenv("NESTOR_ALLOW_ANY_DEPLOYMENT", "false")
    assert explain_not_allowed(tmp_path, deployed(pull_steps=[SHELL]), {}) is not None


CODE = [
    ("score", {"score": {"model": "a/1", "data": "a.csv", "out": "b.csv", "unsafe": True}}),
    ("score", {"score": {"unsafe": "yes"}}),
    ("score", {"score": {"$ref": {"block_document_id": "an id"}}}),
    ("watch", {"watch": {"name": "a", "unsafe": 1}}),
    ("retrain", {"retrain": {"name": "a", "unsafe": True}}),
    ("retrain", {"retrain": {"changes": ["metric=evil:f"]}}),
    ("retrain", {"retrain": {"changes": {"metric": "evil:f"}}}),
    ("retrain", {"retrain": {"changes": {"search.limits.evil:f": 1}}}),
    ("retrain", {"retrain": {"changes": ["search.objectives=latency,evil:f"]}}),
    ("train", {"run": {"metric": " evil.inner:f"}}),
    ("train", {"run": {"metric": "pinball:evil"}}),
    ("train", {"run": {"search": {"objectives": ["gap:sex", "evil:f"]}}}),
    ("train", {"run": {"search": {"objectives": "gap:sex, evil:f"}}}),
    ("train", {"run": {"search": {"limits": ["evil:f=1"]}}}),
    ("train", {"run": {"search": {"limits": {"evil.inner:f": 1}}}}),
    ("train", {"run": {"search.limits": {"evil:f": 1}}}),
]
PLAIN = [
    ("score", {"score": {"model": "a/1", "data": "env:ROWS", "query": "select metric, '10:30'", "unsafe": False}}),
    ("retrain", {"retrain": {"changes": ["metric=pinball:0.9", "split.horizon=7d"], "bound": ["t=10:30"]}}),
    ("retrain", {"retrain": {"name": "a", "bound": {"limits": "10:30"}}}),
    ("retrain", {"retrain": {"name": "a", "bound": ["metric=10:30"]}}),
    ("train", {"run": {"metric": "roc_auc", "data": "sklearn:iris", "target": "metric", "costs": ["yes:no=5"]}}),
    ("train", {"run": {"search": {"objectives": ["gap:a.b:c", "parity: x"], "limits": {"gap:a.b:c": 1}}}}),
]


def of(flow: str) -> Any:
    """Our deployment of that flow."""
    return deployed(entrypoint=f"flows.{flow}.{flow}")


@pytest.mark.parametrize(("flow", "parameters"), CODE)
def test_parameters_that_run_code_are_refused(tmp_path, monkeypatch, flow, parameters):
    assert "lets a run execute code" in str(explain_not_allowed(tmp_path, of(flow), {}, parameters))
    monkeypatch.setenv("NESTOR_ALLOW_ANY_DEPLOYMENT", "true")
    assert explain_not_allowed(tmp_path, of(flow), {}, parameters) is None


@pytest.mark.parametrize(("flow", "parameters"), PLAIN)
def test_other_parameters_are_free(tmp_path, flow, parameters):
    assert explain_not_allowed(tmp_path, of(flow), {}, parameters) is None


@pytest.mark.parametrize(("flow", "parameters"), CODE)
def test_parameters_that_run_code_are_as_the_file_gives_them(tmp_path, flow, parameters):
    entry = {"entrypoint": f"flows.{flow}.{flow}", "pull": [HERE]}
    for said in ({"parameters": parameters}, {"schedules": [{"cron": "0 3 * * 0", "parameters": parameters}]}):
        (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"deployments": [{**entry, **said}]}))
        assert explain_not_allowed(tmp_path, of(flow), {}, parameters) is None
        other = {"score": {"model": "evil/1", "unsafe": True}, "run": {"metric": "more:evil"}}
        assert explain_not_allowed(tmp_path, of(flow), {}, other) is not None


def test_parameters_of_a_flow_of_ones_own_are_its_owners(tmp_path):
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(FOLDERS_OWN))
    right = deployed(entrypoint="mine.py:other", pull_steps=[SHELL])
    assert explain_not_allowed(tmp_path, right, ENV, {"metric": "10:30", "unsafe": True}) is None


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, {}),
        ({"command": "sh -c evil"}, {"command": "sh -c evil"}),
        ({"working_dir": "/"}, {"working_dir": "/"}),
        ({"env": {"PYTHONPATH": "/tmp/evil"}}, {"env": {"PYTHONPATH": "/tmp/evil"}}),
        ({"env": {"PATH": "/tmp/evil", "HOME": None}}, {"env": {"PATH": "/tmp/evil"}}),
    ],
)
def test_what_a_server_sets_of_a_run_is_seen(said, found):
    from flows.stack.prefect_worker import _find_foreign_settings

    run = FlowRun(flow_id="00000000-0000-0000-0000-000000000001")  # pyright: ignore[reportArgumentType]
    asked, plain = ProcessJobConfiguration(**said), ProcessJobConfiguration()
    for one in (asked, plain):
        one.prepare_for_flow_run(run)
    assert _find_foreign_settings(asked, plain) == found
