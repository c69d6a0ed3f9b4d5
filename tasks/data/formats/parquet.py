"""Parquet files, decoded by a process of its own (decode.py): a damaged one costs a sentence, not this process."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from models.errors import InputError
from models.text.safe import shorten
from tasks.data.formats import decode
from tasks.data.headers import refuse_wide
from tasks.data.room import MemoryRoom
from tasks.data.sources.files import detect_compression, read_file_state, read_pieces, refuse_changed

PIECE = 2**22
BATCH = 2**16
"""Rows at once where all are read."""


class _Decoder:
    """One such process."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", decode.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C is for who asked
        )
        self._in, self._out = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any]) -> tuple[int, Any]:
        """The file's rows, and its values as a stream."""
        self._in.write(json.dumps(request).encode() + b"\n")
        self._in.flush()
        head = self._out.readline()
        if not head:
            raise EOFError
        return json.loads(head)["rows"], pa.ipc.open_stream(self._out)

    def finish(self) -> None:
        """EOFError where the answer was not whole."""
        if self._out.readline() != b"done\n":
            raise EOFError

    def wait_for_end(self) -> tuple[int, str]:
        """Its exit code, and what it said last."""
        for file in (self._in, self._out):
            with suppress(OSError):
                file.close()
        code = self._process.wait()
        self._said.seek(0)
        return code, self._said.read().decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        for file in (self._in, self._out, self._said):
            with suppress(OSError):
                file.close()


_idle: list[_Decoder] = []
_lock = threading.Lock()
os.register_at_fork(after_in_child=_idle.clear)


@atexit.register
def _close_idle() -> None:
    while _idle:
        _idle.pop().close()


@contextmanager
def _borrow_decoder() -> Iterator[_Decoder]:
    """A process that is free. One that did not finish its answer is not asked again."""
    with _lock:
        living = [decoder for decoder in _idle if decoder.alive]
        decoder = living.pop() if living else _Decoder()
        _idle[:] = living
    try:
        yield decoder
    except BaseException:
        decoder.close()
        raise
    with _lock:
        _idle.append(decoder)


class ParquetReader:
    """A parquet file, plain or compressed."""

    def __init__(self, path: Path, room: MemoryRoom):
        """Stops where its end can't be read. Reading it takes no more memory than there is `room` for."""
        self._path, self._room = path, room
        self._spool = None if detect_compression(path) is None else _spool_file(path, room)
        with self._open_columns(0, None) as (self.rows, stream):
            self.schema: pa.Schema = stream.read_all().schema
        refuse_wide(self.schema.names, path)

    def tables(self, rows: int = BATCH, columns: Sequence[int] | None = None) -> Iterator[pa.Table]:
        """These columns (None: all), at most so many rows at a time; one table of no rows where there are none."""
        with self._open_columns(rows, columns) as (_, stream):
            empty = True
            for batch in stream:
                empty = False
                yield pa.Table.from_batches([batch])
            if empty:
                yield stream.schema.empty_table()

    def read_all(self) -> pa.Table:
        """All of it; stops where that is more than there is room for."""
        tables, size = [], 0
        for table in self.tables():
            size += table.nbytes
            self._room.hold_values(size, self._path)
            tables.append(table)
        return pa.concat_tables(tables)

    @contextmanager
    def _open_columns(self, rows: int, columns: Sequence[int] | None) -> Iterator[tuple[int, Any]]:
        """The number of rows, and the stream of these columns."""
        path, state = self._spool.name if self._spool else str(self._path.absolute()), read_file_state(self._path)
        request = {"path": path, "rows": rows, "columns": columns and list(columns), "limit": int(self._room.size)}
        with _borrow_decoder() as decoder:
            try:
                yield decoder.ask(request)
                decoder.finish()
            except (EOFError, OSError, pa.ArrowException) as error:
                refuse_changed(self._path, state)
                raise self._explain_end(*decoder.wait_for_end()) from error

    def _explain_end(self, code: int, reason: str) -> InputError:
        """What the end of the process means."""
        if code == decode.TOO_LARGE:
            return self._room.make_too_large_error("values that are longer than its size tells", self._path)
        if code == decode.DAMAGED:
            fault = f"is not a whole parquet file ({shorten(reason, 100)})"
        else:
            fault = f"is a damaged parquet file: what decodes it ended by signal {-code}" if code < 0 else f"({reason})"
        return InputError(f"{self._path} {fault}; copy or write it again.")


def _spool_file(path: Path, room: MemoryRoom) -> Any:
    """The bytes in a compressed file, on disk: parquet is read from its end."""
    spool, size = tempfile.NamedTemporaryFile(prefix="nestor-"), 0  # noqa: SIM115
    for piece in read_pieces(path, PIECE):
        size += len(piece)
        room.hold_values(size, path)
        spool.write(piece)
    spool.flush()
    return spool
