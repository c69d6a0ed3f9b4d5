"""Decodes parquet files, as a process of its own: what a damaged or made-up file does to Arrow's C++ code ends this
process, not the one that asked. Nothing but Arrow is imported.

Each line on standard input asks for one file, in JSON. The answer is a line with its number of rows, the values as an
Arrow stream, and the line `done`: whoever reads a stream that breaks off takes it for whole. A file that can't be read
ends the process, with the reason on standard error."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

DAMAGED, TOO_LARGE = 3, 4
"""Exit codes."""


def answer_requests() -> None:
    """Answers until standard input ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        try:
            _answer_request(**json.loads(line))
        except (MemoryError, pa.ArrowMemoryError):
            _end_with_reason(TOO_LARGE, "memory")
        except (pa.ArrowException, OSError, ValueError) as error:
            _end_with_reason(DAMAGED, str(error))


def _end_with_reason(code: int, reason: str) -> None:
    print(" ".join(reason.split())[:300], file=sys.stderr, flush=True)
    sys.exit(code)


def _answer_request(path: str, rows: int, columns: list[int] | None, limit: int) -> None:
    _limit_memory(limit)
    # Pages of a mapped file would count as memory; a buffer reads a column of a large row group in parts.
    file = pq.ParquetFile(path, buffer_size=2**20)
    schema = file.schema_arrow
    places = list(range(len(schema))) if columns is None else columns
    # Arrow takes a name with a point for a path, and knows each name once.
    plain = len(set(schema.names)) == len(schema) and not any("." in name for name in schema.names)
    names = [schema.names[i] for i in places] if plain else None
    selection = pa.schema([schema.field(i) for i in places], schema.metadata)
    print(json.dumps({"rows": file.metadata.num_rows}), flush=True)
    with ipc.new_stream(sys.stdout.buffer, selection) as stream:
        for batch in file.iter_batches(rows, columns=names) if rows else ():
            _write_batch(stream, batch, names or places, selection)
    print("done", flush=True)


def _write_batch(stream: Any, batch: Any, columns: list[Any], schema: pa.Schema) -> None:
    """Writes a batch, once it is what it says: texts that are no utf-8, for one, end in a crash later."""
    batch = batch.select(columns)
    batch.validate(full=True)
    stream.write(batch.cast(schema) if batch.schema != schema else batch)


def _limit_memory(growth: int) -> None:
    """Lets this process grow by so many bytes."""
    with open("/proc/self/statm") as file:
        current = int(file.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = current + growth
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    answer_requests()
