"""Nestor and its peers on a catalogue of tables: `python -m benchmarks.peers PLACE --budget 120s --seeds 0,1,2
--systems nestor,autogluon --out rows.jsonl [--part report] [--only diamonds,letter] [--environments FOLDER]`.

PLACE is a csv file that lists tables (columns name, path, target, task; metric, group_col, time_col and part where
there are any) or `sklearn:NAME`. Each system is installed into an environment of its own in FOLDER, by default `.peers`
which git does not see. OUT gets a line for each run; what is there at the same version, machine and split is not run
again."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.catalogue import PARTS, Table, list_tables, read_frame
from benchmarks.peers.division import Division, divide_table
from benchmarks.peers.environments import Environment, list_versions, make_environment
from benchmarks.peers.judging import LARGER_IS_BETTER
from benchmarks.peers.rows import NO_RUN, Row, append_row, list_done, make_key, read_rows
from benchmarks.peers.running import Task, run_system
from benchmarks.peers.systems import System, choose_systems
from benchmarks.stamp import ROOT, describe_commit, describe_machine
from models.config import Run
from models.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Runs what is missing, and says on standard error what came of it."""
    try:
        _run_missing(_parse_arguments(arguments))
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", help="a csv file that lists tables, or sklearn:NAME")
    parser.add_argument("--budget", default="120s", help="what every system is told; the clock is outside of it")
    parser.add_argument("--seeds", default="0", help="whole numbers; each draws its own test rows")
    parser.add_argument("--systems", default="", help="names; all where there are none")
    parser.add_argument("--out", type=Path, required=True, help="the rows, a line of json each")
    parser.add_argument("--part", choices=("all", *PARTS), default="report", help="which of the tables")
    parser.add_argument("--only", default="", help="names of tables")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--environments", type=Path, default=ROOT / ".peers", help="where environments are made")
    parser.add_argument("--keep", type=Path, help="a folder for the files and logs of each run")
    parser.add_argument("--retry", action="store_true", help="run again what has failed")
    return parser.parse_args(arguments)


def _run_missing(asked: argparse.Namespace) -> None:
    systems, budget, seeds = choose_systems(asked.systems), _read_seconds(asked.budget), _read_seeds(asked.seeds)
    tables = list_tables(asked.place, asked.part, tuple(filter(None, asked.only.split(","))))
    _check_metrics(tables)
    environments = dict(_make_environments(systems, asked.environments.resolve()))
    for seed in seeds:
        for table in tables:
            division = divide_table(read_frame(table.place), table, seed)
            for system in systems:
                task = Task(table, seed, budget, asked.cores)
                _run_unless_there(system, environments[system.name], task, division, asked)


def _read_seconds(text: str) -> float:
    seconds = Run(data="", budget=text).seconds  # pyright: ignore[reportArgumentType]
    if not seconds:
        raise InputError(f"--budget must be a time such as 120s or 10m. Got '{text}'.")
    return float(seconds)


def _read_seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds must be whole numbers, separated by commas. Got '{text}'.") from None


def _check_metrics(tables: list[Table]) -> None:
    for table in tables:
        if table.metric not in LARGER_IS_BETTER:
            known = ", ".join(LARGER_IS_BETTER)
            raise InputError(f"The metric of '{table.name}' must be one of {known}. Got '{table.metric}'.")


def _make_environments(systems: list[System], folder: Path) -> Iterator[tuple[str, Environment]]:
    for system in systems:
        made = make_environment(folder, system)
        _tell(f"{system.title} {system.version}: {f'not installed: {made.why}' if made.why else 'installed'}")
        yield system.name, made


def _run_unless_there(
    system: System, where: Environment, task: Task, division: Division, asked: argparse.Namespace
) -> None:
    row = _make_row(system, where, task, division)
    label = f"{system.title} on {task.table.name}, seed {task.seed}"
    if make_key(row) in list_done(read_rows(asked.out), asked.retry):
        return _tell(f"{label}: there")
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        if where.python is None:
            row |= {"state": NO_RUN, "why": where.why, "score": None}
        else:
            row |= run_system(system, where.python, task, division, Path(folder))
        append_row(asked.out, row)
        if asked.keep:
            place = asked.keep / f"{system.name}-{task.table.name}-{task.seed}"
            shutil.copytree(folder, place, dirs_exist_ok=True)
    _tell(f"{label}: {_describe_outcome(row)}")


def _make_row(system: System, where: Environment, task: Task, division: Division) -> Row:
    """What is known before the run."""
    return {
        "system": system.name, "version": system.version, "table": task.table.name, "part": task.table.part,
        "task": task.table.task, "metric": task.table.metric, "split": division.digest, "seed": task.seed,
        "budget": task.budget, "cores": task.cores, "machine": describe_machine(),
        "rows": [len(division.train), len(division.test)], "columns": division.train.shape[1] - 1,
        "packages": list_versions(where.python) if where.python else [],
        "commit": describe_commit(), "date": time.strftime("%Y-%m-%d %H:%M"), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def _describe_outcome(row: dict[str, Any]) -> str:
    if row["state"] != "done":
        return f"{row['state']}: {row['why']}"
    when = row["seconds_model"] or row["seconds_predictions"]
    return f"{row['metric']} {row['score']:.5g}, model after {when:.0f} of {row['budget']:.0f} s"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
