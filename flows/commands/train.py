"""`nestor train`: from a table to a registered model."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from flows.options import flags
from flows.options.command_input import CommandInput, gather_run_values, make_run
from flows.options.option import take_options
from flows.screen import ending
from flows.screen.printing import show_json, show_text

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


@take_options(OPTIONS)
def train(
    inputs: CommandInput,
    resume: flags.Resume = None,
    dry_run: flags.DryRun = False,
    as_json: flags.AsJson = False,
    quiet: flags.Quiet = False,
) -> None:
    """Find, tune, judge and register a model for a table."""
    values = gather_run_values(inputs)
    from flows.server import prefect_server

    with ending.allow_interrupt():
        if dry_run:
            return _show_plan(make_run(values, inputs), as_json, quiet)
        # Before pandas is imported: it needs five seconds, and reading the table hides them.
        prefect_server.start_server()
        report = _run_training(make_run(values, inputs), resume, quiet)
    _show_report(report, as_json)


def _show_report(report: Report, as_json: bool) -> None:
    if as_json:
        return show_json(report.as_json())
    from flows.screen.tables import make_final_table

    show_text(make_final_table(report))


def _run_training(run: Run, resume: str | None, quiet: bool) -> Report:
    import psutil

    from flows.screen.live import show_live
    from tasks.run import ledger

    ledger.mark_command_start()
    with (
        show_live(psutil.Process().create_time(), run.seconds, quiet),
        redirect_stdout(sys.stderr),  # standard output is the result's, whatever a library has to say
    ):
        from flows.server.begin import begin_run
        from tasks.run.resume import read_finished_report

        ending.log_to_file()
        if resume is not None and (report := read_finished_report(run, resume)):
            return report
        with begin_run(run, resume):
            from flows.train import train  # Prefect's seconds pass while the server starts

            ending.log_to_file()  # Prefect has put its own handlers in place
            return train(run, resume)


def _show_plan(run: Run, as_json: bool, quiet: bool) -> None:
    from flows.commands.dry import make_plan_table, plan_run
    from flows.screen.live import show_live

    with show_live(time.time(), run.seconds, quiet), redirect_stdout(sys.stderr):
        plan = plan_run(run)
    show_json(plan) if as_json else show_text(make_plan_table(plan))
