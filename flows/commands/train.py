"""`nestor train`: from a table to a registered model."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from flows.commands import flags
from flows.commands.asked import Asked, gathered, made_run
from flows.commands.options import takes
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
OPTIONS = flags.RUN


@takes(OPTIONS)
def train(
    asked: Asked,
    resume: flags.Resume = None,
    dry_run: flags.DryRun = False,
    as_json: flags.AsJson = False,
    quiet: flags.Quiet = False,
) -> None:
    """Find, tune, judge and register a model for a table."""
    values = gathered(asked)
    from flows.server import prefect_server

    with ending.interruptible():
        if dry_run:
            return _plan(made_run(values, asked), as_json, quiet)
        prefect_server.start()  # before pandas is imported: it needs five seconds, and reading the table hides them
        report = _trained(made_run(values, asked), resume, quiet)
    _show(report, as_json)


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        return show_json(report.as_json())
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
