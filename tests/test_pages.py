"""Prefect's page and MLflow's as their user has them: `nestor up`, a real browser, a run from the form to the registry;
what a cancelled run and a killed worker leave behind. Pictures go to NESTOR_SHOTS where that names a folder."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.stages.artifacts import make_model_key
from tests.browser import open_browser
from tests.runs import list_living, list_process_tree, wait_for
from tests.stack import UpCommand, ask_server

pytestmark = [pytest.mark.prove, pytest.mark.timeout(900)]

PATIENCE = 120_000
RUN = re.compile(r"^\s*Run\s*$")
LONG = {"search": {"trials": 60}, "split": {"outer": 3, "inner": 3}}


@pytest.fixture(scope="module")
def up(tmp_path_factory) -> Iterator[UpCommand]:
    with UpCommand(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture
def page(up) -> Iterator[Any]:
    """A browser's page, logged in at both servers; nothing that it asks leaves this machine."""
    name, _, password = up.login.partition(":")
    known, asked = {"username": name, "password": password, "origin": up.mlflow}, list[Any]()
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 900}, http_credentials=known)
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: asked.append(request))
        page.goto(up.api.removesuffix("/api"))
        shot(page, "login")
        page.locator("input[type=password]").fill(up.login)
        page.get_by_role("button", name="Login").click()
        page.wait_for_url("**/dashboard**")
        yield page
        ours = (up.api.removesuffix("/api"), up.mlflow, "data:", "blob:")
        foreign = [f"{one.url} {one.failure}" for one in asked if not one.url.startswith(ours)]
    assert [one for one in foreign if "BLOCKED_BY_CSP" not in one.upper()] == []


def shot(page: Any, name: str) -> None:
    """A picture for docs/prefect.md."""
    if folder := os.environ.get("NESTOR_SHOTS"):
        page.wait_for_timeout(1000)
        page.screenshot(path=Path(folder) / f"{name}.jpg", type="jpeg", quality=60)


def box(page: Any, label: str) -> Any:
    """The form's field with this label."""
    one = "contains(concat(' ', normalize-space(@class), ' '), ' schema-form-property ')"
    label_of = f"//span[contains(@class, 'schema-form-property__label')][normalize-space()='{label}']"
    return page.locator(f"xpath={label_of}/ancestor::*[{one}][1]").first


def fill(page: Any, **values: str) -> None:
    for label, value in values.items():
        box(page, label.replace("_", " ")).locator("textarea, input").first.fill(value)


def shown(page: Any, *texts: str) -> None:
    """Waits until all of these stand on the page."""
    for text in texts:
        page.get_by_text(text).first.wait_for()


def open_form(page: Any, up: UpCommand, name: str) -> None:
    page.goto(f"{up.api.removesuffix('/api')}/deployments")
    page.locator("a[href*='/deployments/deployment/']").get_by_text(name, exact=True).first.click()
    page.locator("a, button").filter(has_text=RUN).first.click()
    page.get_by_text("Custom run").click()


def test_a_run_from_the_form_to_the_registry(up, page):
    open_form(page, up, "train")
    shown(page, "A csv or parquet path", "The column to predict", "Wall time of the whole run")
    shot(page, "form")
    fill(page, Data="sklearn:breast_cancer", **{"Time (Optional)": "soon"})
    page.get_by_role("button", name="Submit").click()
    shown(page, "a duration such as 90s, 10m or 1h30m")
    fill(page, **{"Time (Optional)": "", "Trials (Optional)": "2"})
    box(page, "Families (Optional)").locator(".p-select-button__control").focus()
    page.keyboard.press("ArrowDown")
    page.locator(".p-select-option", has_text="linear").click()
    page.get_by_text("How each family's hyperparameters are searched.").first.click()  # closes the list
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="View run").first.dispatch_event("click")
    page.wait_for_url("**/flow-run/**")
    run = page.url.partition("/flow-run/")[2].partition("?")[0]
    assert up.ended(run)["state_type"] == "COMPLETED"
    shown(page, "Completed", "breast_cancer")
    shot(page, "run")
    page.get_by_text("Artifacts", exact=True).last.click()
    verdict = make_model_key("verdict", "breast_cancer")
    shown(page, "nestor-progress", make_model_key("leaderboard", "breast_cancer"), verdict)
    shot(page, "artifacts")
    page.get_by_role("link", name=verdict).or_(page.get_by_text(verdict)).last.click()
    shown(page, "The run in MLflow", "estimate of the procedure")
    shot(page, "verdict")
    link = page.get_by_role("link", name="The run in MLflow").first.get_attribute("href")
    assert link.startswith(f"{up.mlflow}/#/runs/")
    _in_mlflow(page, up, link)


def _in_mlflow(page: Any, up: UpCommand, link: str) -> None:
    """The run's own page, and its tree of families, folds and trials unfolded step by step."""
    run = ask_server(f"{up.mlflow}/api/2.0/mlflow/runs/get?run_id={link.rpartition('/')[2]}")["run"]
    numbers = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert 0.9 < numbers["estimate"] <= 1
    page.set_viewport_size({"width": 1300, "height": 900})
    page.goto(up.mlflow)
    shown(page, "Model registry")  # that of training: GenAI has none
    page.goto(link)
    shown(page, "What to do next")
    shown(page, "estimate_low", "agreement")
    shot(page, "mlflow")
    experiment, above = run["info"]["experiment_id"], run["info"]["run_id"]
    page.goto(f"{up.mlflow}/#/experiments/{experiment}/runs")
    for name in ("linear", "linear/1", "linear/1/0"):
        page.locator(f".ag-row[row-id='{above}'] button").first.click()
        above = _child(up, experiment, above, name)
        page.locator(f".ag-row[row-id='{above}']").first.wait_for()
        shown(page, name)
    shot(page, "trials")


def _child(up: UpCommand, experiment: str, above: str, name: str) -> str:
    """The id of the run of that name right under another."""
    where = f"tags.`mlflow.parentRunId` = '{above}' and attributes.run_name = '{name}'"
    asked = {"experiment_ids": [experiment], "filter": where}
    [found] = ask_server(f"{up.mlflow}/api/2.0/mlflow/runs/search", asked)["runs"]
    return found["info"]["run_id"]


def begun(up: UpCommand, name: str, trials: int = 30) -> tuple[str, list[psutil.Process], Path]:
    """A long run of that name that has tried some configurations: its id, processes, folder."""
    run = up.run("train/train", {"run": {"data": "sklearn:breast_cancer", "name": name, **LONG}})

    def found() -> Path | None:
        places = up.folder.glob(f"mlruns/work/{name}-*")
        return next((p for p in places if (p / "events.jsonl").read_bytes().count(b"\n") > trials), None)

    folder = wait_for(found, 200)
    assert folder, ask_server(f"{up.api}/flow_runs/{run}")["state"]
    return run, list_process_tree(json.loads((folder / "run.json").read_text())["pid"]), folder


def task_states(up: UpCommand, run: str) -> set[str]:
    found = ask_server(f"{up.api}/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    return {one["state_type"] for one in found}


def mlflow_states(up: UpCommand, name: str) -> set[str]:
    experiments = ask_server(f"{up.mlflow}/api/2.0/mlflow/experiments/search", {"max_results": 100})["experiments"]
    ids = [e["experiment_id"] for e in experiments if e["name"] == name]
    found = ask_server(f"{up.mlflow}/api/2.0/mlflow/runs/search", {"experiment_ids": ids, "max_results": 5000})["runs"]
    return {one["info"]["status"] for one in found}


def again(up: UpCommand, run: str) -> dict[str, Any]:
    """What Retry on the run's page does, and how the run ended."""
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the Prefect UI"}
    ask_server(f"{up.api}/flow_runs/{run}/set_state", {"state": state, "force": True})
    return up.ended(run, 400)


def test_cancel_leaves_no_process_and_every_store_true_and_retry_goes_on(up):
    run, processes, folder = begun(up, "cancelled")
    assert len(processes) >= 4
    state = {"type": "CANCELLING", "name": "Cancelling", "message": "Cancelled from the Prefect UI"}
    ask_server(f"{up.api}/flow_runs/{run}/set_state", {"state": state})
    assert wait_for(lambda: not list_living(processes), PATIENCE / 1000) is True, list_living(processes)
    assert up.ended(run, 30)["state_name"] == "Cancelled"
    assert wait_for(lambda: not task_states(up, run) & {"RUNNING", "PENDING"}, PATIENCE / 1000)
    assert "RUNNING" not in mlflow_states(up, "cancelled")
    assert "KILLED" in mlflow_states(up, "cancelled")
    before = (folder / "events.jsonl").read_bytes()
    # The worker says Cancelled too, some seconds after the run itself, whatever the state is by then.
    assert wait_for(lambda: "Cancelled flow run 'cancelled'" in up.log("worker-1"), PATIENCE / 1000)
    assert again(up, run)["state_type"] == "COMPLETED"
    assert [p.name for p in up.folder.glob("mlruns/work/cancelled-*")] == [folder.name]
    assert (folder / "events.jsonl").read_bytes().startswith(before), "what was finished is kept"
    assert "RUNNING" not in mlflow_states(up, "cancelled")


def test_a_run_whose_worker_and_process_are_gone_is_crashed_and_retry_goes_on(up):
    run, processes, folder = begun(up, "zombie")
    [worker] = [p for p in processes[0].parents() if "worker" in p.cmdline()][:1]
    began = time.monotonic()
    for process in (worker, processes[0]):
        process.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not list_living(processes), PATIENCE / 1000), "these outlived their run"
    crashed = up.ended(run, 240)
    assert crashed["state_type"] == "CRASHED"
    assert "No sign of life" in crashed["state"]["message"]
    print(f"crashed {time.monotonic() - began:.0f} s after the kill")
    assert again(up, run)["state_type"] == "COMPLETED"
    assert [p.name for p in up.folder.glob("mlruns/work/zombie-*")] == [folder.name]
    assert mlflow_states(up, "zombie") == {"FINISHED"} or "RUNNING" not in mlflow_states(up, "zombie")
    assert not task_states(up, run) & {"RUNNING", "PENDING"}
