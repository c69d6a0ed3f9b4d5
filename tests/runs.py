"""Whole runs without Prefect and MLflow, over the real pool of workers: what tests of the laws are made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from models.config import Run
from models.families import load_families
from models.splitting.repeats import decide_unit
from models.splitting.seal import choose_sealed_fraction
from models.splitting.sealing import choose_row_key, make_seal_template
from models.splitting.split import make_split_plan
from tasks.context import RunContext
from tasks.evaluation import evaluate as concluding
from tasks.evaluation.evaluate import Evaluation
from tasks.execution.pool import FitPool
from tasks.planning import load_and_seal
from tasks.planning.plan import make_plan
from tasks.run.folder import Workdir
from tasks.run.journal import Journal
from tasks.run.ledger import Ledger
from tasks.tuning.running import RunningStudies
from tasks.tuning.tune import tune
from tasks.values import LoadedTable, RunPlan, SealedTable, Studies

TUNABLE = tuple(n for n, f in load_families().items() if f.tunable and f.available and f.safe)


class LocalJournal(Journal):
    """A journal without MLflow's writer: the intake is told that this name has no seal yet."""

    def __init__(self, workdir: Path, name: str):
        super().__init__(workdir, name, f"sqlite:///{workdir}/unused", start=False)
        self.past: dict[str, Any] | None = None
        """The earlier run that a warm start is told of."""

    def call(self, name: str, /, *, timeout: float | None = None, **args: Any) -> Any:
        return {"count_opening": 1, "keep_seal_settings": args.get("settings"), "past": self.past}.get(name)


class LocalContext(RunContext):
    """A context whose pool a test may choose."""

    made: Callable[[], Any] | None = None

    def start_pool(self) -> None:
        if self.made is None:
            self._pool = FitPool(self.workers, self.run.budget.memory * 1000 if self.run.budget.memory else 4000, 1)
        else:
            self._pool = self.made()


def begin_run(
    run: Run,
    path: Path,
    pool: Callable[[], Any] | None = None,
    salt: int | None = None,
    past: dict[str, Any] | None = None,
    used: float = 0.0,
) -> SealedTable:
    """The table of a run over `path`, read and sealed; `salt` seals by that salt instead of the best of 100; `past` is
    the earlier run of a warm start; `used` are seconds that earlier attempts took."""
    path.mkdir(parents=True, exist_ok=True)
    journal = LocalJournal(path, "model")
    journal.past = past
    context = LocalContext(run, "model", Workdir(path), Ledger(run.seconds, time.time(), used), journal)
    context.made = pool
    loaded = load_and_seal.load_table(context)
    return load_and_seal.seal_rows(loaded if salt is None else _fix_salt(loaded, salt))


def _fix_salt(loaded: LoadedTable, salt: int) -> LoadedTable:
    """The table whose seal is fixed as an earlier run of this name would have."""
    key, share = choose_row_key(loaded.table), loaded.run.split.sealed
    fraction = choose_sealed_fraction(loaded.table.rows) if share is None else share
    repeats = decide_unit(loaded.table, loaded.run)
    plan, _ = make_split_plan(loaded.table, loaded.run, repeats)
    seal = make_seal_template(loaded.run, plan, repeats, key, None)
    loaded.context.seals.earlier = replace(seal, fraction=fraction, salt=salt).as_json()
    return replace(loaded, table=replace(loaded.table, key=key))


def tune_plan(plan: RunPlan) -> Studies:
    """The plan with every family tuned in every fold, side by side."""
    running = RunningStudies(plan)
    with ThreadPoolExecutor(64) as threads:
        futures = [threads.submit(tune, running, f, k) for f in plan.scope.families for k in plan.folds]
        for future in futures:
            future.result()
    return running.take_snapshot()


def train_run(run: Run, path: Path, **how: Any) -> Evaluation:
    """A whole run up to its evaluation; its pool is closed."""
    sealed = begin_run(run, path, **how)
    try:
        load_and_seal.check_signal_of_table(sealed)
        return concluding.evaluate(tune_plan(make_plan(sealed)))
    finally:
        sealed.context.close()


def collect_numbers(evaluation: Evaluation) -> dict[str, Any]:
    """Everything that a run with a count of trials must repeat to the last digit: all but times."""
    return {
        "trials": {key: [drop_times(t) for t in trials] for key, trials in sorted(evaluation.trials.items())},
        "chosen": evaluation.chosen,
        "families": [(f.name, f.estimate, f.inner, f.trials, f.trials_by_fold, f.weight) for f in evaluation.families],
        "winner": evaluation.winner,
        "estimate": evaluation.estimate,
        "test": evaluation.test,
        "optimism": evaluation.optimism,
        "agreement": evaluation.agreement,
        "scores": evaluation.conformal and evaluation.conformal.as_json(),
        "coverage": evaluation.coverage,
        "predictions": [(k, prediction.tolist()) for k, (_, prediction, _) in evaluation.outer],
        "notes": evaluation.context.notes,
        "findings": evaluation.context.findings,
    }


def drop_times(trial: Any) -> tuple[Any, ...]:
    """A trial without its times."""
    config, params = dict(trial.config), dict(trial.params)
    came_of = trial.share, trial.parent, trial.goes_on
    return trial.number, params, config, trial.state, trial.scores, trial.rounds, trial.reason, came_of, trial.gradient


def make_frame(rows: int = 240, task: str = "binary", seed: int = 0) -> pd.DataFrame:
    """A table with a column of each kind, missing values, weights, groups and times; two columns tell of the target."""
    rng = np.random.default_rng(seed)
    number = rng.normal(size=rows).round(3)
    colour = rng.choice(["red", "green", "blue", "a, b"], rows)
    value = number + (colour == "red") + rng.normal(size=rows)
    targets = {
        "binary": np.where(value > 0.3, "yes", "no"),
        "multiclass": np.select([value < -0.3, value < 0.8], ["low", "mid"], "high"),
        "regression": value,
    }
    table = pd.DataFrame(
        {
            "number": number,
            "noise": rng.normal(size=rows),
            "flag": rng.choice([0.0, 1.0], rows),
            "colour": colour,
            "town": [f"town {i}" for i in rng.integers(0, 45, rows)],
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, rows), unit="s"),
            "words": [" ".join(rng.choice(["oak", "elm", "ash", "fir", "yew"], 4)) for _ in range(rows)],
            "weight": rng.uniform(0.5, 2.0, rows).round(2),
            "group": [f"g{i}" for i in rng.integers(0, 12, rows) + np.arange(rows) * 24 // rows],
            "when": np.sort(rng.integers(0, 10**6, rows)),
            "target": targets[task],
        }
    )
    for column in ("number", "colour", "town", "day", "words"):
        table.loc[rng.choice(rows, rows // 25, replace=False), column] = None
    return table


KINDS = {"flag": "boolean", "colour": "category", "town": "category", "day": "date", "words": "text"}

PLANS: Mapping[str, dict[str, Any]] = {
    "random": {"drop": ("group", "when")},
    "group": {"drop": ("when",), "split": {"group": "group"}},
    "time": {"drop": ("group",), "split": {"time": "when"}},
    "group_time": {"split": {"group": "group", "time": "when", "sealed": 0.3}},
}
"""What a Run over `make_frame()` sets for each kind of split plan."""


def make_small_run(plan: str = "random", data: Any = None, **more: Any) -> Run:
    """A small run over `make_frame()` with this kind of plan: 2 x 2 folds unless `split` says otherwise."""
    named = {"data": make_frame() if data is None else data, "target": "target", "types": KINDS, "weight": "weight"}
    whole = {**named, **PLANS[plan], **more}
    whole["types"] = {c: kind for c, kind in whole["types"].items() if c in whole["data"].columns}
    split = {"outer": 2, "inner": 2, **PLANS[plan].get("split", {}), **more.get("split", {})}
    return Run(**{**whole, "split": split})


def wait_for(truth: Callable[[], Any], seconds: float) -> Any:
    """What `truth` says as soon as it is true, or at the deadline."""
    until = time.monotonic() + seconds
    while not (found := truth()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def list_process_tree(pid: int) -> list[psutil.Process]:
    """The process and all that came of it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def list_living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie does not."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
