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
from models.errors import InputError, listed, shortened, unknown
from tasks.data.formats.parquet import Parquet
from tasks.data.formats.pieces import source_of
from tasks.data.formats.stray import without_strays
from tasks.data.formats.stream import looked_through
from tasks.data.headers import named
from tasks.data.room import Room, room_for
from tasks.data.sources import database
from tasks.data.sources.dated import resolved, undated
from tasks.data.sources.files import is_parquet, located, pieces
from tasks.system import memory

SKLEARN = ("breast_cancer", "diabetes", "wine", "digits", "iris", "linnerud")


@dataclass(frozen=True)
class Raw:
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


def load(
    data: object,
    query: str | None = None,
    bound: Mapping[str, str] | None = None,
    now: datetime | None = None,
    room: Room | None = None,
) -> Raw:
    """The raw frame behind a path, a database address, `sklearn:NAME` or a DataFrame; stops where there is none, or
    where it is larger than there is `room` for (None: all memory that is free). `now` is what dates in the path and in
    `bound` are counted from."""
    raw = _loaded(data, query, bound or {}, now or datetime.now().astimezone(), room or room_for())
    frame, renamed, said = raw.frame.reset_index(drop=True), {}, []
    if raw.format != "sklearn":
        names, renamed, said = named(list(frame.columns))
        frame = frame.set_axis(pd.Index(names, dtype=object), axis=1)
    if raw.format == "csv":
        frame, strays = without_strays(frame, renamed)
        said += strays
    return replace(raw, frame=frame, renamed=renamed, findings=(*raw.findings, *said))


def fetched(
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
        return str(database.fetched(data, query, bound or {}, now, folder))
    _refuse_query(data, query, bound or {})
    if isinstance(data, (str, Path)) and not str(data).startswith("sklearn:"):
        return str(located(resolved(data, now.date())[0]))
    return data


def _refuse_query(data: object, query: str | None, bound: Mapping[str, str]) -> None:
    if query or bound:
        what = shortened(data, 80) if isinstance(data, (str, Path)) else f"a {type(data).__name__}"
        raise InputError(f"A query and its values go with a database address; the data is {what}.")


def _loaded(data: object, query: str | None, bound: Mapping[str, str], now: datetime, room: Room) -> Raw:
    if database.is_address(data):
        with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
            raw = _file(database.fetched(str(data), query, bound, now, Path(folder)), room)
        return replace(raw, name=_stem(query.rpartition(".")[2]) if query and database.is_table(query) else "table")
    _refuse_query(data, query, bound)
    if isinstance(data, pd.DataFrame):
        return Raw(_plain_types(data), f"the DataFrame of {len(data)} rows", "frame", "frame")
    if isinstance(data, str) and data.startswith("sklearn:"):
        return _sklearn(data.removeprefix("sklearn:"))
    if isinstance(data, (str, Path)):
        path, said = resolved(data, now.date())
        raw = _file(located(path), room)
        name = _stem(undated(Path(data).name))
        return replace(raw, name=name, findings=(said, *raw.findings)) if said else raw
    raise InputError(f"Data is a path, a database address, sklearn:NAME or a DataFrame, not a {type(data).__name__}.")


def _file(path: Path, room: Room) -> Raw:
    raw = _parquet(path, room) if is_parquet(path) else _text(path, room)
    unlike = raw.format == "parquet" and path.suffix.lower() in (".csv", ".tsv", ".txt")
    unlike |= raw.format == "csv" and path.suffix.lower() in (".parquet", ".pq")
    said = (
        (Finding("format", "warn", f"{path.name} holds {raw.format} in spite of its name, and was read so."),)
        if unlike
        else ()
    )
    return replace(raw, name=_stem(path.name), findings=(*said, *raw.findings))


def _stem(name: str) -> str:
    """The file's name without what tells its form."""
    bare = re.sub(r"(\.(csv|tsv|txt|tab|dat|parquet|pq|gz|bz2|xz|zst|zip))+$", "", name, flags=re.I)
    return re.sub(r"[/:.%\"'\s]+", "_", bare).strip("_") or "table"


def _text(path: Path, room: Room) -> Raw:
    if path.suffix.lower() in (".parquet", ".pq") and b"\0" in next(pieces(path, 4000)):
        raise InputError(f"{path} is not a parquet file: it does not begin with PAR1; copy or write it again.")
    text = looked_through(path, room)
    form, coded = text.layout, text.coded
    tables = list(text.tables())
    keys = [str(i) for i in range(len(form.names))]
    # One block per column is what Arrow has; names come later, since here they may stand twice.
    whole = pa.concat_tables(tables) if tables else pa.table({key: pa.array([], pa.string()) for key in keys})
    findings = (*((coded.said,) if coded.said else ()), *form.findings)
    if whole.num_columns > len(keys):
        said = f"{path.name}: each line ends in a separator; the empty last column was left out."
        findings, whole = (*findings, Finding("header", "pass", said)), whole.select(keys)
    del tables
    frame = whole.to_pandas(self_destruct=True, split_blocks=True)
    memory.give_back(len(frame))
    frame.columns = pd.Index(form.names, dtype=object)
    return Raw(frame, str(path), path.stem, "csv", coded.name, form.dialect.separator, findings=findings)


def _parquet(path: Path, room: Room) -> Raw:
    table = Parquet(path, room).whole()
    return Raw(frame_of(table), source_of(table.schema) or str(path), path.stem, "parquet")


def frame_of(table: pa.Table) -> pd.DataFrame:
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
        columns.append(_series(column))
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(table.num_rows))
    return frame.set_axis(pd.Index(table.column_names, dtype=object), axis=1)


def _series(column: pa.ChunkedArray) -> pd.Series:
    if column.null_count and pa.types.is_integer(column.type):
        return column.to_pandas(types_mapper={column.type: _nullable(column.type)}.get)
    if column.null_count and pa.types.is_boolean(column.type):
        return column.to_pandas(types_mapper={column.type: pd.BooleanDtype()}.get)
    try:
        return column.to_pandas(date_as_object=False)
    except (pa.ArrowException, NotImplementedError, ValueError):
        return pd.Series(column.to_pylist(), dtype=object)


def _plain_types(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with Arrow's and sparse columns in pandas' own types."""
    columns = [_plain_type(frame.iloc[:, i]) for i in range(frame.shape[1])]
    if all(new is None for new in columns):
        return frame
    kept = [frame.iloc[:, i] if new is None else new for i, new in enumerate(columns)]
    whole = pd.concat([c.reset_index(drop=True) for c in kept], axis=1)
    return whole.set_axis(frame.columns, axis=1)


def _plain_type(column: pd.Series) -> pd.Series | None:
    if isinstance(column.dtype, pd.ArrowDtype):
        array = (
            pa.chunked_array(pa.array(column))
            if not isinstance(pa.array(column), pa.ChunkedArray)
            else pa.array(column)
        )
        return frame_of(pa.table({"0": array})).iloc[:, 0]
    if isinstance(column.dtype, pd.SparseDtype):
        return column.sparse.to_dense()
    return None


def _nullable(kind: pa.DataType) -> Any:
    return pd.UInt64Dtype() if pa.types.is_unsigned_integer(kind) else pd.Int64Dtype()


def _sklearn(name: str) -> Raw:
    if name not in SKLEARN:
        raise unknown("table in scikit-learn called", name, SKLEARN)
    # Slow to import, and most runs read files.
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame, target = bunch.data, bunch.target
    said: tuple[Finding, ...] = ()
    if isinstance(target, pd.DataFrame):
        said = (Finding("target_column", "pass", f"Of the targets {listed(target.columns)} the first is predicted."),)
        target = target.iloc[:, 0]
    if name in ("breast_cancer", "wine", "iris"):
        target = pd.Series(np.asarray(bunch.target_names, dtype=object)[target.to_numpy()], dtype="str")
    return Raw(frame.assign(target=target.to_numpy()), f"sklearn:{name}", name, "sklearn", findings=said)
