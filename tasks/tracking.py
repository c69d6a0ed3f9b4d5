"""MLflow as a mirror of the event journal: one process, runs by id, never "the active run".

`python -m tasks.tracking WORKDIR` follows WORKDIR/events.jsonl, answers calls on its standard input and ends when
that closes. The functions at the end only look and may be called from anywhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import json
import logging
import math
import os
import posixpath
import queue
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

from models.errors import InputError, NestorError, shortened, unknown
from tasks.journal import FIRST_GUESS, Record, default_address, joined, read_lines, records_in

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger("nestor.tracking")

BATCH = 200
"""Journal lines that are mirrored between two looks at the calls."""
POLL = 0.5
"""Seconds between two looks at the journal. Trials that ended meanwhile share a transaction."""
GRACE = 5.0
"""Seconds that the tracker outlives its parent, to close the runs that are open."""
PARAM, TAG, NAME, PER_CALL = 6000, 8000, 250, 100
"""MLflow's limits: characters of a param, of a tag, of a name; params or tags in one call (metrics: ten times that)."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # MLflow's own patience (7 attempts, 2 minutes each) would hold a run's end up for half an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
CALLS = {
    "seal_settings": "tasks.tracking:seal_settings",
    "keep_seal_settings": "tasks.tracking:keep_seal_settings",
    "count_opening": "tasks.tracking:count_opening",
    "register": "tasks.register:register",
    "prepare": "tasks.register:prepare",
}
"""What `Journal.call` may ask for, beside `drain` and `stop`: functions of (tracker's `Mirror`, **args)."""


# ---------------------------------------------------------------- the store


def connect(address: str) -> MlflowClient:
    """A client of the store at `address`, which is made if it is SQLite and missing; says nothing on the screen."""
    os.environ.update({k: v for k, v in QUIET.items() if k not in os.environ})
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    try:
        with locked(address):
            mlflow.set_tracking_uri(address)
            client = mlflow.MlflowClient(address)
            client.get_experiment_by_name("nestor")
        return client
    except Exception as error:
        raise NestorError(f"MLflow at {shown(address)} does not answer: {sentence(error)}") from error


def shown(address: str) -> str:
    """The address without its password."""
    return re.sub(r"://([^:/@]+):[^@]*@", r"://\1:***@", address)


def sentence(error: BaseException) -> str:
    """The error's first line, bounded."""
    return shortened(str(error).strip().split("\n")[0] or type(error).__name__, 300)


@contextmanager
def locked(address: str) -> Iterator[None]:
    """Alone among this machine's Nestor processes with that store: MLflow's migrations, and reading a tag to write it
    anew, are not safe among several."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    file = Path(address.removeprefix("sqlite:///") + ".lock") if _is_sqlite_file(address) else None
    path = file or Path(os.environ.get("TMPDIR", "/tmp")) / f"nestor-{os.getuid()}-{digest}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_sqlite_file(address: str) -> bool:
    return address.startswith("sqlite:///") and not address.endswith("///") and ":memory:" not in address


def experiment(client: MlflowClient, address: str, name: str) -> str:
    """The id of the experiment `name`, made if missing; a deleted one is taken back."""
    with locked(address):
        found = client.get_experiment_by_name(name)
        if found is None:
            return client.create_experiment(name, artifact_location=_artifacts(address, name))
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return found.experiment_id


def _artifacts(address: str, name: str) -> str | None:
    """Where a local store's artifacts lie (beside the database, else in the current directory's mlruns); a server
    decides for itself."""
    if not address.startswith(("sqlite:", "postgresql", "mysql", "mssql")):
        return None
    database = Path(address.removeprefix("sqlite:///")).resolve().parent if _is_sqlite_file(address) else None
    # The database holds at most 200 characters of a run's path.
    folder = re.sub(r"[^\w.-]", "_", name)[:40] + "-" + hashlib.sha256(name.encode()).hexdigest()[:6]
    return ((database or Path("mlruns").resolve()) / "artifacts" / folder).as_uri()


# ---------------------------------------------------------------- what MLflow takes


def safe_name(name: object) -> str:
    """The name of a param or metric as MLflow allows it."""
    text = re.sub(r"[^/\w.\- ]", "_", str(name))
    return posixpath.join("", *(p for p in text.split("/") if p not in ("", ".", "..")))[:NAME].rstrip("/") or "_"


def safe_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under allowed names; names that became equal are numbered."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        key, n = safe_name(name), 2
        while key in out:
            key, n = f"{safe_name(name)[: NAME - 4]}_{n}", n + 1
        out[key] = value
    return out


def _cut(text: object, most: int) -> str:
    whole = str(text).replace("\0", "").encode("utf-8", "replace").decode()
    return whole if len(whole) <= most else whole[: most - 1] + "…"


@dataclass
class Entry:
    """A record as MLflow is to hold it."""

    name: str
    params: dict[str, str]
    metrics: dict[str, list[float]]
    """Metric -> its values at steps 0, 1, ..."""
    tags: dict[str, str]
    start: int
    """Milliseconds, as `end` and `at`."""
    end: int
    at: int


def entry(record: Record, run: str, parent: str | None) -> Entry:
    """The record within MLflow's limits, with the tags that find it again."""
    own = {"nestor.key": record.key, "nestor.run": run, "nestor.kind": record.kind}
    above = {"mlflow.parentRunId": parent} if parent else {}
    metrics = {k: [float(v)] for k, v in record.metrics.items() if v is not None}
    metrics |= {k: [float(x) for x in v if x is not None] for k, v in record.series.items()}
    ms = [round((t or record.at) * 1000) for t in (record.start, record.end, record.at)]
    return Entry(
        name=_cut(record.name or record.key, NAME),
        params={k: _cut(v, PARAM) for k, v in safe_names(record.params).items()},
        metrics=safe_names({k: v for k, v in metrics.items() if v}),
        tags={safe_name(k): _cut(v, TAG) for k, v in {**record.tags, **own, **above}.items()},
        start=ms[0],
        end=ms[1],
        at=ms[2],
    )


@dataclass
class Held:
    """What MLflow holds of one run."""

    run_id: str
    status: str = "RUNNING"
    params: set[str] = field(default_factory=set)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def _same(a: float, b: float | None) -> bool:
    return b is not None and (a == b or (math.isnan(a) and math.isnan(b)))


def _chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[i : i + size] for i in range(0, len(values), size))


# ---------------------------------------------------------------- trials, many in one transaction


def insert_whole(client: MlflowClient, experiment_id: str, entries: Sequence[tuple[Entry, str]]) -> list[str] | None:
    """The run ids of new, ended runs written by one transaction into MLflow's own database; None where the store is a
    server. MlflowClient takes 15 ms for each of them, this 1 ms, and the rows are the same."""
    store = client._tracking_client.store
    if type(store).__name__ != "SqlAlchemyStore":
        return None
    from mlflow.store.tracking.dbmodels import models as tables
    from sqlalchemy import insert

    location = client.get_experiment(experiment_id).artifact_location.rstrip("/")
    rows: dict[Any, list[dict[str, Any]]] = {
        t: [] for t in (tables.SqlRun, tables.SqlTag, tables.SqlParam, tables.SqlMetric, tables.SqlLatestMetric)
    }
    ids = [uuid.uuid4().hex for _ in entries]
    for run_id, (new, status) in zip(ids, entries, strict=True):
        rows[tables.SqlRun].append(_run_row(run_id, experiment_id, location, new, status))
        tags = {**new.tags, "mlflow.runName": new.name}
        rows[tables.SqlTag] += [{"run_uuid": run_id, "key": k, "value": v} for k, v in tags.items()]
        rows[tables.SqlParam] += [{"run_uuid": run_id, "key": k, "value": v} for k, v in new.params.items()]
        for key, values in new.metrics.items():
            steps = [_metric_row(store, run_id, key, v, step, new.at) for step, v in enumerate(values)]
            rows[tables.SqlMetric] += steps
            rows[tables.SqlLatestMetric].append(steps[-1])
    with store.ManagedSessionMaker(read_only=False) as session:
        for table, values in rows.items():
            if values:
                session.execute(insert(table), values)
    return ids


def _run_row(run_id: str, experiment_id: str, location: str, new: Entry, status: str) -> dict[str, Any]:
    return {
        "run_uuid": run_id,
        "name": new.name,
        "artifact_uri": f"{location}/{run_id}/artifacts",
        "experiment_id": int(experiment_id),
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "source_version": "",
        "user_id": new.tags.get("mlflow.user", "unknown"),
        "status": status,
        "start_time": new.start,
        "end_time": new.end,
        "lifecycle_stage": "active",
    }


def _metric_row(store: Any, run_id: str, key: str, value: float, step: int, at: int) -> dict[str, Any]:
    is_nan, number = store.sanitize_metric_value(value)
    return {"run_uuid": run_id, "key": key, "value": number, "timestamp": at, "step": step, "is_nan": is_nan}


# ---------------------------------------------------------------- the mirror


class Mirror:
    """Makes MLflow hold what the journal says, as often as it takes."""

    def __init__(self, workdir: Path, on_news: Callable[[dict[str, Any]], None] = lambda news: None) -> None:
        self.workdir, self.on_news, self.parent = workdir, on_news, os.getppid()
        lines, _ = read_lines(workdir / "events.jsonl")
        header = next(line for line in lines if "journal" in line)
        self.run_key: str = header["run"]
        self.name: str = header["name"]
        self.address: str = [line["tracking_uri"] for line in lines if "tracking_uri" in line][-1]
        self.held: dict[str, Held] | None = None
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
            self._client = connect(self.address)
        return self._client

    @property
    def experiment_id(self) -> str:
        """The experiment with the model's name."""
        if self._experiment is None:
            self._experiment = experiment(self.client, self.address, self.name)
        return self._experiment

    def run_id(self, key: str = "run") -> str:
        """MLflow's id of the run with that key."""
        self.follow()
        if key not in (self.held or {}):
            self.drain(30)
        held = (self.held or {}).get(key)
        if held is None:
            raise NestorError(f"MLflow holds no run {key!r} yet. {self.trouble or ''}".strip())
        return held.run_id

    # -- following the journal

    def follow(self) -> bool:
        """Mirrors the next lines; whether there may be more to do at once."""
        new, self.offset = read_lines(self.workdir / "events.jsonl", self.offset)
        self.pending += new
        if not self.pending or time.monotonic() < self.not_before:
            return False
        # After a start the whole journal counts as one batch: an old value must not be written over a newer one.
        batch = self.pending if self.held is None else self.pending[:BATCH]
        try:
            self._mirror(batch)
        except Exception as error:
            self._failed(error)
            return False
        del self.pending[: len(batch)]
        self.failures, self.trouble = 0, None
        self._tell()
        return bool(self.pending)

    def _mirror(self, lines: list[dict[str, Any]]) -> None:
        began, count = time.monotonic(), len(records_in(lines))
        if self.held is None:
            self.held = self._found()
        self.upsert(joined(lines))
        self.mirrored += count
        if count:
            took = (time.monotonic() - began) / count
            self.per_record += (took - self.per_record) * min(1.0, count / 20)

    def _failed(self, error: Exception) -> None:
        log.warning("mirroring failed: %s", sentence(error), exc_info=error)
        self.held = None
        self.failures += 1
        self.not_before = time.monotonic() + min(0.2 * 2**self.failures, 15)
        if self.failures >= 2:
            self.trouble = f"MLflow takes no records ({sentence(error)}). They are kept for a resume of the run."
        self.mirrored = 0
        self.pending, self.offset = [], 0
        self._tell()

    def _tell(self) -> None:
        self.on_news({"mirrored": self.mirrored, "per_record": self.per_record, "trouble": self.trouble})

    def drain(self, seconds: float) -> int:
        """Mirrors until nothing is left or the time is over; how many records are left."""
        until = time.monotonic() + seconds
        while self.follow() or self.pending or self.failures:
            if time.monotonic() >= until:
                break
            if self.failures:
                time.sleep(max(0.0, min(self.not_before, until) - time.monotonic()))
        lines, _ = read_lines(self.workdir / "events.jsonl")
        return len(records_in(lines)) - self.mirrored

    # -- writing

    def _found(self) -> dict[str, Held]:
        """What MLflow holds of this pipeline run, by key."""
        found: dict[str, Held] = {}
        for run in search(self.client, [self.experiment_id], f"tags.`nestor.run` = '{self.run_key}'"):
            data = run.data
            found.setdefault(
                data.tags["nestor.key"],
                Held(run.info.run_id, run.info.status, set(data.params), dict(data.metrics), dict(data.tags)),
            )
        return found

    def upsert(self, records: Mapping[str, Record]) -> None:
        """Makes MLflow hold each record. One that MLflow refuses as such is logged and left out."""
        assert self.held is not None
        trials = [r for r in records.values() if self._is_new_and_whole(r)]
        apart = {r.key for r in trials}
        for record in records.values():
            if record.key not in apart:
                self._one(record)
        if not self._in_bulk(trials):
            for record in trials:
                self._one(record)

    def _is_new_and_whole(self, record: Record) -> bool:
        whole = record.kind == "trial" and record.status and not record.artifacts and not record.dataset
        return bool(whole) and record.key not in (self.held or {})

    def _in_bulk(self, trials: list[Record]) -> bool:
        assert self.held is not None
        if not self._bulk or not trials:
            return not trials
        entries = [(self._entry(r), str(r.status)) for r in trials]
        try:
            ids = insert_whole(self.client, self.experiment_id, entries)
        except Exception as error:
            if transient(error):
                raise
            log.warning("one transaction for many trials failed; going on one by one", exc_info=error)
            ids = None
        self._bulk = ids is not None
        for record, run_id in zip(trials, ids or [], strict=False):
            self.held[record.key] = Held(run_id, str(record.status))
        return ids is not None

    def _entry(self, record: Record) -> Entry:
        assert self.held is not None
        above = self.held.get(record.parent or "")
        return entry(record, self.run_key, above.run_id if above else None)

    def _one(self, record: Record) -> None:
        try:
            self._upsert_one(record)
        except Exception as error:
            if transient(error):
                raise
            log.warning("MLflow refuses the record %s", record.key, exc_info=error)

    def _upsert_one(self, record: Record) -> None:
        assert self.held is not None
        held = self.held.get(record.key)
        if held and record.kind == "trial" and held.status == record.status:
            return
        new = self._entry(record)
        if record.kind == "pipeline":
            new.tags |= process_tags(self.parent) | {"nestor.workdir": str(self.workdir)}
        if held is None:
            run = self.client.create_run(self.experiment_id, start_time=new.start, tags=new.tags, run_name=new.name)
            held = self.held[record.key] = Held(run.info.run_id, tags=dict(new.tags))
        self._log(held, new)
        self._attach(held, record)
        self._settle(held, record, new)

    def _log(self, held: Held, new: Entry) -> None:
        from mlflow.entities import Metric, Param, RunTag

        params = [Param(k, v) for k, v in new.params.items() if k not in held.params]
        tags = [RunTag(k, v) for k, v in new.tags.items() if held.tags.get(k) != v]
        metrics = [
            Metric(k, v, new.at, step) for k, values in new.metrics.items() for step, v in self._unlogged(held, k, values)
        ]
        while params or tags or metrics:
            self.client.log_batch(held.run_id, metrics[: 10 * PER_CALL], params[:PER_CALL], tags[:PER_CALL])
            del metrics[: 10 * PER_CALL], params[:PER_CALL], tags[:PER_CALL]
        held.params |= set(new.params)
        held.tags |= new.tags
        held.metrics |= {k: v[-1] for k, v in new.metrics.items()}

    def _unlogged(self, held: Held, key: str, values: list[float]) -> list[tuple[int, float]]:
        """The steps of a metric that MLflow does not hold."""
        if len(values) == 1:
            return [] if _same(values[0], held.metrics.get(key)) else [(0, values[0])]
        if key not in held.metrics:
            return list(enumerate(values))
        logged = {m.step for m in self.client.get_metric_history(held.run_id, key)}
        return [(step, v) for step, v in enumerate(values) if step not in logged]

    def _attach(self, held: Held, record: Record) -> None:
        for local, folder in record.artifacts:
            path = self.workdir / local
            if not path.exists():
                log.warning("no file %s to log", path)
            elif path.is_dir():
                self.client.log_artifacts(held.run_id, str(path), folder or None)
            else:
                self.client.log_artifact(held.run_id, str(path), folder or None)
        if record.dataset:
            self.client.log_inputs(held.run_id, [dataset(record.dataset)])

    def _settle(self, held: Held, record: Record, new: Entry) -> None:
        if record.status and held.status != record.status:
            self.client.set_terminated(held.run_id, record.status, new.end)
            held.status = record.status
        elif record.status is None and record.kind == "pipeline" and held.status != "RUNNING":
            self.client.update_run(held.run_id, status="RUNNING")
            held.status = "RUNNING"

    def close_open(self) -> None:
        """Closes what is still open: nobody is left who could."""
        for key, held in sorted((self.held or {}).items(), reverse=True):
            if held.status == "RUNNING":
                log.warning("closing the run %s, which was left open", key)
                self.client.set_terminated(held.run_id, "KILLED", round(time.time() * 1000))
                held.status = "KILLED"


def transient(error: Exception) -> bool:
    """Whether the same call may succeed later. MLflow names the errors that are about the record itself."""
    lasting = {
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_DOES_NOT_EXIST",
        "RESOURCE_ALREADY_EXISTS",
        "BAD_REQUEST",
        "INVALID_STATE",
        "MALFORMED_REQUEST",
    }
    code = getattr(error, "error_code", None)
    own = (TypeError, ValueError, KeyError, PermissionError, FileNotFoundError, NotADirectoryError)
    return code not in lasting and not isinstance(error, own)


def dataset(values: Mapping[str, Any]) -> Any:
    """The input table as MLflow's dataset entity: its digest and shape, not its rows."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    shape = {f"num_{k}": values[k] for k in ("rows", "columns") if k in values}
    table = Dataset(
        name=_cut(values["name"], 500),
        digest=str(values["digest"])[:36],
        source_type="local",
        source=json.dumps({"uri": _cut(values.get("source", ""), 1000)}),
        profile=json.dumps(shape) if shape else None,
    )
    return DatasetInput(table, [InputTag("mlflow.data.context", "training")])


def search(client: MlflowClient, experiments: Sequence[str], where: str) -> Iterator[Run]:
    """The runs that fit, page by page, newest first."""
    token: str | None = None
    while True:
        page = client.search_runs(list(experiments), where, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


# ---------------------------------------------------------------- runs whose process is gone


def process_tags(pid: int) -> dict[str, str]:
    """The tags that tell whether a run's process still lives."""
    born = psutil.Process(pid).create_time()
    return {"nestor.host": socket.gethostname(), "nestor.pid": str(pid), "nestor.pid_start": f"{born:.2f}"}


def lives(tags: Mapping[str, str]) -> bool:
    """Whether the process that the tags name is alive: a pid alone may have been given to another since."""
    try:
        process = psutil.Process(int(tags["nestor.pid"]))
        return abs(process.create_time() - float(tags["nestor.pid_start"])) < 2 and process.status() != "zombie"
    except (psutil.Error, KeyError, ValueError):
        return False


def close_orphans(client: MlflowClient, but: str = "") -> int:
    """Closes the open runs of this machine's dead processes, but not those of the pipeline run `but`; how many."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    host = socket.gethostname().replace("'", "")
    where = f"attributes.status = 'RUNNING' and tags.`nestor.kind` = 'pipeline' and tags.`nestor.host` = '{host}'"
    dead = [r for r in search(client, experiments, where) if not lives(r.data.tags)] if experiments else []
    return sum(_close_tree(client, r) for r in dead if r.data.tags["nestor.run"] != but)


def _close_tree(client: MlflowClient, pipeline: Run) -> int:
    """Closes a pipeline run and what is open under it, itself last: so that a second kill leaves it to be found."""
    tags = pipeline.data.tags
    where = f"attributes.status = 'RUNNING' and tags.`nestor.run` = '{tags['nestor.run']}'"
    own = pipeline.info.run_id
    ids = {r.info.run_id for r in search(client, [pipeline.info.experiment_id], where)} - {own}
    for run_id in [*ids, own]:
        client.set_terminated(run_id, "KILLED", _last_sign(tags))
    return len(ids) + 1


def _last_sign(tags: Mapping[str, str]) -> int:
    """When the run last wrote something down, in milliseconds; now, where its folder is gone."""
    with suppress(OSError):
        return round((Path(tags.get("nestor.workdir", "")) / "events.jsonl").stat().st_mtime * 1000)
    return round(time.time() * 1000)


# ---------------------------------------------------------------- the seal


def seal_settings(mirror: Mirror, name: str = "") -> dict[str, Any] | None:
    """How the first run of this name sealed its test rows; None before it did."""
    tags = mirror.client.get_experiment(_experiment_of(mirror, name)).tags
    return json.loads(tags["nestor.seal"]) if "nestor.seal" in tags else None


def keep_seal_settings(mirror: Mirror, settings: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Keeps the settings unless there are some already; those that hold from now on."""
    own = _experiment_of(mirror, name)
    with locked(mirror.address):
        kept = seal_settings(mirror, name)
        if kept is None:
            mirror.client.set_experiment_tag(own, "nestor.seal", json.dumps(settings))
        return settings if kept is None else kept


def count_opening(mirror: Mirror, seal_id: str, name: str = "") -> int:
    """How many runs have opened that seal, this one included; a resumed run counts once."""
    own = _experiment_of(mirror, name)
    with locked(mirror.address):
        tags = mirror.client.get_experiment(own).tags
        seals = json.loads(tags.get("nestor.openings", "{}"))
        count, last = seals.get(seal_id, (0, []))
        short = mirror.run_key[:12]
        if short not in last:
            # A tag holds 20,000 characters: only the latest runs are remembered, which are those that can be resumed.
            count, last = count + 1, [*last, short][-50:]
            mirror.client.set_experiment_tag(own, "nestor.openings", json.dumps({**seals, seal_id: (count, last)}))
        return count


def _experiment_of(mirror: Mirror, name: str) -> str:
    same = not name or name == mirror.name
    return mirror.experiment_id if same else experiment(mirror.client, mirror.address, name)


# ---------------------------------------------------------------- looking


def runs(name: str | None = None, address: str | None = None) -> list[dict[str, Any]]:
    """The pipeline runs, newest first: name, run_id, when (unix seconds), version, alias, how, estimate, test, status,
    seconds; None where there is none."""
    client = connect(address or default_address())
    known = {e.experiment_id: e.name for e in client.search_experiments()}
    names = {k: v for k, v in known.items() if name in (None, v)}
    found = list(search(client, list(names), "tags.`nestor.kind` = 'pipeline'")) if names else []
    if name is not None and not found:
        raise unknown("runs of", name, sorted({names_of for names_of in known.values() if names_of != "Default"}))
    versions = _versions(client, {names[r.info.experiment_id] for r in found})
    return [_told(r, names[r.info.experiment_id], versions) for r in found]


def _versions(client: MlflowClient, names: Iterable[str]) -> dict[str, tuple[int, str | None]]:
    """Version and alias by run id."""
    out: dict[str, tuple[int, str | None]] = {}
    for name in names:
        found = client.search_model_versions(f"name = '{name}'")
        aliases = _aliases(client, name) if found else {}
        out |= {v.run_id: (int(v.version), aliases.get(str(v.version))) for v in found if v.run_id}
    return out


def _aliases(client: MlflowClient, name: str) -> dict[str, str]:
    return {str(version): alias for alias, version in client.get_registered_model(name).aliases.items()}


def _told(run: Run, name: str, versions: Mapping[str, tuple[int, str | None]]) -> dict[str, Any]:
    info, metrics = run.info, run.data.metrics
    version, alias = versions.get(info.run_id, (None, None))
    took = (info.end_time - info.start_time) / 1000 if info.end_time else None
    return {
        "name": name,
        "run_id": info.run_id,
        "when": info.start_time / 1000,
        "version": version,
        "alias": alias,
        "how": run.data.tags.get("nestor.how"),
        "estimate": metrics.get("estimate"),
        "test": metrics.get("test"),
        "status": info.status,
        "seconds": metrics.get("seconds_total", took),
    }


def artifact(run: str, path: str, address: str | None = None, into: str | Path | None = None) -> Path:
    """A local copy of a file that the run holds. `run` is a run id, its beginning, or a model's name: its newest run."""
    where = address or default_address()
    client = connect(where)
    run_id = _named_run(client, run, where)
    try:
        return Path(client.download_artifacts(run_id, path, str(into) if into else None))
    except Exception as error:
        raise InputError(f"The run {run_id} holds no {path!r}: {sentence(error)}") from error


def _named_run(client: MlflowClient, run: str, address: str) -> str:
    found = runs(None, address)
    exact = [r["run_id"] for r in found if r["name"] == run or r["run_id"] == run]
    near = [r["run_id"] for r in found if len(run) >= 4 and r["run_id"].startswith(run)]
    if not exact and len(near) != 1:
        raise unknown("run", run, [r["run_id"][:8] for r in found])
    return (exact or near)[0]


# ---------------------------------------------------------------- the process


class Server:
    """Answers the parent's calls and follows the journal between them."""

    def __init__(self, workdir: Path, answers: IO[str]) -> None:
        self.workdir, self.answers, self.parent = workdir, answers, os.getppid()
        self.requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self.requests.put(json.loads(line))
        self.requests.put(None)
        # Whatever the main thread waits for (a lock, a server), the process must not outlive its parent for long.
        time.sleep(GRACE)
        os._exit(1)

    def run(self) -> None:
        """Works until it is told to stop or the parent is gone."""
        with _only_one(self.workdir / "tracker.lock"):
            mirror = Mirror(self.workdir, self._send)
            try:
                close_orphans(mirror.client, but=mirror.run_key)
            except Exception as error:
                log.warning("could not look for orphans", exc_info=error)
            while (request := self._next(mirror)) is not None and request["call"] != "stop":
                self._send(self._answer(mirror, request))
            self._end(mirror)

    def _next(self, mirror: Mirror) -> dict[str, Any] | None:
        """The next call; None when the parent is gone."""
        while os.getppid() == self.parent:
            more = mirror.follow()
            with suppress(queue.Empty):
                return self.requests.get(block=not more, timeout=None if more else POLL)
        return None

    def _end(self, mirror: Mirror) -> None:
        try:
            mirror.drain(GRACE - 1)
            mirror.close_open()
        except Exception as error:
            log.warning("could not close what was open", exc_info=error)

    def _answer(self, mirror: Mirror, request: dict[str, Any]) -> dict[str, Any]:
        own = {"drain": Mirror.drain}
        try:
            function = own.get(request["call"]) or _function(request["call"])
            return {"id": request["id"], "result": function(mirror, **request["args"])}
        except NestorError as error:
            return {"id": request["id"], "error": str(error), "input": isinstance(error, InputError)}
        except Exception as error:
            log.error("%s failed", request["call"], exc_info=error)
            return {"id": request["id"], "error": f"MLflow: {request['call']} failed: {sentence(error)}"}

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(OSError):
            self.answers.write(json.dumps(message, default=str) + "\n")
            self.answers.flush()


def _function(name: str) -> Callable[..., Any]:
    if name not in CALLS:
        raise unknown("call", name, CALLS)
    module, _, function = CALLS[name].partition(":")
    return getattr(importlib.import_module(module), function)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Waits for an earlier run's tracker, which may still be closing what its dead parent left."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Follows the journal in the folder that the command line names."""
    os.nice(10)
    # Standard output belongs to the answers; what libraries print goes where standard error goes, to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    Server(Path(sys.argv[1]), answers).run()
    answers.flush()
    # Threads of libraries (connection pools, telemetry) must not hold the parent's end up.
    os._exit(0)


if __name__ == "__main__":
    # By its module name: functions that are called by name must find the classes of one module, not of two.
    importlib.import_module("tasks.tracking").main()
