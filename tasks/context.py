"""What serves one run while it is at work: its folder, journal, ledger and worker processes. No result is held here:
those are in `tasks.values`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psutil

from models.config import Run
from models.data.table import Finding
from models.errors import InputError
from tasks.registry import signing
from tasks.run import events, resume, wandb_mirror
from tasks.run.folder import Workdir
from tasks.run.journal import Journal, JournalRecord
from tasks.run.ledger import Ledger
from tasks.run.stage import Stage
from tasks.system import private, process
from tasks.system.libraries import list_installed_versions
from tasks.tracking.seal_book import SealBook

if TYPE_CHECKING:
    from tasks.execution.pool import FitPool
    from tasks.run.wandb_mirror import WandbMirror


class RunContext:
    """The services of one run, which all its stages and their threads share."""

    overtime: Callable[[], float | None] = staticmethod(lambda: None)
    """Seconds beyond the budget that the end of the run may take; None while nothing could be delivered."""

    def __init__(self, run: Run, name: str, folder: Workdir, ledger: Ledger, journal: Journal):
        """The context of a run before its first stage."""
        self.run, self.name, self.folder, self.ledger, self.journal = run, name, folder, ledger, journal
        self.seals = SealBook(name, folder, journal)
        self.findings: list[Finding] = []
        """What checks found so far."""
        self.notes: list[str] = []
        """Sentences for the report so far."""
        self.mirror: WandbMirror | None = None
        self.workers = run.budget.workers or psutil.cpu_count() or 1
        self._pool: FitPool | None = None

    @property
    def pool(self) -> FitPool:
        """The worker processes, once they are there."""
        assert self._pool is not None, "the pool starts when the table is read"
        return self._pool

    @property
    def began(self) -> datetime:
        """When this run was begun, before it was resumed: what `today` means in its data's address."""
        return datetime.fromtimestamp((self.folder.try_json("run.json") or {}).get("begun", time.time())).astimezone()

    @property
    def is_resumed_with_records(self) -> bool:
        """Whether an earlier attempt at this run had something to tell MLflow."""
        return bool(self.journal.earlier)

    def afford_end(self) -> None:
        """Raises BudgetError where the time does not do for an end and no earlier attempt has a trial to end with."""
        if not self.is_resumed_with_records:
            self.ledger.afford(self.ledger.registration)

    def start_pool(self) -> None:
        """Starts the worker processes, each with its share of the memory that is free. InputError where that is too
        little for one to start."""
        from tasks.execution.pool import FitPool, measure_worker_memory
        from tasks.system import memory

        budget, free = self.run.budget, memory.measure_free_memory() / 1e6
        limit = None if budget.memory is None else budget.memory * 1000
        cores = psutil.cpu_count() or 1
        self.workers, limit = memory.divide_memory(budget.workers, limit, measure_worker_memory(), free, cores)
        if budget.workers is None and self.workers < cores:
            self.note(
                f"Memory does for {self.workers} worker processes, on {cores} cores: {free / 1000:.3g} GB are free."
            )
        self._pool = FitPool(self.workers, limit, 1)

    def end_fits(self) -> None:
        """Ends every fit at once, and the worker processes."""
        if self._pool is not None:
            self._pool.close()

    @contextmanager
    def enter_stage(self, stage: Stage, note: str = "") -> Iterator[None]:
        """Inside the block this stage is under way: that is told, and its seconds are booked."""
        events.emit(events.Began(stage.name, note))
        with self.ledger.book_stage(stage.name):
            yield

    def note(self, text: str) -> None:
        """Keeps a sentence for the report and says it now."""
        if text not in self.notes:
            self.notes.append(text)
            events.emit(events.NoteEvent(text))

    def add_findings(self, findings: Iterable[Finding]) -> None:
        """Keeps what a check found and shows it."""
        for finding in findings:
            self.findings.append(finding)
            events.emit(events.FindingEvent(finding))

    def record(self, key: str, kind: Any, **values: Any) -> None:
        """Tells MLflow, by way of the journal; a run that had ended when an earlier attempt died is not told again."""
        record = JournalRecord(key=key, kind=kind, **values)
        if key not in self.journal.earlier:
            self.journal.record(record)

    def write_state(self, state: str = "running", **entries: Any) -> None:
        """Writes down whose run this is, how far it came, and the seconds it had used at what moment."""
        record = self.folder.try_json("run.json") or {}
        settings = {
            "run": resume.to_run_settings(self.run), "name": self.name, "begun": record.get("begun", time.time()),
            "libraries": list_installed_versions(),
        }  # fmt: skip
        progress = {**process.identify_process(), "state": state, "used": self.ledger.elapsed, "at": time.time()}
        self.folder.write_json("run.json", {**record, **settings, **progress, **entries})

    def close(self) -> None:
        """Ends the pool and what copies the journal."""
        self.end_fits()
        if self.mirror is not None:
            self.mirror.close(kill=self.journal.empty)
        self.journal.close()


@contextmanager
def open_run(run: Run, again: str | None, origin: float) -> Iterator[RunContext]:
    """The context of a run in a new folder, or with `again` ("" for the newest, or a run) in an interrupted run's."""
    wandb_mirror.require_wandb(run)
    signing.check_signing()
    name = resume.choose_model_name(run)
    folder = resume.find_interrupted_run(run, name, again) if again is not None else None
    if again is not None and folder is None:
        reason = "no earlier run has these settings and versions of libraries"
        events.emit(events.NoteEvent(f"Nothing to resume: {reason}. A new run begins."))
    state = folder.read_json("run.json") if folder else {}
    if folder and process.is_owner_alive(state):
        raise InputError(f"The run in {folder.path} is still going on, in process {state['pid']}.")
    folder = folder or resume.name_run_folder(name)
    private.make_private_folder(folder.path)
    ledger = Ledger(run.seconds, origin, resume.count_used_seconds(folder, state))
    context = RunContext(run, name, folder, ledger, Journal(folder.path, name))
    context.write_state()
    try:
        context.mirror = wandb_mirror.start_mirror(run, folder.path)
        yield context
    except BaseException:
        with suppress(OSError):  # on a full disk: whose the run is tells that it has ended
            context.write_state("stopped")
        raise
    finally:
        context.close()
        if context.journal.empty and not folder.has_trials:  # the table was refused: there is nothing to go on with
            shutil.rmtree(folder.path, ignore_errors=True)
