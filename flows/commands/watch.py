"""`nestor watch`: new rows against what the champion was trained on."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from operator import not_
from typing import TYPE_CHECKING, Any

from flows.options import flags
from flows.options.command_input import CommandInput
from flows.options.option import Option, take_options
from flows.screen import ending
from flows.screen.printing import show_json, show_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from models.config import Watch
    from models.monitoring.drift import WatchReport

EXAMPLES = (
    "nestor watch loans new.csv",
    "nestor watch loans 'loans-%Y-%m-%d.csv' --json | jq .drifted",
    "nestor watch loans env:LOANS_DB --query 'select * from loans where day > :a' --bind a=today-7d",
)
_SHOWN = 30
"""Columns in the table; the rest are in the report."""


# fmt: off
OPTIONS = (
    Option("name", "NAME", None, "A model's name in the registry; its champion is watched.", default=...),
    Option("data", "DATA", None,
           "The new rows, with or without the target: a csv or parquet file; with %Y-%m-%d in its path the newest that "
           "fits; or a database address with --query.", default=...),
    *flags.select_run_options("query", "bound"),
    Option("level", "--level", "P", "How often all columns together may give a false alarm. Default: 0.01."),
    Option("psi", "--psi", "X", "The least population stability index that counts. Default: 0.1."),
    Option("alarm", "--no-alarm", None, "Only tell: drift sends no event, so nothing is retrained.", bool, not_),
    Option("notify", "--notify", "BLOCK",
           "A Prefect notification block that is told of drift, such as slack-webhook/team."),
    flags.UNSAFE,
)
# fmt: on


@take_options(OPTIONS)
def watch(inputs: CommandInput, as_json: flags.AsJson = False, quiet: flags.Quiet = False) -> None:
    """Compare new rows with what the champion was trained on. Exit code 0 whether they drift or not."""
    from flows.server import prefect_server

    prefect_server.start_server()
    report = _run_watch(_make_watch(inputs.overrule({})), quiet)
    if as_json:
        show_json(report.as_json())
    else:
        show_text(_make_drift_table(report), *_make_last_lines(report))


def _make_watch(values: dict[str, Any]) -> Watch:
    from models.config import Watch, problems

    return problems.validate_settings(Watch, values)


def _run_watch(watch: Watch, quiet: bool) -> WatchReport:
    from flows.screen.live import show_live

    with (
        show_live(time.time(), None, quiet),
        redirect_stdout(sys.stderr),  # standard output is the result's, whatever a library has to say
    ):
        from flows.watch import watch as flow

        ending.log_to_file()  # Prefect has put its own handlers in place
        return flow(watch)


def _make_drift_table(report: WatchReport) -> RenderableType:
    from flows.screen.tables import make_rows_table
    from tasks.monitoring.page import make_table_rows

    rows = make_table_rows(report.drift, _SHOWN)
    return make_rows_table(list(rows[0]) if rows else ("column",), [list(row.values()) for row in rows])


def _make_last_lines(report: WatchReport) -> list[RenderableType]:
    """Notes, where to read on, and one clear line."""
    from rich.text import Text

    from models.text.safe import to_line

    lines: list[RenderableType] = [Text(f"· {to_line(note, 300)}") for note in (*report.drift.notes, *report.notes)]
    suffix = "  The event nestor.drift was sent." if report.event else ""
    lines.append(Text(f"MLflow run {report.run_id}: drift.html{suffix}", style="dim"))
    style = "bold yellow" if report.drift.drifted else "bold green"
    return [*lines, Text(f"\n{to_line(report.drift.sentence, 600)}", style=style)]
