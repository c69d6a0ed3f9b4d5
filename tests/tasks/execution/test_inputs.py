"""The rows that fits are given: prepared once for all that need the same, and who waits for that does not work."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest

from models.families import load_family
from models.splitting.split import ALL
from tasks.execution import inputs, worker
from tasks.execution.cache import TrainingCache
from tasks.execution.job import FitResult
from tasks.planning.plan import make_plan
from tasks.planning.studies import make_default_job
from tasks.run.folder import Workdir
from tests.runs import begin_run, make_frame, make_small_run

FAMILIES = ("linear", "naive_bayes")
SECONDS = 1.0
"""That preparing takes longer here than it does."""


@pytest.mark.parametrize("inner", [0, None], ids=["search", "refit"])
def test_columns_are_prepared_once_and_waiting_for_them_is_no_work(tmp_path, monkeypatch, inner):
    assert len({load_family(name).needs for name in FAMILIES}) == 1
    data = make_frame().drop(columns=["day", "words", "town"])
    run = make_small_run(data=data, search={"trials": 1, "families": FAMILIES}, final={"deliver": "refit"})
    sealed = begin_run(run, tmp_path, pool=lambda: None)
    plan = make_plan(sealed)
    monkeypatch.setattr(worker.peak, "_process", psutil.Process(), raising=False)
    monkeypatch.setattr(worker, "parts", TrainingCache())
    made = []
    usual, alone, both = inputs._prepare_rows, Workdir.lock, threading.Barrier(2, timeout=60)

    @contextmanager
    def asked(workdir, name):
        both.wait()
        with alone(workdir, name) as waited:
            yield waited

    def slow(*what):
        made.append(what)
        time.sleep(SECONDS)
        return usual(*what)

    monkeypatch.setattr(Workdir, "lock", asked)
    monkeypatch.setattr(inputs, "_prepare_rows", slow)

    def fitted(name: str) -> FitResult:
        return worker.run_fit(replace(make_default_job(plan, name, ALL), inner=inner))

    with ThreadPoolExecutor(2) as threads:
        quick, long = sorted(threads.map(fitted, FAMILIES), key=lambda done: done.preparing)
    assert len(made) == 1
    assert long.preparing >= SECONDS
    assert 0 <= quick.preparing < long.preparing - SECONDS / 2
