"""The tables that systems are compared on, from a list or from scikit-learn."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from models.errors import InputError

TUNING = frozenset({"adult", "california_housing", "car", "credit_g", "house_prices", "mice_protein"})
"""Tables that searches and settings of Nestor were measured on (`benchmarks/search/data`): no result is reported on
them, unless a catalogue has a column `part` that says otherwise."""
PARTS = ("tune", "report")
METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
"""What a task is judged by where the catalogue names no metric."""


@dataclass(frozen=True)
class Table:
    """A table, what is to be predicted in it, and what its rows must be divided by."""

    name: str
    place: str
    """A file, or `sklearn:NAME`."""
    target: str
    task: str
    metric: str
    part: str
    """`tune` or `report`."""
    group: str | None = None
    time: str | None = None


def list_tables(place: str, part: str = "all", only: tuple[str, ...] = ()) -> list[Table]:
    """The tables of a catalogue (a csv file) or of `sklearn:NAME,NAME`, of this part and of these names."""
    found = list(_list_shipped(place) if place.startswith("sklearn:") else _read_catalogue(Path(place)))
    known = [table.name for table in found]
    if unknown := [name for name in only if name not in known]:
        raise InputError(f"No table '{unknown[0]}' in the catalogue. Known: {', '.join(known)}.")
    return [t for t in found if (part in ("all", t.part)) and (not only or t.name in only)]


def _read_catalogue(path: Path) -> Iterator[Table]:
    if not path.is_file():
        raise InputError(
            f"PLACE must be a csv file that lists tables, or sklearn:NAME. Got '{path}', which is no file."
        )
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if lacking := {"name", "path", "target", "task"} - set(row):
                raise InputError(f"A catalogue has the columns name, path, target and task. Missing: {min(lacking)}.")
            yield _make_table(row, path.resolve().parent)


def _make_table(row: dict[str, str], folder: Path) -> Table:
    name, task = row["name"], row["task"]
    if task not in METRICS:
        raise InputError(f"The task of '{name}' must be one of {', '.join(METRICS)}. Got '{task}'.")
    part = row.get("part") or ("tune" if name in TUNING else "report")
    if part not in PARTS:
        raise InputError(f"The part of '{name}' must be one of {', '.join(PARTS)}. Got '{part}'.")
    metric = row.get("metric") or METRICS[task]
    group, time = row.get("group_col") or None, row.get("time_col") or None
    return Table(name, str(folder / row["path"]), row["target"], task, metric, part, group, time)


def _list_shipped(place: str) -> Iterator[Table]:
    for name in place.removeprefix("sklearn:").split(","):
        target = read_frame(f"sklearn:{name}")["target"]
        few = target.nunique() <= 20 and pd.api.types.is_integer_dtype(target)
        task = "regression" if not few else "binary" if target.nunique() == 2 else "multiclass"
        yield Table(name, f"sklearn:{name}", "target", task, METRICS[task], "report")


def read_frame(place: str) -> pd.DataFrame:
    """The whole table, as pandas reads it; only empty fields of a csv file are missing values."""
    if place.startswith("sklearn:"):
        return _load_shipped(place.removeprefix("sklearn:"))
    if place.endswith(".parquet"):
        return pd.read_parquet(place)
    return pd.read_csv(place, keep_default_na=False, na_values=[""])


def _load_shipped(name: str) -> pd.DataFrame:
    from sklearn import datasets

    load = getattr(datasets, f"load_{name}", None)
    if load is None:
        raise InputError(f"No table sklearn:{name}. Known: breast_cancer, diabetes, digits, iris, wine.")
    return load(as_frame=True).frame
