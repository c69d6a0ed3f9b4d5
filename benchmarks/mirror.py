"""What a trial costs in each mirror, and what other ways to hold it in Weights & Biases would cost:
`python -m benchmarks.mirror [--trials 200]`. Needs the extra `wandb`; nothing is uploaded."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.stamp import print_table
from tasks.run.journal import Journal, JournalRecord

Way = Callable[[Path, list[JournalRecord]], Callable[[], object]]
"""Prepares an empty folder and returns what is to be timed."""


def main() -> None:
    """Prints one table: a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    count = parser.parse_args().trials
    os.environ |= {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    rows = []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for n, (name, way) in enumerate(WAYS.items()):
            way(Path(folder, f"warm{n}"), list(_make_tree(2)))()  # imports and services start outside of the clock
            place = Path(folder, str(n))
            write, before = way(place, list(_make_tree(count))), _measure_kilobytes(place)
            began, cores = time.perf_counter(), _measure_core_seconds()
            write()
            wall, core = time.perf_counter() - began, _measure_core_seconds() - cores
            each = (1000 * wall / count, 1000 * core / count, (_measure_kilobytes(place) - before) / count)
            rows.append((name, *(f"{number:.1f}" for number in each)))
    head = ("way", "wall, ms per trial", "core-ms per trial", "KB per trial")
    print_table(f"Mirrors: {count} trials of one fold", head, rows)


def _make_tree(count: int) -> Iterator[JournalRecord]:
    at = time.time()
    yield JournalRecord("run", "pipeline", name="m", start=at)
    yield JournalRecord("lightgbm", "family", parent="run", start=at)
    yield JournalRecord("lightgbm/1", "fold", parent="lightgbm", start=at)
    for n in range(count):
        yield JournalRecord(
            f"lightgbm/1/{n}", "trial", parent="lightgbm/1", params={f"p{i}": 0.1 * i * n for i in range(8)},
            metrics={"inner": 0.5, "seconds": 1.0, "peak_mb": 200.0}, series={"score": [0.1, 0.2, 0.3, 0.4]},
            tags={"nestor.state": "complete"}, status="FINISHED", start=at, end=at + 1,
        )  # fmt: skip
    yield JournalRecord("lightgbm/1", "fold", status="FINISHED", end=at)


def _write_journal(place: Path, records: list[JournalRecord]) -> None:
    with Journal(place, "m", f"sqlite:///{place}/mlflow.db", start=False) as journal:
        for record in records:
            journal.record(record)


def _prepare_trial_runs(place: Path, records: list[JournalRecord]) -> Callable[[], object]:
    from tasks.tracking.wandb_mirror.runs import WandbRuns

    def write() -> None:
        while runs.follow():
            pass

    _write_journal(place, records)
    runs = WandbRuns(place)
    return write


def _make_mlflow_way(bulk: bool) -> Way:
    def way(place: Path, records: list[JournalRecord]) -> Callable[[], object]:
        from tasks.tracking.mirror.writer import MlflowMirror

        _write_journal(place, records)
        mirror = MlflowMirror(place)
        mirror._bulk = bulk
        assert mirror.experiment_id  # the database is laid out
        return lambda: mirror.drain(600)

    return way


def _prepare_fold_table(place: Path, records: list[JournalRecord]) -> Callable[[], object]:
    """One W&B run for the fold, a table with a row for each trial."""
    import wandb

    def write() -> None:
        trials = [r for r in records if r.kind == "trial"]
        table = wandb.Table(columns=["trial", *trials[0].params, *trials[0].metrics])
        for trial in trials:
            table.add_data(trial.key, *trial.params.values(), *trial.metrics.values())
        run.log({"trials": table})
        run.finish()

    run = _start_run(place)
    return write


def _prepare_fold_steps(place: Path, records: list[JournalRecord]) -> Callable[[], object]:
    """One W&B run for the fold, a step for each trial."""

    def write() -> None:
        for n, trial in enumerate(r for r in records if r.kind == "trial"):
            run.log({**trial.params, **trial.metrics}, step=n)
        run.finish()

    run = _start_run(place)
    return write


def _start_run(place: Path) -> Any:
    import wandb

    from tasks.tracking.wandb_mirror.runs import SILENT

    place.mkdir(parents=True)
    return wandb.init(project="m", dir=str(place), mode="offline", settings=wandb.Settings(**SILENT))


def _measure_core_seconds() -> float:
    """Seconds of cores that this process and its children took."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(p.cpu_times()[:2]) for p in processes)


def _measure_kilobytes(place: Path) -> float:
    return sum(f.stat().st_size for f in place.rglob("*") if f.is_file()) / 1000


WAYS: dict[str, Way] = {
    "Weights & Biases, a run for each trial (`--mirror wandb`)": _prepare_trial_runs,
    "Weights & Biases, a row of a table in the fold's run": _prepare_fold_table,
    "Weights & Biases, a step of the fold's run": _prepare_fold_steps,
    "MLflow's own database, one transaction for many (always)": _make_mlflow_way(bulk=True),
    "MLflow, its client": _make_mlflow_way(bulk=False),
}

if __name__ == "__main__":
    main()
