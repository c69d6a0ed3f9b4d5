"""`nestor up`: what it starts, who uses it, and that nothing of it outlives it. One start is shared where it can be."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from flows.server import prefect_server
from flows.stack import StackRequest, plan_stack
from flows.stack.ask import crash_flow_runs
from flows.stack.children import end_all
from flows.stack.missed import choose_skipped
from models.errors import InputError
from tests.attacks import EVIL, find_breaches
from tests.runs import wait_for
from tests.stack import ENDED, UpCommand, ask_server, run_nestor

TRAIN = ("train", "sklearn:iris", "--trials", "2", "--families", "linear", "--json", "-q")


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with UpCommand(tmp_path_factory.mktemp("up")) as up:
        yield up


def listens(url: str, login: str, headers: dict[str, str]) -> bool:
    """Whether Prefect's server takes what this login says by a socket."""
    address = url.replace("http", "ws", 1)
    try:
        with connect(address, subprotocols=["prefect"], additional_headers=headers, proxy=None) as socket:
            socket.send(json.dumps({"type": "auth", "token": login}))
            return json.loads(socket.recv(timeout=20))["type"] == "auth_success"
    except WebSocketException:
        return False


def flow_runs(up) -> list[dict]:
    return ask_server(f"{up.api}/flow_runs/filter", {})


def test_everything_is_healthy_when_it_says_so(up):
    assert ask_server(f"{up.api}/health") is True
    assert "<html" in ask_server(up.api.removesuffix("/api"))
    assert "<html" in ask_server(up.mlflow)
    assert ask_server(f"{up.mlflow}/api/2.0/mlflow/experiments/search", {"max_results": 1})
    [worker] = ask_server(f"{up.api}/work_pools/nestor/workers/filter", {})
    assert worker["status"] == "ONLINE"
    assert "train" in {d["name"] for d in ask_server(f"{up.api}/deployments/filter", {})}
    assert {up.api.removesuffix("/api"), up.mlflow} <= set(up.out.split())


def test_nothing_listens_beyond_this_machine(up):
    pids = {process.pid for process in up.left()}
    listening = [c for c in psutil.net_connections("tcp") if c.pid in pids and c.status == "LISTEN"]
    assert listening
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1"}


def test_a_second_one_says_that_it_is_up(up):
    second = run_nestor(up.folder, "up")
    assert second.returncode == 2
    assert "up already" in second.stderr
    assert up.mlflow in second.stderr


def test_commands_in_the_folder_use_it_and_write_to_its_store(up):
    done = run_nestor(up.folder, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert [run["name"] for run in flow_runs(up)] == ["iris"]
    assert up.record["up"]
    run = ask_server(f"{up.mlflow}/api/2.0/mlflow/runs/get?run_id={json.loads(done.stdout)['run_id']}")["run"]
    assert run["info"]["status"] == "FINISHED"
    files = ask_server(f"{up.mlflow}/api/2.0/mlflow/artifacts/list?run_id={run['info']['run_id']}")["files"]
    assert "report.html" in {file["path"] for file in files}


def test_its_mlflow_serves_the_model(up, tmp_path):
    code = "import mlflow; print(mlflow.pyfunc.load_model('models:/iris@champion').metadata.signature is not None)"
    env = os.environ | up.exports
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_of_missed_slots_the_newest_of_each_schedule_is_run():
    def run(number: int, schedule: str | None) -> dict:
        return {"id": number, "created_by": schedule and {"id": schedule, "type": "SCHEDULE"}}

    runs = [run(9, "a"), run(8, "b"), run(7, None), run(6, "a"), run(5, None), run(4, "b"), run(3, "a")]
    assert [one["id"] for one in choose_skipped(runs)] == [6, 4, 3]


def test_flow_runs_that_had_to_be_killed_have_crashed(up):
    flow = ask_server(f"{up.api}/flows/", {"name": "left"})["id"]
    killed = ask_server(f"{up.api}/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"]
    call = ask_server(f"{up.api}/task_runs/", {"flow_run_id": killed, "task_key": "t", "dynamic_key": "0"})["id"]
    called = {"flow_id": flow, "parent_task_run_id": call, "state": {"type": "RUNNING"}}
    inner = ask_server(f"{up.api}/flow_runs/", called)["id"]
    done = ask_server(f"{up.api}/flow_runs/", {"flow_id": flow, "state": {"type": "COMPLETED"}})["id"]
    crash_flow_runs(up.api, up.login, [killed, done])
    states = [ask_server(f"{up.api}/flow_runs/{run}")["state_type"] for run in (killed, inner, done)]
    assert states == ["CRASHED", "CRASHED", "COMPLETED"]


@pytest.mark.parametrize("path", ["/api/2.0", "/ajax-api/2.0"])
def test_strangers_do_not_come_into_mlflow(up, path):
    assert find_breaches(f"{up.mlflow}{path}/mlflow/experiments/search", {"max_results": 1}, up.login) == []


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_their_pages_are_shown_in_no_page_of_another(up, headers):
    for page in (up.api.removesuffix("/api"), up.mlflow):
        known = {"Authorization": f"Basic {base64.b64encode(up.login.encode()).decode()}"}
        with pytest.raises(urllib.error.HTTPError, match=r"40[03]"):
            urllib.request.urlopen(urllib.request.Request(page, headers=known | headers), timeout=20)


def test_strangers_do_not_come_into_prefect(up):
    assert find_breaches(f"{up.api}/deployments/filter", {}, up.login) == []
    assert find_breaches(f"{up.api}/block_documents/filter", {"include_secrets": True}, up.login) == []


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out", "work_pools/nestor/workers/connect"])
def test_strangers_do_not_come_in_by_a_socket(up, path):
    """A page of any origin may open one: no browser asks leave for it."""
    for headers in ({"Origin": EVIL}, {"Host": "evil.example"}, {}):
        assert not listens(f"{up.api}/{path}", "wrong:login", headers), headers
    assert not listens(f"{up.api}/{path}", up.login, {"Origin": EVIL})
    assert listens(f"{up.api}/{path}", up.login, {})


def test_its_login_stands_in_one_file_and_on_no_command_line(up):
    password = up.login.partition(":")[2]
    files = [path for path in (up.folder / "mlruns").rglob("*") if path.is_file()]
    assert [path.name for path in files if password.encode() in path.read_bytes()] == ["login"]
    everyone = [up.process.pid, *(process.pid for process in up.left())]
    assert not [pid for pid in everyone if password in " ".join(psutil.Process(pid).cmdline())]


def test_what_it_keeps_is_its_owners_alone(up):
    root = up.folder / "mlruns"
    kept = [root / name for name in ("login", "mlflow.db", "prefect/prefect.db")]
    assert [oct(path.stat().st_mode & 0o777) for path in (root, *kept)] == ["0o700", "0o600", "0o600", "0o600"]


def test_a_deployment_that_stands_in_no_file_is_not_run(up):
    """Somebody who may ask the API, with a shell step, a flow or a command of his own: the run has crashed."""
    canary, flow = up.folder / "canary", ask_server(f"{up.api}/flows/", {"name": "theirs"})["id"]
    shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {canary}"}}
    whole = {
        "name": "theirs", "flow_id": flow, "entrypoint": "flows.train.train", "work_pool_name": "nestor",
        "pull_steps": [shell, {"flows.server.place.work_here": {}}], "enforce_parameter_schema": False,
    }  # fmt: skip
    deployment = ask_server(f"{up.api}/deployments/", whole)["id"]
    run = ask_server(f"{up.api}/deployments/{deployment}/create_flow_run", {})["id"]
    ours = ask_server(f"{up.api}/deployments/name/train/train")["id"]
    asked = {"parameters": {"run": {"data": "a.csv"}}, "job_variables": {"command": f"touch {canary}"}}
    other = ask_server(f"{up.api}/deployments/{ours}/create_flow_run", asked)["id"]
    for one, why in ((run, "the steps before the run"), (other, "infrastructure (command)")):
        found = up.ended(one)
        assert found["state_type"] == "CRASHED"
        assert why in found["state"]["message"]
    assert not canary.exists()


def test_a_schedule_fires_and_no_log_tells_of_an_error(up):
    run = {"data": "sklearn:iris", "search": {"trials": 1, "families": ["linear"]}}
    schedule = up.schedule("train/train", {"run": run})
    done = wait_for(lambda: [r for r in up.scheduled(schedule) if r["state_type"] in ENDED], 240)
    assert [run["state_name"] for run in done] == ["Completed"]
    assert up.errors() == []


def test_drift_sets_a_retraining_off(up):
    """What an automation does Prefect's server asks of itself: that has to come in by the door too."""
    resource = {"prefect.resource.id": "nestor.model.nobody"}
    one = {"id": str(uuid.uuid4()), "occurred": datetime.now(UTC).isoformat(), "event": "nestor.drift"}
    ask_server(f"{up.api}/events", [{**one, "resource": resource, "payload": {"name": "nobody"}}])

    def retrainings() -> list[dict]:
        return ask_server(f"{up.api}/flow_runs/filter", {"flows": {"name": {"any_": ["retrain"]}}})

    [run] = wait_for(retrainings, 60)
    assert run["parameters"]["retrain"]["name"] == "nobody"
    assert "nobody has never been trained here" in up.ended(run["id"], 120)["state"]["message"]


@pytest.mark.prove  # half a minute for one setting
def test_it_starts_with_tokens_against_forged_requests(tmp_path):
    with UpCommand(tmp_path, env={"PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true"}) as up:
        assert "deployed" in up.err


def test_a_dead_server_is_said_and_started_anew_at_its_address(up):
    [prefect] = [p for p in up.left() if "flows.stack.prefect_command" in p.cmdline()]
    prefect.kill()
    assert wait_for(lambda: "prefect is started anew" in up.err, 20)
    assert "prefect has ended (exit -9)" in up.err
    assert prefect_server.start_server(up.folder / "mlruns").up  # a command that begins now waits for it
    assert wait_for(lambda: prefect_server.is_healthy(up.api), 60)
    assert [p.pid for p in up.left() if "flows.server.serving" in p.cmdline()] == []


def test_ctrl_c_leaves_no_process_and_the_next_command_goes_on_with_the_small_server(up):
    assert up.left()
    assert up.stop(signal.SIGINT, 15) == 0
    assert up.left() == []
    handle = prefect_server.start_server(up.folder / "mlruns", idle=2)
    assert not handle.up
    assert handle.wait_until_ready() == up.api
    assert "iris" in {run["name"] for run in flow_runs(up)}


def test_killed_it_leaves_no_process(tmp_path):
    with UpCommand(tmp_path, "--no-deploy", wait=0) as up:
        wait_for(lambda: (tmp_path / "mlruns/prefect/server.json").exists() and len(up.left()) >= 2, 30)
        assert len(up.left()) >= 2
        os.kill(up.process.pid, signal.SIGKILL)
        up.process.wait()
        assert wait_for(lambda: not up.left(), 20), up.left()


def test_what_a_killed_keeper_left_is_ended_by_its_mark():
    sleeping = subprocess.Popen(["sleep", "60"], env={**os.environ, "NESTOR_UP": "abc", "NESTOR_UP_PART": "server"})
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, "NESTOR_UP": "abcd"})
    end_all("abc")
    assert sleeping.wait(1) == -signal.SIGTERM
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_taken_port_is_said_with_its_holder_and_another(tmp_path):
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = run_nestor(tmp_path, "up", "--prefect-port", str(port))
    assert done.returncode == 2
    assert f"Port {port} is taken by process {os.getpid()}" in done.stderr
    assert "nestor up --prefect-port" in done.stderr
    assert not (tmp_path / "mlruns/prefect/server.json").exists()


def plan(**environment: str):
    return plan_stack(StackRequest(), Path("/tmp/here"), environment)


def test_the_two_servers_may_not_share_a_database():
    prefect = "postgresql+asyncpg://me:geheim@localhost/team"
    with pytest.raises(InputError, match="alembic_version") as caught:
        plan(
            PREFECT_SERVER_DATABASE_CONNECTION_URL=prefect,
            MLFLOW_BACKEND_STORE_URI="postgresql+psycopg://you:geheim@127.0.0.1:5432/team",
        )
    assert "geheim" not in str(caught.value)
    plan(
        PREFECT_SERVER_DATABASE_CONNECTION_URL=prefect,
        MLFLOW_BACKEND_STORE_URI="postgresql://you:geheim@127.0.0.1:5432/mlflow",
    )


def test_a_database_that_prefect_can_not_use_is_refused():
    with pytest.raises(InputError, match=r"postgresql\+asyncpg"):
        plan(PREFECT_SERVER_DATABASE_CONNECTION_URL="postgresql://me:pw@localhost/prefect")


def test_passwords_stand_on_no_command_line_and_in_no_plan():
    found = plan(MLFLOW_BACKEND_STORE_URI="postgresql://you:geheim@db/mlflow")
    programs = [*found.list_servers(), found.make_worker(1), found.deploy(Path("p.yaml"))]
    assert "geheim" not in repr([found, *programs])
    assert {p.environment["MLFLOW_TRACKING_URI"] for p in programs} == {"postgresql://you:geheim@db/mlflow"}


def test_another_servers_address_does_not_reach_the_programs():
    found = plan(PREFECT_API_URL="http://team:4200/api", PREFECT_SERVER_API_AUTH_STRING="a:b")
    assert found.environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert found.environment["PREFECT_API_AUTH_STRING"] == "a:b"


def test_on_sqlite_a_worker_has_one_run_at_a_time():
    assert plan().make_worker(1).command[-2:] == ("--limit", "1")
    shared = plan(PREFECT_SERVER_DATABASE_CONNECTION_URL="postgresql+asyncpg://me@db/prefect")
    assert shared.make_worker(1).command[-2:] == ("--limit", "2")


def test_one_port_for_both_is_refused():
    with pytest.raises(InputError, match="both 5000"):
        plan_stack(StackRequest(prefect_port=5000), Path("/tmp/here"), {})
