"""The journal's copy for Weights & Biases: each run of the tree is a run there, written once it has ended.

W&B's own library writes its offline files, in a folder beside, which a rename then puts in place. So whatever was
killed is done again and nothing stands twice. What has changed since (a run that was stopped and went on) is written
anew under the same id; an upload then takes the place of the earlier one."""

# pyright: reportMissingImports=false
from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.text.address import mask_text
from tasks.run.folder import Workdir
from tasks.run.journal import JournalRecord, join_records, read_lines
from tasks.tracking.mirror.entry import NOTE, make_entry, to_safe_names

if TYPE_CHECKING:
    import wandb

log = logging.getLogger("nestor.wandb")

BATCH = 20
"""Runs that are written between two looks at whether the command still goes on."""
TRIES = 2
"""After so many failures a run is left out: one that W&B refuses must not hold up the others."""
EXIT_CODES = {"FINISHED": 0, "FAILED": 1, "KILLED": 255}
"""W&B tells states by exit codes: 0 is finished, all others failed. `nestor.status` in the config tells them apart."""
SILENT: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "symlink": False,
    "host": "",
    "disable_git": True,
    "disable_code": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""W&B would keep the command line, the host, the repository, the packages and the load of the machine."""


class WandbRuns:
    """The runs in WORKDIR/wandb, as the journal says they are."""

    def __init__(self, workdir: Path) -> None:
        """Looks at what is there; what a kill left half written is removed."""
        self.workdir, self.folder = workdir, workdir / "wandb"
        self.offset, self.run_key, self.name = 0, "", ""
        self.records: dict[str, JournalRecord] = {}
        self.begun: dict[str, float] = {}
        """Key -> when the journal first told of it: the start of what has none of its own."""
        self.due: dict[str, JournalRecord] = {}
        """Ended runs that are not there as they are now."""
        self.lost: dict[str, str] = {}
        """Key -> why it could not be written."""
        self.held = {key: f.parent for f in self.folder.glob("*/nestor.json") if (key := _read_kept(f.parent, "key"))}
        self._failures = Counter[str]()
        shutil.rmtree(self._beside, ignore_errors=True)

    @property
    def _beside(self) -> Path:
        return self.folder / ".new"

    def follow(self) -> bool:
        """Takes in the journal's new lines and writes some of the runs that ended; whether there are more."""
        lines, self.offset = read_lines(self.workdir / "events.jsonl", self.offset)
        for header in (line for line in lines if "journal" in line):
            self.run_key, self.name = header["run"], header["name"]
        entries = [line for line in lines if "key" in line]
        for line in entries:
            self.begun.setdefault(line["key"], line["at"])
        self.records = join_records(lines, self.records)
        self._want({line["key"]: self.records[line["key"]] for line in entries})
        return self.write()

    def close_open(self) -> None:
        """Has what is still open be written as killed: nobody is left who could end it."""
        records = {k: r for k, r in self.records.items() if r.status is None}
        self._want({k: r.merge(JournalRecord(k, r.kind, status="KILLED", at=r.at)) for k, r in records.items()})

    def _want(self, records: Mapping[str, JournalRecord]) -> None:
        for key, entry in records.items():
            record = replace(entry, start=entry.start or self.begun[key])
            if record.status and self._read_held_digest(key) != digest_record(record):
                self.due[key] = record

    def _read_held_digest(self, key: str) -> str:
        folder = self.held.get(key)
        return _read_kept(folder, "digest") if folder else ""

    def write(self) -> bool:
        """Writes some of the runs that are due; whether there are more."""
        for key in list(self.due)[:BATCH]:
            try:
                self._place(self.due[key])
            except Exception as error:
                self._note_failure(key, error)
            else:
                del self.due[key]
        return bool(self.due)

    def _note_failure(self, key: str, error: Exception) -> None:
        log.warning("the run %s could not be written", key, exc_info=error)
        self._failures[key] += 1
        if self._failures[key] >= TRIES:
            self.lost[key] = str(error) or type(error).__name__
            del self.due[key]
        try:
            import wandb

            wandb.teardown(exit_code=1)  # its service may be dead: the next run gets another
        except Exception as again:
            log.warning("W&B could not be ended", exc_info=again)

    def _place(self, record: JournalRecord) -> None:
        """Writes the run beside and puts it in its place, instead of an earlier one of that key."""
        shutil.rmtree(self._beside, ignore_errors=True)
        self._beside.mkdir(parents=True)
        folder = self._write_offline(record)
        (folder / "nestor.json").write_text(json.dumps({"key": record.key, "digest": digest_record(record)}), "utf-8")
        for name in ("logs", "tmp"):
            shutil.rmtree(folder / name, ignore_errors=True)
        if record.key in self.held:
            shutil.rmtree(self.held[record.key])
        self.held[record.key] = folder.rename(self.folder / folder.name)

    def _write_offline(self, record: JournalRecord) -> Path:
        """The folder with the run's offline files."""
        import wandb

        entry = make_entry(record, self.run_key, None)
        run = wandb.init(
            project=to_safe_id(self.name)[:128],
            group=self.workdir.name,
            job_type=record.kind,
            id=self.make_id(record.key),
            name=entry.name,
            config=self.make_config(record),
            notes=record.note or None,
            dir=str(self._beside),
            mode="offline",
            reinit="create_new",
            settings=wandb.Settings(**SILENT),
        )
        for step in range(max(map(len, entry.metrics.values()), default=0)):
            values = {name: numbers[step] for name, numbers in entry.metrics.items() if step < len(numbers)}
            run.log({**values, "_timestamp": entry.end / 1000}, step=step)
        if record.artifacts:
            run.log_artifact(self._list_files(record))
        run.finish(exit_code=EXIT_CODES[str(record.status)])
        return next((self._beside / "wandb").glob("offline-run-*"))

    def make_id(self, key: str) -> str:
        """W&B's id of the run with that key: the same whenever it is written."""
        return to_safe_id(f"{self.run_key[:12]}-{key.replace('/', '-')}")

    def make_config(self, record: JournalRecord) -> dict[str, Any]:
        """What W&B shows beside a run's numbers: its params in their own types, its tags, its place in the tree."""
        entry = make_entry(record, self.run_key, None)
        extras = {
            "nestor.parent": self.make_id(record.parent) if record.parent else None,
            "nestor.status": record.status,
            "nestor.start": _format_moment(entry.start),
            "nestor.end": _format_moment(entry.end),
            "dataset": dict(record.dataset) if record.dataset else None,
        }
        tags = {k: v for k, v in entry.tags.items() if k != NOTE}
        values = {**to_safe_names(record.params), **tags, **{k: v for k, v in extras.items() if v is not None}}
        return _mask_value(nest_names(values))

    def _list_files(self, record: JournalRecord) -> wandb.Artifact:
        import wandb

        files = wandb.Artifact(self.make_id(record.key), type="files")
        for local, folder in record.artifacts:
            path = self.workdir / local
            # "immutable": named where they lie instead of copied; nothing writes them again.
            if path.is_dir():
                files.add_dir(str(path), name=folder or None, policy="immutable")
            elif path.exists():
                files.add_file(str(path), name=f"{folder}/{path.name}".lstrip("/"), policy="immutable")
            else:
                log.warning("no file %s to keep", path)
        return files


def _read_kept(folder: Path, key: str) -> str:
    """The `key` of the run whose folder it is, or the `digest`; empty where that is damaged: it is written again."""
    return str((Workdir(folder).try_json("nestor.json") or {}).get(key) or "")


def digest_record(record: JournalRecord) -> str:
    """The digest of all that the journal says of a run."""
    return hashlib.sha256(replace(record, at=0.0).line().encode()).hexdigest()[:32]


def to_safe_id(name: str) -> str:
    """The name without the signs that W&B forbids in projects and ids."""
    return re.sub(r"[/\\#?%:]", "_", name)


def nest_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"best.rate": 1}` as `{"best": {"rate": 1}}`: W&B asks for names without dots, and shows it as `best.rate`. A
    name that is also the beginning of others keeps its dots as lines."""
    prefixes = {".".join(name.split(".")[:n]) for name in values for n in range(1, name.count(".") + 1)}
    result: dict[str, Any] = {}
    for name, value in values.items():
        *groups, leaf = [f"{name.replace('.', '_')}_"] if name in prefixes else name.split(".")
        branch = result
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[leaf] = value
    return result


def _mask_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _mask_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mask_value(v) for v in value]
    return mask_text(value) if isinstance(value, str) else value


def _format_moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
