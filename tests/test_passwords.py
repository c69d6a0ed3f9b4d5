"""A password in an address is nowhere afterwards: not in a file, a database, a log, a process or on the screen."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from tests import stack
from tests.commands import QUIET, serve_folder
from tests.runs import list_process_tree

CANARY, STORE = "kAn4rY-of the data", "kAn4rY-of-MLflow"
"""Passwords, of the table's database and of MLflow's."""


@pytest.fixture(scope="module")
def postgres():
    if sys.platform != "linux":
        pytest.skip("the server's programs are Linux's")
    with stack.run_postgres() as server:
        for statement in ('create role "me@corp" superuser login', "create database shop", "create database mlflow"):
            server.say(statement)
        server.say("create table sales as select g a, g % 7 b, g % 2 y from generate_series(1, 60) g", "shop")
        yield server


def address(server: stack.PostgresServer, password: str, database: str) -> str:
    return f"postgresql://me@corp:{password}@127.0.0.1:{server.port}/{database}"


def told(process: subprocess.Popen[bytes]) -> str:
    """The command lines of all that the process started, until it ends."""
    lines: set[str] = set()
    while process.poll() is None:
        for child in list_process_tree(process.pid)[1:]:
            try:
                lines.add(" ".join(child.cmdline()))
            except psutil.Error:
                continue
        time.sleep(0.05)
    return "\n".join(lines)


@pytest.mark.prove  # a whole run over PostgreSQL
def test_a_run_leaves_no_password(postgres, tmp_path):
    words = ["train", address(postgres, CANARY, "shop"), "--query", "sales", "--target", "y", "--trials", "1"]
    env = {**QUIET, "MLFLOW_TRACKING_URI": address(postgres, STORE, "mlflow")}
    with serve_folder(tmp_path), (tmp_path / "said").open("wb") as said:
        small = ["--families", "linear", "--outer", "2", "--inner", "2", "--workers", "1", "--name", "sales"]
        process = subprocess.Popen(
            stack.make_command(*words, *small), cwd=tmp_path, env=env, stdout=said, stderr=subprocess.STDOUT
        )
        started = told(process)
    text = (tmp_path / "said").read_text()
    assert process.returncode == 0, text
    assert "tasks.tracking" in started
    dump = subprocess.run([*postgres.program("pg_dump"), "mlflow"], capture_output=True, text=True, check=True).stdout
    assert "nestor.digest" in dump
    places = {"MLflow's database": dump, "a command line": started}
    places |= {str(file): file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()}
    assert any(name.endswith("prefect.db") for name in places)
    assert [name for name, text in places.items() if "kAn4rY" in text] == []


@pytest.mark.parametrize("what", ["the data", "MLflow"])
def test_an_address_that_fails_leaves_no_password(tmp_path, what):
    """Of a driver or a client that repeats it: in logs, on the screen, in the flow run's state."""
    broken = f"postgresql://me@corp:{CANARY}@127.0.0.1:1/db"
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{k},{k % 2}\n" for k in range(60)))
    env = {**QUIET, "NESTOR_NONE": "1", "MLFLOW_TRACKING_URI": f"http://me@corp:{STORE}@127.0.0.1:1"}
    words = ["t.csv", "--target", "y"] if what == "MLflow" else [broken, "--query", "t", "--target", "y"]
    with serve_folder(tmp_path):
        done = stack.run_nestor(tmp_path, "train", *words, "--trials", "1", "--families", "linear", env=env)
    assert done.returncode != 0
    places = {"screen": done.stdout + done.stderr}
    places |= {str(file): file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()}
    assert [name for name, text in places.items() if "kAn4rY" in text] == []
