"""The pool: a fit that crashes, hangs or eats memory costs itself alone; no worker outlives its parent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from models.errors import InputError
from tasks.execution import pool as workers
from tasks.execution.pool import NEVER_RUN, FitError, FitPool, measure_worker_memory
from tasks.system.memory import divide_memory
from tests.runs import list_living, list_process_tree, wait_for

ROOT = Path(__file__).parents[3]
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
    made = FitPool(2, MEMORY, 1)
    yield made
    made.close()


@pytest.fixture
def single():
    made = FitPool(1, MEMORY, 1)
    yield made
    made.close()


def ended(promise) -> FitError:
    """The error that the fit ended with."""
    error = promise.exception(300)
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


MARKED = """
import os, pathlib, signal
marks = pathlib.Path({folder!r})
before = len(list(marks.iterdir()))
(marks / str(before)).touch()
if before < {times}:
    os.kill({who}, signal.{how})
    signal.pause()
"""
"""A fit whose worker is killed so many times, and not by the pool; it counts how often it was begun."""


@pytest.mark.parametrize(
    ("who", "how", "times", "begun"),
    [
        ("os.getpid()", "SIGKILL", 1, 2),
        ("os.getpid()", "SIGKILL", 2, 2),
        ("os.getpid()", "SIGTERM", 1, 2),
        ("os.getpid()", "SIGHUP", 1, 2),
        ("os.getppid()", "SIGKILL", 1, 2),
    ],
)
def test_a_fit_whose_worker_was_killed_is_done_once_more(single, tmp_path, who, how, times, begun):
    fit = MARKED.format(folder=str(tmp_path), times=times, who=who, how=how)
    found = single.submit(exec, fit, priority=(0,)).exception(60)
    assert len(list(tmp_path.iterdir())) == begun
    assert getattr(found, "state", "complete") == ("complete" if times < begun else "failed")
    assert single.submit(abs, -1, priority=(0,)).result(30) == 1


@pytest.mark.parametrize(
    ("end", "timeout"),
    [("os._exit(3)", None), ("raise MemoryError", None), ("time.sleep(60)", 0.5)]
    + [(f"signal.raise_signal(signal.{name})", None) for name in ("SIGSEGV", "SIGABRT", "SIGILL", "SIGBUS", "SIGFPE")],
)
def test_a_fit_that_ends_by_itself_or_by_its_limit_is_not_done_again(single, tmp_path, end, timeout):
    fit = f"import os, pathlib, signal, time; pathlib.Path({str(tmp_path)!r}, str(time.time())).touch(); {end}"
    assert ended(single.submit(exec, fit, priority=(0,), timeout=timeout))
    assert single.submit(abs, -1, priority=(0,)).result(30) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_pool_whose_idle_workers_were_all_killed_goes_on(pool):
    pids = {pool.submit(os.getpid, priority=(0,)).result(30) for _ in range(20)}
    workers = [p for pid in pids for p in [psutil.Process(pid), *psutil.Process(pid).parent().children()]]
    for process in {p.pid for p in workers if "resource_tracker" not in " ".join(p.cmdline())}:
        os.kill(process, signal.SIGKILL)
    for attempt in range(8):
        assert pool.submit(abs, -attempt, priority=(0,)).result(60) == attempt


def test_workers_of_a_pool_that_was_given_up_do_not_stay(pool):
    def at_work() -> set[int]:
        return {p.pid for p in psutil.Process(parent).children()}

    parent = pool.submit(os.getppid, priority=(0,)).result(30)
    before = at_work()
    os.kill(pool.submit(os.getpid, priority=(0,)).result(30), signal.SIGKILL)

    def renewed() -> bool:
        assert pool.submit(abs, -1, priority=(0,)).result(60) == 1
        return not before & at_work() and len(at_work()) == pool.workers

    assert wait_for(renewed, 60)


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


# --- What each may have ----------------------------------------------------------------------------------------------


def test_a_worker_with_what_it_needs_fits_and_one_with_less_is_refused_with_the_figure():
    least = measure_worker_memory()
    with pytest.raises(InputError) as refused:
        divide_memory(None, 0.7 * least, least, 100 * least, 2)
    [asked] = re.findall(r"--memory ([\d.]+)\.", str(refused.value))
    assert divide_memory(None, 1000 * float(asked), least, 100 * least, 2) == (2, 1000 * float(asked))
    made = FitPool(2, 1000 * float(asked), 1)
    try:
        assert [made.submit(abs, -i, priority=(0,)).result(60) for i in range(5)] == [0, 1, 2, 3, 4]
    finally:
        made.close()


@pytest.mark.parametrize(
    ("workers", "limit", "free", "cores", "given"),
    [
        (None, None, 10_000, 4, (4, 2_000)),
        (3, None, 10_000, 4, (3, 8_000 / 3)),
        (3, 700, 10_000, 4, (3, 700)),
        (None, 6_000, 10_000, 4, (1, 6_000)),
        (None, 8_000, 32_000, 16, (3, 8_000)),
        (None, 300, 10_000, 64, (20, 300)),
        (None, 9_000, 10_000, 4, (1, 9_000)),
        (None, None, 2_000, 64, (4, 400)),
        (None, None, 300, 64, (1, 240)),
        (8, None, 2_000, 2, (8, 200)),
        (None, 199, 10_000, 4, "at least --memory 0.2"),
        (9, None, 2_000, 2, "at most --workers 8"),
        (1000, 300, 10_000, 2, "at most --workers 40"),
        (None, None, 200, 64, "0.2 GB are free"),
        (1, None, 200, 64, "for 0 of them, not for 1"),
    ],
)
def test_workers_and_memory_are_as_asked_or_as_far_as_memory_does(workers, limit, free, cores, given):
    if isinstance(given, tuple):
        assert divide_memory(workers, limit, 200, free, cores) == pytest.approx(given)
    else:
        with pytest.raises(InputError, match=given):
            divide_memory(workers, limit, 200, free, cores)


def test_a_pool_whose_workers_can_not_start_ends_its_fits(monkeypatch):
    """For whatever reason: here the memory that they may have is less than what they hold."""
    monkeypatch.setattr(workers, "STARTS", 2)
    made = FitPool(2, 50, 1)
    try:
        found = [ended(made.submit(abs, -i, priority=(0,))) for i in range(4)]
        assert {error.state for error in found} <= {"failed", "memory"}
    finally:
        made.close()


# --- The processes ---------------------------------------------------------------------------------------------------


def test_workers_are_light_silent_and_leave_ctrl_c_to_their_parent(single):
    def ask(text: str):
        return single.submit(eval, f"__import__('sys') and ({text})", priority=(0,)).result(30)

    assert ask("[m for m in ('prefect', 'mlflow', 'fastapi') if m in __import__('sys').modules]") == []
    assert ask("'models.families' in __import__('sys').modules")
    assert ask("__import__('signal').getsignal(2) == __import__('signal').SIG_IGN")
    assert ask("{i['num_threads'] for i in __import__('threadpoolctl').threadpool_info()}") == {1}


HOLD = """
import re, sys, threading, time
from tasks.execution.pool import FitPool
pool = FitPool(2, 700, 1)
threading.Thread(target=pool.submit, args=(abs, -1), kwargs={"priority": (0,)}, daemon=True).start()
if sys.argv[1] != "starts":
    work = (time.sleep, 600) if sys.argv[1] == "sleeps" else (re.match, "(a+)+$", "a" * 60 + "b")
    pool.submit(abs, -1, priority=(0,)).result()
    tasks = [pool.submit(*work, priority=(0,)) for _ in range(3)]
    while sum(task.running() for task in list(pool._running)) < 2:
        time.sleep(0.05)
print(flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("what", ["sleeps", "lets no thread have a turn", "starts"])
def test_no_process_outlives_a_parent_that_was_killed(what, tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", HOLD, what], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert parent.stdout
    parent.stdout.readline()
    whole = list_process_tree(parent.pid)
    assert len(whole) > (1 if what == "starts" else 3)
    parent.kill()
    parent.wait()
    wait_for(lambda: not list_living(whole), 30)
    assert not list_living(whole)


TWO_LINES = """from tasks.execution.pool import FitPool; pool = FitPool(2, 700, 1); print("once")
print([pool.submit(abs, -i, priority=(0,)).result(60) for i in range(5)]); pool.close()
"""


def test_a_script_of_two_lines_needs_no_main_guard(tmp_path):
    script = tmp_path / "two_lines.py"
    script.write_text(TWO_LINES)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "once\n[0, 1, 2, 3, 4]\n"), done.stderr
