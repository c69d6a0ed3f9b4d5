"""`nestor train`: from a table to a registered model."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from flows.commands import options as o
from flows.screen import ending
from flows.screen.printing import show, show_json

if TYPE_CHECKING:
    from models.config import Run
    from models.outcome import Report

EXAMPLES = (
    "nestor train loans.csv --target paid --budget 10m",
    "nestor train sklearn:diabetes --trials 20 --families linear,lightgbm",
    "nestor train visits.parquet -t revenue --time day --group customer --json > result.json",
    "nestor train sales.csv -t sold --time day --horizon 7d --series shop --known price",
    "nestor train 'sales-%Y-%m-%d.csv.zst' -t amount --warm-from sales",
    "nestor train env:SALES_DB --query 'select * from sales where day > :a' --bind a=today-28d -t amount",
    "nestor train loans.csv -t paid --objective latency --objective gap:sex --limit size=10",
    "nestor train sklearn:diabetes --families linear --search grid --steps linear.strength=8 --space linear.penalty=l2",
    "nestor train loans.csv --target paid --resume",
)


def train(
    data: o.Data = None,
    query: o.Query = None,
    bound: o.Bound = None,
    target: o.Target = None,
    task: o.Task = None,
    positive: o.Positive = None,
    test: o.Test = None,
    test_column: o.TestColumn = None,
    weight: o.Weight = None,
    drop: o.Drop = None,
    types: o.Types = None,
    grid: o.Grid = None,
    order: o.Order = None,
    monotone: o.Monotone = None,
    budget: o.Budget = None,
    trials: o.Trials = None,
    metric: o.Metric = None,
    cost: o.Costs = None,
    class_weight: o.ClassWeight = None,
    objective: o.Objectives = None,
    limit: o.Limits = None,
    pick: o.Pick = None,
    families: o.Families = None,
    search: o.Strategy = None,
    space: o.Space = None,
    steps: o.Steps = None,
    configuration: o.Configuration = None,
    warm_from: o.WarmFrom = None,
    seed: o.Seed = None,
    outer: o.Outer = None,
    inner: o.Inner = None,
    group: o.Group = None,
    time: o.Time = None,
    horizon: o.Horizon = None,
    series: o.Series = None,
    known: o.Known = None,
    season: o.Season = None,
    id: o.Id = None,
    sealed: o.Sealed = None,
    salt: o.Salt = None,
    new_seal: o.NewSeal = False,
    name: o.Name = None,
    workers: o.Workers = None,
    memory: o.Memory = None,
    deliver: o.Deliver = None,
    final_rows: o.FinalRows = None,
    calibrate: o.Calibrate = None,
    threshold: o.Threshold = None,
    mirror: o.Mirror = None,
    config: o.Config = None,
    resume: o.Resume = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Find, tune, judge and register a model for a table."""
    given: o.Given = {
        ("data",): data,
        ("query",): query,
        ("bound",): o.bindings(bound),
        ("target",): target,
        ("task",): task,
        ("positive",): positive,
        ("test",): test,
        ("weight",): weight,
        ("drop",): o.names(drop),
        ("types",): o.kinds(types),
        ("grid",): grid,
        ("order",): o.orders(order),
        ("monotone",): monotone or None,
        ("metric",): metric,
        ("costs",): cost or None,
        ("class_weight",): class_weight or None,
        ("seed",): seed,
        ("name",): name,
        ("budget", "seconds"): budget,
        ("budget", "workers"): workers,
        ("budget", "memory"): memory,
        ("search", "trials"): trials,
        ("search", "families"): families,
        ("search", "strategy"): search,
        ("search", "warm_from"): warm_from,
        ("search", "objectives"): o.names(objective),
        ("search", "limits"): o.limits(limit),
        ("search", "pick"): pick or None,
        ("families",): o.of_families(space, steps, configuration),
        ("split", "outer"): outer,
        ("split", "inner"): inner,
        ("split", "group"): group,
        ("split", "time"): time,
        ("split", "horizon"): horizon,
        ("split", "series"): series,
        ("split", "known"): o.names(known),
        ("split", "season"): season,
        ("split", "id"): o.names(id),
        ("split", "sealed"): sealed,
        ("split", "salt"): salt,
        ("split", "new_seal"): new_seal or None,
        ("split", "test_column"): test_column,
        ("final", "deliver"): deliver,
        ("final", "rows"): final_rows,
        ("final", "calibrate"): calibrate,
        ("final", "threshold"): threshold,
        ("tracking", "mirror"): mirror,
    }
    _run(config, given, resume, dry_run, as_json, quiet)


def _run(config: Path | None, given: o.Given, resume: str | None, dry_run: bool, as_json: bool, quiet: bool) -> None:
    values = o.gathered(config, given)
    from flows.server import prefect_server

    with ending.interruptible():
        if dry_run:
            return _plan(o.made_run(values, given), as_json, quiet)
        prefect_server.start()  # before pandas is imported: it needs five seconds, and reading the table hides them
        report = _trained(o.made_run(values, given), resume, quiet)
    if as_json:
        show_json(report.as_json())
    else:
        from flows.screen.tables import final_table

        show(final_table(report))


def _trained(run: Run, resume: str | None, quiet: bool) -> Report:
    import psutil

    from flows.screen.live import showing
    from tasks.run import ledger

    ledger.command_started()
    with (
        showing(psutil.Process().create_time(), run.seconds, quiet),
        redirect_stdout(sys.stderr),  # standard output is the result's, whatever a library has to say
    ):
        from flows.server.begin import begun
        from tasks.run.resume import finished

        ending.log_to_file()
        if resume is not None and (report := finished(run, resume)):
            return report
        with begun(run, resume):
            from flows.train import train  # Prefect's seconds pass while the server starts

            ending.log_to_file()  # Prefect has put its own handlers in place
            return train(run, resume)


def _plan(run: Run, as_json: bool, quiet: bool) -> None:
    from flows.commands.dry import plan_table, planned
    from flows.screen.live import showing

    with showing(time.time(), run.seconds, quiet), redirect_stdout(sys.stderr):
        plan = planned(run)
    show_json(plan) if as_json else show(plan_table(plan))
