"""Predictions for rows that come in chunks, written beside the file that they will be."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from models.errors import InputError, NestorError
from models.metrics.costs import Costs
from tasks.data.chunks import Chunk
from tasks.data.sources.dated import FIELDS, PARTS
from tasks.registry.conformal_file import unwrap_threshold
from tasks.scoring.intervals import IntervalLevels

In = TypeVar("In")
Out = TypeVar("Out")


def resolve_output(out: str, moment: datetime) -> Path:
    """The file, with today's date where its name asks for one; InputError where it can't be written."""
    path = Path(PARTS.sub(lambda m: moment.strftime(m[0]) if m[1] in FIELDS else m[0], out)).expanduser()
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"The output is a .csv or a .parquet file, not {path.name!r}.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} to write {path.name} to.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file for the output.")
    return path


def list_output_columns(model: Any, intervals: IntervalLevels | None = None) -> dict[str, pa.DataType]:
    """What a prediction consists of: the label or number, for classes `probability_<label>`, the intervals or sets that
    are asked for, and `model_version`."""
    labels = list(getattr(model, "classes_", []))
    kind = pa.array(labels).type if labels else pa.float64()
    return {
        "prediction": kind,
        **{f"probability_{label}": pa.float64() for label in labels},
        **(intervals.columns if intervals else {}),
        "model_version": pa.int64(),
    }


def predict_chunks(
    model: Any,
    version: int,
    chunks: Iterable[Chunk],
    threads: int | None = None,
    intervals: IntervalLevels | None = None,
    costs: Costs = (),
) -> Iterator[pa.Table]:
    """For each chunk, in order, the columns that were kept and the predictions beside them.

    Threads do: the libraries predict without Python's lock, and each row's prediction is one thread's work."""
    types = list_output_columns(model, intervals)

    def work(chunk: Chunk) -> pa.Table:
        values = _predict_columns(model, version, chunk.features, intervals, costs)
        arrays = [pa.array(v, kind) for v, kind in zip(values, types.values(), strict=True)]
        return pa.table([*chunk.kept.columns, *arrays], names=[*chunk.kept.column_names, *types])

    yield from _map_in_order(work, chunks, threads or len(os.sched_getaffinity(0)))


def _predict_columns(
    model: Any, version: int, rows: pd.DataFrame, intervals: IntervalLevels | None, costs: Costs
) -> list[Any]:
    """Labels, probabilities, intervals or sets, versions."""
    classes, versions = list(getattr(model, "classes_", [])), np.full(len(rows), version)
    if rows.empty:
        return [[] for _ in range(len(list_output_columns(model, intervals)) - 1)] + [versions]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odds, extras = _ask_model(model, rows, "predict_proba" if classes else "predict", intervals)
        if not classes:
            return [odds, *extras, versions]
        return [decide_labels(model, rows, odds, costs), *odds.T, *extras, versions]


def decide_labels(model: Any, rows: pd.DataFrame, odds: np.ndarray, costs: Costs = ()) -> np.ndarray:
    """The rows' labels from what the model has said of them: its `predict` does the same after asking all of its
    members once more. `costs` is the rule that no library class holds: the label of least expected cost."""
    if costs:
        codes = (odds @ np.array(costs)).argmin(axis=1)
    elif (threshold := getattr(model, "threshold", None)) is not None:
        codes = (odds[:, 1] >= threshold).astype(np.int64)
    elif getattr(model, "voting", None) == "soft":
        codes = odds.argmax(axis=1)
    else:
        return model.predict(rows)
    return np.asarray(model.classes_)[codes]


def _ask_model(
    model: Any, rows: pd.DataFrame, method: str, intervals: IntervalLevels | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What the model says, and the intervals or sets; no member of a vote is asked twice."""
    if intervals is None:
        return getattr(model, method)(rows), []
    model = unwrap_threshold(model)
    outputs = np.asarray([getattr(member, method)(rows) for member in getattr(model, "estimators_", [model])])
    # As the vote itself does it, to the last digit.
    odds = np.average(outputs, axis=0, weights=model.weights) if hasattr(model, "estimators_") else outputs[0]
    return odds, intervals.make_columns(outputs, getattr(model, "classes_", ()))


def _map_in_order(work: Callable[[In], Out], items: Iterable[In], threads: int) -> Iterator[Out]:
    """What `work` makes of each item, in their order; no more than one item waits for each thread."""
    with ThreadPoolExecutor(threads) as pool:
        futures: deque[Any] = deque()
        try:
            for item in items:
                futures.append(pool.submit(work, item))
                if len(futures) > threads:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        finally:
            for future in futures:
                future.cancel()


def write_tables(
    path: Path, tables: Iterator[pa.Table], facts: Mapping[str, str], listener: Callable[[int], None] | None = None
) -> int:
    """Writes the tables beside `path` and renames, so that a broken scoring leaves no half file; how many rows. A
    parquet file holds the `facts` as metadata. `listener` hears after each table how many rows are written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    rows = 0
    try:
        head = next(tables)
        with _open_writer(draft, path.suffix, head.schema.with_metadata(dict(facts))) as writer:
            for table in chain([head], tables):
                writer.write_table(table.cast(head.schema))
                rows += len(table)
                if listener is not None:
                    listener(rows)
        draft.replace(path)
    except OSError as error:
        raise NestorError(f"{path} can't be written: {error.strerror or error}.") from error
    finally:
        draft.unlink(missing_ok=True)
    return rows


def _open_writer(path: Path, suffix: str, schema: pa.Schema) -> Any:
    if suffix == ".csv":
        return arrow_csv.CSVWriter(path, schema)
    return pq.ParquetWriter(path, schema, compression="zstd")
