"""The journal's copy in MLflow: each step may be killed and done again."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import NestorError
from tasks.run.journal import JournalRecord, join_records, parse_records, read_lines
from tasks.run.tracker import FIRST_GUESS
from tasks.tracking.mirror.bulk import insert_whole
from tasks.tracking.mirror.entry import PER_CALL, RunEntry, make_dataset, make_entry
from tasks.tracking.orphans import make_process_tags
from tasks.tracking.store import connect_store, describe_error, ensure_experiment, is_transient, search_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("nestor.tracking")

BATCH = 200
"""Journal lines that are mirrored between two looks at the calls."""


@dataclass
class MirroredRun:
    """What MLflow holds of one run."""

    run_id: str
    status: str = "RUNNING"
    params: set[str] = field(default_factory=set)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def _is_same(a: float, b: float | None) -> bool:
    return b is not None and (a == b or (math.isnan(a) and math.isnan(b)))


class MlflowMirror:
    """Makes MLflow hold what the journal says, as often as it takes."""

    def __init__(self, workdir: Path, on_news: Callable[[dict[str, Any]], None] = lambda news: None) -> None:
        """Reads the journal's header only; the store is connected at the first use."""
        self.workdir, self.on_news = workdir, on_news
        self.process = make_process_tags(os.getppid()) | {"nestor.workdir": str(workdir)}
        lines, _ = read_lines(workdir / "events.jsonl")
        header = next(line for line in lines if "journal" in line)
        self.run_key: str = header["run"]
        self.name: str = header["name"]
        address = [line["tracking_uri"] for line in lines if "tracking_uri" in line][-1]
        self.address: str = os.environ.get("NESTOR_STORE") or address
        self.held: dict[str, MirroredRun] | None = None
        """By key; None while it must be asked for: at the start, and when a write failed and nobody knows how far."""
        self.pending: list[dict[str, Any]] = []
        self.offset, self.mirrored, self.per_record = 0, 0, FIRST_GUESS
        self.trouble: str | None = None
        self.failures, self.not_before = 0, 0.0
        self._client: MlflowClient | None = None
        self._experiment: str | None = None
        self._bulk = True

    @property
    def client(self) -> MlflowClient:
        """The store; NestorError while it does not answer."""
        if self._client is None:
            self._client = connect_store(self.address)
        return self._client

    @property
    def experiment_id(self) -> str:
        """The experiment with the model's name."""
        if self._experiment is None:
            self._experiment = ensure_experiment(self.client, self.address, self.name)
        return self._experiment

    def run_id(self, key: str = "run") -> str:
        """MLflow's id of the run with that key."""
        self.follow()
        if key not in (self.held or {}):
            self.drain(30)
        copy = (self.held or {}).get(key)
        if copy is None:
            raise NestorError(f"MLflow holds no run {key!r} yet. {self.trouble or ''}".strip())
        return copy.run_id

    # -- following the journal

    def follow(self) -> bool:
        """Mirrors the next lines; whether there may be more to do at once."""
        lines, self.offset = read_lines(self.workdir / "events.jsonl", self.offset)
        self.pending += lines
        if not self.pending or time.monotonic() < self.not_before:
            return False
        # After a start the whole journal counts as one batch: an old value must not be written over a newer one.
        batch = self.pending if self.held is None else self.pending[:BATCH]
        try:
            self._mirror(batch)
        except Exception as error:
            self._note_failure(error)
            return False
        del self.pending[: len(batch)]
        self.failures, self.trouble = 0, None
        self._tell()
        return bool(self.pending)

    def _mirror(self, lines: list[dict[str, Any]]) -> None:
        start, count = time.monotonic(), len(parse_records(lines))
        records = join_records(lines)
        if self.held is None:
            self.held = self._find_runs()
            self._reopen(records)
        self.upsert(records)
        self.mirrored += count
        if count:
            pace = (time.monotonic() - start) / count
            self.per_record += (pace - self.per_record) * min(1.0, count / 20)

    def _note_failure(self, error: Exception) -> None:
        log.warning("mirroring failed: %s", describe_error(error), exc_info=error)
        self.held = None
        self.failures += 1
        self.not_before = time.monotonic() + min(0.2 * 2**self.failures, 15)
        if self.failures >= 2:
            self.trouble = f"MLflow takes no records ({describe_error(error)})."
        self.mirrored = 0
        self.pending, self.offset = [], 0
        self._tell()

    def _tell(self) -> None:
        self.on_news({"mirrored": self.mirrored, "per_record": self.per_record, "trouble": self.trouble})

    def drain(self, seconds: float) -> int:
        """Mirrors until nothing is left or the time is over; how many records are left."""
        deadline = time.monotonic() + seconds
        while self.follow() or self.pending or self.failures:
            if time.monotonic() >= deadline:
                break
            if self.failures:
                time.sleep(max(0.0, min(self.not_before, deadline) - time.monotonic()))
        lines, _ = read_lines(self.workdir / "events.jsonl")
        return len(parse_records(lines)) - self.mirrored

    # -- writing

    def _find_runs(self) -> dict[str, MirroredRun]:
        """What MLflow holds of this pipeline run, by key."""
        runs: dict[str, MirroredRun] = {}
        for run in search_runs(self.client, [self.experiment_id], f"tags.`nestor.run` = '{self.run_key}'"):
            data = run.data
            runs.setdefault(
                data.tags["nestor.key"],
                MirroredRun(run.info.run_id, run.info.status, set(data.params), dict(data.metrics), dict(data.tags)),
            )
        return runs

    def _reopen(self, records: Mapping[str, JournalRecord]) -> None:
        """A run that goes on is RUNNING again, whoever closed it meanwhile."""
        run, copy = records.get("run"), (self.held or {}).get("run")
        if run and copy and run.status is None and copy.status != "RUNNING":
            self.client.update_run(copy.run_id, status="RUNNING")
            copy.status = "RUNNING"

    def upsert(self, records: Mapping[str, JournalRecord]) -> None:
        """Makes MLflow hold each record. One that MLflow refuses as such is logged and left out."""
        assert self.held is not None
        trials = [r for r in records.values() if self._is_new_and_whole(r)]
        keys = {r.key for r in trials}
        for record in records.values():
            if record.key not in keys:
                self._one(record)
        if not self._write_in_bulk(trials):
            for record in trials:
                self._one(record)

    def _is_new_and_whole(self, record: JournalRecord) -> bool:
        is_whole = record.kind == "trial" and record.status and not record.artifacts and not record.dataset
        return bool(is_whole) and record.key not in (self.held or {})

    def _write_in_bulk(self, trials: list[JournalRecord]) -> bool:
        assert self.held is not None
        if not self._bulk or not trials:
            return not trials
        entries = [(self._make_entry(r), str(r.status)) for r in trials]
        try:
            ids = insert_whole(self.client, self.experiment_id, entries)
        except Exception as error:
            if is_transient(error):
                raise
            log.warning("one transaction for many trials failed; going on one by one", exc_info=error)
            ids = None
        self._bulk = ids is not None
        for record, run_id in zip(trials, ids or [], strict=False):
            self.held[record.key] = MirroredRun(run_id, str(record.status))
        return ids is not None

    def _make_entry(self, record: JournalRecord) -> RunEntry:
        assert self.held is not None
        parent = self.held.get(record.parent or "")
        return make_entry(record, self.run_key, parent.run_id if parent else None)

    def _one(self, record: JournalRecord) -> None:
        try:
            self._upsert_one(record)
        except Exception as error:
            if is_transient(error):
                raise
            log.warning("MLflow refuses the record %s", record.key, exc_info=error)

    def _upsert_one(self, record: JournalRecord) -> None:
        assert self.held is not None
        copy = self.held.get(record.key)
        if copy and record.kind == "trial" and copy.status == record.status:
            return
        entry = self._make_entry(record)
        if record.kind == "pipeline" and (copy is None or copy.status == "RUNNING"):
            entry.tags |= self.process
        if copy is None:
            run = self.client.create_run(
                self.experiment_id, start_time=entry.start, tags=entry.tags, run_name=entry.name
            )
            copy = self.held[record.key] = MirroredRun(run.info.run_id, tags=dict(entry.tags))
        self._log(copy, entry)
        self._attach(copy, record)
        self._settle(copy, record, entry)

    def _log(self, copy: MirroredRun, entry: RunEntry) -> None:
        from mlflow.entities import Metric, Param, RunTag

        params = [Param(k, v) for k, v in entry.params.items() if k not in copy.params]
        tags = [RunTag(k, v) for k, v in entry.tags.items() if copy.tags.get(k) != v]
        metrics = [
            Metric(k, v, entry.at, step)
            for k, values in entry.metrics.items()
            for step, v in self._find_unlogged(copy, k, values)
        ]
        while params or tags or metrics:
            self.client.log_batch(copy.run_id, metrics[: 10 * PER_CALL], params[:PER_CALL], tags[:PER_CALL])
            del metrics[: 10 * PER_CALL], params[:PER_CALL], tags[:PER_CALL]
        copy.params |= set(entry.params)
        copy.tags |= entry.tags
        copy.metrics |= {k: v[-1] for k, v in entry.metrics.items()}

    def _find_unlogged(self, copy: MirroredRun, key: str, values: list[float]) -> list[tuple[int, float]]:
        """The steps of a metric that MLflow does not hold."""
        if len(values) == 1:
            return [] if _is_same(values[0], copy.metrics.get(key)) else [(0, values[0])]
        if key not in copy.metrics:
            return list(enumerate(values))
        steps = {m.step for m in self.client.get_metric_history(copy.run_id, key)}
        return [(step, v) for step, v in enumerate(values) if step not in steps]

    def _attach(self, copy: MirroredRun, record: JournalRecord) -> None:
        for local, folder in record.artifacts:
            path = self.workdir / local
            if not path.exists():
                log.warning("no file %s to log", path)
            elif path.is_dir():
                self.client.log_artifacts(copy.run_id, str(path), folder or None)
            else:
                self.client.log_artifact(copy.run_id, str(path), folder or None)
        if record.dataset:
            self.client.log_inputs(copy.run_id, [make_dataset(record.dataset)])

    def _settle(self, copy: MirroredRun, record: JournalRecord, entry: RunEntry) -> None:
        if record.status and copy.status != record.status:
            self.client.set_terminated(copy.run_id, record.status, entry.end)
            copy.status = record.status
            for tag in self.process.keys() & copy.tags.keys():  # of no use to anybody from now on
                self.client.delete_tag(copy.run_id, tag)
                del copy.tags[tag]

    def close_open(self) -> None:
        """Closes what is still open: nobody is left who could."""
        for key, copy in sorted((self.held or {}).items(), reverse=True):
            if copy.status == "RUNNING":
                log.warning("closing the run %s, which was left open", key)
                self.client.set_terminated(copy.run_id, "KILLED", round(time.time() * 1000))
                copy.status = "KILLED"
