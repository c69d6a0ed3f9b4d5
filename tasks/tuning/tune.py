"""One family on one outer fold: its search among the fold's training rows.

The unit of retry and of placement. It runs in a thread that mostly waits: fits happen in the pool. A finished trial is
in the study's file, its predictions in the run's folder, before it counts."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import LOCK_FILE_SUFFIX

from models.fitting.schedule import describe_changes
from models.studies.study import Study, is_hopeless
from models.text.safe import shorten
from models.tuning.fidelity import divide_share
from models.tuning.goal import find_best_trial
from models.tuning.optuna_trials import from_optuna, to_optuna
from models.tuning.strategy import BATCH, MOST_TRIALS, find_reachable
from models.tuning.trial import Trial
from tasks.context import RunContext
from tasks.execution import checkpoints, worker
from tasks.execution.job import FitJob, FitResult
from tasks.execution.pool import JUDGE, LAST, NEVER_RUN, SEARCH, FitError
from tasks.planning.studies import make_study
from tasks.run import events
from tasks.run.journal import STATUS_OF_STATE
from tasks.run.ledger import Ledger
from tasks.system.disk import is_full, make_full_disk_error
from tasks.system.watching import keep_watch
from tasks.tuning.running import RunningStudies
from tasks.tuning.selection import pick_family_trial, rank_families
from tasks.values import RunPlan, Studies

log = logging.getLogger("nestor.tune")


LEAST = 10.0
"""Seconds that refits together have always: without them there is no model."""


class StudyFile:
    """The study's file: told trials, by number."""

    def __init__(self, plan: RunPlan, family_name: str, fold: str):
        """Opens the file, new or of an earlier attempt."""
        path = plan.context.folder.path / "studies" / f"{family_name}-{fold}.log"
        path.parent.mkdir(exist_ok=True)
        self.goal = plan.goal
        _mend_file(path)
        try:
            self._open(path, f"{family_name}/{fold}")
        except OSError:
            raise
        except Exception as error:  # what a broken line makes Optuna raise may be anything; its fits lie elsewhere
            log.warning("%s is damaged: it is begun anew", path, exc_info=error)
            path.replace(path.with_name(f"{path.name}.damaged"))
            self._open(path, f"{family_name}/{fold}")

    def _open(self, path: Path, name: str) -> None:
        storage = JournalStorage(JournalFileBackend(str(path)))
        self._study = optuna.create_study(
            storage=storage, study_name=name, directions=self.goal.directions, load_if_exists=True
        )
        self.trials = {t.number: t for t in map(from_optuna, self._study.trials)}

    def keep(self, trial: Trial) -> None:
        """Writes the trial down, once."""
        if trial.number not in self.trials:
            self._study.add_trial(to_optuna(trial, self.goal))
            self.trials[trial.number] = trial


def _mend_file(path: Path) -> None:
    """Takes away what a killed attempt may have left: Optuna's lock, which would hold this one up for 30 s, and a line
    cut short, to which the next would be joined. The run is ours alone: `Journal` sees to that."""
    path.with_name(path.name + LOCK_FILE_SUFFIX).unlink(missing_ok=True)
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def tune(running: RunningStudies, family_name: str, fold: str) -> None:
    """Searches until there are enough trials or no time."""
    plan = running.plan
    study = make_study(plan, family_name, fold)
    store = StudyFile(plan, family_name, fold)
    running.trials[family_name, fold] = study.told
    _recall_batches(running, study, store)
    while count := _count_wanted(running, study):
        trials = study.ask(count)
        if not trials:
            break
        outcomes = _evaluate_batch(running, study, trials)
        if running.stopped:  # what was cut short is no result: a resume asks the same batch again
            return
        batch = _prefer_stored(store, trials, outcomes)
        for trial in batch:
            store.keep(trial)
        study.tell(batch)
        running.tell_others()
        checkpoints.remove_checkpoints(plan.context.folder, _locate_fits(plan, study), find_reachable(study.told))
        for trial in batch:
            _report_trial(running, study, trial)
        if len(outcomes) < len(trials):
            break
    _recall_rest(running, study, store)
    checkpoints.remove_checkpoints(plan.context.folder, _locate_fits(plan, study))


def record_broken_study(running: RunningStudies, family_name: str, fold: str, error: Exception) -> None:
    """Says that a study ended with an error; its trials until then count, and nobody waits for it."""
    reason = shorten(f"{type(error).__name__}: {error}", 200)
    running.broken[family_name, fold] = reason
    running.tell_others()
    running.plan.context.note(f"{family_name} ended early on fold {fold} ({reason}). Its trials until then count.")


def _locate_fits(plan: RunPlan, study: Study) -> str:
    """The folder of the study's results."""
    return str(Path(plan.make_job(study.family.name, study.fold, 0, {}).file).parent.parent)


def _recall_batches(running: RunningStudies, study: Study, store: StudyFile) -> None:
    """Takes up whole batches of an earlier attempt; a batch that was cut short is asked again, its fits are on disk."""
    count = next(n for n in itertools.count() if n not in store.trials)
    end = 1 + (count - 1) // BATCH * BATCH if count else 0
    study.recall([store.trials[n] for n in range(end)])
    limit = running.plan.run.search.trials
    if limit and end < count and len(study.ask(_count_wanted(running, study))) == count - end:
        study.recall([store.trials[n] for n in range(end, count)])  # it was the last, and smaller than others
    _mend_results(running, study)
    _report_recalled(running, study, study.told)


def _mend_results(running: RunningStudies, study: Study) -> None:
    """Fits once more what is damaged, or lost, of an earlier attempt's results: the end needs their predictions."""
    plan = running.plan
    parts = [replace(t, scores=t.scores[:j]) for t in study.told for j in range(len(t.scores)) if t.state == "complete"]
    for part in parts:
        _remember_fit(running, study, part)
    gaps = [
        part for part in parts if worker.read_finished_fit(_make_job(plan, study, part), plan.context.folder) is None
    ]
    for future in [_submit_fit(running, study, part, needed=True) for part in gaps]:
        future.result()


def _report_recalled(running: RunningStudies, study: Study, trials: Sequence[Trial]) -> None:
    """Tells the ledger and everyone else of trials of an earlier attempt."""
    plan, name = running.plan, study.family.name
    for trial in trials:
        for inner in range(len(trial.scores)):
            file = plan.make_job(name, study.fold, trial.number, {}, inner=inner).file
            result = plan.context.folder.try_json(f"{file}.json")
            if result and not result["taken"]:
                sizes = {key: result.get(key, 0) for key in ("model_mb", "arrays")}
                plan.context.ledger.book_fit(name, result["seconds"], result["preparing"], result["end"], **sizes)
        _report_trial(running, study, trial)


def _prefer_stored(store: StudyFile, trials: list[Trial], outcomes: list[Trial]) -> list[Trial]:
    """What came of the batch; what an earlier attempt wrote down of it stands, for a later one will recall that."""
    batch = {t.number: t for t in outcomes} | {
        t.number: store.trials[t.number] for t in trials if t.number in store.trials
    }
    return [batch[n] for n in sorted(batch)]


def _recall_rest(running: RunningStudies, study: Study, store: StudyFile) -> None:
    """Takes up the start of a batch that is not asked again because the time is up: it has its results."""
    numbers = itertools.takewhile(store.trials.__contains__, itertools.count(len(study.told)))
    trials = [store.trials[n] for n in numbers]
    study.recall(trials)
    _report_recalled(running, study, trials)


def _count_wanted(running: RunningStudies, study: Study) -> float:
    """How many configurations to ask for now, parts of one counted by their share; 0 to stop."""
    count, limit = study.spent, running.plan.scope.trials or running.plan.run.search.trials
    if limit is not None:
        return max(0.0, limit - count)
    if not count:
        return 1
    if count >= MOST_TRIALS or not running.may_search() or _is_screened_out(running, study):
        return 0
    return BATCH


def _is_screened_out(running: RunningStudies, study: Study) -> bool:
    """Whether better families have this fold to themselves: after the default the best six go on (fewer where time is
    short), after 5 configurations the best three, after 13 the best two. By inner scores of this fold alone, so it is
    part of the procedure that is judged."""
    count = study.spent
    if len(study.told) == 1:
        _await_defaults(running, study.fold)
    plan, studies = running.plan, running.take_snapshot(study.fold)
    places = plan.scope.tuned if count < 5 else 3 if count < 13 else 2
    if not plan.goal.plain:
        ranking = rank_families(studies, study.fold)
        return ranking.index(study.family.name) >= places if study.family.name in ranking else count >= 5
    best = study.best
    if best is None:
        return count >= 5
    rivals = [find_best_trial(trials, plan.metric) for trials in studies.list_trials(study.fold).values()]
    gains = [plan.metric.gain(r.inner) for r in rivals if r is not None and r.inner is not None]
    rank = sum(gain > plan.metric.gain(best.inner or 0.0) for gain in gains)
    return rank >= places


def _await_defaults(running: RunningStudies, fold: str) -> None:
    """Waits until every family has its default behind it in this fold. Their fits go before any other's."""

    def has_default(name: str) -> bool:
        return bool(running.trials.get((name, fold))) or (name, fold) in running.broken

    while running.may_search():
        if running.wait_until(lambda: all(map(has_default, running.plan.scope.families)), timeout=0.5):
            return


def _evaluate_batch(running: RunningStudies, study: Study, batch: list[Trial]) -> list[Trial]:
    """The batch with what came of it, in order; configurations that the clock kept from beginning are left out."""
    plan, best = running.plan, study.best
    futures: dict[Future[FitResult], Trial] = {}
    results: dict[int, Trial] = {}

    def go_on(trial: Trial) -> None:
        if len(trial.scores) == _divide_trial(plan, study, trial)[0]:
            results[trial.number] = replace(trial, state="complete" if trial.share >= 1 else "pruned")
        elif trial.stoppable and not plan.goal.several and is_hopeless(trial.scores, best, plan.metric):
            results[trial.number] = replace(trial, state="pruned")
        else:
            futures[_submit_fit(running, study, trial)] = trial

    for trial in batch:
        go_on(replace(trial, start=time.time()))
    while futures:
        for future in wait(futures, return_when=FIRST_COMPLETED).done:
            trial = futures.pop(future)
            try:
                go_on(_add_fold_result(plan.context.ledger, study, trial, future.result()))
            except FitError as error:
                if is_full(error):  # of no configuration's making: a resume fits it again
                    raise make_full_disk_error(error) from None
                if trial.scores or error.reason != NEVER_RUN:
                    result = replace(trial, state=error.state, reason=error.reason, end=time.time())
                    results[trial.number] = result
    return [results[n] for n in sorted(results)]


def _divide_trial(plan: RunPlan, study: Study, trial: Trial) -> tuple[int, float]:
    """How many inner folds the trial is fitted on, and the share of a fit on each."""
    return divide_share(study.family, trial.share, len(plan.folds[study.fold].inner))


def _find_same_trial(study: Study, trial: Trial) -> int | None:
    """The trial that came furthest with this configuration, at no larger share: what it fitted whole of an inner fold
    need not be fitted again. None: there is none."""
    candidates = [t for t in study.told if t.share <= trial.share and t.config == trial.config and not trial.goes_on]
    return max(candidates, key=lambda t: (t.share, len(t.scores), -t.number)).number if candidates else None


def _make_job(plan: RunPlan, study: Study, trial: Trial) -> FitJob:
    """The trial's fit on its next inner fold."""
    same, inner = _find_same_trial(study, trial), len(trial.scores)
    again = None if same is None else plan.make_job(study.family.name, study.fold, same, {}, inner=inner).file
    return plan.make_job(
        study.family.name, study.fold, trial.number, trial.config, inner=inner,
        share=_divide_trial(plan, study, trial)[1], again=again,
        goes_on=trial.parent if trial.goes_on else None, gradient=trial.gradient is not None,
    )  # fmt: skip


def _may_share(plan: RunPlan, job: FitJob) -> bool:
    """Whether the fit is the same for another fold: trained on the same rows, from nothing, and not for the gradient on
    this fold's own validation rows."""
    return bool(plan.folds[job.fold].partners) and job.goes_on is None and not job.gradient


def _remember_fit(running: RunningStudies, study: Study, part: Trial) -> None:
    """Notes an earlier attempt's fit, whole, which a fold that shares it may take over."""
    if _may_share(running.plan, job := _make_job(running.plan, study, part)):
        running.shared_fits.remember(replace(job, again=None), running.plan.folds[study.fold])


def _submit_fit(running: RunningStudies, study: Study, trial: Trial, needed: bool = False) -> Future[FitResult]:
    """The fit, asked for. One that the end needs is done before all others, and is not cancelled when time is short."""
    plan = running.plan
    job = _make_job(plan, study, trial)
    order = list(plan.scope.families).index(study.family.name)
    turn = _measure_turn(plan, study.family.name, (trial.number + BATCH - 1) // BATCH)
    place = list(plan.folds).index(study.fold)
    limit = plan.context.ledger.limit_refit() if needed else running.deadline.limit_fit(study.family.name)
    stage = JUDGE if needed else SEARCH

    def submit(job: FitJob) -> Future[FitResult]:
        return plan.context.pool.submit(
            worker.run_fit, job, priority=(stage, turn, order, place, trial.number), timeout=limit
        )

    if _may_share(plan, job) and job.again is None:
        return running.shared_fits.submit(job, plan.folds[study.fold], submit)
    return submit(job)


def _measure_turn(plan: RunPlan, family_name: str, batch: int) -> float:
    """When a batch has its turn: the defaults first, then a batch of each family, then each family for as many
    core-seconds as any other, so that what is quick tries more. The same in all folds, whenever the time is up."""
    return batch if batch <= 1 else 1 + (batch - 1) * plan.default_seconds.get(family_name, 1.0)


def _add_fold_result(ledger: Ledger, study: Study, trial: Trial, result: FitResult) -> Trial:
    """The trial with one more inner fold."""
    if not result.taken:
        ledger.book_fit(
            study.family.name, result.seconds, result.preparing, result.end, None, result.model_mb, result.arrays
        )
    if result.score is None or not math.isfinite(result.score):
        raise FitError("failed", "its predictions are such that the metric has no value")
    for name, value in result.measures.items():
        if not math.isfinite(value):
            raise FitError("failed", f"its predictions are such that {name} has no value")
    count = len(trial.scores)
    return replace(
        trial,
        scores=(*trial.scores, result.score),
        gradient=trial.gradient
        if result.gradient is None
        else _update_mean(trial.gradient or {}, result.gradient, count),
        measures=_update_mean(trial.measures, result.measures, count),
        rounds=trial.rounds if result.rounds is None else (*trial.rounds, result.rounds),
        seconds=trial.seconds + result.seconds,
        peak_mb=max(trial.peak_mb, result.peak_mb),
        start=min(trial.start, result.start),
        end=max(trial.end, result.end),
    )


def _update_mean(means: Mapping[str, float], values: Mapping[str, float], count: int) -> dict[str, float]:
    """The mean over the inner folds before, and one more."""
    return {name: (means.get(name, 0.0) * count + value) / (count + 1) for name, value in values.items()}


def _report_trial(running: RunningStudies, study: Study, trial: Trial) -> None:
    """Tells the screen and MLflow of a told trial."""
    name, fold = study.family.name, study.fold
    leader = pick_family_trial(running.take_snapshot(fold), name, fold)
    is_best = leader is not None and leader.number == trial.number
    events.emit(events.TrialEvent(name, fold, trial.number, trial.state, trial.inner, is_best, trial.share))
    running.plan.context.record(
        f"{name}/{fold}/{trial.number}",
        "trial",
        parent=f"{name}/{fold}",
        params={**trial.params, **describe_changes(trial.config)},
        metrics={**trial.measures, "seconds": trial.seconds, "peak_mb": trial.peak_mb}
        | ({"share": trial.share} if trial.share < 1 else {})
        | ({"inner": trial.inner} if trial.inner is not None else {}),
        series={"score": trial.scores} if trial.scores else {},
        tags={"nestor.state": trial.state}
        | ({"nestor.reason": trial.reason} if trial.reason else {})
        | ({"nestor.parent": str(trial.parent)} if trial.parent is not None else {}),
        status=STATUS_OF_STATE[trial.state],
        start=trial.start,
        end=trial.end,
    )


def refit(
    plan: RunPlan, family_name: str, fold: str, trial: Trial, with_sealed: bool = False, needed: bool = True,
    last: float | None = None,
) -> FitResult | None:  # fmt: skip
    """The configuration fitted on the fold's whole training part, scored on B_k; None, and where it is `needed` a note,
    where that failed. What is needed goes first, and a `last` resort has so many seconds,
    however late it is."""
    context = plan.context
    job = plan.make_job(family_name, fold, trial.number, trial.refit_config, with_sealed=with_sealed)
    priority, limit = (JUDGE, not needed), context.ledger.limit_refit()
    if last is not None:
        priority, limit = (LAST, 0), last
    try:
        result = context.pool.submit(worker.run_fit, job, priority=priority, timeout=limit).result()
    except FitError as error:
        if is_full(error):
            raise make_full_disk_error(error) from None
        if needed:
            context.note(f"{family_name} could not be refitted on fold {fold}: {error.reason}.")
        return None
    sizes = result.model_mb, result.arrays
    context.ledger.book_fit(family_name, result.seconds, result.preparing, result.end, job.file, *sizes)
    return result


@contextmanager
def limit_search_time(
    running: RunningStudies, refit_ahead: Callable[[Studies], Sequence[str]] | None = None
) -> Iterator[None]:
    """Inside the block the search ends, running fits included, when what is left is needed for the end: for good, and
    those fits too that a study was about to ask for. From now on the run may take the overtime that its end needs.

    When the time of the refits comes, `refit_ahead` makes them for what is best so far, before all other fits, and says
    of which families the members are. Meanwhile the search goes on with the cores that these leave idle, and afterwards
    in the time that they turned out not to need."""
    context, ahead = running.plan.context, RefitsAhead(running, refit_ahead)
    context.overtime = running.deadline.allow_overtime

    def look() -> None:
        if running.deadline.is_end_due():
            ahead.begin()
        if not running.may_search():
            running.end_search()
            context.pool.cancel(lambda priority: priority[0] == SEARCH)

    with keep_watch(look, "search"):
        yield
        ahead.wait()


class RefitsAhead:
    """Refits of what is best so far, made once, beside the search."""

    def __init__(self, running: RunningStudies, refit_ahead: Callable[[Studies], Sequence[str]] | None):
        """Nothing is begun; None: nothing will be."""
        self._running, self._refit = running, refit_ahead
        self._thread: threading.Thread | None = None
        running.deadline.awaits_refits = refit_ahead is not None and running.plan.context.ledger.limit is not None

    def begin(self) -> None:
        """Begins, the first time that it is asked to."""
        if self._thread is None and self._running.deadline.awaits_refits:
            self._thread = threading.Thread(target=self._make_refits, daemon=True, name="refits ahead")
            self._thread.start()

    def wait(self) -> None:
        """Returns when what was begun has ended."""
        if self._thread is not None:
            self._thread.join()

    def _make_refits(self) -> None:
        deadline, studies = self._running.deadline, self._running.take_snapshot()
        try:
            assert self._refit is not None
            deadline.settle(studies.trials, self._refit(studies))
        except Exception:  # the end makes the same refits, and says what is wrong with them
            log.warning("Refits beside the search ended early.", exc_info=True)
        finally:
            deadline.awaits_refits = False


@contextmanager
def limit_refit_time(context: RunContext) -> Iterator[None]:
    """Inside the block refits end in time to register: those for the leaderboard when what is left is needed for that
    and the way out, and soon after them all others. What is refitted by then is delivered."""
    end = time.monotonic() + max(LEAST, context.ledger.limit_refit())

    def look() -> None:
        if time.monotonic() > end:
            context.pool.cancel(lambda priority: priority[0] == JUDGE)
        elif not context.ledger.may_judge():
            context.pool.cancel(lambda priority: priority == (JUDGE, True))

    with keep_watch(look, "judging") if context.ledger.limit is not None else nullcontext():
        yield
