"""The pool: a fit that crashes, hangs or eats memory costs itself alone; no worker outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.workers import NEVER_RUN, FitError, Pool
from tests.sessions import family_of, living, wait_for

ROOT = Path(__file__).parents[2]
MEMORY = 700
"""MB that one fit may have in these tests."""

SLOWLY_LARGER = """
import time
kept = [bytearray(b"x" * 20_000_000) for _ in range(30)]
time.sleep(60)
"""

DEAF = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
time.sleep(60)
"""


@pytest.fixture
def pool():
    made = Pool(2, MEMORY, 1)
    yield made
    made.close()


@pytest.fixture
def single():
    made = Pool(1, MEMORY, 1)
    yield made
    made.close()


def ended(promise) -> FitError:
    """The error that the fit ended with."""
    error = promise.exception(60)
    assert isinstance(error, FitError)
    return error


# --- What a fit can do to itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "state", "reason"),
    [
        ((os._exit, 3), "failed", "exit code 3"),
        ((os.abort,), "failed", "died"),
        ((exec, "raise ValueError('no luck')"), "failed", "ValueError: no luck"),
        ((exec, "raise SystemExit(2)"), "failed", ""),
        ((bytearray, 8_000_000_000), "memory", "more memory than one fit may have"),
        ((exec, SLOWLY_LARGER), "memory", "grew over the memory limit"),
        ((time.sleep, 60), "timeout", "stopped after 1 s"),
        ((exec, DEAF), "timeout", "stopped after 1 s"),
        ((eval, "lambda: 0"), "failed", ""),
    ],
    ids=["exits", "aborts", "raises", "leaves", "asks for too much", "grows", "hangs", "hangs on", "no result"],
)
def test_a_fit_that_goes_wrong_costs_itself_alone(pool, work, state, reason):
    before = [pool.submit(abs, -i, priority=(0,)) for i in range(3)]
    wrong = pool.submit(*work, priority=(0,), timeout=1 if state == "timeout" else None)
    beside = pool.submit(time.sleep, 0.5, priority=(0,))
    after = [pool.submit(abs, -i, priority=(1,)) for i in range(6)]
    error = ended(wrong)
    assert error.state == state
    assert reason in error.reason
    assert beside.result(30) is None
    assert [p.result(30) for p in before + after] == [0, 1, 2, 0, 1, 2, 3, 4, 5]


def test_killed_workers_are_replaced_and_lose_only_what_they_were_at(pool):
    victim = pool.submit(os.getpid, priority=(0,)).result(30)
    running = [pool.submit(time.sleep, 1.5, priority=(0,)) for _ in range(2)]
    time.sleep(0.3)  # both have begun: there are two workers
    os.kill(victim, signal.SIGKILL)
    found = [promise.exception(30) for promise in running]
    assert sum(e is None for e in found) == 1
    assert [e.state for e in found if isinstance(e, FitError)] == ["failed"]
    assert pool.submit(abs, -1, priority=(0,)).result(30) == 1


def test_a_pool_whose_idle_workers_were_all_killed_goes_on(pool):
    pids = {pool.submit(os.getpid, priority=(0,)).result(30) for _ in range(20)}
    workers = [p for pid in pids for p in [psutil.Process(pid), *psutil.Process(pid).parent().children()]]
    for process in {p.pid for p in workers if "resource_tracker" not in " ".join(p.cmdline())}:
        os.kill(process, signal.SIGKILL)
    for attempt in range(8):
        assert pool.submit(abs, -attempt, priority=(0,)).result(60) == attempt


# --- Order -----------------------------------------------------------------------------------------------------------


def test_smaller_priorities_run_first_and_equals_in_the_order_they_came(single):
    busy = [single.submit(time.sleep, 0.5, priority=(9,)) for _ in range(2)]  # one at work, one ready
    asked = [(1, 2), (0, 5), (1, 1), (0,), (1, 1), (0, 1, 7)]
    order: list[int] = []
    promises = [single.submit(abs, -i, priority=p) for i, p in enumerate(asked)]
    for promise in promises:
        promise.add_done_callback(lambda done: order.append(done.result()))
    for promise in [*busy, *promises]:
        promise.result(30)
    assert order == [3, 5, 1, 2, 4, 0]


def test_cancelled_fits_end_as_timeout_and_others_go_on(pool):
    search = [pool.submit(time.sleep, 60, priority=(1, i)) for i in range(5)]
    judge = pool.submit(abs, -7, priority=(0,))
    pool.cancel(lambda priority: priority[0] == 1)
    assert {ended(p).state for p in search} == {"timeout"}
    assert judge.result(30) == 7


def test_a_cancelled_fit_says_whether_it_had_begun(single):
    at_work, ready, waiting = (single.submit(time.sleep, 60, priority=(0, i)) for i in range(3))
    assert wait_for(lambda: any(task.running() for task in list(single._running)), 30)
    single.cancel(lambda _: True)
    assert [ended(p).reason == NEVER_RUN for p in (at_work, ready, waiting)] == [False, True, True]


def test_a_closed_pool_keeps_no_one_waiting(pool):
    promises = [pool.submit(time.sleep, 60, priority=(0,)) for _ in range(6)]
    pool.close()
    assert {ended(p).state for p in [*promises, pool.submit(abs, 1, priority=(0,))]} == {"timeout"}


# --- The processes ---------------------------------------------------------------------------------------------------


def test_workers_are_light_silent_and_leave_ctrl_c_to_their_parent(single):
    def ask(text: str):
        return single.submit(eval, f"__import__('sys') and ({text})", priority=(0,)).result(30)

    assert ask("[m for m in ('prefect', 'mlflow', 'fastapi') if m in __import__('sys').modules]") == []
    assert ask("'models.families' in __import__('sys').modules")
    assert ask("__import__('signal').getsignal(2) == __import__('signal').SIG_IGN")
    assert ask("{i['num_threads'] for i in __import__('threadpoolctl').threadpool_info()}") == {1}


HOLD = """
import os, time
from tasks.workers import Pool
pool = Pool(2, 700, 1)
pids = {pool.submit(os.getpid, priority=(0,)).result() for _ in range(20)}
for _ in range(3):
    pool.submit(time.sleep, 600, priority=(0,))
print(*pids, flush=True)
time.sleep(600)
"""


def test_no_process_outlives_a_parent_that_was_killed(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert parent.stdout
    named = {int(pid) for pid in parent.stdout.readline().split()}
    whole = family_of(parent.pid)
    assert named <= {p.pid for p in whole}
    parent.kill()
    parent.wait()
    wait_for(lambda: not living(whole), 10)
    assert not living(whole)


TWO_LINES = """from tasks.workers import Pool; pool = Pool(2, 700, 1); print("once")
print([pool.submit(abs, -i, priority=(0,)).result(60) for i in range(5)]); pool.close()
"""


def test_a_script_of_two_lines_needs_no_main_guard(tmp_path):
    script = tmp_path / "two_lines.py"
    script.write_text(TWO_LINES)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "once\n[0, 1, 2, 3, 4]\n"), done.stderr
