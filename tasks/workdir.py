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

A file appears under its name only when it is whole: it is written beside and renamed."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc

from tasks import private
from tasks.lock import alone


def write_whole(path: Path, write: Callable[[Any], object]) -> None:
    """Makes `path` appear with what `write(binary file)` wrote, whole or not at all."""
    private.made(path.parent)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            write(file)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _put(table: pa.Table, file: Any) -> None:
    with pyarrow.ipc.new_file(file, table.schema) as whole:
        whole.write_table(table)


@dataclass(frozen=True)
class Workdir:
    """Names and forms of the files in a run's folder."""

    path: Path

    def write_json(self, name: str, value: object) -> None:
        """Writes a JSON file."""
        text = json.dumps(value, indent=1, default=str, ensure_ascii=False)
        write_whole(self.path / name, lambda file: file.write(text.encode()))

    def read_json(self, name: str) -> Any:
        """The JSON file's value; None where there is none."""
        path = self.path / name
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def write_array(self, name: str, value: np.ndarray) -> None:
        """Writes an array that workers map into memory."""
        write_whole(self.path / f"{name}.npy", lambda file: np.save(file, value, allow_pickle=False))

    def read_array(self, name: str) -> np.ndarray | None:
        """The array, mapped into memory read-only; None where there is none."""
        path = self.path / f"{name}.npy"
        return np.load(path, mmap_mode="r") if path.exists() else None

    def write_pickle(self, name: str, value: object) -> None:
        """Writes fitted objects for our own processes; what is delivered goes through skops instead."""
        write_whole(self.path / f"{name}.pkl", lambda file: pickle.dump(value, file, protocol=5))

    def read_pickle(self, name: str) -> Any:
        """The object; None where there is none."""
        path = self.path / f"{name}.pkl"
        if not path.exists():
            return None
        with path.open("rb") as file:
            return pickle.load(file)

    def write_frame(self, name: str, frame: pd.DataFrame) -> None:
        """Writes a table that workers map into memory: what is in pieces, or has gaps to fill, would be copied."""
        table = pa.Table.from_pandas(frame)
        for place, (_, column) in enumerate(frame.items()):
            if column.dtype == "float64":  # as it stands, NaN and all
                table = table.set_column(place, table.field(place), pa.array(column.to_numpy()))
        write_whole(self.path / f"{name}.arrow", lambda file: _put(table.combine_chunks(), file))

    def read_frame(self, name: str) -> pd.DataFrame:
        """The table, mapped into memory read-only."""
        with pa.memory_map(str(self.path / f"{name}.arrow")) as file:
            return pyarrow.ipc.open_file(file).read_all().to_pandas(split_blocks=True)

    def alone(self, name: str) -> AbstractContextManager[float]:
        """Waits while another process makes `name`; the seconds waited."""
        path = self.path / f"{name}.lock"
        private.made(path.parent)
        return alone(path)

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        return (self.path / name).exists()
