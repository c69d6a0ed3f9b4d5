"""Nothing is sent to anybody: an event for which there is no server asks for no address. That commands ask for none
beyond this machine: tests/test_resume.py, over a whole run."""

from __future__ import annotations

import subprocess
import sys

from tests.commands import asked_for, watching

ARRIVED = """
import logging; logging.basicConfig()
from tasks import events
raise SystemExit(4 if events.arrived("iris", data="new.csv") else 0)
"""


def test_an_event_without_a_server_says_so_and_asks_nobody(tmp_path):
    words = [sys.executable, "-c", ARRIVED]
    done = subprocess.run(words, cwd=tmp_path, env=watching(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no Prefect server is named here" in done.stderr
    assert asked_for(tmp_path) == []
