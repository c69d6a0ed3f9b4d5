"""Nothing is sent to anybody: every address that a process of a command asks for lies on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.server import prefect_server
from tests.commands import QUIET
from tests.stack import make_command

WATCH = """
import os, sys

def seen(event, args):
    if event == "socket.connect":
        note(args[1])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        note(args[0])
    elif event in ("socket.sendto", "socket.sendmsg") and args[1]:
        note(args[1])

def note(address):
    host = address[0] if isinstance(address, tuple) else address
    with open(os.environ["SEEN"], "a") as file:
        file.write(f"{host!r} {sys.argv[:3]}\\n")

sys.addaudithook(seen)
"""
"""Each Python process, children too, runs this as it starts."""

HERE = ("'127.0.0.1'", "'::1'", "'localhost'", "b'localhost'", "''", "None", "'/")
"""How an address on this machine begins; a path is a socket in a folder."""

ARRIVED = """
import logging; logging.basicConfig()
from tasks.monitoring import prefect_events
raise SystemExit(4 if prefect_events.send_arrived("iris", data="new.csv") else 0)
"""


@pytest.fixture
def watched(tmp_path: Path):
    """`watched(*command)`: the process that has run in a folder, with what it printed; and the addresses asked for."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCH)
    seen = tmp_path / "seen"
    allowed = {k: v for k, v in QUIET.items() if k != "DO_NOT_TRACK"}
    env = {**allowed, "PYTHONPATH": str(tmp_path / "site"), "SEEN": str(seen)}

    def run(*words: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        return done, seen.read_text().splitlines() if seen.exists() else []

    try:
        yield run
    finally:
        prefect_server.stop_server(tmp_path / "mlruns")


def test_commands_ask_for_no_address_but_this_machines(watched, tmp_path):
    table = "sklearn:iris"
    options = ("--trials", "1", "--families", "constant,linear", "--outer", "2", "--inner", "2", "--quiet")
    for words in (("check", table), ("train", table, *options), ("score", "iris", table, "--out", "scored.csv")):
        done, addresses = watched(*make_command(*words))
        assert done.returncode == 0, done.stderr
        assert [line for line in addresses if not line.startswith(HERE)] == []
    assert addresses, "the watch sees nothing"


def test_an_event_without_a_server_says_so_and_asks_nobody(watched):
    done, addresses = watched(sys.executable, "-c", ARRIVED)
    assert done.returncode == 0, done.stderr
    assert "no Prefect server is named here" in done.stderr
    assert addresses == []
