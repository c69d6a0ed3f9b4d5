"""Files that would take all memory, wait for ever or end the process: each is a sentence, at once."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import signal
import socket
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.config import Run
from models.errors import InputError
from tasks.data import read_table
from tasks.data.rows import open_table
from tasks.data.sources.source import load_raw_table
from tasks.system import memory

ROWS = 3000
RNG = np.random.default_rng(0)


def frame() -> pd.DataFrame:
    """A table of numbers and words."""
    return pd.DataFrame(
        {
            "a": RNG.normal(size=ROWS),
            "b": RNG.integers(0, 9, ROWS),
            "c": RNG.choice(["x", "y"], ROWS),
            "y": [0, 1] * (ROWS // 2),
        }
    )


TEXT = frame().to_csv(index=False).encode()


def refused(path: Path, run: dict | None = None) -> str:
    """What is said of the file, by who reads it whole."""
    with pytest.raises(InputError) as error:
        read_table(Run.model_validate({"data": str(path), "target": "y", **(run or {})}))
    return str(error.value)


# ---------------------------------------------------------------- more than there is memory for

SMALL = {"budget": {"memory": 0.0001, "workers": 2}}
BOMBS = {
    "csv": lambda text: text,
    "csv.gz": gzip.compress,
    "csv.bz2": bz2.compress,
    "csv.xz": lzma.compress,
    "csv.zst": lambda text: pa.compress(text, "zstd", asbytes=True),
}


@pytest.mark.parametrize("end", BOMBS)
def test_text_that_is_too_large_is_refused_with_figures_and_what_to_do(tmp_path, end):
    path = tmp_path / f"t.{end}"
    path.write_bytes(BOMBS[end](TEXT))
    said = refused(path, SMALL)
    assert "t.csv" in said
    for part in ("KB of text", "2 workers with 0.0001 GB each (--memory) have", "a sample of its rows"):
        assert part in said
    assert ("of its rows would fit" in said) == (end == "csv")  # of others only the beginning was unpacked
    read_table(Run.model_validate({"data": str(path), "target": "y", "budget": {"memory": 1}}))


def test_many_small_values_count_too(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("y," + ",".join(f"c{k}" for k in range(99)) + "\n" + ("1" + "," * 99 + "\n") * 500)
    size = path.stat().st_size
    assert "too large" in refused(path, {"budget": {"memory": 6 * size / 1e9, "workers": 1}})


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path):
    path = tmp_path / "t.csv.gz"
    with path.open("wb") as file:
        line = gzip.compress(b"a,b,y\n" * 200_000)
        file.write(line * 2000)  # 2.4 GB of text in a few MB
    assert path.stat().st_size < 8e6
    said = refused(path, {"budget": {"memory": 0.02, "workers": 1}})
    assert "MB of text or more" in said


def test_what_is_free_is_told():
    assert 0 < memory.measure_free_memory() <= psutil.virtual_memory().total


def test_a_container_that_leaves_less_is_heeded(tmp_path):
    for name, said in (("memory.max", "1000"), ("memory.current", "700"), ("memory.stat", "anon 1\ninactive_file 50")):
        (tmp_path / name).write_text(said)
    assert memory._measure_container_memory(tmp_path) == [350]
    (tmp_path / "memory.max").write_text("max")
    assert memory._measure_container_memory(tmp_path) == []


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_line_without_an_end_is_refused(tmp_path, monkeypatch, quote):
    monkeypatch.setattr("tasks.data.formats.stream.LONGEST", 10_000)
    monkeypatch.setattr("tasks.data.formats.stream.PIECE", 1000)
    monkeypatch.setattr("tasks.data.formats.delimited.LARGEST", 10_000)
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,2\n" + quote + ("x\n" if quote else "x") * 20_000)
    said = refused(path)
    assert "line 3" in said
    assert "million characters" in said


def test_parquet_that_unfolds_is_refused(tmp_path):
    """A few KB that stand for a hundred MB: one long word, many times."""
    path = tmp_path / "t.parquet"
    words = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array(["x" * 40_000]))
    pq.write_table(pa.table({"a": words.cast(pa.string()), "y": [0, 1] * (ROWS // 2)}), path)
    assert path.stat().st_size < 100_000
    assert "too large for the memory" in refused(path, {"budget": {"memory": 0.05, "workers": 1}})


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_more_columns_than_can_be_looked_at_are_refused(tmp_path, monkeypatch, end):
    monkeypatch.setattr("tasks.data.headers.MOST", 3)
    path = tmp_path / f"t.{end}"
    frame().to_csv(path, index=False) if end == "csv" else frame().to_parquet(path)
    assert "has 4 columns or more; 3 are allowed" in refused(path)


# ---------------------------------------------------------------- no files, and files within files


def pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def listener(path: Path) -> None:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def device(path: Path) -> None:
    """A link to what never ends."""
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (pipe, "a pipe, not a file"),
        (listener, "a socket, not a file"),
        (device, "a device, not a file"),
        (Path.mkdir, "a folder"),
    ],
)
def test_what_has_no_end_is_not_waited_for(tmp_path, monkeypatch, make, what):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    make(Path("t.csv"))
    assert what in refused(Path("t.csv"))
    with pytest.raises(InputError, match=what):
        open_table("t.csv")


def twice(data: bytes, path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.compress(data)))


def zip_of_gzip(data: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t.csv.gz", bz2.compress(data))


@pytest.mark.parametrize("pack", [twice, zip_of_gzip])
def test_compressed_twice_is_told(tmp_path, pack):
    pack(TEXT, tmp_path / "t.csv")
    assert "compressed twice" in refused(tmp_path / "t.csv")


def test_a_file_that_grows_while_it_is_read_is_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT)
    table = open_table(str(path))
    with path.open("a") as file:
        file.write("1,2,x,0\n")
    with pytest.raises(InputError, match="changed while it was read"):
        list(table.frames(100, ["a"]))


# ---------------------------------------------------------------- damaged parquet files


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_parquet_file_is_a_sentence_or_a_table(tmp_path, seed):
    """Whatever bytes are changed: it is read, or refused, and the next whole one is read."""
    path, chance = tmp_path / "t.parquet", random.Random(seed)
    pq.write_table(
        pa.Table.from_pandas(frame()), path, row_group_size=1000, compression=chance.choice(["none", "zstd"])
    )
    whole = path.read_bytes()
    for _ in range(10):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 4])):
            data[chance.randrange(4, len(data) - 4)] = chance.choice([0, 127, 128, 255, chance.randrange(256)])
        path.write_bytes(data)
        try:
            load_raw_table(str(path))
            said = ""
        except InputError as error:
            said = str(error)
        assert not said or "copy or write it again" in said or "too large" in said
    path.write_bytes(whole)
    assert load_raw_table(str(path)).frame.shape == (ROWS, 4)


def test_texts_that_are_no_utf8_are_a_sentence(tmp_path):
    path = tmp_path / "t.parquet"
    bad = pa.array([b"\xff\xfe", b"fine"]).view(pa.string())
    pq.write_table(pa.table({"a": bad, "y": [0, 1]}), path)
    assert "not a whole parquet file" in refused(path)


def decoders() -> list[psutil.Process]:
    """The processes that decode for this one."""
    return [child for child in psutil.Process().children() if any("decode.py" in word for word in child.cmdline())]


@pytest.mark.parametrize("end", [signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL])
def test_what_ends_the_decoding_process_does_not_end_this_one(tmp_path, end):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": RNG.normal(size=200_000)}), path)  # more than a pipe holds: it is still at work
    tables = open_table(str(path)).frames(10, ["a"])
    next(tables)
    for child in decoders():
        child.send_signal(end)
    with pytest.raises(InputError, match=f"damaged parquet file: .*signal {end.value}"):
        list(tables)
    assert len(load_raw_table(str(path)).frame) == 200_000


def test_who_stops_reading_halfway_leaves_nothing_behind(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pandas(frame()), path)
    for _ in range(3):
        next(open_table(str(path)).frames(10, ["a"]))
    assert len(decoders()) <= 1
    assert load_raw_table(str(path)).frame["c"].isin(["x", "y"]).all()
