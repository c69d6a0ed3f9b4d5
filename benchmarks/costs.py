"""Learns `models/tuning/costs.json`, what a default fit of each family costs, on tables of several sizes:
`python -m benchmarks.costs PLACE --folder OUT [--only a,b] [--rows 300,1000,3000,10000,30000] [--limit 60] [--write]`.

PLACE is a folder or a list of tables, as `benchmarks.tables` takes them. A family's default is fitted as a worker fits
it, on the columns that it needs and the training part of a first inner fold, with one thread for arithmetic. What
counts is processor seconds of all threads without those of preparing columns, the least of two fits where they are
short. A fit that takes over LIMIT of them is stopped, and the family is fitted on no more rows of that table. Each fit
is a line of OUT/costs.jsonl as soon as it is there: it can be stopped at any moment and started again."""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.collect import parse_split
from benchmarks.search.lay_out import lay_out
from benchmarks.search.problem import FOLD, PLAN, Problem, prepare_process
from benchmarks.stamp import make_stamp, print_table
from benchmarks.tables import list_tables
from models.columns.width import estimate_width
from models.families import load_families, load_family
from models.fitting.family import Family
from models.fitting.fit import suggest_configuration
from models.tuning.costs import FILE, CostModel, Work, fit_cost_model
from models.tuning.space import Walk
from tasks.execution import worker
from tasks.execution.inputs import prepare_inner_fold
from tasks.execution.job import FitJob
from tasks.run.folder import Workdir

ROWS = "300,1000,3000,10000,30000"
TRAINED = 0.6
"""Share of a table's rows that a fit of a first inner fold is trained on, in 5 x 4 folds."""
LEAST = 1e-3
"""Seconds, or megabytes, that everything costs."""
_SHORT = 1.0
"""Seconds up to which a fit is made twice: the first pays for what its library loads late."""


def main() -> None:
    """Fits what is missing, few rows first, and prints each family's formula; with --write makes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path, help="a folder, or a csv file that lists tables")
    parser.add_argument("--folder", type=Path, required=True, help="where tables and single results lie")
    parser.add_argument("--only", default="", help="names of tables")
    parser.add_argument("--rows", default=ROWS, help="of training parts")
    parser.add_argument("--limit", type=int, default=60, help="processor seconds after which a fit is stopped")
    parser.add_argument("--write", action="store_true", help="write models/tuning/costs.json")
    asked = parser.parse_args()
    _measure_missing(asked)
    lines = _read_lines(asked.folder)
    learned = {name: _learn_family(fits) for name, fits in lines.items()}
    print_table(
        "What a default fit costs: formulas, and how far from them the fits are on tables left out",
        ("family", "fits", "rows", "columns", "classes", "floor, s", "factor", "largest"),
        [_describe_family(name, *learned[name], lines[name]) for name in sorted(learned)],
    )
    if asked.write:
        _write_models(learned)


def list_measured_families() -> list[Family]:
    """The families that a processor fits and that are tried without being named, where what they need is there."""
    return [f for f in load_families().values() if f.available and f.tunable and f.safe and not f.gpu]


def _measure_missing(asked: argparse.Namespace) -> None:
    done = [line for fits in _read_lines(asked.folder).values() for line in fits]
    known = {(line["table"], line["asked"], line["family"]) for line in done}
    stopped = {(line["table"], line["family"]) for line in done if line["stopped"]}
    for rows in map(int, asked.rows.split(",")):
        for file, target, options in list_tables(asked.place.resolve(), asked.only.split(",") if asked.only else []):
            folder = asked.folder / "tables" / str(rows)
            lay_out(file, target, parse_split(options), round(rows / TRAINED), folder)
            problems = [Problem(file.stem, family, folder / file.stem) for family in list_measured_families()]
            lines = {
                p.family.name: line
                for p in problems
                if (file.stem, rows, p.family.name) not in known and (file.stem, p.family.name) not in stopped
                if (line := _describe_problem(p, rows)) is not None
            }
            for name, fit in _measure_families(list(lines), folder / file.stem, asked.limit):
                line = {**lines[name], "seconds": asked.limit, **fit, "stopped": not fit}
                if not fit:
                    stopped.add((file.stem, name))
                with (asked.folder / "costs.jsonl").open("a", encoding="utf-8") as journal:
                    journal.write(json.dumps(line) + "\n")
                print(json.dumps(line), file=sys.stderr, flush=True)


def _describe_problem(problem: Problem, rows: int) -> dict[str, Any] | None:
    """What is known of a fit before it is made; None where the table does not suit the family or has too few rows."""
    family, brief, shape = problem.family, problem.brief, problem.shape
    unsuited = shape.task not in family.tasks or family.unsuited(shape)
    if unsuited or shape.rows < 0.7 * rows or shape.rows * shape.columns > family.most_cells:
        return None
    width = estimate_width(Workdir(problem.folder).read_frame("work"), brief.kinds, family.needs, shape.classes)
    return {
        "table": problem.table, "family": family.name, "asked": rows, "rows": shape.rows, "columns": width,
        "task": shape.task, "classes": shape.classes,
    }  # fmt: skip


def _measure_families(names: list[str], folder: Path, limit: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each family with what came of its fit; with nothing where it was stopped. A process fits one after another, and a
    new one goes on where one was stopped."""
    context = get_context("spawn")
    while names:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_fit_families, args=(names, folder, limit, sender))
        process.start()
        sender.close()
        with suppress(EOFError):
            while names:
                fit = receiver.recv()
                yield names.pop(0), fit
        process.join()
        if names:
            yield names.pop(0), {}


def _fit_families(names: Sequence[str], folder: Path, limit: int, sender: Any) -> None:
    prepare_process(os.getppid())
    for name in names:
        used = math.ceil(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (used + limit, resource.RLIM_INFINITY))
        problem = Problem(folder.name, load_family(name), folder)
        walk = Walk(lambda parameter, _, family=problem.family: family.default[parameter])
        config = suggest_configuration(problem.family, walk, problem.shape)  # pyright: ignore[reportArgumentType]
        job = FitJob(str(folder), PLAN, name, FOLD, 0, config, 0)
        found: list[dict[str, Any]] = []
        try:
            while not found or (len(found) < 2 and found[0]["seconds"] < _SHORT):
                found.append(_run_fit(job))
        except Exception as error:  # is told, and counts as stopped
            print(f"{name} on {folder.name}: {error!r}", file=sys.stderr)
        sender.send(min(found, key=lambda fit: fit["seconds"], default={}))


def _run_fit(job: FitJob) -> dict[str, float]:
    """Processor seconds of the fit on prepared columns, and megabytes of its model with them."""
    prepare_inner_fold(job, Workdir(Path(job.workdir)), load_family(job.family), [])
    began = time.process_time()
    try:
        result = worker.run_fit(job)
    finally:
        shutil.rmtree(Path(job.workdir, job.file).parent, ignore_errors=True)
    return {"seconds": round(time.process_time() - began, 4), "mb": round(result.model_mb, 4)}


def _read_lines(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Family -> its fits. A line that a kill cut short is none."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    path = folder / "costs.jsonl"
    for text in path.read_text("utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            line = json.loads(text)
            found[line["family"]].append(line)
    return found


def _learn_family(fits: Sequence[Mapping[str, Any]]) -> tuple[CostModel, CostModel, np.ndarray]:
    """Formulas of seconds and of megabytes from all tables, and the logarithm of measured over foretold seconds of
    each whole fit by the formula of the other tables."""
    whole = [fit for fit in fits if not fit["stopped"]]
    errors = [
        math.log(max(LEAST, fit["seconds"]) / _learn_seconds(others).foretell(_read_work(fit)))
        for table in sorted({fit["table"] for fit in fits})
        if (others := [fit for fit in fits if fit["table"] != table])
        for fit in whole
        if fit["table"] == table
    ]
    sizes = fit_cost_model([_read_work(fit) for fit in whole], [max(LEAST, fit["mb"]) for fit in whole])
    spread = float(np.sqrt(np.mean(np.square(errors))))
    return replace(_learn_seconds(fits), spread=spread), sizes, np.array(errors)


def _learn_seconds(fits: Sequence[Mapping[str, Any]]) -> CostModel:
    seconds = [max(LEAST, fit["seconds"]) for fit in fits]
    return fit_cost_model([_read_work(fit) for fit in fits], seconds, stopped=[fit["stopped"] for fit in fits])


def _read_work(fit: Mapping[str, Any]) -> Work:
    return Work(fit["rows"], fit["columns"], fit["task"], fit["classes"])


def _describe_family(
    name: str, model: CostModel, _: CostModel, errors: np.ndarray, fits: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    exponents = (model.rows, model.columns, model.classes)
    return (
        name, str(len(fits)), *(f"{e:.2f}" for e in exponents), f"{model.floor:.3g}", f"{np.exp(model.spread):.2f}",
        f"{np.exp(np.abs(errors).max()):.2f}",
    )  # fmt: skip


def _write_models(learned: Mapping[str, tuple[CostModel, CostModel, np.ndarray]]) -> None:
    """The file: a line for each family."""
    lines = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps({'seconds': _round_model(seconds), 'mb': _round_model(size)})}"
        for name, (seconds, size, _) in sorted(learned.items())
    )
    told = json.dumps(f"python -m benchmarks.costs, {make_stamp()}")
    text = f'{{\n "made": {told},\n "families": {{\n{lines}\n }}\n}}\n'
    (Path(__file__).parent.parent / "models" / "tuning" / FILE).write_text(text, encoding="utf-8")


def _round_model(model: CostModel) -> dict[str, float]:
    return {name: float(f"{value:.4g}") if abs(value) > 1e-4 else 0.0 for name, value in vars(model).items()}


if __name__ == "__main__":
    main()
