"""Whether there is anything to train, and what an earlier attempt left when it was broken off."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from models.config import Run
from models.outcome import Report
from tasks.data import read_table
from tasks.retrain.comparison import read_sealed_rows
from tasks.retrain.data import RetrainInputs
from tasks.run import resume
from tasks.run.fingerprint import compare_identity
from tasks.run.folder import DamagedFileError, Workdir
from tasks.system import process

SPENT = 0.7
"""From this share of its time on a run that was broken off is begun anew: what is left would not do for a good end."""
OPEN = "open.json"
"""In a model's folder: what the attempt at work trains, until its challenger has met the champion."""


def find_changes(inputs: RetrainInputs, run: Run, fingerprint: str) -> tuple[str, ...]:
    """What differs from the last run: the table, settings, libraries, a new seal; empty where nothing does."""
    changes = compare_identity(inputs.past.tags, run, fingerprint) if inputs.past else ("it is the first run",)
    if not run.split.new_seal or (
        inputs.past and inputs.past.config["split"].get("new_seal") and find_waiting_report(inputs)
    ):
        return changes
    return (*changes, "the seal")


def record_attempt(inputs: RetrainInputs, run: Run) -> None:
    """Writes down what is being trained."""
    inputs.folder.write_json(OPEN, {"run": resume.to_run_settings(run), "since": time.time()})


def close_attempt(inputs: RetrainInputs) -> None:
    """The challenger has met the champion, and what came of it is written down."""
    (inputs.folder.path / OPEN).unlink(missing_ok=True)


def find_waiting_report(inputs: RetrainInputs) -> Report | None:
    """The report of a challenger that an earlier attempt trained and that never met the champion."""
    record: dict[str, Any] | None = inputs.folder.try_json(OPEN)
    if not record or inputs.past is None or record.get("run") != inputs.past.config:
        return None
    report = Report.from_json(inputs.past.report)
    has_folder = report.version is not None and report.workdir is not None and Path(report.workdir).is_dir()
    return report if has_folder and _has_sealed_rows(Path(report.workdir or "")) else None


def _has_sealed_rows(folder: Path) -> bool:
    """Whether the run's sealed rows, on which versions meet, can be read."""
    try:
        read_sealed_rows(folder)
    except (DamagedFileError, OSError, KeyError):
        return False
    return True


def find_resumable_run(inputs: RetrainInputs, run: Run) -> str | None:
    """The folder, by name, of a run with these settings over this table that was broken off; None without one."""
    workdir = resume.find_interrupted_run(run, inputs.name)
    if workdir is None:
        return None
    record, table = workdir.read_json("run.json"), workdir.try_json("table.json")
    share = resume.count_used_seconds(workdir, record) / (run.seconds or float("inf"))
    if (
        record["state"] == "done"
        or table is None
        or share > SPENT
        or process.is_owner_alive(record)
        or _has_newer_run(inputs, workdir)
    ):
        return None
    return workdir.path.name if table["fingerprint"] == read_table(run).fingerprint else None


def _has_newer_run(inputs: RetrainInputs, workdir: Workdir) -> bool:
    """Whether a run of this name has come to its end since that one was broken off: its choice is of the past."""
    report = inputs.past and inputs.past.report.get("workdir")
    record = Workdir(Path(report)).try_json("run.json") if report else None
    return bool(record) and record["begun"] > workdir.read_json("run.json")["begun"]
