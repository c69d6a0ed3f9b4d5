"""How fast rows are scored, in how much memory, and how long one row takes over HTTP:
`python -m benchmarks.scoring [--data TABLE --target COL] [--rows 5000000]`.

The table is repeated to the number of rows, and to a tenth of it: memory that grows with rows would show. `--trained`
names a folder in which `nestor train --name NAME` ran before; otherwise a model is trained first."""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.command import NESTOR, compute_patience, run_nestor, stop_server
from benchmarks.stamp import print_table

WARM_UP, REQUESTS = 50, 500
EVERY = 0.05


def main() -> None:
    """Prints a table for files and one for HTTP."""
    asked = _parse_arguments()
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        place = Path(asked.trained or folder)
        rows = _load_table(asked.data)
        if not asked.trained:
            _train_model(rows, asked, place)
        rows = rows.drop(columns=asked.target)
        head = ("file", "rows", "seconds", "rows/s", "peak memory of all processes, MB")
        print_table(f"Scoring {Path(asked.data).name} repeated", head, _measure_files(rows, asked, place, Path(folder)))
        print_table(
            "One row over HTTP", ("way", "requests", "p50, ms", "p99, ms"), _measure_http(rows, asked.name, place)
        )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="sklearn:breast_cancer")
    parser.add_argument("--target", default="target")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--trained", metavar="FOLDER")
    parser.add_argument("--name", default="scoring")
    return parser.parse_args()


def _load_table(data: str) -> pd.DataFrame:
    from tasks.data.sources.source import load_raw_table

    return load_raw_table(data).frame


def _train_model(rows: pd.DataFrame, asked: argparse.Namespace, place: Path) -> None:
    rows.to_csv(place / "train.csv", index=False)
    named = ["--target", asked.target, "--name", asked.name, "--budget", asked.budget, "--quiet"]
    done = run_nestor("train", "train.csv", *named, folder=place, timeout=compute_patience(asked.budget))
    stop_server(place)
    if done.code:
        raise SystemExit(done.err)


def _make_environment(place: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "NESTOR_"))}
    path = f"{NESTOR.parent}{os.pathsep}{kept.get('PATH', '')}"  # MLflow starts uvicorn by its name
    return {**kept, "PATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{place.resolve()}/mlruns/mlflow.db"}


# --- Files -----------------------------------------------------------------------------------------------------------


def _measure_files(
    rows: pd.DataFrame, asked: argparse.Namespace, place: Path, folder: Path
) -> Iterator[tuple[str, ...]]:
    for suffix, count in itertools.product(("csv", "parquet"), (asked.rows // 10, asked.rows)):
        data = folder / f"new.{suffix}"
        (_write_csv if suffix == "csv" else _write_parquet)(rows, count, data)
        command = [NESTOR, "score", asked.name, data, "--out", folder / f"out.{suffix}", "--quiet"]
        seconds, peak = _measure_command(command, place)
        yield suffix, f"{count:,}", f"{seconds:.0f}", f"{count / seconds:,.0f}", f"{peak / 2**20:,.0f}"
        data.unlink()


def _write_csv(rows: pd.DataFrame, count: int, path: Path) -> None:
    head, *lines = rows.to_csv(index=False).encode().splitlines(keepends=True)
    body = b"".join(lines)
    with path.open("wb") as file:
        file.write(head)
        for _ in range(count // len(lines)):
            file.write(body)
        file.writelines(lines[: count % len(lines)])


def _write_parquet(rows: pd.DataFrame, count: int, path: Path) -> None:
    table = pa.Table.from_pandas(rows, preserve_index=False)
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(count // len(table)):
            writer.write_table(table)
        writer.write_table(table.slice(0, count % len(table)))


def _measure_command(command: Sequence[str | Path], place: Path) -> tuple[float, int]:
    """Seconds from start to end, and the most memory that the processes held together."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=place, env=_make_environment(place), stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _measure_memory(process.pid))
        time.sleep(EVERY)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}")
    return time.perf_counter() - began, peak


def _measure_memory(pid: int) -> int:
    total = 0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for one in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                total += one.memory_info().rss
    return total


# --- One row ---------------------------------------------------------------------------------------------------------


def _measure_http(rows: pd.DataFrame, name: str, place: Path) -> Iterator[tuple[str, ...]]:
    few = json.loads(rows.head(100).to_json(orient="records", date_format="iso"))
    bodies = itertools.cycle(json.dumps({"dataframe_records": [row]}).encode() for row in few)
    with _serve_model(name, place) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        times = [_time_request(connection, next(bodies)) for _ in range(WARM_UP + REQUESTS)][WARM_UP:]
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    yield "`mlflow models serve`, one client, one request after the other", str(REQUESTS), f"{p50:.0f}", f"{p99:.0f}"


def _time_request(connection: http.client.HTTPConnection, body: bytes) -> float:
    began = time.perf_counter()
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise SystemExit(said.decode())
    return time.perf_counter() - began


@contextmanager
def _serve_model(name: str, place: Path) -> Iterator[int]:
    """The port of a server of the champion."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(NESTOR.with_name("mlflow")), "models", "serve", "-m", f"models:/{name}@champion"]
    server = subprocess.Popen(
        [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
        cwd=place, env=_make_environment(place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _await_server(port, server)
        yield port
    finally:
        for one in reversed([psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]):
            with suppress(psutil.Error):
                one.terminate()
        server.wait(30)


def _await_server(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until and server.poll() is None:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        threading.Event().wait(0.2)
    raise SystemExit("the model's server does not answer")


if __name__ == "__main__":
    main()
