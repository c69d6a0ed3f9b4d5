"""One family on one outer fold: its search among the fold's training rows.

The unit of retry and of placement. It runs in a thread that mostly waits: fits happen in the pool. A finished trial is
in the study's file, its predictions in the run's folder, before it counts."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
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
from tasks.execution import checkpoints, worker
from tasks.execution.job import Fit, Job
from tasks.execution.pool import JUDGE, LAST, NEVER_RUN, SEARCH, FitError
from tasks.planning.studies import study_of
from tasks.run import events
from tasks.run.journal import STATUS_OF_STATE
from tasks.session import Session, tried
from tasks.system.disk import full, is_full
from tasks.tuning.selection import of_family, ranking

log = logging.getLogger("nestor.tune")


LEAST = 10.0
"""Seconds that refits together have always: without them there is no model."""


class Store:
    """The study's file: told trials, by number."""

    def __init__(self, session: Session, family_name: str, fold: str):
        """Opens the file, new or of an earlier session."""
        path = session.workdir.path / "studies" / f"{family_name}-{fold}.log"
        path.parent.mkdir(exist_ok=True)
        self.goal = session.goal
        _mend(path)
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


def _mend(path: Path) -> None:
    """Takes away what a killed session may have left: Optuna's lock, which would hold this one up for 30 s, and a line
    cut short, to which the next would be joined. The run is ours alone: `Journal` sees to that."""
    path.with_name(path.name + LOCK_FILE_SUFFIX).unlink(missing_ok=True)
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def tune(session: Session, family_name: str, fold: str) -> None:
    """Searches until there are enough trials or no time."""
    study = study_of(session, family_name, fold)
    store = Store(session, family_name, fold)
    session.trials[family_name, fold] = study.told
    _recall(session, study, store)
    while most := _wanted(session, study):
        asked = study.ask(most)
        if not asked:
            break
        came = _evaluated(session, study, asked)
        if session.stopped:  # what was cut short is no result: a resume asks the same batch again
            return
        batch = _or_kept(store, asked, came)
        for trial in batch:
            store.keep(trial)
        study.tell(batch)
        with session.news:
            session.news.notify_all()
        checkpoints.tidy(session.workdir, _fits(session, study), find_reachable(study.told))
        for trial in batch:
            _report(session, study, trial)
        if len(came) < len(asked):
            break
    _recall_rest(session, study, store)
    checkpoints.tidy(session.workdir, _fits(session, study))


def broke(session: Session, family_name: str, fold: str, error: Exception) -> None:
    """Says that a study ended with an error; its trials until then count, and nobody waits for it."""
    reason = shorten(f"{type(error).__name__}: {error}", 200)
    session.broken[family_name, fold] = reason
    with session.news:
        session.news.notify_all()
    session.note(f"{family_name} ended early on fold {fold} ({reason}). Its trials until then count.")


def _fits(session: Session, study: Study) -> str:
    """The folder of the study's results."""
    return str(Path(session.job(study.family.name, study.fold, 0, {}).file).parent.parent)


def _recall(session: Session, study: Study, store: Store) -> None:
    """Takes up whole batches of an earlier session; a batch that was cut short is asked again, its fits are on disk."""
    count = next(n for n in itertools.count() if n not in store.trials)
    whole = 1 + (count - 1) // BATCH * BATCH if count else 0
    study.recall([store.trials[n] for n in range(whole)])
    if session.run.search.trials and whole < count and len(study.ask(_wanted(session, study))) == count - whole:
        study.recall([store.trials[n] for n in range(whole, count)])  # it was the last, and smaller than others
    _made_whole(session, study)
    _recalled(session, study, study.told)


def _made_whole(session: Session, study: Study) -> None:
    """Fits once more what is damaged, or lost, of an earlier session's results: the end needs their predictions."""
    parts = [replace(t, scores=t.scores[:j]) for t in study.told for j in range(len(t.scores)) if t.state == "complete"]
    lost = [part for part in parts if worker.finished(_job(session, study, part), session.workdir) is None]
    for again in [_submit(session, study, part, needed=True) for part in lost]:
        again.result()


def _recalled(session: Session, study: Study, trials: Sequence[Trial]) -> None:
    """Tells the ledger and everyone else of trials of an earlier session."""
    for trial in trials:
        for inner in range(len(trial.scores)):
            file = session.job(study.family.name, study.fold, trial.number, {}, inner=inner).file
            done = session.workdir.kept_json(f"{file}.json")
            if done and not done["taken"]:
                session.ledger.fitted(study.family.name, done["seconds"], done["preparing"], done["end"])
        _report(session, study, trial)


def _or_kept(store: Store, asked: list[Trial], came: list[Trial]) -> list[Trial]:
    """What came of the batch; what an earlier session wrote down of it stands, for a later one will recall that."""
    every = {t.number: t for t in came} | {t.number: store.trials[t.number] for t in asked if t.number in store.trials}
    return [every[n] for n in sorted(every)]


def _recall_rest(session: Session, study: Study, store: Store) -> None:
    """Takes up the start of a batch that is not asked again because the time is up: it has its results."""
    numbers = itertools.takewhile(store.trials.__contains__, itertools.count(len(study.told)))
    rest = [store.trials[n] for n in numbers]
    study.recall(rest)
    _recalled(session, study, rest)


def _wanted(session: Session, study: Study) -> float:
    """How many configurations to ask for now, parts of one counted by their share; 0 to stop."""
    spent, wanted = study.spent, session.level.trials or session.run.search.trials
    if wanted is not None:
        return max(0.0, wanted - spent)
    if not spent:
        return 1
    if spent >= MOST_TRIALS or not session.may_search() or _screened(session, study):
        return 0
    return BATCH


def _screened(session: Session, study: Study) -> bool:
    """Whether better families have this fold to themselves: after the default the best six go on (fewer where time is
    short), after 5 configurations the best three, after 13 the best two. By inner scores of this fold alone, so it is
    part of the procedure that is judged."""
    spent = study.spent
    if len(study.told) == 1:
        _defaults_told(session, study.fold)
    places = session.level.tuned if spent < 5 else 3 if spent < 13 else 2
    if not session.goal.plain:
        ranked = ranking(session, study.fold)
        return ranked.index(study.family.name) >= places if study.family.name in ranked else spent >= 5
    mine = study.best
    if mine is None:
        return spent >= 5
    rivals = [find_best_trial(trials, session.metric) for trials in tried(session, study.fold).values()]
    gains = [session.metric.gain(r.inner) for r in rivals if r is not None and r.inner is not None]
    better = sum(gain > session.metric.gain(mine.inner or 0.0) for gain in gains)
    return better >= places


def _defaults_told(session: Session, fold: str) -> None:
    """Waits until every family has its default behind it in this fold. Their fits go before any other's."""

    def told(name: str) -> bool:
        return bool(session.trials.get((name, fold))) or (name, fold) in session.broken

    while session.may_search():
        with session.news:
            if session.news.wait_for(lambda: all(map(told, session.level.families)), timeout=0.5):
                return


def _evaluated(session: Session, study: Study, asked: list[Trial]) -> list[Trial]:
    """The batch with what came of it, in order; configurations that the clock kept from beginning are left out."""
    best = study.best
    running: dict[Future[Fit], Trial] = {}
    finished: dict[int, Trial] = {}

    def go_on(trial: Trial) -> None:
        if len(trial.scores) == _parts(session, study, trial)[0]:
            finished[trial.number] = replace(trial, state="complete" if trial.share >= 1 else "pruned")
        elif trial.stoppable and not session.goal.several and is_hopeless(trial.scores, best, session.metric):
            finished[trial.number] = replace(trial, state="pruned")
        else:
            running[_submit(session, study, trial)] = trial

    for trial in asked:
        go_on(replace(trial, start=time.time()))
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            trial = running.pop(future)
            try:
                go_on(_with(session, study, trial, future.result()))
            except FitError as error:
                if is_full(error):  # of no configuration's making: a resume fits it again
                    raise full(error) from None
                if trial.scores or error.reason != NEVER_RUN:
                    ended = replace(trial, state=error.state, reason=error.reason, end=time.time())
                    finished[trial.number] = ended
    return [finished[n] for n in sorted(finished)]


def _parts(session: Session, study: Study, trial: Trial) -> tuple[int, float]:
    """How many inner folds the trial is fitted on, and the share of a fit on each."""
    return divide_share(study.family, trial.share, len(session.folds[study.fold].inner))


def _again(study: Study, trial: Trial) -> int | None:
    """The trial that came furthest with this configuration, at no larger share: what it fitted whole of an inner fold
    need not be fitted again. None: there is none."""
    alike = [t for t in study.told if t.share <= trial.share and t.config == trial.config and not trial.goes_on]
    return max(alike, key=lambda t: (t.share, len(t.scores), -t.number)).number if alike else None


def _job(session: Session, study: Study, trial: Trial) -> Job:
    """The trial's fit on its next inner fold."""
    return session.job(
        study.family.name, study.fold, trial.number, trial.config, inner=len(trial.scores),
        share=_parts(session, study, trial)[1], again=_again(study, trial),
        goes_on=trial.parent if trial.goes_on else None, gradient=trial.gradient is not None,
    )  # fmt: skip


def _submit(session: Session, study: Study, trial: Trial, needed: bool = False) -> Future[Fit]:
    """The fit, asked for. One that the end needs is done before all others, and is not cancelled when time is short."""
    job = _job(session, study, trial)
    order = list(session.level.families).index(study.family.name)
    batch = (trial.number + BATCH - 1) // BATCH
    place = list(session.folds).index(study.fold)
    limit = session.refit_limit() if needed else session.fit_limit(study.family.name)
    stage = JUDGE if needed else SEARCH
    return session.fits.submit(worker.run, job, priority=(stage, batch, order, place, trial.number), timeout=limit)


def _with(session: Session, study: Study, trial: Trial, done: Fit) -> Trial:
    """The trial with one more inner fold."""
    if not done.taken:
        session.ledger.fitted(study.family.name, done.seconds, done.preparing, done.end)
    if done.score is None or not math.isfinite(done.score):
        raise FitError("failed", "its predictions are such that the metric has no value")
    for name, value in done.measures.items():
        if not math.isfinite(value):
            raise FitError("failed", f"its predictions are such that {name} has no value")
    before = len(trial.scores)
    return replace(
        trial,
        scores=(*trial.scores, done.score),
        gradient=trial.gradient if done.gradient is None else _mean(trial.gradient or {}, done.gradient, before),
        measures=_mean(trial.measures, done.measures, before),
        rounds=trial.rounds if done.rounds is None else (*trial.rounds, done.rounds),
        seconds=trial.seconds + done.seconds,
        peak_mb=max(trial.peak_mb, done.peak_mb),
        start=min(trial.start, done.start),
        end=max(trial.end, done.end),
    )


def _mean(so_far: Mapping[str, float], new: Mapping[str, float], before: int) -> dict[str, float]:
    """The mean over the inner folds before, and one more."""
    return {name: (so_far.get(name, 0.0) * before + value) / (before + 1) for name, value in new.items()}


def _report(session: Session, study: Study, trial: Trial) -> None:
    """Tells the screen and MLflow of a told trial."""
    name, fold = study.family.name, study.fold
    found = of_family(session, name, fold)
    best = found is not None and found.number == trial.number
    events.emit(events.Tried(name, fold, trial.number, trial.state, trial.inner, best, trial.share))
    session.record(
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
    session: Session, family_name: str, fold: str, trial: Trial, with_sealed: bool = False, needed: bool = True,
    last: float | None = None,
) -> Fit | None:  # fmt: skip
    """The configuration fitted on the fold's whole training part, scored on B_k; None, and where it is `needed` a note,
    where that failed. What is needed goes first, and a `last` resort has so many seconds,
    however late it is."""
    job = session.job(family_name, fold, trial.number, trial.refit_config, with_sealed=with_sealed)
    priority, limit = (JUDGE, not needed), session.refit_limit()
    if last is not None:
        priority, limit = (LAST, 0), last
    try:
        done = session.fits.submit(worker.run, job, priority=priority, timeout=limit).result()
    except FitError as error:
        if is_full(error):
            raise full(error) from None
        if needed:
            session.note(f"{family_name} could not be refitted on fold {fold}: {error.reason}.")
        return None
    if job.file not in session.refitted:
        session.refitted.add(job.file)
        session.ledger.fitted(family_name, done.seconds, done.preparing, done.end)
    return done


def stop_in_time(session: Session, done: threading.Event) -> None:
    """Ends the search, running fits included, when what is left is needed for the end: for good, and those fits too
    that a study was about to ask for. Runs in a thread of its own."""
    while not done.wait(0.2):
        if not session.may_search():
            session.search_over = True
            session.fits.cancel(lambda priority: priority[0] == SEARCH)


@contextmanager
def judging_in_time(session: Session) -> Iterator[None]:
    """Inside the block refits end in time to register: those for the leaderboard when what is left is needed for that
    and the way out, and soon after them all others. What is refitted by then is delivered."""
    over = threading.Event()
    if session.ledger.limit is not None:
        until = time.monotonic() + max(LEAST, session.refit_limit())
        threading.Thread(target=_end_refits, args=(session, until, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _end_refits(session: Session, until: float, over: threading.Event) -> None:
    while not over.wait(0.2):
        if time.monotonic() > until:
            session.fits.cancel(lambda priority: priority[0] == JUDGE)
        elif not session.may_judge():
            session.fits.cancel(lambda priority: priority == (JUDGE, True))
