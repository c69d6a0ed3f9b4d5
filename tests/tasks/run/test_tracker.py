"""The tracker's handle: its calls end whatever becomes of the child, and the child does not outlive its parent."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from models.errors import InputError, NestorError
from tasks.run.journal import Journal, JournalRecord
from tasks.run.tracker import Tracker, TrackerGoneError


def test_calls_answer_from_many_threads_and_errors_are_sentences(tmp_path):
    with Journal(tmp_path, "m", f"sqlite:///{tmp_path}/m.db") as journal:
        answers = []
        work = [threading.Thread(target=lambda: answers.append(journal.call("seal_settings"))) for _ in range(4)]
        _ = [t.start() for t in work], [t.join() for t in work]
        assert answers == [None] * 4
        with pytest.raises(InputError, match=r"No call 'nothing'. Known: .*register"):
            journal.call("nothing")
        with pytest.raises(NestorError, match="MLflow: seal_settings failed"):
            journal.call("seal_settings", odd=1)
        assert journal.call("keep_seal_settings", settings={"salt": 3}) == {"salt": 3}


def test_a_killed_tracker_is_started_again_and_asked_again(tmp_path):
    with Journal(tmp_path, "m", f"sqlite:///{tmp_path}/m.db") as journal:
        journal.record(JournalRecord("run", "pipeline"))
        first = journal.ensure_tracker().pid
        threading.Timer(0.5, os.kill, (first, signal.SIGKILL)).start()
        assert journal.call("drain", seconds=60) == 0
        assert journal.ensure_tracker().pid != first


def test_a_tracker_that_ends_each_time_is_told_of(tmp_path):
    over = threading.Event()

    def kill(journal):
        while not over.wait(0.2):
            with suppress(ProcessLookupError):
                os.kill(journal.ensure_tracker().pid, signal.SIGKILL)

    with Journal(tmp_path, "m", f"sqlite:///{tmp_path}/m.db") as journal:
        journal.ensure_tracker()
        threading.Thread(target=kill, args=[journal]).start()
        with pytest.raises(NestorError, match="MLflow's writer ended"):
            journal.call("drain", seconds=60)
        over.set()


def test_whoever_waits_learns_that_the_tracker_ended(tmp_path):
    tracker, said = Tracker(tmp_path, f"sqlite:///{tmp_path}/m.db"), []

    def ask():
        try:
            tracker.call("drain", None, {"seconds": 60})
        except TrackerGoneError as error:
            said.append(str(error))

    waiting = [threading.Thread(target=ask, daemon=True) for _ in range(40)]
    for one in waiting:
        one.start()
    # The beginning of an answer, as a kill in the middle of writing leaves it.
    pipe = os.fstat(tracker._process.stdout.fileno()).st_ino
    ends = [fd for fd in Path(f"/proc/{tracker.pid}/fd").iterdir() if fd.exists() and fd.stat().st_ino == pipe]
    with ends[0].open("wb") as answers:
        answers.write(b'{"id": 1, "resu')
    os.kill(tracker.pid, signal.SIGKILL)
    usual, until = sys.getswitchinterval(), time.monotonic() + 10
    sys.setswitchinterval(1e-6)  # the one who tells and those who are told take turns
    for one in waiting:
        one.join(max(0, until - time.monotonic()))
    sys.setswitchinterval(usual)
    assert said == [f"MLflow's writer ended; {tmp_path}/tracker.log says why."] * 40


def test_a_call_that_takes_too_long_is_an_error(tmp_path):
    with Journal(tmp_path, "m", f"sqlite:///{tmp_path}/m.db") as journal:
        with pytest.raises(NestorError, match="did not answer `seal_settings` within 0 s"):
            journal.call("seal_settings", timeout=0.01)
        assert journal.drain(0.01) == 0


def test_the_tracker_says_nothing_and_ends_soon_after_a_killed_parent(tmp_path):
    code = f"""
        import time
        from tasks.run.journal import Journal, JournalRecord
        journal = Journal({str(tmp_path / "w")!r}, "m", "sqlite:///{tmp_path}/m.db")
        journal.record(JournalRecord("run", "pipeline"))
        journal.call("seal_settings")
        print(journal.ensure_tracker().pid, flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout
    tracker = psutil.Process(int(parent.stdout.readline()))
    assert tracker.nice() >= 10
    parent.kill()
    said, complained = parent.communicate()
    assert (said, complained) == ("", "")
    deadline = time.monotonic() + 15
    while tracker.is_running() and tracker.status() != "zombie" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() < deadline
