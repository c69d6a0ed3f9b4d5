"""One run while it is at work: its table, folder, journal, pool and ledger, handed from stage to stage.

A plain class and not a value: stages fill it in order, and threads that tune share it."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import psutil

from models.address import masked
from models.config import Run
from models.errors import InputError, NestorError
from models.outcome import Report
from models.seal import digest
from models.table import Finding
from tasks import progress, wandb_mirror
from tasks.budget import Ledger
from tasks.data.database import is_address, is_table
from tasks.data.dated import undated
from tasks.journal import Journal, Record, read_lines
from tasks.workdir import Workdir

if TYPE_CHECKING:
    from models.metric import Metric
    from models.nested import Trial
    from models.objectives import Goal
    from models.plan import Level
    from models.seal import Seal
    from models.split import Fold, Plan
    from models.table import Table
    from tasks.brief import Brief, Job
    from tasks.wandb_mirror import Mirror
    from tasks.warm import Warm
    from tasks.workers import Pool

ROOT = Path("mlruns")

_HANGS = 3600.0

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
    work_places: np.ndarray
    sealed_places: np.ndarray
    sealed: Table | None = None
    sealed_keys: np.ndarray
    keys: np.ndarray
    # shortlist
    plan: Plan
    level: Level
    folds: dict[str, Fold]
    brief: Brief
    warm: Warm | None = None
    # tune
    trials: dict[tuple[str, str], list[Trial]]

    def __init__(self, run: Run, name: str, workdir: Workdir, ledger: Ledger, journal: Journal):
        """A session before its first stage."""
        self.run, self.name, self.workdir, self.ledger, self.journal = run, name, workdir, ledger, journal
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.trials = {}
        self.stages_done: set[str] = set()
        self.stopped = False
        self.default_seconds: dict[str, float] = {}
        self.model_mb: dict[str, float] = {}
        self._new_store = no_store(journal.tracking_uri)
        self.recorded = _recorded(workdir)
        self.pool: Pool | None = None
        self.mirror: Mirror | None = None
        self.workers = run.budget.workers or psutil.cpu_count() or 1

    def job(self, family_name: str, fold: str, trial: int, config: Any, **more: Any) -> Job:
        """A fit of this run's plan."""
        from tasks.brief import Job

        return Job(str(self.workdir.path), self.brief.plan, family_name, fold, trial, dict(config), **more)

    @property
    def began(self) -> datetime:
        """When this run was begun, before it was resumed: what `today` means in its data's address."""
        return datetime.fromtimestamp((self.workdir.read_json("run.json") or {}).get("begun", time.time())).astimezone()

    def may_search(self) -> bool:
        """Whether the clock allows more configurations."""
        return not self.stopped and (self.ledger.limit is None or self.ledger.left > self.ending())

    def ending(self) -> float:
        """Wall seconds that the end of this run needs, as seen from the fits so far: each fold's ensemble, which takes
        about as long as the best three configurations, and judging the best of other families as far as a tenth of the
        time goes."""
        from models.nested import best_of
        from models.plan import REFIT

        inner = max(1, self.level.inner)
        needed, others, longest = 0.0, 0.0, 0.0
        likely: list[str] = []
        for fold in self.folds:
            mine = [(f, tuple(t)) for (f, k), t in self.trials.items() if k == fold]
            bests = [(f, self.goal.best(t) or best_of(t, self.metric)) for f, t in mine]
            ranked = sorted(((f, b) for f, b in bests if b), key=lambda b: -self.metric.gain(b[1].inner or 0.0))
            seconds = [REFIT * b.seconds_anew / inner for _, b in ranked]
            needed, others = needed + REFIT * self._best_three(fold) / inner, others + sum(seconds[1:])
            longest = max([longest, *seconds[:3]])
            likely += [f for f, _ in ranked[:3]]
        self._weigh(likely)
        # Once for each fold and kind of need, where the search did it for each inner fold.
        columns = REFIT * self.ledger.preparing / inner
        needed, longest = needed + columns, longest + columns / len(self.folds)
        tenth = 0.1 * self.workers * (self.ledger.limit or 0.0)
        writing = self.journal.backlog() * self.journal.seconds_per_record()
        return writing + self.ledger.reserve(needed + min(others, tenth), longest, self.workers)

    def _best_three(self, fold: str) -> float:
        """Core-seconds of the best three configurations of a fold, of whichever families."""
        whole = [t for (_, k), trials in self.trials.items() if k == fold for t in tuple(trials) if t.inner is not None]
        best = sorted(whole, key=lambda t: -self.metric.gain(t.inner or 0.0))[:3]
        return sum(t.seconds_anew for t in best)

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

    def start_pool(self) -> None:
        """Starts the worker processes, each with its share of the memory that is free."""
        from tasks.workers import Pool

        share = 0.8 * psutil.virtual_memory().available / 1e6 / self.workers
        limit = self.run.budget.memory * 1000 if self.run.budget.memory else share
        self.pool = Pool(self.workers, limit, 1)

    def earlier_seal(self) -> dict[str, Any] | None:
        """How this name's first run sealed its rows. That never changes, so a copy of our own saves waiting until
        MLflow is imported; a store that is not there yet holds none."""
        kept = Workdir(ROOT / "seals").read_json(self._seal_file)
        if kept is not None or self._new_store:
            return kept
        return self.journal.call("seal_settings", name=self.name)

    def keep_seal(self, settings: dict[str, Any]) -> None:
        """Has MLflow keep the seal for later runs of this name, without waiting for it."""
        Workdir(ROOT / "seals").write_json(self._seal_file, settings)

        def keep() -> None:
            with suppress(NestorError):  # the store is down: the copy of our own holds until a later run
                self.journal.call("keep_seal_settings", settings=settings, name=self.name)

        threading.Thread(target=keep, daemon=True).start()

    def count_opening(self) -> None:
        """Has MLflow count that this seal was opened, once for each run; says so from the second time on."""
        if self.seal_id is None:
            return
        count = self.journal.call("count_opening", seal_id=self.seal_id)
        if count > 1:
            self.note(
                f"{count} runs of {self.name} have opened this sealed test set by now. Each choice between runs by "
                "their test scores makes them flatter a little more."
            )

    @property
    def _seal_file(self) -> str:
        return f"{digest(self.journal.tracking_uri, self.name):016x}.json"

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
            progress.emit(progress.Said(text))

    def found(self, findings: tuple[Finding, ...] | list[Finding]) -> None:
        """Keeps what a check found and shows it."""
        for finding in findings:
            self.findings.append(finding)
            progress.emit(progress.Saw(finding))

    def record(self, key: str, kind: Any, **values: Any) -> None:
        """Tells MLflow, by way of the journal; a run that had ended when an earlier session died is not told again."""
        record = Record(key=key, kind=kind, **values)
        if key not in self.recorded:
            self.journal.record(record)

    def own(self, state: str = "running", **more: Any) -> None:
        """Writes down whose run this is and how far it came."""
        kept = self.workdir.read_json("run.json") or {}
        process = psutil.Process()
        owner = {"host": platform.node(), "pid": process.pid, "pid_start": process.create_time(), "state": state}
        fixed = {"run": described(self.run), "name": self.name, "begun": kept.get("begun", time.time())}
        self.workdir.write_json("run.json", {**kept, **fixed, **owner, "used": self.ledger.elapsed, **more})

    def close(self) -> None:
        """Ends the pool and what copies the journal."""
        if self.pool is not None:
            self.pool.close()
        if self.mirror is not None:
            self.mirror.close(kill=self.journal.empty)
        self.journal.close()


def no_store(address: str) -> bool:
    """Whether the address is a SQLite file that does not exist."""
    kind, _, path = address.partition("sqlite:///")
    return not kind and bool(path) and not Path(path).exists()


def _recorded(workdir: Workdir) -> set[str]:
    """Keys of the trials that the journal of an earlier session holds."""
    path = workdir.path / "events.jsonl"
    lines = read_lines(path)[0] if path.exists() else []
    return {line["key"] for line in lines if line.get("kind") == "trial"}


def described(run: Run) -> dict[str, Any]:
    """The Run as JSON values, with what may differ between a run and its resumption left out, and what was not there
    when older runs were written down."""
    whole = json.loads(run.model_dump_json())
    whole["budget"].pop("workers")
    whole["budget"].pop("memory")
    if run.tracking.mirror is None:
        whole.pop("tracking")
    for name in ("objectives", "limits", "pick"):
        if not whole["search"][name]:
            whole["search"].pop(name)
    return whole


def model_name(run: Run) -> str:
    """The model's name: the one asked for, else the stem of the data's file without its date, or the table's."""
    if run.name:
        return run.name
    if isinstance(run.data, pd.DataFrame):
        return "model"
    name = re.sub(r"[/:.%\"'\s]+", "_", _stem(str(run.data), run.query or "")).strip("_")
    if not name:
        known = masked(str(run.data))
        raise InputError(f"No name for the model can be made from {known!r}: give one with --name.")
    return name[:100]


def _stem(data: str, query: str) -> str:
    """What the data calls itself; nothing for a query of several words."""
    if is_address(data):
        return query.rpartition(".")[2] if is_table(query) else ""
    return undated(data.removeprefix("sklearn:") if data.startswith("sklearn:") else Path(data).name).split(".")[0]


def _fresh(name: str) -> Workdir:
    slug = re.sub(r"[^\w-]+", "_", name)[:60]
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Workdir(ROOT / "work" / f"{slug}-{stamp}-{secrets.token_hex(2)}")


def interrupted(run: Run, name: str, wanted: str = "") -> Workdir | None:
    """The folder of the newest run with the same settings (or the one `wanted`), finished or not; None without one."""
    places = sorted((ROOT / "work").glob("*/run.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    for place in places:
        workdir = Workdir(place.parent)
        kept = workdir.read_json("run.json")
        named = wanted in (place.parent.name, (workdir.read_json("report.json") or {}).get("run_id"))
        if named or (not wanted and kept["name"] == name and kept["run"] == described(run)):
            return workdir
    if wanted:
        raise InputError(f"No run {wanted!r} in {ROOT / 'work'}.")
    return None


def of_flow_run(flow_run: str) -> str | None:
    """The folder, by name, of an earlier attempt at this flow run that did not come to its end; None without one."""
    for place in (ROOT / "work").glob("*/run.json"):
        kept = Workdir(place.parent).read_json("run.json")
        if kept.get("flow_run") == flow_run and kept["state"] != "done":
            return place.parent.name
    return None


def finished(run: Run, wanted: str) -> Report | None:
    """The report of the run to resume, if it came to its end."""
    workdir = interrupted(run, model_name(run), wanted)
    if workdir is None or workdir.read_json("run.json")["state"] != "done":
        return None
    return Report.from_json(workdir.read_json("report.json"))


def alive(kept: dict[str, Any]) -> bool:
    """Whether the process that owns this run still lives on this machine."""
    if kept.get("host") != platform.node() or kept.get("pid") == os.getpid():
        return False
    try:
        return abs(psutil.Process(kept["pid"]).create_time() - kept["pid_start"]) < 1
    except psutil.Error:
        return False


def abandoned() -> list[Workdir]:
    """Folders of runs that have a flow run, were never closed, and whose process on this machine is gone."""
    found = [Workdir(place.parent) for place in (ROOT / "work").glob("*/run.json")]
    return [w for w in found if _left(w.read_json("run.json"))]


def _left(kept: dict[str, Any]) -> bool:
    here = kept.get("host") == platform.node() and kept.get("pid") != os.getpid()
    return here and kept.get("state") == "running" and "flow_run" in kept and not alive(kept)


@contextmanager
def opened(run: Run, resume: str | None, origin: float) -> Iterator[Session]:
    """A session over a new folder, or with `resume` ("" for the newest, or a run) over an interrupted run's."""
    wandb_mirror.check(run)
    name = model_name(run)
    workdir = interrupted(run, name, resume) if resume is not None else None
    if resume is not None and workdir is None:
        progress.emit(progress.Said("Nothing to resume: no earlier run has these settings. A new run begins."))
    kept = workdir.read_json("run.json") if workdir else {}
    if workdir and alive(kept):
        raise InputError(f"The run in {workdir.path} is still going on, in process {kept['pid']}.")
    workdir = workdir or _fresh(name)
    workdir.path.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(run.seconds, origin, seconds_used(workdir, kept))
    session = Session(run, name, workdir, ledger, Journal(workdir.path, name))
    session.own()
    try:
        session.mirror = wandb_mirror.started(run, workdir.path)
        yield session
    except BaseException:
        session.own("stopped")
        raise
    finally:
        session.close()
        if session.journal.empty:  # the table was refused: there is nothing to go on with
            shutil.rmtree(workdir.path, ignore_errors=True)


def seconds_used(workdir: Workdir, kept: dict[str, Any]) -> float:
    """Seconds that earlier sessions of this run took, to the last event they wrote down."""
    if not kept:
        return 0.0
    last = max((p.stat().st_mtime for p in workdir.path.glob("events.jsonl")), default=0.0)
    return max(kept.get("used", 0.0), min(last - kept["begun"], 10 * 86400.0))
