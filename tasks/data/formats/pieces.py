"""Rows of plain Python values as one typed parquet file, chunk by chunk: memory does not grow with rows."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SOURCE = b"nestor.source"
"""Under this key the file says where its rows came from."""


def read_source(schema: pa.Schema) -> str | None:
    """Where the rows of a file with this schema came from; None where it does not say."""
    source = (schema.metadata or {}).get(SOURCE)
    return source.decode("utf-8", "replace") if source else None


def to_arrow_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """The rows as columns, each of the type that its values have; of text where they have no common one."""
    return pa.Table.from_arrays([_to_array(values) for values in zip(*rows, strict=True)], names=list(names))


def _to_array(values: Sequence[Any]) -> pa.Array:
    try:
        array = pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _to_texts(values)
    return _to_texts(values) if isinstance(array.type, pa.BaseExtensionType) else array


def _to_texts(values: Iterable[Any]) -> pa.Array:
    return pa.array([None if v is None else str(v) for v in values], pa.string())


def store_chunks(chunks: Iterable[pa.Table], folder: Path, source: str) -> Path | None:
    """The parquet file in `folder` that holds all chunks, under the digest of its content; None without any row.

    Types are known at the end only (a column may be empty for a million rows), so the chunks wait in files."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as workspace:
        parts = [_write_part(chunk, Path(workspace) / f"{n}.arrow") for n, chunk in enumerate(chunks)]
        if not parts:
            return None
        target = Path(workspace) / "whole.parquet"
        _join_parts(parts, target, source)
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return target.replace(folder / f"table-{digest}.parquet")


def _write_part(chunk: pa.Table, path: Path) -> Path:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, chunk.schema) as writer:
        writer.write_table(chunk)
    return path


def _join_parts(parts: Sequence[Path], path: Path, source: str) -> None:
    """Writes the parts under each other, in the types that hold all of them."""
    schemas = [_open_part(part).schema for part in parts]
    types = [_find_common_type([schema.field(i).type for schema in schemas]) for i in range(len(schemas[0]))]
    fields = [pa.field(name, kind) for name, kind in zip(schemas[0].names, types, strict=True)]
    schema = pa.schema(fields, metadata={SOURCE: source.encode()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            columns = _open_part(part).columns
            arrays = [_cast_column(column, kind) for column, kind in zip(columns, types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _open_part(part: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(part))).read_all()


def _find_common_type(types: Sequence[pa.DataType]) -> pa.DataType:
    """The type that holds values of all these; text where there is none."""
    try:
        schemas = [pa.schema([("0", kind)]) for kind in types]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()


def _cast_column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(kind)
    except pa.ArrowException:
        return pa.chunked_array([_to_texts(column.to_pylist())], pa.string())
