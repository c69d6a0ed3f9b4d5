"""One fit serves the two folds that it has not seen: it is done once, and is what each would have fitted by itself."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

from models.splitting.split import Fold
from tasks.execution import worker
from tasks.execution.job import FitJob, FitResult
from tasks.execution.pool import FitError, FitPool
from tasks.planning.plan import make_plan
from tasks.tuning import tune
from tasks.tuning.running import RunningStudies
from tasks.tuning.shared_fits import SharedFits
from tasks.values import RunPlan, Studies
from tests.runs import begin_run, make_frame, make_small_run, tune_plan

FOLDS = {
    "1": Fold("1", np.arange(2), np.arange(1), ((np.arange(2), np.arange(1)),), (), ("2",)),
    "2": Fold("2", np.arange(2), np.arange(1), ((np.arange(2), np.arange(1)),), (), ("1",)),
}


def make_run(task: str = "binary", trials: int = 6, **more):
    search = {"trials": trials, "families": ["linear", "lightgbm", "tree"], **more}
    return make_small_run(data=make_frame(task=task), search=search, split={"outer": 3, "inner": 2})


def list_jobs(studies: Studies) -> list[FitJob]:
    """Every inner fit that was asked for."""
    return [
        studies.make_job(name, fold, trial.number, trial.config, inner=inner, share=trial.share)
        for (name, fold), trials in studies.trials.items()
        for trial in trials
        for inner in range(len(trial.scores))
    ]


@pytest.fixture(params=["binary", "multiclass", "regression"])
def studies(request, tmp_path):
    sealed = begin_run(make_run(request.param), tmp_path)
    try:
        yield tune_plan(make_plan(sealed))
    finally:
        sealed.context.close()


def test_a_fit_that_was_taken_over_is_what_the_fold_would_have_fitted(studies: Studies):
    folder, jobs = studies.context.folder, list_jobs(studies)
    results = {job.file: worker.read_finished_fit(job, folder) for job in jobs}
    assert all(results.values())
    taken = [job for job in jobs if results[job.file].taken]
    # What is drawn at random is drawn alike in all folds, so about half of all fits are another fold's too.
    assert len(taken) > len(jobs) / 3
    for job in taken:
        anew = replace(job, trial=job.trial + 1000)
        result = studies.context.pool.submit(worker.run_fit, anew, priority=(0,)).result()
        assert not result.taken
        assert result.score == results[job.file].score
        assert result.rounds == results[job.file].rounds
        assert np.array_equal(folder.read_array(anew.file), folder.read_array(job.file))


def test_only_fits_of_the_same_rows_and_configuration_are_shared(studies: Studies):
    """Each configuration is fitted once on each part, whichever folds ask for it."""
    folder, fitted = studies.context.folder, {}
    for job in list_jobs(studies):
        if not worker.read_finished_fit(job, folder).taken:
            part = studies.folds[job.fold].identify_part(job.inner)
            fitted.setdefault((job.family, part, str(sorted(job.config.items())), job.share), []).append(job.fold)
    assert all(len(folds) == 1 for folds in fitted.values()), fitted


class Killing(FitPool):
    """The pool, in which the first fit of each configuration of trial 1 crashes."""

    def submit(self, work, *args, **how):
        if isinstance(args[0], FitJob) and args[0].again is None and args[0].trial == 1:
            return super().submit(exec, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", **how)
        return super().submit(work, *args, **how)


def test_where_the_first_fit_dies_the_other_fold_fits_anew(tmp_path):
    """A crash is one fold's alone until the other has had its own."""
    sealed = begin_run(make_run(), tmp_path, pool=lambda: Killing(2, 4000, 1))
    try:
        studies = tune_plan(make_plan(sealed))
        states = {key: trials[1].state for key, trials in studies.trials.items()}
        assert "failed" in states.values()
        assert set(states.values()) & {"complete", "pruned"}
    finally:
        sealed.context.close()


def test_a_resumed_run_takes_over_what_an_earlier_attempt_fitted(tmp_path):
    """The studies of one fold are done; another attempt's other folds fit nothing of that anew."""
    plan: RunPlan | None = None
    for folds in (["1"], ["1", "2", "3"]):
        sealed = begin_run(make_run(trials=1), tmp_path)
        try:
            plan = make_plan(sealed)
            running = RunningStudies(plan)
            for fold in folds:
                for family in plan.scope.families:
                    tune.tune(running, family, fold)
        finally:
            sealed.context.close()
    assert plan is not None
    for fold in ("2", "3"):
        inner = plan.folds[fold].partners.index("1")
        for family in plan.scope.families:
            job = plan.make_job(family, fold, 0, {}, inner=inner)
            assert worker.read_finished_fit(job, plan.context.folder).taken


# --- The book of fits alone ------------------------------------------------------------------------------------------


def make_job(fold: str, **more) -> FitJob:
    return FitJob("nowhere", "2x1", "linear", fold, 0, {"strength": 1.0}, inner=0, **more)


def test_the_second_waits_for_the_first_and_reads_its_file():
    first: Future[FitResult] = Future()
    asked: list[FitJob] = []

    def submit(job: FitJob) -> Future[FitResult]:
        asked.append(job)
        return first if len(asked) == 1 else Future()

    fits = SharedFits()
    assert fits.submit(make_job("1"), FOLDS["1"], submit) is first
    fits.submit(make_job("2"), FOLDS["2"], submit)
    assert len(asked) == 1
    first.set_exception(FitError("timeout", "stopped"))
    assert [(job.fold, job.again, job.partner) for job in asked] == [
        ("1", None, False), ("2", make_job("1").file, True),
    ]  # fmt: skip


@pytest.mark.parametrize("other", [{"share": 0.5}, {"config": {"strength": 2.0}}, {"family": "tree"}])
def test_what_differs_in_anything_is_no_ones_partner(other):
    asked: list[FitJob] = []

    def submit(job: FitJob) -> Future[FitResult]:
        asked.append(job)
        return Future()

    fits = SharedFits()
    fits.submit(make_job("1"), FOLDS["1"], submit)
    fits.submit(replace(make_job("2"), **other), FOLDS["2"], submit)
    assert [job.again for job in asked] == [None, None]


def test_an_error_of_asking_reaches_who_waits():
    fits, first = SharedFits(), Future()
    fits.submit(make_job("1"), FOLDS["1"], lambda job: first)

    def refuse(job: FitJob) -> Future[FitResult]:
        raise OSError("no room")

    second = fits.submit(make_job("2"), FOLDS["2"], refuse)
    first.set_result(FitResult(0.5, None, 0.1, 0.0, 1.0, 0.0, 0.1))
    assert isinstance(second.exception(timeout=1), OSError)
