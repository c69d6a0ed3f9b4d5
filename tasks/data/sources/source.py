"""Whatever the user names as data, as one raw frame: text columns where the source is text, typed where it is typed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from models.data.table import Finding
from models.errors import InputError, join_names, make_unknown_error
from models.text.safe import shorten
from tasks.data.formats.parquet import ParquetReader
from tasks.data.formats.pieces import read_source
from tasks.data.formats.stray import drop_stray_rows
from tasks.data.formats.stream import inspect_text
from tasks.data.headers import clean_names
from tasks.data.room import MemoryRoom, measure_room
from tasks.data.sources import database
from tasks.data.sources.dated import remove_date, resolve_path
from tasks.data.sources.files import is_parquet, locate_file, read_pieces
from tasks.system import memory

SKLEARN = ("breast_cancer", "diabetes", "wine", "digits", "iris", "linnerud")


@dataclass(frozen=True)
class RawTable:
    """A frame as it came, under names that are text and stand once."""

    frame: pd.DataFrame
    source: str
    """As messages name it."""
    name: str
    """Short: the file's stem."""
    format: Literal["csv", "parquet", "sklearn", "frame"]
    encoding: str | None = None
    separator: str | None = None
    renamed: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def load_raw_table(
    data: object,
    query: str | None = None,
    bound: Mapping[str, str] | None = None,
    now: datetime | None = None,
    room: MemoryRoom | None = None,
) -> RawTable:
    """The raw frame behind a path, a database address, `sklearn:NAME` or a DataFrame; stops where there is none, or
    where it is larger than there is `room` for (None: all memory that is free). `now` is what dates in the path and in
    `bound` are counted from."""
    raw = _load_data(data, query, bound or {}, now or datetime.now().astimezone(), room or measure_room())
    frame, renamed, findings = raw.frame.reset_index(drop=True), {}, []
    if raw.format != "sklearn":
        names, renamed, findings = clean_names(list(frame.columns))
        frame = frame.set_axis(pd.Index(names, dtype=object), axis=1)
    if raw.format == "csv":
        frame, strays = drop_stray_rows(frame, renamed)
        findings += strays
    return replace(raw, frame=frame, renamed=renamed, findings=(*raw.findings, *findings))


def fetch_data(
    data: Any,
    query: str | None = None,
    bound: Mapping[str, str] | None = None,
    *,
    folder: Path,
    now: datetime | None = None,
) -> Any:
    """The data as what may be read again and again with the same content: of a database the parquet file in `folder`
    that its rows were written to, of a path with a date the file that fits, anything else as it is."""
    now = now or datetime.now().astimezone()
    if database.is_address(data):
        return str(database.fetch_query(data, query, bound or {}, now, folder))
    _refuse_query(data, query, bound or {})
    if isinstance(data, (str, Path)) and not str(data).startswith("sklearn:"):
        return str(locate_file(resolve_path(data, now.date())[0]))
    return data


def _refuse_query(data: object, query: str | None, bound: Mapping[str, str]) -> None:
    if query or bound:
        data_name = shorten(data, 80) if isinstance(data, (str, Path)) else f"a {type(data).__name__}"
        raise InputError(f"A query and its values go with a database address; the data is {data_name}.")


def _load_data(data: object, query: str | None, bound: Mapping[str, str], now: datetime, room: MemoryRoom) -> RawTable:
    if database.is_address(data):
        with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
            raw = _read_file(database.fetch_query(str(data), query, bound, now, Path(folder)), room)
        return replace(
            raw, name=_find_stem(query.rpartition(".")[2]) if query and database.is_table(query) else "table"
        )
    _refuse_query(data, query, bound)
    if isinstance(data, pd.DataFrame):
        return RawTable(_to_plain_types(data), f"the DataFrame of {len(data)} rows", "frame", "frame")
    if isinstance(data, str) and data.startswith("sklearn:"):
        return _load_sklearn(data.removeprefix("sklearn:"))
    if isinstance(data, (str, Path)):
        path, finding = resolve_path(data, now.date())
        raw = _read_file(locate_file(path), room)
        name = _find_stem(remove_date(Path(data).name))
        return replace(raw, name=name, findings=(finding, *raw.findings)) if finding else raw
    raise InputError(f"Data is a path, a database address, sklearn:NAME or a DataFrame, not a {type(data).__name__}.")


def _read_file(path: Path, room: MemoryRoom) -> RawTable:
    raw = _read_parquet(path, room) if is_parquet(path) else _read_text(path, room)
    unlike = raw.format == "parquet" and path.suffix.lower() in (".csv", ".tsv", ".txt")
    unlike |= raw.format == "csv" and path.suffix.lower() in (".parquet", ".pq")
    findings = (
        (Finding("format", "warn", f"{path.name} holds {raw.format} in spite of its name, and was read so."),)
        if unlike
        else ()
    )
    return replace(raw, name=_find_stem(path.name), findings=(*findings, *raw.findings))


def _find_stem(name: str) -> str:
    """The file's name without what tells its form."""
    bare = re.sub(r"(\.(csv|tsv|txt|tab|dat|parquet|pq|gz|bz2|xz|zst|zip))+$", "", name, flags=re.I)
    return re.sub(r"[/:.%\"'\s]+", "_", bare).strip("_") or "table"


def _read_text(path: Path, room: MemoryRoom) -> RawTable:
    if path.suffix.lower() in (".parquet", ".pq") and b"\0" in next(read_pieces(path, 4000)):
        raise InputError(f"{path} is not a parquet file: it does not begin with PAR1; copy or write it again.")
    text = inspect_text(path, room)
    layout, coded = text.layout, text.coded
    tables = list(text.tables())
    keys = [str(i) for i in range(len(layout.names))]
    # One block per column is what Arrow has; names come later, since here they may stand twice.
    table = pa.concat_tables(tables) if tables else pa.table({key: pa.array([], pa.string()) for key in keys})
    findings = (*((coded.said,) if coded.said else ()), *layout.findings)
    if table.num_columns > len(keys):
        sentence = f"{path.name}: each line ends in a separator; the empty last column was left out."
        findings, table = (*findings, Finding("header", "pass", sentence)), table.select(keys)
    del tables
    frame = table.to_pandas(self_destruct=True, split_blocks=True)
    memory.give_back_memory(len(frame))
    frame.columns = pd.Index(layout.names, dtype=object)
    return RawTable(frame, str(path), path.stem, "csv", coded.name, layout.dialect.separator, findings=findings)


def _read_parquet(path: Path, room: MemoryRoom) -> RawTable:
    table = ParquetReader(path, room).read_all()
    return RawTable(to_frame(table), read_source(table.schema) or str(path), path.stem, "parquet")


def to_frame(table: pa.Table) -> pd.DataFrame:
    """The frame of an Arrow table: decimals as numbers, whole numbers and truth whole in spite of gaps."""
    columns: list[pd.Series] = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_decimal(kind):
            column = column.cast(pa.float64(), safe=False)
        elif pa.types.is_time(kind) or pa.types.is_null(kind):
            column = column.cast(pa.string())
        elif pa.types.is_dictionary(kind) and not pa.types.is_string(kind.value_type):
            column = column.cast(pa.string() if pa.types.is_large_string(kind.value_type) else kind.value_type)
        columns.append(_to_series(column))
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(table.num_rows))
    return frame.set_axis(pd.Index(table.column_names, dtype=object), axis=1)


def _to_series(column: pa.ChunkedArray) -> pd.Series:
    if column.null_count and pa.types.is_integer(column.type):
        return column.to_pandas(types_mapper={column.type: _choose_nullable(column.type)}.get)
    if column.null_count and pa.types.is_boolean(column.type):
        return column.to_pandas(types_mapper={column.type: pd.BooleanDtype()}.get)
    try:
        return column.to_pandas(date_as_object=False)
    except (pa.ArrowException, NotImplementedError, ValueError):
        return pd.Series(column.to_pylist(), dtype=object)


def _to_plain_types(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with Arrow's and sparse columns in pandas' own types."""
    columns = [_to_plain_type(frame.iloc[:, i]) for i in range(frame.shape[1])]
    if all(column is None for column in columns):
        return frame
    series = [frame.iloc[:, i] if column is None else column for i, column in enumerate(columns)]
    result = pd.concat([c.reset_index(drop=True) for c in series], axis=1)
    return result.set_axis(frame.columns, axis=1)


def _to_plain_type(column: pd.Series) -> pd.Series | None:
    if isinstance(column.dtype, pd.ArrowDtype):
        array = (
            pa.chunked_array(pa.array(column))
            if not isinstance(pa.array(column), pa.ChunkedArray)
            else pa.array(column)
        )
        return to_frame(pa.table({"0": array})).iloc[:, 0]
    if isinstance(column.dtype, pd.SparseDtype):
        return column.sparse.to_dense()
    return None


def _choose_nullable(kind: pa.DataType) -> Any:
    return pd.UInt64Dtype() if pa.types.is_unsigned_integer(kind) else pd.Int64Dtype()


def _load_sklearn(name: str) -> RawTable:
    if name not in SKLEARN:
        raise make_unknown_error("table in scikit-learn called", name, SKLEARN)
    # Slow to import, and most runs read files.
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame, target = bunch.data, bunch.target
    findings: tuple[Finding, ...] = ()
    if isinstance(target, pd.DataFrame):
        findings = (
            Finding("target_column", "pass", f"Of the targets {join_names(target.columns)} the first is predicted."),
        )
        target = target.iloc[:, 0]
    if name in ("breast_cancer", "wine", "iris"):
        target = pd.Series(np.asarray(bunch.target_names, dtype=object)[target.to_numpy()], dtype="str")
    return RawTable(frame.assign(target=target.to_numpy()), f"sklearn:{name}", name, "sklearn", findings=findings)
