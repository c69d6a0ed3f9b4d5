"""One run while it is at work: its table, folder, journal, pool and ledger, handed from stage to stage.

A plain class and not a value: stages fill it in order, and threads that tune share it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import psutil

from models.config import Run
from models.data.table import Finding
from models.errors import InputError, NestorError
from models.families import load_families
from models.splitting.sealing import is_same_seal
from models.splitting.split import ALL
from tasks.registry import signing
from tasks.run import events, wandb_mirror
from tasks.run import resume as earlier
from tasks.run.folder import Damaged, Workdir
from tasks.run.journal import Journal, Record
from tasks.run.ledger import EXIT, Ledger
from tasks.system import private, process
from tasks.system.libraries import installed
from tasks.tracking import seal_copy

if TYPE_CHECKING:
    from models.data.table import Table
    from models.metrics.metric import Metric
    from models.outcome import Unit
    from models.splitting.budget import RunPlan
    from models.splitting.repeats import UnitDecision
    from models.splitting.seal import Seal
    from models.splitting.split import Fold, SplitPlan
    from models.studies.warm_start import WarmStart
    from models.tuning.goal import Goal
    from models.tuning.trial import Trial
    from tasks.execution.job import Brief, Job
    from tasks.execution.pool import Pool
    from tasks.run.wandb_mirror import Mirror

T = TypeVar("T")

_HANGS = 3600.0
_AGREE = 10.0
"""Seconds that a run waits at most to hear whether MLflow holds another seal of its name."""

MEMBERS = 4
"""Members that a fold's ensemble is likely to have."""


class Session:
    """What the stages of one run share. Later members are there once their stage is over."""

    # read and check
    table: Table
    metric: Metric
    goal: Goal
    # seal
    work: Table
    seal: Seal | None = None
    seal_id: str | None = None
    made_of: tuple[str, ...]
    """What row keys are made of: columns, each with what its values are to a key."""
    distinct: int
    """How many work rows differ in these columns."""
    work_places: np.ndarray
    sealed_places: np.ndarray
    sealed: Table | None = None
    sealed_keys: np.ndarray
    keys: np.ndarray
    points: np.ndarray
    repeats: UnitDecision
    # shortlist
    plan: SplitPlan
    level: RunPlan
    folds: dict[str, Fold]
    brief: Brief
    warm: WarmStart | None = None
    # tune
    trials: dict[tuple[str, str], list[Trial]]

    def __init__(self, run: Run, name: str, workdir: Workdir, ledger: Ledger, journal: Journal):
        """A session before its first stage."""
        self.run, self.name, self.workdir, self.ledger, self.journal = run, name, workdir, ledger, journal
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.trials = {}
        self.news = threading.Condition()
        """For who waits until others have told of their first trials."""
        self._judging: tuple[int, tuple[float, float, float]] = (-1, (0.0, 0.0, 0.0))
        self.stages_done: set[str] = set()
        self.broken: dict[tuple[str, str], str] = {}
        """Studies that ended with an error, and which."""
        self.stopped = False
        self.search_over = False
        """Whether the search was ended, for good, because what is left is needed for the end."""
        self.openings = 0
        """How many runs of this name have opened the sealed rows, this one included."""
        self.refitted: set[str] = set()
        """Refits whose seconds are booked: one is asked for again where limits are looked at."""
        self.guessed: dict[str, float] = {}
        """Fold -> mean inner score of a constant prediction, once somebody asked."""
        self.default_seconds: dict[str, float] = {}
        self.model_mb: dict[str, float] = {}
        self.new_store = seal_copy.no_store(journal.tracking_uri)
        self._keeping: threading.Thread | None = None
        self._held_seal: dict[str, Any] | None = None
        self.recorded = journal.earlier
        self.pool: Pool | None = None
        self.mirror: Mirror | None = None
        self.workers = run.budget.workers or psutil.cpu_count() or 1

    def job(self, family_name: str, fold: str, trial: int, config: Any, **more: Any) -> Job:
        """A fit of this run's plan."""
        from tasks.execution.job import Job

        return Job(str(self.workdir.path), self.brief.plan, family_name, fold, trial, dict(config), **more)

    @property
    def began(self) -> datetime:
        """When this run was begun, before it was resumed: what `today` means in its data's address."""
        return datetime.fromtimestamp((self.workdir.kept_json("run.json") or {}).get("begun", time.time())).astimezone()

    def fixed(self, read: Callable[[str], T], name: str) -> T | None:
        """What an earlier session fixed before any trial, as `read` finds it by that name; None where there is none, or
        where it is damaged and no trial hangs on it yet. Damaged otherwise: trials of two plans are no one run."""
        try:
            return read(name)
        except Damaged:
            if self.tried:
                raise
            return None

    @property
    def tried(self) -> bool:
        """Whether the run's folder holds a search."""
        return any((self.workdir.path / "studies").glob("*"))

    @property
    def deliverable(self) -> bool:
        """Whether a configuration that keeps the limits was fitted on every inner fold of a fold that a model can be
        made of: then the run ends with a model. One that learns nothing counts only where no other is asked for."""
        from models.families import load_family

        if not self.trials:
            return False
        learns = any(load_family(name).tunable for name in self.level.families)
        return any(load_family(name).tunable or not learns for _, name, _ in last_resorts(self))

    @property
    def overtime(self) -> float:
        """Seconds beyond its budget, if it has one, after which a command is ended: a few, and where there is something
        to deliver as many as the last resort, the sealed rows and the way out may take."""
        usual = max(4.0, 0.04 * (self.ledger.limit or 0.0))
        if not self.deliverable:
            return usual
        return usual + 2 * self.last_limit() + self.sealed_limit() + self.ending()

    def may_search(self) -> bool:
        """Whether the clock allows more configurations."""
        if self.stopped or self.search_over:
            return False
        return self.ledger.limit is None or self.ledger.left > self.ending()

    def afford_end(self) -> None:
        """Raises BudgetError where the time does not do for an end and no earlier session has a trial to end with."""
        if not self.recorded:
            self.ledger.afford(self.ledger.registration)

    def grant_end(self) -> None:
        """Gives a run that was taken up again the time that its end needs, where clearly less is left: its trials are
        all there, and no resume would ever find more time."""
        short = self.ending() - self.ledger.left
        if self.recorded and short > EXIT:
            self.ledger.extend(short)
            self.note(f"This resumed run had too little of its budget left to finish, so it got {short:.0f} s more.")

    def ending(self) -> float:
        """Wall seconds that the end of this run needs, as seen from the fits so far: each fold's ensemble, which takes
        about as long as the best three configurations, and judging the best of other families as far as a tenth of the
        time goes."""
        from models.splitting.budget import REFIT

        count = sum(len(told) for told in list(self.trials.values()))
        if count != self._judging[0]:
            self._judging = count, self._judged()
        needed, others, longest = self._judging[1]
        # Once for each fold and kind of need, where the search did it for each inner fold.
        columns = REFIT * self.ledger.preparing / max(1, self.level.inner)
        needed, longest = needed + columns, longest + columns / len(self.folds)
        tenth = 0.1 * self.workers * (self.ledger.limit or 0.0)
        writing = self.journal.backlog() * self.journal.seconds_per_record()
        return writing + self.ledger.reserve(needed + min(others, tenth), longest, self.workers)

    def _judged(self) -> tuple[float, float, float]:
        """Core-seconds of what the end must fit, of what it fits for the leaderboard, and of the longest of these."""
        from models.splitting.budget import REFIT
        from models.tuning.goal import find_best_trial

        inner = max(1, self.level.inner)
        needed, others, longest = 0.0, 0.0, 0.0
        likely: list[str] = []
        for fold in self.folds:
            told = {name: tuple(trials) for (name, k), trials in list(self.trials.items()) if k == fold}
            bests = [
                (name, self.goal.best(trials) or find_best_trial(trials, self.metric)) for name, trials in told.items()
            ]
            ranked = sorted(((f, b) for f, b in bests if b), key=lambda b: -self.metric.gain(b[1].inner or 0.0))
            seconds = [REFIT * b.seconds_anew / inner for _, b in ranked]
            times = 2 if fold == ALL and self.joins_sealed else 1
            needed += times * REFIT * self._best_three(told) / inner
            others, longest = others + sum(seconds[1:]), max([longest, *seconds[:3]])
            likely += [f for f, _ in ranked[:3]]
        self._weigh(likely)
        return needed, others, longest

    def _best_three(self, told: Mapping[str, Sequence[Trial]]) -> float:
        """Core-seconds of the best three configurations of a fold, of whichever families."""
        whole = [trial for trials in told.values() for trial in trials if trial.inner is not None]
        best = sorted(whole, key=lambda t: -self.metric.gain(t.inner or 0.0))[:3]
        return sum(t.seconds_anew for t in best)

    @property
    def joins_sealed(self) -> bool:
        """Whether the fixed configuration is fitted once more, with the sealed rows."""
        rows = self.run.final.rows
        wanted = rows == "all" or (rows == "auto" and self.run.split.time is not None)
        return wanted and self.sealed is not None

    def _weigh(self, likely: Sequence[str]) -> None:
        """Tells the ledger about how large the delivered model will be, with members of these families."""
        sizes = [self.model_mb.get(name, 0.0) for name in likely]
        folds = 1 if len(self.folds) > self.level.outer else len(self.folds)
        self.ledger.weighs(sum(sizes) / max(1, len(sizes)), MEMBERS * folds)

    def fit_limit(self, family_name: str) -> float:
        """Seconds after which one fit of this family is stopped: only a hang where no clock may decide."""
        if self.ledger.limit is None:
            return _HANGS
        usual = self.default_seconds.get(family_name, self.ledger.limit / 10)
        return min(max(3.0, 10 * usual), max(1.0, self.ledger.left))

    def sealed_limit(self) -> float:
        """Seconds that predicting the sealed rows may take: without them there is no result, so it has some always."""
        return max(30.0, self.refit_limit())

    def refit_limit(self) -> float:
        """Seconds that one refit may take."""
        return _HANGS if self.ledger.limit is None else max(2.0, self.ledger.left - self.ledger.registration)

    def last_limit(self) -> float:
        """Seconds that the last resort may take, without which there is no model at all: only a hang, or a machine
        where all takes ten times as long, ends it."""
        from models.splitting.budget import REFIT

        first = [trial.seconds_anew for _, _, trial in last_resorts(self)[:1]]
        return max([60.0, *(10 * REFIT * seconds for seconds in first)])

    def may_judge(self) -> bool:
        """Whether there is time for more than registering and the way out."""
        return self.ledger.left > self.ledger.registration + EXIT

    def start_pool(self) -> None:
        """Starts the worker processes, each with its share of the memory that is free. InputError where that is too
        little for one to start."""
        from tasks.execution.pool import Pool, needed
        from tasks.system import memory

        asked, free = self.run.budget, memory.free() / 1e6
        limit = None if asked.memory is None else asked.memory * 1000
        cores = psutil.cpu_count() or 1
        self.workers, limit = memory.shared_out(asked.workers, limit, needed(), free, cores)
        if asked.workers is None and self.workers < cores:
            self.note(
                f"Memory does for {self.workers} worker processes, on {cores} cores: {free / 1000:.3g} GB are free."
            )
        self.pool = Pool(self.workers, limit, 1)

    @cached_property
    def kept_seal(self) -> dict[str, Any] | None:
        """How this name's rows were sealed before: by this run, before it was resumed, else by earlier ones."""
        own = self.fixed(self.workdir.read_json, "seal.json")
        return own or seal_copy.kept(self.name, self.journal.tracking_uri, self.stored_seal)

    def stored_seal(self) -> dict[str, Any] | None:
        """The seal that MLflow holds; a store that was not there when the run began holds none."""
        return None if self.new_store else self.journal.call("seal_settings", name=self.name)

    def keep_seal(self, settings: Mapping[str, Any]) -> None:
        """Writes the seal down for this run and for later ones, and has MLflow keep it, without waiting for that."""
        whole = seal_copy.keep(self.name, self.journal.tracking_uri, settings)
        self.workdir.write_json("seal.json", whole)

        def keep() -> None:
            with suppress(NestorError):  # the store is down: the copy of our own holds until a later run
                self._held_seal = self.journal.call("keep_seal_settings", settings=whole, name=self.name)

        self._keeping = threading.Thread(target=keep, daemon=True)
        self._keeping.start()

    def agree_on_seal(self) -> None:
        """Waits until MLflow holds the seal. NestorError where the name has another one there, which a run elsewhere
        has drawn, and nothing was trained yet."""
        if self._keeping is None or self.tried or self.new_store:
            return
        self._keeping.join(_AGREE)
        held, own = self._held_seal, self.workdir.read_json("seal.json")
        if held is None or (is_same_seal(held, own) and held.get("cut") == own.get("cut")):
            return
        seal_copy.keep(self.name, self.journal.tracking_uri, held)
        (self.workdir.path / "seal.json").unlink()
        raise NestorError(
            f"The rows of {self.name} are sealed otherwise in MLflow than in this folder: another run has drawn seal "
            f"number {held.get('number', 1)} ({held.get('why', 'its first')}). Nothing was trained. The same command "
            "again goes by that seal."
        )

    def count_opening(self) -> None:
        """Has MLflow count that this seal was opened, once for each run; from the second time on says what follows."""
        if self.seal_id is None:
            return
        self.openings = self.journal.call("count_opening", seal_id=self.seal_id)
        if self.openings > 1:
            self.note("Choosing among runs by their test scores makes these look too good, a little more each time.")

    def unit(self, keys: np.ndarray) -> Unit:
        """What a bootstrap draws by these keys."""
        if self.work.group is not None:
            return "group"
        if self.work.time is not None:
            return "block"
        return "point" if len(np.unique(keys)) < len(keys) else "row"

    @property
    def fits(self) -> Pool:
        """The pool, once it is there."""
        assert self.pool is not None, "the pool starts when the table is read"
        return self.pool

    def once(self, name: str, stage: Callable[[Session], None]) -> None:
        """Runs a stage unless it was run."""
        if name not in self.stages_done:
            stage(self)
            self.stages_done.add(name)

    def stop(self) -> None:
        """Ends every fit at once; threads that tune come to their end."""
        self.stopped = True
        if self.pool is not None:
            self.pool.close()

    def note(self, text: str) -> None:
        """Keeps a sentence for the report and says it now."""
        if text not in self.notes:
            self.notes.append(text)
            events.emit(events.Said(text))

    def found(self, findings: tuple[Finding, ...] | list[Finding]) -> None:
        """Keeps what a check found and shows it."""
        for finding in findings:
            self.findings.append(finding)
            events.emit(events.Saw(finding))

    def record(self, key: str, kind: Any, **values: Any) -> None:
        """Tells MLflow, by way of the journal; a run that had ended when an earlier session died is not told again."""
        record = Record(key=key, kind=kind, **values)
        if key not in self.recorded:
            self.journal.record(record)

    def own(self, state: str = "running", **more: Any) -> None:
        """Writes down whose run this is, how far it came, and the seconds it had used at what moment."""
        kept = self.workdir.kept_json("run.json") or {}
        fixed = {
            "run": earlier.described(self.run), "name": self.name, "begun": kept.get("begun", time.time()),
            "libraries": installed(),
        }  # fmt: skip
        now = {**process.facts(), "state": state, "used": self.ledger.elapsed, "at": time.time()}
        self.workdir.write_json("run.json", {**kept, **fixed, **now, **more})

    def close(self) -> None:
        """Ends the pool and what copies the journal."""
        if self.pool is not None:
            self.pool.close()
        if self.mirror is not None:
            self.mirror.close(kill=self.journal.empty)
        self.journal.close()


@contextmanager
def opened(run: Run, resume: str | None, origin: float) -> Iterator[Session]:
    """A session over a new folder, or with `resume` ("" for the newest, or a run) over an interrupted run's."""
    wandb_mirror.check(run)
    signing.check()
    name = earlier.model_name(run)
    workdir = earlier.interrupted(run, name, resume) if resume is not None else None
    if resume is not None and workdir is None:
        none = "no earlier run has these settings and versions of libraries"
        events.emit(events.Said(f"Nothing to resume: {none}. A new run begins."))
    kept = workdir.read_json("run.json") if workdir else {}
    if workdir and process.lives(kept):
        raise InputError(f"The run in {workdir.path} is still going on, in process {kept['pid']}.")
    workdir = workdir or earlier.fresh(name)
    private.made(workdir.path)
    ledger = Ledger(run.seconds, origin, earlier.seconds_used(workdir, kept))
    session = Session(run, name, workdir, ledger, Journal(workdir.path, name))
    session.own()
    try:
        session.mirror = wandb_mirror.started(run, workdir.path)
        yield session
    except BaseException:
        with suppress(OSError):  # on a full disk: whose the run is tells that it has ended
            session.own("stopped")
        raise
    finally:
        session.close()
        if session.journal.empty and not session.tried:  # the table was refused: there is nothing to go on with
            shutil.rmtree(workdir.path, ignore_errors=True)


Tried = Mapping[str, Sequence["Trial"]]
"""Family -> its trials in one fold."""


def tried(session: Session, fold: str) -> Tried:
    """The fold's trials by family, in the plan's order: what is equal is decided by it, and not by who was first."""
    told = {name: session.trials.get((name, fold)) for name in session.level.families}
    return {name: tuple(trials) for name, trials in told.items() if trials is not None}


def last_resorts(session: Session) -> list[tuple[str, str, Trial]]:
    """Fold, family and trial of every complete configuration that keeps the limits by inner values, in a fold that a
    model can be made of; what learns something first, then the quicker."""
    goal = session.goal
    folds = [ALL] if ALL in session.folds and not goal.plain else list(session.folds)
    found = [
        (fold, name, trial)
        for fold in folds
        for name, trials in tried(session, fold).items()
        for trial in goal.complete(trials)
        if goal.keeps(trial)
    ]
    return sorted(found, key=lambda one: (not load_families()[one[1]].tunable, one[2].seconds_anew))
