"""Every search strategy in whole runs, in which some trials fail: the same trials with any number of workers, and after
a kill."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from models.config import Run
from models.data.hashes import derive_seed
from models.errors import InputError
from models.families import load_families
from models.fitting.family import Shape
from models.search import load_strategies
from models.tuning.space import list_distributions, to_value, walk_space
from tasks.execution.job import FitJob
from tasks.execution.pool import FitPool
from tasks.planning.eligible import choose_families
from tasks.planning.load_and_seal import read_table
from tasks.planning.plan import make_plan
from tasks.tuning.tune import StudyFile
from tasks.values import Studies
from tests.runs import TUNABLE, begin_run, drop_times, make_frame, make_small_run, tune_plan

TRIALS, KEPT = 9, 7
"""Configurations of a study, and its trials that an earlier attempt left: the default, a batch, half of the next."""

FATES = {3: "raise ValueError('no luck')", 4: "raise MemoryError"}
"""What the fits of some trials do instead, by number. What a worker's death comes to is in
tests/tasks/tuning/test_tune.py."""

FEW = {"epochs": 5}
"""A fixed value for what makes fits of a family long, where it has that."""

SHAPE = Shape(64, 5, "binary", 2)

DATA = make_frame(160).drop(columns=["day", "words", "town"])


class Fateful(FitPool):
    """The pool, in which some trials fail. Many runs share it: starting workers takes longer than their fits."""

    def __init__(self, workers: int):
        super().__init__(workers, 1500, 1)
        self.fitted: list[FitJob] = []
        """What was fitted anew."""

    def submit(self, work: Any, *args: Any, **how: Any):
        (job,) = args
        assert isinstance(job, FitJob)
        if not Path(job.workdir, f"{job.file}.json").exists():
            self.fitted.append(job)
        if job.trial in FATES:
            return super().submit(exec, FATES[job.trial], **how)
        return super().submit(work, *args, **how)

    def close(self) -> None:
        """Stays for the next run."""


@pytest.fixture(scope="module")
def pools():
    """Pools by their workers."""
    made = {workers: Fateful(workers) for workers in (1, 2)}
    yield made
    for pool in made.values():
        super(Fateful, pool).close()


def asked(strategy: str, family: str, workers: int = 2) -> Run:
    """A run with this search, which is told what some need to know; one that chooses by that is told nothing."""
    few = {name: value for name, value in FEW.items() if name in list_distributions(load_families()[family], SHAPE)}
    told = {} if load_strategies()[strategy].chooses else {"configurations": by_hand(family), "steps": {"": TRIALS - 1}}
    search = {"strategy": strategy, "trials": TRIALS, "families": (family,)}
    settings = {family: {**told, "space": few}}
    return make_small_run(data=DATA, families=settings, search=search, budget={"workers": workers})


def by_hand(family: str) -> list[dict[str, Any]]:
    """As many configurations as there are to try beside the default."""
    known = load_families()[family]
    return [
        walk_space(known, SHAPE, lambda n, d, i=i: to_value(d, derive_seed(i, n) / 2**31)).params
        for i in range(1, TRIALS)
    ]


@cache
def suiting(strategy: str) -> str:
    """A family that the strategy can search: the one with a condition, else the cheapest."""
    for family in sorted(TUNABLE, key=lambda name: (name != "linear", load_families()[name].cost)):
        run = asked(strategy, family)
        try:
            choose_families(read_table(run), run)
        except InputError:
            continue
        return family
    raise AssertionError(f"{strategy} can search no family")


def searched(strategy: str, family: str, pool: Fateful, folder: Path) -> Studies:
    """The studies of a run, each at its end."""
    sealed = begin_run(asked(strategy, family, pool.workers), folder, pool=lambda: pool)
    try:
        return tune_plan(make_plan(sealed))
    finally:
        sealed.context.close()


def trials(studies: Studies) -> dict:
    """All that the studies must repeat."""
    return {key: [drop_times(t) for t in told] for key, told in sorted(studies.trials.items())}


@pytest.fixture(params=[pytest.param(s.name, marks=[pytest.mark.prove] * (s.extra == "bayes"), id=s.name)
                        for s in load_strategies().values()])  # fmt: skip
def strategy(request) -> str:
    """Every strategy in turn, those that take long among the long proofs."""
    known = load_strategies()[request.param]
    if not known.available:
        pytest.skip(f"the package {known.package} is missing: {known.install}")
    return known.name


def cut_off(folder: Path, family: str) -> None:
    """Leaves of the run in the folder what was there when its studies had told so many trials."""
    for log in (folder / "studies").glob("*.log"):
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[: 1 + KEPT]))
    for fits in folder.glob(f"fits/*/{family}/*/*"):
        if int(fits.name) >= KEPT:
            shutil.rmtree(fits)


def test_a_search_repeats_with_any_number_of_workers_and_goes_on_after_a_kill(strategy, pools, tmp_path):
    family = suiting(strategy)
    whole, alone = (searched(strategy, family, pools[n], tmp_path / str(n)) for n in (2, 1))
    for told in whole.trials.values():
        assert sum(t.share for t in told) > TRIALS - 1
        assert {t.number: t.state for t in told if t.number in FATES} == {3: "failed", 4: "memory"}
        assert len({str((t.params, t.config)) for t in told}) > KEPT
    assert trials(alone) == trials(whole)

    cut_off(folder := shutil.copytree(tmp_path / "2", tmp_path / "again"), family)
    pools[2].fitted.clear()
    again = searched(strategy, family, pools[2], folder)
    assert trials(again) == trials(whole)
    lost = {(k, t.number) for (_, k), told in whole.trials.items() for t in told if t.number >= KEPT}
    assert {(job.fold, job.trial) for job in pools[2].fitted} == lost
    for fold in again.folds:
        stored = [t.user_attrs["nestor.number"] for t in StudyFile(again, family, fold)._study.trials]
        assert stored == [t.number for t in whole.trials[family, fold]]
