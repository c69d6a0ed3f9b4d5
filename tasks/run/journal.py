"""The event journal of a run: what happened, as lines on disk, which the tracker (`tasks/run/tracker.py`) mirrors.

The journal is the truth; MLflow is a copy of it that can be made again at any time. MLflow takes four seconds to
import and tens of milliseconds of a core for each run, so only a child process (`tasks.tracking`) ever loads it.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Any, Literal

from models.errors import InputError, NestorError
from models.text.address import HIDDEN, mask_address
from tasks.run.tracker import FIRST_GUESS, Tracker, TrackerGoneError, to_plain_json
from tasks.system import login, private, process

RunKind = Literal["pipeline", "family", "fold", "trial"]
Status = Literal["FINISHED", "FAILED", "KILLED"]

STATUS_OF_STATE: dict[str, Status] = {
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "timeout": "FAILED",
    "memory": "FAILED",
}
"""How a trial's run in MLflow ended, by the trial's state."""


@dataclass(frozen=True)
class JournalRecord:
    """What is new about one run. Several records with one key add up."""

    key: str
    """`run`, `lightgbm`, `lightgbm/2`, `lightgbm/2/17`."""
    kind: RunKind
    name: str = ""
    """Shown in MLflow; empty: the key."""
    parent: str | None = None
    """Key of the run above, recorded before this one."""
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Metric -> its values, logged as steps 0, 1, ..."""
    tags: Mapping[str, str] = field(default_factory=dict)
    status: Status | None = None
    """None while the run is open."""
    start: float | None = None
    """Unix seconds, as `end`."""
    end: float | None = None
    artifacts: Sequence[Sequence[str]] = ()
    """[local file or folder, folder in the run's artifacts]; "" is their root. A relative path starts at the work
    directory, else at the current one."""
    dataset: Mapping[str, Any] | None = None
    """The input table: name, digest, source and, if known, rows, columns and the columns' kinds by name."""
    note: str = ""
    """What a person should know of the run before anything else, as markdown."""
    at: float = 0.0
    """When it was recorded; set by the journal."""

    def line(self) -> str:
        """The record as one line of JSON, without what is empty."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps({k: v for k, v in values.items() if v or k == "key"}, default=to_plain_json)

    def merge(self, later: JournalRecord) -> JournalRecord:
        """Both as one record."""
        ended = later.status is not None
        return replace(
            self,
            name=later.name or self.name,
            parent=self.parent or later.parent,
            params={**self.params, **later.params},
            metrics={**self.metrics, **later.metrics},
            series={**self.series, **later.series},
            tags={**self.tags, **later.tags},
            status=later.status if ended else self.status,
            start=self.start or later.start,
            end=(later.end or later.at) if ended else (later.end or self.end),
            artifacts=[*self.artifacts, *(a for a in later.artifacts if a not in self.artifacts)],
            dataset=later.dataset or self.dataset,
            note=later.note or self.note,
            at=later.at,
        )


def join_records(
    lines: Iterable[Mapping[str, Any]], before: Mapping[str, JournalRecord] | None = None
) -> dict[str, JournalRecord]:
    """The journal's lines as one record per key, in the order in which the keys appeared, added to what was `before`. A
    pipeline that was stopped (KILLED) or failed is open again once its run is resumed."""
    records = dict(before or {})
    for line in lines:
        if "resumed" in line and (run := records.get("run")) and run.status != "FINISHED":
            records["run"] = replace(run, status=None, end=None)
        elif "key" in line:
            record = JournalRecord(**line)
            records[record.key] = records[record.key].merge(record) if record.key in records else record
    return records


def read_lines(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole lines from `offset` on, and where they end. A line that a kill cut short is no line."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    data = data[: data.rfind(b"\n") + 1]
    return [value for line in data.splitlines() if (value := _parse_line(line)) is not None], offset + len(data)


def _parse_line(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def parse_records(lines: Iterable[Mapping[str, Any]]) -> list[JournalRecord]:
    """The records among the journal's lines."""
    return [JournalRecord(**line) for line in lines if "key" in line]


def find_default_address() -> str:
    """The MLflow address that commands use: MLFLOW_TRACKING_URI, else MLFLOW_BACKEND_STORE_URI (the database that
    `nestor up` serves), else the server of a living `nestor up` on such a database, else `mlruns/mlflow.db` in the
    current directory."""
    address = (
        os.environ.get("MLFLOW_TRACKING_URI")
        or os.environ.get("MLFLOW_BACKEND_STORE_URI")
        or _read_up_record("tracking")
    )
    return address or _make_folder_address()


def find_page_address(address: str) -> str | None:
    """Where MLflow's page shows that store: the address itself where it is a server's; else NESTOR_MLFLOW_UI, which
    `nestor up` sets for its workers; of this folder's store the page of a living `nestor up`. None without any."""
    if address.startswith("http"):
        return address
    return os.environ.get("NESTOR_MLFLOW_UI") or (
        _read_up_record("mlflow") if address == _make_folder_address() else None
    )


def _make_folder_address() -> str:
    return f"sqlite:///{Path('mlruns').resolve() / 'mlflow.db'}"


def _read_up_record(key: str) -> str | None:
    """What a `nestor up` that lives in this folder has written down (flows/stack/claim.py): `mlflow`, its server's
    address; `tracking`, the same where its store is elsewhere. The record keeps no password: of `tracking` this
    process knows from now on the login that the server asks for, unless the user has set one."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(Path("mlruns/prefect/server.json").read_text())
        if process.find_process(record["pid"], record["started"]):
            entry = record[key]
            if key == "tracking":
                for name, value in login.to_mlflow_variables(Path("mlruns")).items():
                    os.environ.setdefault(name, value)
            return entry
    return None


def _restore_password(address: str) -> str:
    """The address as it can be used; InputError where a journal's has no password any more and none is set."""
    if HIDDEN not in address:
        return address
    if mask_address(find_default_address()) == mask_address(address):
        return find_default_address()
    raise InputError(f"This run's MLflow is {address}: set MLFLOW_TRACKING_URI to that address with its password.")


class Journal:
    """Appends records to WORKDIR/events.jsonl and starts the tracker that mirrors them. Its methods may be called
    from any thread."""

    def __init__(self, workdir: str | Path, name: str, tracking_uri: str | None = None, *, start: bool = True) -> None:
        """Opens a new journal for the model `name`, or an existing one, whose run then goes on."""
        self.workdir = Path(workdir).resolve()
        private.make_private_folder(self.workdir)
        self._lock, self._closed = threading.RLock(), False
        self._only = _lock_run(self.workdir / "journal.lock")
        self._file = self._open(self.workdir / "events.jsonl", name, tracking_uri)
        self._tracker: Tracker | None = None
        if start:
            self.ensure_tracker()

    def _open(self, path: Path, name: str, tracking_uri: str | None) -> IO[bytes]:
        lines, end = read_lines(path) if path.exists() else ([], 0)
        header = next((line for line in lines if "journal" in line), None)
        if header is not None and header["name"] != name:
            raise InputError(f"{path} belongs to the model {header['name']!r}, not to {name!r}.")
        self.run_key: str = header["run"] if header else uuid.uuid4().hex
        self._address = _restore_password(tracking_uri or (header or {}).get("tracking_uri") or find_default_address())
        self.tracking_uri: str = mask_address(self._address)
        """Without a password: this one is written down and shown."""
        records = parse_records(lines)
        self._written = len(records)
        self.earlier = frozenset(record.key for record in records if record.kind == "trial")
        """Keys of the trials that an earlier attempt recorded."""
        file = path.open("ab")
        file.truncate(end)
        opening = {"resumed": time.time()} if header else {"journal": 1, "run": self.run_key, "name": name}
        file.write(json.dumps(opening | {"tracking_uri": self.tracking_uri}).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())  # whose the run in MLflow is; of later lines a resume tells again what is lost
        return file

    def record(self, record: JournalRecord) -> None:
        """Writes the record down; it reaches MLflow later."""
        files = [[self._place(local), folder] for local, folder in record.artifacts]
        line = replace(record, at=time.time(), artifacts=files).line().encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            self._written += 1

    def _place(self, local: str) -> str:
        """The file's path, relative where it lies in the work directory: a resumed run may stand elsewhere."""
        path = next((p for p in (self.workdir / local, Path(local).absolute()) if p.exists()), Path(local).absolute())
        return str(path.relative_to(self.workdir)) if path.is_relative_to(self.workdir) else str(path)

    def ensure_tracker(self) -> Tracker:
        """The tracker, started (again) if there is none."""
        with self._lock:
            if self._closed:
                raise NestorError("The journal is closed.")
            if self._tracker is None or not self._tracker.alive:
                self._tracker = Tracker(self.workdir, self._address)
            return self._tracker

    def call(self, name: str, /, *, timeout: float | None = None, **args: Any) -> Any:
        """What the tracker's function `name` returns; its errors come as NestorError.

        Where the tracker is killed meanwhile, perhaps for its memory, a second one is asked: each function may be asked
        twice."""
        tracker = self.ensure_tracker()
        try:
            return tracker.call(name, timeout, args)
        except TrackerGoneError:
            tracker.stop(5)
            return self.ensure_tracker().call(name, timeout, args)

    def prepare(self) -> None:
        """Has the tracker import what registering needs, while the caller does something else."""

        def ask() -> None:
            with suppress(NestorError):  # registering will say what is wrong
                self.call("prepare")

        threading.Thread(target=ask, name="prepare", daemon=True).start()

    @property
    def trouble(self) -> str | None:
        """A sentence on why, while MLflow takes nothing: the end of a run tells it."""
        return self._tracker.trouble if self._tracker else None

    @property
    def empty(self) -> bool:
        """Whether nothing was ever recorded."""
        return not self._written

    def count_backlog(self) -> int:
        """Records that MLflow does not hold yet."""
        return max(0, self._written - (self._tracker.mirrored if self._tracker else 0))

    def measure_seconds_per_record(self) -> float:
        """Wall seconds that mirroring one record took lately."""
        return self._tracker.per_record if self._tracker else FIRST_GUESS

    def drain(self, timeout: float) -> int:
        """Waits until MLflow holds every record, `timeout` seconds at most; how many are left."""
        try:
            return int(self.call("drain", timeout=timeout + 1, seconds=timeout))
        except NestorError:
            return self.count_backlog()

    def close(self, timeout: float = 10) -> None:
        """Ends the tracker: what is mirrored is closed, what is not stays in the journal for a resume."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._tracker is not None:
            # With nothing to mirror there is no reason to wait until it has imported MLflow.
            self._tracker.stop(0 if self.empty else timeout)
        with suppress(OSError):  # on a full disk: a line cut short is no line
            self._file.close()
        self._only.close()

    def __enter__(self) -> Journal:
        """The journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the journal."""
        self.close()


def _lock_run(path: Path) -> IO[str]:
    """The open lock of this run: two processes that resume one run would both write its files."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise NestorError(f"Another process is at work on the run in {path.parent}.") from None
    return file
