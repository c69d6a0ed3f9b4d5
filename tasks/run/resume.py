"""Runs on disk: what a run is called and described by, and the folders that earlier ones left under `mlruns/work`."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from models.config import Run
from models.config.values import to_model_name
from models.errors import InputError, join_names, make_unknown_error
from models.outcome import Report
from models.text.address import mask_address
from models.text.safe import shorten
from tasks.data.sources.database import is_address, is_table
from tasks.data.sources.dated import remove_date
from tasks.run import events
from tasks.run.folder import Workdir, make_damaged_error
from tasks.system import process
from tasks.system.libraries import list_installed_versions

ROOT = Path("mlruns")

_TIME = "budget.seconds"
_SAID = {"run", "name", "begun", "host", "pid", "pid_start", "state", "used"}
"""What every `run.json` says."""


def to_run_settings(run: Run) -> dict[str, Any]:
    """The Run as JSON values, with what may differ between a run and its resumption left out, and what was not there
    when older runs were written down."""
    settings = json.loads(run.model_dump_json())
    settings["budget"].pop("workers")
    settings["budget"].pop("memory")
    if run.tracking.mirror is None:
        settings.pop("tracking")
    for name in ("objectives", "limits", "pick"):
        if not settings["search"][name]:
            settings["search"].pop(name)
    if not run.split.new_seal:
        settings["split"].pop("new_seal")
    return settings


def choose_model_name(run: Run) -> str:
    """The model's name: the one asked for, else the stem of the data's file without its date, or the table's."""
    if run.name:
        return run.name
    if isinstance(run.data, pd.DataFrame):
        return "model"
    name = to_model_name(_find_data_stem(str(run.data), run.query or ""))
    if not name:
        address = mask_address(str(run.data))
        raise InputError(f"No name for the model can be made from {address!r}: give one with --name.")
    return name


def _find_data_stem(data: str, query: str) -> str:
    """What the data calls itself; nothing for a query of several words."""
    if is_address(data):
        return query.rpartition(".")[2] if is_table(query) else ""
    return remove_date(data.removeprefix("sklearn:") if data.startswith("sklearn:") else Path(data).name).split(".")[0]


def name_run_folder(name: str) -> Workdir:
    """The folder of a new run, which is not there yet."""
    slug = re.sub(r"[^\w-]+", "_", name)[:60]
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Workdir(ROOT / "work" / f"{slug}-{stamp}-{secrets.token_hex(2)}")


def flatten_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `split.outer: 5`; what is not set is left out."""
    settings: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            settings |= flatten_settings(value, f"{prefix}{key}.")
        elif value not in (None, [], ""):
            settings[f"{prefix}{key}"] = value
    return settings


def find_interrupted_run(run: Run, name: str, target: str = "") -> Workdir | None:
    """The folder of the newest run with the same settings and libraries (or the one `target`), finished or not; None
    without one.

    The time may differ: who gives more goes on with more. A run that is done with another time is no answer, but to who
    wants it by its name. InputError where the run `target` is not there, or has other settings."""
    identity = _make_identity(to_run_settings(run), name, list_installed_versions())
    if target and (ROOT / "work" / target / "run.json").exists() and _read_run_record(ROOT / "work" / target) is None:
        raise make_damaged_error(ROOT / "work" / target / "run.json")
    for workdir, record in _read_runs():
        if target in (workdir.path.name, (workdir.try_json("report.json") or {}).get("run_id")):
            _refuse_other_settings(_find_differences(identity, record), workdir.path.name)
            return workdir
        if not target and not _find_differences(identity, record, timed=record["state"] == "done"):
            return workdir
    if target:
        raise make_unknown_error(
            f"run in {ROOT / 'work'} called", target, [workdir.path.name for workdir, _ in _read_runs()]
        )
    return None


def _read_runs() -> Iterator[tuple[Workdir, dict[str, Any]]]:
    """The runs on disk that may be read, with what they say of themselves, the newest first. One whose `run.json` is
    damaged is named and left out."""
    for file in sorted((ROOT / "work").glob("*/run.json"), key=_read_change_time, reverse=True):
        try:
            record = _read_run_record(file.parent)
        except OSError:  # another user's
            continue
        if record is None:
            _warn_of_damaged(file)
        else:
            yield Workdir(file.parent), record


def _read_change_time(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # deleted meanwhile
        return 0.0


def _read_run_record(folder: Path) -> dict[str, Any] | None:
    """What the run says of itself; None where that is damaged."""
    record = Workdir(folder).try_json("run.json")
    return record if record and record.keys() >= _SAID and isinstance(record["run"], dict) else None


@cache
def _warn_of_damaged(file: Path) -> None:
    """Says once that the run is left out."""
    events.emit(events.NoteEvent(f"The run in {file.parent} is left out: its {file.name} is damaged."))


def _make_identity(settings: Mapping[str, Any], name: str, libraries: Mapping[str, str]) -> dict[str, Any]:
    """Settings, name and versions of libraries (whose fits are no one run) as plain values."""
    return flatten_settings(settings) | {"name": name} | flatten_settings({"libraries": libraries})


def _find_differences(identity: Mapping[str, Any], record: Mapping[str, Any], timed: bool = False) -> dict[str, str]:
    """What is otherwise `identity` than in the run that was kept, each with both values; its time only if `timed`."""
    old_identity = _make_identity(record["run"], record["name"], record.get("libraries", list_installed_versions()))
    keys = {key for key in {**old_identity, **identity} if old_identity.get(key) != identity.get(key)} - (
        set() if timed else {_TIME}
    )
    return {
        key: f"{_format_setting(old_identity.get(key))} there, {_format_setting(identity.get(key))} here"
        for key in sorted(keys)
    }


def _format_setting(value: Any) -> str:
    return "none" if value is None else shorten(value)


def _refuse_other_settings(differences: Mapping[str, str], run: str) -> None:
    """InputError where settings differ: trials by two metrics, or of two plans, are no one run."""
    if differences:
        text = join_names((f"{key} ({values})" for key, values in differences.items()), width=120)
        raise InputError(
            f"The run {run} has other settings: {text}. It goes on with its own, of which only --budget, --workers and "
            "--memory may differ. Or start a new run without --resume."
        )


def find_flow_run_folder(flow_run: str) -> str | None:
    """The folder, by name, of an earlier attempt at this flow run that did not come to its end; None without one."""
    for workdir, record in _read_runs():
        if record.get("flow_run") == flow_run and record["state"] != "done":
            return workdir.path.name
    return None


def read_finished_report(run: Run, target: str) -> Report | None:
    """The report of the run to resume, if it came to its end."""
    workdir = find_interrupted_run(run, choose_model_name(run), target)
    if workdir is None or workdir.read_json("run.json")["state"] != "done":
        return None
    report = workdir.try_json("report.json")
    return Report.from_json(report) if report else None


def find_abandoned_runs() -> list[Workdir]:
    """Folders of runs that have a flow run, were never closed, and whose process on this machine is gone."""
    return [workdir for workdir, record in _read_runs() if _is_abandoned(record)]


def _is_abandoned(record: dict[str, Any]) -> bool:
    return record.get("state") == "running" and "flow_run" in record and process.is_owner_gone(record)


def count_used_seconds(workdir: Workdir, record: dict[str, Any]) -> float:
    """Seconds that earlier attempts of this run took, the last one to the last event it wrote down. What passed between
    two attempts is nobody's."""
    if not record:
        return 0.0
    last = max((p.stat().st_mtime for p in workdir.path.glob("events.jsonl")), default=0.0)
    return record["used"] + max(0.0, last - record.get("at", last))
