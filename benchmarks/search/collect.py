"""Collects what a surrogate is made of: `python -m benchmarks.search.collect CATALOG --only car,abalone --folder OUT
[--families lightgbm,linear,mlp] [--configurations 300] [--same] [--rows 2000] [--workers 2]
[--data benchmarks/search/data]`.

The default and scrambled Sobol configurations (Owen 1998) of each family on each table, fitted on the four inner folds
of the first outer fold by what a worker of a run calls; every fold's score and processor seconds. Can be stopped at any
moment and started again. OUT holds the tables and one line for each finished configuration; DATA gets a parquet file
for each problem that is complete."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import qmc

from benchmarks.search.lay_out import lay_out
from benchmarks.search.problem import FAMILIES, INNER, Problem, list_problems, prepare_process
from benchmarks.stamp import make_stamp
from benchmarks.tables import list_tables
from models.data.hashes import derive_seed
from models.families import load_family
from models.fitting.family import Shape
from models.fitting.fit import suggest_configuration
from models.tuning.space import Walk, list_distributions, to_value, walk_space

DATA = Path(__file__).parent / "data"
_POINTS = 9
"""Points of a Sobol sequence are balanced in powers of two: the first ones of 2**9 are taken."""


def main() -> None:
    """Fits what is missing, breadth first, and writes the data of complete problems."""
    asked = _parse_arguments()
    only = asked.only.split(",") if asked.only else []
    place = asked.folder / "tables"
    for file, target, options in list_tables(asked.catalog.resolve(), only):
        lay_out(file, target, parse_split(options), asked.rows, place)
    wanted = {p.name: p for p in list_problems(place, asked.families.split(","), only)}
    _fit_missing(wanted, asked)
    for name, problem in wanted.items():
        _write_problem_file(problem, _read_finished(asked, name), asked)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalog", type=Path, help="a folder, or a csv file that lists tables")
    parser.add_argument("--only", default="", help="names of tables")
    parser.add_argument("--folder", type=Path, required=True, help="where tables and single results lie")
    parser.add_argument("--families", default=FAMILIES)
    parser.add_argument("--configurations", type=int, default=300, help="beside the default")
    parser.add_argument("--same", action="store_true", help="a family's configurations are the same on all tables")
    parser.add_argument("--rows", type=int, default=2000, help="drawn from larger tables")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA)
    return parser.parse_args()


def parse_split(options: list[str]) -> dict[str, str]:
    """`--group mouse` as the settings of a split."""
    words = shlex.split(" ".join(options))
    return {flag.removeprefix("--"): value for flag, value in zip(words[::2], words[1::2], strict=True)}


def draw_configurations(problem: Problem, count: int, same: bool) -> list[dict[str, Any]]:
    """The params of the default and of so many Sobol points, the same in every run."""
    whole = (
        _list_hyperparameters(problem.family.name) if same else list(list_distributions(problem.family, problem.shape))
    )
    seed = derive_seed("sobol", problem.family.name if same else problem.name)
    sobol = qmc.Sobol(len(whole), scramble=True, rng=seed).random_base2(_POINTS)
    default = walk_space(problem.family, problem.shape, lambda name, _: problem.family.default[name])
    places = [dict(zip(whole, point, strict=True)) for point in sobol[:count]]
    drawn = [walk_space(problem.family, problem.shape, lambda name, d, p=p: to_value(d, p[name])) for p in places]
    return [walk.params for walk in (default, *drawn)]


@cache
def _list_hyperparameters(name: str) -> list[str]:
    """The hyperparameters that the family has on any table, in an order that no table changes."""
    few, many = Shape(1000, 100, "binary", 2), Shape(1000, 100, "multiclass", 5)
    shapes = (few, many, Shape(1000, 100, "regression", skewed=True))
    return sorted({n for shape in shapes for n in list_distributions(load_family(name), shape)})


def _fit_missing(wanted: Mapping[str, Problem], asked: argparse.Namespace) -> None:
    """Fits each configuration that has no line yet."""
    done = {(name, line["number"]) for name in wanted for line in _read_finished(asked, name)}
    todo = [(n, name) for n in range(asked.configurations + 1) for name in wanted if (name, n) not in done]
    print(f"{len(todo)} configurations to fit, {len(done)} there", file=sys.stderr, flush=True)
    # Started anew, not forked: LightGBM's threads do not survive a fork.
    spawn = get_context("spawn")
    with ProcessPoolExecutor(asked.workers, spawn, prepare_process, (os.getpid(),)) as pool:
        running = [
            pool.submit(
                _evaluate_configuration,
                wanted[name].family.name,
                wanted[name].folder,
                n,
                asked.configurations,
                asked.same,
            )
            for n, name in todo
        ]
        for count, future in enumerate(as_completed(running), 1):
            name, line = future.result()
            with (asked.folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps(line))
            if count % 100 == 0:
                print(f"{count} of {len(todo)}", file=sys.stderr, flush=True)


def _evaluate_configuration(
    family_name: str, folder: Path, number: int, count: int, same: bool
) -> tuple[str, dict[str, Any]]:
    """The problem's name and the line of one configuration: params, every fold's score and seconds."""
    problem, params = _load_problem(family_name, folder, count, same)
    walk = Walk(lambda name, _: params[number][name])
    config = suggest_configuration(problem.family, walk, problem.shape)  # pyright: ignore[reportArgumentType]
    fits = [problem.fitted(config, inner) for inner in range(INNER)]
    scores, seconds = zip(*fits, strict=True)
    return problem.name, {"number": number, "params": params[number], "scores": scores, "seconds": seconds}


@cache
def _load_problem(family_name: str, folder: Path, count: int, same: bool) -> tuple[Problem, list[dict[str, Any]]]:
    problem = Problem(folder.name, load_family(family_name), folder)
    return problem, draw_configurations(problem, count, same)


def _read_finished(asked: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """The finished configurations in order of their numbers, those of the data too; a line that a kill cut short is
    none."""
    found = {line["number"]: line for line in read_problem_file(asked.data / f"{name}.parquet")}
    path = asked.folder / f"{name}.jsonl"
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            one = json.loads(line)
            found[one["number"]] = one
    return [found[n] for n in sorted(found)]


def read_problem_file(path: Path) -> list[dict[str, Any]]:
    """What a problem's parquet file holds: number, params, every fold's score and seconds of each configuration; none
    where there is no file."""
    table = pq.read_table(path).to_pylist() if path.exists() else []
    parts = [f"{what}_{inner}" for what in ("score", "seconds") for inner in range(INNER)]
    return [
        {
            "number": row["number"],
            "params": {n: v for n, v in row.items() if n not in ("number", *parts) and v is not None},
            "scores": [row[part] for part in parts[:INNER]], "seconds": [row[part] for part in parts[INNER:]],
        }
        for row in table
    ]  # fmt: skip


def _write_problem_file(problem: Problem, lines: list[dict[str, Any]], asked: argparse.Namespace) -> None:
    """The problem's parquet file: the number, a column for each hyperparameter (empty where a configuration has none),
    a score and seconds for each fold; what the problem is stands in the file's metadata."""
    whole = list_distributions(problem.family, problem.shape)
    columns: dict[str, Any] = {"number": [line["number"] for line in lines]}
    columns |= {n: [line["params"].get(n) for line in lines] for n in whole}
    for what, key in (("score", "scores"), ("seconds", "seconds")):
        for inner in range(INNER):
            columns[f"{what}_{inner}"] = np.array([line[key][inner] for line in lines], dtype=np.float32)
    metric = problem.metric
    told = {
        "table": problem.table, "family": problem.family.name, "shape": asdict(problem.shape), "metric": metric.name,
        "classes": len(problem.brief.classes), "rows": asked.rows, "stamp": make_stamp(),
    }  # fmt: skip
    asked.data.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table(columns).replace_schema_metadata({"problem": json.dumps(told)}),
        asked.data / f"{problem.name}.parquet",
        compression="zstd",
    )


if __name__ == "__main__":
    main()
