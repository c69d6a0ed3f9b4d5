"""Where the seconds of runs go: `python -m benchmarks.spending PLACE --budget 120s [--only a,b] [--seed 0] [--up]`.

PLACE is what `benchmarks.tables` takes. Each table is trained by a process of its own: in an empty folder, or (`--up`)
in one that `nestor up` serves. Phases are wall seconds and add up to the whole command. A row is told on standard error
as soon as it is there, and with `--out FILE` it is added to that file as a line of JSON."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil

from benchmarks.command import NESTOR, CommandResult, compute_patience, run_nestor, stop_server
from benchmarks.stamp import print_table
from benchmarks.tables import format_interval, list_tables
from models.config import Run
from tasks.run.folder import Workdir

PHASES = ("start", "first default fits", "tuning", "conclusion", "registration", "way out")
HEAD = ("table (rows x columns)", *PHASES, "not used", "core-seconds in fits", "trials", "metric", "test")
_UP_PATIENCE = 120.0


def main() -> None:
    """Prints one table; its rows are kept as they come."""
    asked = _parse_arguments()
    rows = []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        place = Path(folder)
        with _serve(place) if asked.up else nullcontext():
            for file, target, options in list_tables(
                Path(asked.place).resolve(), asked.only.split(",") if asked.only else []
            ):
                data = ["train", str(file.resolve()), "--target", target, "--seed", str(asked.seed), *options]
                rows.append({"table": file.stem, **_spend(data, asked.budget, place / ("" if asked.up else file.stem))})
                _keep_row(rows[-1], asked.out)
    how = "with a server running" if asked.up else "from cold"
    print_table(f"Seconds of {Path(asked.place).name}, --budget {asked.budget}, {how}", HEAD, map(_make_cells, rows))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", help="a folder, or a csv file that lists tables")
    parser.add_argument("--budget", default="120s")
    parser.add_argument("--only", default="", help="names of files, without ending")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--up", action="store_true", help="with `nestor up` running")
    parser.add_argument("--out", type=Path, help="a file that each row is added to")
    return parser.parse_args()


@contextmanager
def _serve(folder: Path) -> Iterator[None]:
    """Inside the block `nestor up` serves that folder."""
    ports = [f"--{name}-port={port}" for name, port in zip(("prefect", "mlflow"), _find_ports(2), strict=True)]
    log = folder / "up.log"
    with log.open("w") as output:
        process = subprocess.Popen([NESTOR, "up", "--no-deploy", *ports], cwd=folder, stdout=output, stderr=output)
    try:
        until = time.monotonic() + _UP_PATIENCE
        while "Up after" not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"nestor up did not start:\n{log.read_text()}")
            time.sleep(0.2)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _find_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _spend(arguments: list[str], budget: str, folder: Path) -> dict[str, Any]:
    """A run's row. What it wrote is removed, its server ended, unless the folder is served for all runs."""
    own = not folder.exists()
    folder.mkdir(exist_ok=True)
    seconds = Run(data="", budget=budget).seconds or 0.0  # pyright: ignore[reportArgumentType]
    began = time.time()
    done = run_nestor(
        *arguments, "--budget", budget, "--json", "--quiet", folder=folder, timeout=compute_patience(budget)
    )
    try:
        return make_row(done, folder, began, seconds)
    finally:
        if own:
            stop_server(folder)
            shutil.rmtree(folder, ignore_errors=True)


def make_row(done: CommandResult, folder: Path, began: float, budget: float) -> dict[str, Any]:
    """What the command, begun then (Unix seconds) in that folder, spent of its budget (seconds), or why it failed."""
    row: dict[str, Any] = {"exit": done.code, "wall": done.wall, "not used": budget - done.wall}
    if done.report is None:
        return {**row, "error": done.err.strip()[-300:]}
    workdir, report = folder / done.report["workdir"], done.report
    fits = list_fits(workdir)
    parts = [frame for name in ("work", "sealed") if (frame := Workdir(workdir).read_frame(name)) is not None]
    return {
        **row,
        **_divide_phases(report["seconds"], min(fit["start"] for fit in fits) - began, done.wall),
        "fitting": sum(fit["seconds"] + fit["preparing"] for fit in fits),
        "cores": psutil.cpu_count() or 1,
        "fits": len(fits),
        "trials": sum(report["trials"].values()),
        "rows": sum(map(len, parts)),
        "columns": parts[0].shape[1],
        "task": report["task"],
        "metric": report["metric"],
        "test": report["test"],
        "families": {f["name"]: f["trials"] for f in report["families"]},
        "winner": report["winner"],
    }


def _divide_phases(seconds: Mapping[str, float], start: float, wall: float) -> dict[str, float]:
    """Wall seconds of each phase. What no stage books, between the first fit and the end, is of the first fits."""
    tune, conclude, register = (seconds[stage] for stage in ("tune", "evaluate", "register"))
    first = seconds["total"] - start - tune - conclude - register
    spent = (start, first, tune, conclude, register, wall - seconds["total"])
    return dict(zip(PHASES, spent, strict=True))


def list_fits(workdir: Path) -> list[dict[str, Any]]:
    """What the run's fits, refits too, wrote down; without those that an earlier fit stood for."""
    results = [json.loads(path.read_text("utf-8")) for path in (workdir / "fits").rglob("*.json")]
    return [result for result in results if "seconds" in result and not result.get("taken")]


def _keep_row(row: Mapping[str, Any], out: Path | None) -> None:
    print(" | ".join(_make_cells(row)), file=sys.stderr, flush=True)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _make_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "error" in row:
        return (row["table"], row["error"].replace("\n", " "), *[""] * (len(HEAD) - 2))
    share = row["fitting"] / (row["wall"] * row["cores"])
    return (
        f"{row['table']} ({row['rows']:,} x {row['columns']:,}), {row['task']}",
        *(f"{row[phase]:.1f}" for phase in PHASES),
        f"{row['not used']:.1f}",
        f"{row['fitting']:.0f} ({share:.0%})",
        str(row["trials"]),
        row["metric"],
        format_interval(row["test"]),
    )


if __name__ == "__main__":
    main()
