"""The local Prefect server: started, found again, replaced, gone when idle. One start is shared where it can be."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from flows.server import prefect_server, serving
from flows.stack.ask import ask_server
from tasks.system import login
from tests.attacks import find_breaches

SILENT = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "NESTOR_"))}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def no_prefect_of_the_users(monkeypatch, tmp_path, cache):
    for name in [n for n in os.environ if n.startswith(("PREFECT_", "NESTOR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("project") / "mlruns"
    yield path
    prefect_server.stop_server(path)


@pytest.fixture
def stopping(tmp_path):
    yield tmp_path / "mlruns"
    prefect_server.stop_server(tmp_path / "mlruns")


def recorded(root: Path) -> dict:
    return json.loads((root / "prefect" / "server.json").read_text())


def wait_for(truth, seconds=60.0):
    until = time.monotonic() + seconds
    while not truth() and time.monotonic() < until:
        time.sleep(0.1)
    return truth()


def test_start_returns_at_once_and_the_server_answers_a_little_later(root):
    began = time.monotonic()
    handle = prefect_server.start_server(root)
    assert time.monotonic() - began < 3
    assert not handle.found
    url = handle.wait_until_ready()
    with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
        assert answer.status == 200
    assert url.startswith("http://127.0.0.1:")


def test_the_next_command_finds_it(root):
    first = prefect_server.start_server(root)
    first.wait_until_ready()
    second = prefect_server.start_server(root)
    assert (second.found, second.url, second.pid) == (True, first.url, first.pid)


def test_a_proxy_in_the_environment_does_not_stand_before_it(root):
    code = f"""
        from flows.server import prefect_server
        url = prefect_server.start_server({str(root)!r}).wait_until_ready()
        prefect_server.set_quiet_environment({str(root)!r}, url)
        from prefect.client.orchestration import get_client
        print(get_client(sync_client=True, httpx_settings={{"timeout": 5}}).api_healthcheck())
    """
    proxies = dict.fromkeys(("http_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=SILENT | proxies, capture_output=True, text=True, check=False
    )
    assert done.stdout == "None\n", done.stderr


def test_two_commands_at_once_share_one_server(root):
    prefect_server.start_server(root).wait_until_ready()
    code = f"from flows.server import prefect_server; print(prefect_server.start_server({str(root)!r}).pid)"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=SILENT) for _ in range(2)]
    [pid] = {process.communicate()[0] for process in both}
    assert pid.strip().isdigit()


def test_a_flow_runs_with_its_tasks_recorded_and_nothing_on_the_screen(root, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\nfrom flows.server import prefect_server\n"
        "handle = prefect_server.start_server(sys.argv[1])\n"
        "prefect_server.set_quiet_environment(sys.argv[1], handle.url)\n"
        "from prefect import flow, task\n"
        "@task\ndef one(k): return k\n"
        "@task\ndef bad(): raise ValueError('boo')\n"
        "@flow\ndef whole():\n    return sum(f.result() for f in [one.submit(k) for k in range(5)]), bad()\n"
        "handle.wait_until_ready()\n"
        "try:\n    whole()\nexcept ValueError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, script, root], capture_output=True, text=True, env=SILENT)
    assert (done.stdout, done.stderr, done.returncode) == ("boo\n", "", 0)

    def states():
        url = f"http://127.0.0.1:{recorded(root)['port']}/api/task_runs/filter"
        return sorted(run["state_type"] for run in ask_server(url, {}, login.ensure_login(root)))

    assert wait_for(lambda: states() == ["COMPLETED"] * 5 + ["FAILED"], 10), states()


def test_strangers_do_not_come_in(root):
    url = prefect_server.start_server(root).wait_until_ready()
    assert find_breaches(f"{url}/deployments/filter", {}, login.ensure_login(root)) == []
    assert ask_server(f"{url}/block_documents/filter", {"include_secrets": True}) is None


def test_its_database_and_its_login_are_their_owners_alone(root):
    prefect_server.start_server(root).wait_until_ready()
    kept = [root, root / "login", root / "prefect" / "prefect.db"]
    assert [oct(path.stat().st_mode & 0o777) for path in kept] == ["0o700", "0o600", "0o600"]
    assert login.ensure_login(root) not in " ".join(psutil.Process(recorded(root)["pid"]).cmdline())


def test_a_new_folder_takes_the_tables_of_another_and_nothing_in_them(root, tmp_path, monkeypatch):
    url, known = prefect_server.start_server(root).wait_until_ready(), login.ensure_login(root)
    flow = ask_server(f"{url}/flows/", {"name": "canary-flow"}, known)["id"]
    assert ask_server(f"{url}/deployments/", {"name": "canary-deployment", "flow_id": flow}, known)["id"]
    assert ask_server(f"{url}/variables/", {"name": "canary", "value": "canary-value"}, known)["id"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    serving.keep_layout(root / "prefect")
    new = tmp_path / "new"
    new.mkdir()
    serving.copy_layout(new)
    assert b"canary" not in (new / "prefect.db").read_bytes()
    with closing(sqlite3.connect(new / "prefect.db")) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        filled = [t for t in tables if database.execute(f'select count(*) from "{t}"').fetchone()[0]]
    assert filled == ["alembic_version"]
    assert len(tables) > 20


def test_where_it_wants_tokens_they_are_asked_for(stopping, monkeypatch):
    environment = prefect_server._make_environment
    more = {"PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true"}
    monkeypatch.setattr(prefect_server, "_make_environment", lambda home: environment(home) | more)
    url = prefect_server.start_server(stopping).wait_until_ready()
    assert wait_for(lambda: ask_server(f"{url}/work_pools/filter", {}, login.ensure_login(stopping)) == [])
    assert ask_server(f"{url}/work_pools/filter", {}, "wrong") is None


def test_a_killed_server_is_replaced_at_its_old_address(root):
    first = prefect_server.start_server(root)
    url = first.wait_until_ready()
    os.kill(first.pid, signal.SIGKILL)
    assert wait_for(lambda: not psutil.pid_exists(first.pid) or psutil.Process(first.pid).status() == "zombie")
    second = prefect_server.start_server(root)
    assert not second.found
    assert second.pid != first.pid
    assert second.wait_until_ready() == url


def test_a_server_that_dies_during_a_run_is_started_anew(root):
    handle = prefect_server.start_server(root)
    handle.wait_until_ready()
    with handle.guard(every=0.1):
        pid = recorded(root)["pid"]
        os.kill(pid, signal.SIGKILL)
        assert wait_for(lambda: recorded(root)["pid"] != pid, 10)
        assert handle.wait_until_ready() == handle.url


def test_a_wedged_server_is_replaced(root, monkeypatch):
    first = prefect_server.start_server(root)
    first.wait_until_ready()
    monkeypatch.setattr(prefect_server, "STARTING", 0.0)
    os.kill(first.pid, signal.SIGSTOP)
    second = prefect_server.start_server(root)
    assert second.pid != first.pid
    second.wait_until_ready()
    assert not psutil.pid_exists(first.pid) or psutil.Process(first.pid).status() == "zombie"


def test_a_record_of_another_process_is_not_believed(tmp_path, monkeypatch):
    home = tmp_path / "mlruns" / "prefect"
    home.mkdir(parents=True)
    record = {"pid": os.getpid(), "started": psutil.Process().create_time() - 100, "port": 1}
    (home / "server.json").write_text(json.dumps(record))
    assert prefect_server._find_living_server(home) is None
    (home / "server.json").write_text("{broken")
    assert prefect_server._find_living_server(home) is None


def test_an_idle_server_ends_by_itself(stopping):
    handle = prefect_server.start_server(stopping, idle=1.0)
    handle.wait_until_ready()
    assert wait_for(lambda: not prefect_server._is_alive(handle.pid), 20)
    assert (stopping / "prefect" / "server.log").read_text() == ""


def test_stop_ends_it_and_says_whether_there_was_one(stopping):
    assert not prefect_server.stop_server(stopping)
    handle = prefect_server.start_server(stopping)
    assert prefect_server.stop_server(stopping)
    assert wait_for(lambda: not prefect_server._is_alive(handle.pid), 10)


def test_a_server_that_cannot_start_is_said_with_its_log(tmp_path):
    home = tmp_path / "mlruns" / "prefect"
    home.mkdir(parents=True)
    (home / "prefect.db").write_text("no database, whatever it may be called")
    handle = prefect_server.start_server(tmp_path / "mlruns")
    with pytest.raises(prefect_server.NestorError, match=r"server\.log"):
        handle.wait_until_ready()


def test_an_address_in_the_environment_is_used_and_nothing_started(monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_API_URL", "http://team:4200/api")
    assert prefect_server.start_server(tmp_path / "mlruns").wait_until_ready() == "http://team:4200/api"
    assert not (tmp_path / "mlruns").exists()


def test_this_folders_server_is_started_though_its_address_is_set(monkeypatch, tmp_path):
    """`nestor up` tells its user to set it, for Prefect's own commands; later it may be down."""
    (tmp_path / "prefect").mkdir()
    prefect_server.record_server(tmp_path / "prefect", os.getpid(), 1, up=True)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert prefect_server.start_server(tmp_path).up
    monkeypatch.setenv("NESTOR_UP", "its worker")
    assert not prefect_server.start_server(tmp_path).up


def test_an_address_in_the_active_profile_is_used(monkeypatch, tmp_path):
    (tmp_path / ".prefect").mkdir()
    profiles = '[profiles.a]\n[profiles.b]\nPREFECT_API_URL = "http://b/api"\n'
    (tmp_path / ".prefect" / "profiles.toml").write_text('active = "a"\n' + profiles)
    assert prefect_server.find_own_api() is None
    monkeypatch.setenv("PREFECT_PROFILE", "b")
    assert prefect_server.find_own_api() == "http://b/api"


def test_quiet_environment_respects_what_the_user_has_set(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), "PREFECT_LOGGING_LEVEL": "DEBUG"})
    prefect_server.set_quiet_environment(tmp_path / "mlruns", "http://127.0.0.1:1/api")
    assert os.environ["PREFECT_LOGGING_LEVEL"] == "DEBUG"
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "mlruns" / "prefect")
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert prefect_server.find_own_api() is None  # ours, not the user's
