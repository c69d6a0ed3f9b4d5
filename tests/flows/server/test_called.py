"""Flows that are called as functions, from wherever a person's own program stands."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import warnings

from flows.server import called
from tasks.execution import pool


def test_the_end_of_a_flow_waits_inside_of_a_running_event_loop_too():
    async def notebook() -> None:
        with called._drain_events():
            pass

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        asyncio.run(notebook())
        gc.collect()
    assert [str(w.message) for w in heard if "never awaited" in str(w.message)] == []


def test_importing_a_flow_in_a_new_folder_says_and_makes_nothing(tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "NESTOR_"))}
    asked = [sys.executable, "-P", "-c", "from flows.train import train"]
    done = subprocess.run(asked, cwd=tmp_path, env=kept, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_daemonic_process_is_told_at_once_what_to_do(capfd):
    pool.refuse_daemon()
    one = multiprocessing.get_context("spawn").Process(target=pool.refuse_daemon, daemon=True)
    one.start()
    one.join()
    assert one.exitcode == 1
    assert "InputError: This is a daemonic process, which can't start others" in capfd.readouterr().err
