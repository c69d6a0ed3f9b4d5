"""The folder of one run, `mlruns/work/<run>`: all that resume needs, and what the workers read and write.

    run.json             the Run, who owns it (host, pid, process start) and how far it came
    table.json seal.json the table's fingerprint, and how its rows are sealed
    plan.pkl plan.json   the folds and the families: fixed before any score is seen
    warm.json            what an earlier run hands over
    briefs/              what every fit of a plan shares
    work.arrow           features of the work rows; sealed.arrow those of the sealed rows, in a file of their own
    target.npy ...       target, weight, row_keys of the work rows; sealed_target.npy ... those of the sealed rows;
                         sealed_units.npy what a bootstrap of the sealed rows draws: rows, groups or blocks of time
    sealed.json          which of these it is, what keys are made of, and which sealed rows these are: for the gate
    studies/             one Optuna journal for each family and fold
    fits/                one result for each finished fit: scores and out-of-fold predictions
    columns/             prepared columns, shared between workers; NAME.lock is held by the one that prepares NAME
    events.jsonl         what MLflow is told; journal.lock tracker.lock wandb.lock are held by who writes and copies it
    delivered/           the model as it is handed to the registry
    artifacts/           what the pipeline run in MLflow holds beside its numbers

A file appears under its name only when it is whole: it is written beside, brought to the disk, and renamed; what is
made again where it is lost (`fits/`, `columns/`, tables) is not waited for. A file that is damaged all the same raises
`DamagedFileError`, which names it, or is made again by whoever asks with `kept_...`."""

from __future__ import annotations

import json
import logging
import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc

from models.errors import NestorError
from models.text.safe import shorten
from tasks.system import private
from tasks.system.lock import hold_lock

log = logging.getLogger("nestor.files")

T = TypeVar("T")

AGAIN = ("fits/", "columns/")
"""Folders of what is made again where it is lost."""


class DamagedFileError(NestorError):
    """A file that is there and can't be read."""


_ANEW = "Its run can't go on without it. Begin a new run without --resume; versions that are registered are untouched."


def make_damaged_error(path: Path) -> DamagedFileError:
    """The error that names the file, and says what to do."""
    problem = "it is empty" if path.exists() and not path.stat().st_size else "it is not what was written"
    return DamagedFileError(f"{path} is damaged: {problem}. {_ANEW}")


def make_version_error(path: Path, reason: object) -> DamagedFileError:
    """The error for a whole file that these versions of Nestor and of its libraries can't read."""
    return DamagedFileError(
        f"{path} was made with other versions of Nestor or its libraries ({shorten(reason, 200)}). {_ANEW}"
    )


def write_whole(path: Path, writer: Callable[[Any], object], lasting: bool = True) -> None:
    """Makes `path` appear with what `write(binary file)` wrote, whole or not at all. `lasting`: it is on the disk when
    this returns, so that it survives lost power."""
    private.make_private_folder(path.parent)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            writer(file)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
            file.close()
            os.replace(file.name, path)
        except BaseException:
            with suppress(FileNotFoundError):  # an interrupt may come when it has its name already
                os.unlink(file.name)
            raise
    if lasting:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Brings the names in the folder to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Makes `path` appear with this text, whole or not at all, and lasting."""
    write_whole(path, lambda file: file.write(text.encode()))


def read_json(path: Path) -> Any:
    """The object in a JSON file; None where there is no such file. DamagedFileError where it holds none."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise make_damaged_error(path) from None
    if not isinstance(value, dict):
        raise make_damaged_error(path)
    return value


def _read_or_none(reader: Callable[[], Any]) -> Any:
    """What is read; None where it is damaged, which the log says."""
    try:
        return reader()
    except DamagedFileError as error:
        log.warning("%s; it is made again", str(error).partition(". ")[0])
        return None


def _write_table(table: pa.Table, file: Any) -> None:
    with pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


@dataclass(frozen=True)
class Workdir:
    """Names and forms of the files in a run's folder."""

    path: Path

    def write_json(self, name: str, value: object) -> None:
        """Writes a JSON file."""
        text = json.dumps(value, indent=1, default=str, ensure_ascii=False)
        self._write(name, lambda file: file.write(text.encode()))

    def _write(self, name: str, writer: Callable[[Any], object]) -> None:
        write_whole(self.path / name, writer, lasting=not name.startswith(AGAIN))

    def read_json(self, name: str) -> Any:
        """The JSON file's value; None where there is none. DamagedFileError where it can't be read."""
        return read_json(self.path / name)

    def try_json(self, name: str) -> Any:
        """The same, and None where it is damaged: it is made again."""
        return _read_or_none(lambda: self.read_json(name))

    def write_array(self, name: str, value: np.ndarray) -> None:
        """Writes an array that workers map into memory."""
        self._write(f"{name}.npy", lambda file: np.save(file, value, allow_pickle=False))

    def read_array(self, name: str) -> np.ndarray | None:
        """The array, mapped into memory read-only; None where there is none. DamagedFileError where it can't be
        read."""
        path = self.path / f"{name}.npy"
        try:
            return np.load(path, mmap_mode="r")
        except FileNotFoundError:
            return None
        except (ValueError, EOFError):
            raise make_damaged_error(path) from None

    def try_array(self, name: str) -> np.ndarray | None:
        """The same, and None where it is damaged: it is made again."""
        return _read_or_none(lambda: self.read_array(name))

    def write_pickle(self, name: str, value: object) -> None:
        """Writes fitted objects for our own processes; what is delivered goes through skops instead."""
        self._write(f"{name}.pkl", lambda file: pickle.dump(value, file, protocol=5))

    def read_pickle(self, name: str) -> Any:
        """The object; None where there is none. DamagedFileError where it can't be read."""
        path = self.path / f"{name}.pkl"
        try:
            with path.open("rb") as file:
                return pickle.load(file)
        except FileNotFoundError:
            return None
        except (MemoryError, OSError):
            raise
        except (ImportError, AttributeError) as error:
            raise make_version_error(path, error) from None
        except Exception:  # what a broken pickle raises may be anything
            raise make_damaged_error(path) from None

    def try_pickle(self, name: str) -> Any:
        """The same, and None where it is damaged: it is made again."""
        return _read_or_none(lambda: self.read_pickle(name))

    def write_frame(self, name: str, frame: pd.DataFrame) -> None:
        """Writes a table that workers map into memory: what is in pieces, or has gaps to fill, would be copied."""
        table = pa.Table.from_pandas(frame)
        for place, (_, column) in enumerate(frame.items()):
            if column.dtype == "float64":  # as it stands, NaN and all
                table = table.set_column(place, table.field(place), pa.array(column.to_numpy()))
        # Made again from the source whenever a run is taken up.
        write_whole(self.path / f"{name}.arrow", lambda file: _write_table(table.combine_chunks(), file), lasting=False)

    def read_frame(self, name: str) -> pd.DataFrame:
        """The table, mapped into memory read-only. DamagedFileError where it can't be read."""
        path = self.path / f"{name}.arrow"
        try:
            with pa.memory_map(str(path)) as file:
                return pyarrow.ipc.open_file(file).read_all().to_pandas(split_blocks=True)
        except (pa.ArrowException, ValueError):
            raise make_damaged_error(path) from None

    def lock(self, name: str) -> AbstractContextManager[float]:
        """Waits while another process makes `name`; the seconds waited."""
        path = self.path / f"{name}.lock"
        private.make_private_folder(path.parent)
        return hold_lock(path)

    @property
    def has_trials(self) -> bool:
        """Whether a search has begun here."""
        return any((self.path / "studies").glob("*"))

    def read_fixed(self, reader: Callable[[str], T], name: str) -> T | None:
        """What an earlier attempt fixed before any trial, as `reader` finds it by that name; None where there is none,
        or where it is damaged and no trial hangs on it yet. DamagedFileError otherwise: trials of
        two plans are no one run."""
        try:
            return reader(name)
        except DamagedFileError:
            if self.has_trials:
                raise
            return None

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        return (self.path / name).exists()
