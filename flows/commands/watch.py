"""`nestor watch`: new rows against what the champion was trained on."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands import options as o
from flows.screen import ending
from flows.screen.printing import show, show_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from models.config import Watch
    from models.monitoring.drift import Watched

EXAMPLES = (
    "nestor watch loans new.csv",
    "nestor watch loans 'loans-%Y-%m-%d.csv' --json | jq .drifted",
    "nestor watch loans env:LOANS_DB --query 'select * from loans where day > :a' --bind a=today-7d",
)
_SHOWN = 30
"""Columns in the table; the rest are in the report."""


def watch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model's name in the registry; its champion is watched.")
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="The new rows, with or without the target: a csv or parquet file; with %Y-%m-%d in its path the "
            "newest that fits; or a database address with --query.",
        ),
    ],
    query: o.Query = None,
    bound: o.Bound = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level",
            metavar="P",
            help="How often all columns together may give a false alarm. Default: 0.01.",
            show_default=False,
        ),
    ] = None,
    psi: Annotated[
        str | None,
        typer.Option(
            "--psi",
            metavar="X",
            help="The least population stability index that counts. Default: 0.1.",
            show_default=False,
        ),
    ] = None,
    no_alarm: Annotated[
        bool, typer.Option("--no-alarm", help="Only tell: drift sends no event, so nothing is retrained.")
    ] = False,
    notify: Annotated[
        str | None,
        typer.Option(
            "--notify",
            metavar="BLOCK",
            show_default=False,
            help="A Prefect notification block that is told of drift, such as slack-webhook/team.",
        ),
    ] = None,
    unsafe: o.Unsafe = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare new rows with what the champion was trained on. Exit code 0 whether they drift or not."""
    given = {
        "name": name, "data": data, "query": query, "bound": o.bindings(bound), "level": level, "psi": psi,
        "alarm": False if no_alarm else None, "notify": notify, "unsafe": unsafe or None,
    }  # fmt: skip
    from flows.server import prefect_server

    prefect_server.start()
    found = _watched(_made({k: v for k, v in given.items() if v is not None}), quiet)
    if as_json:
        show_json(found.as_json())
    else:
        show(_table(found), *_last_lines(found))


def _made(values: dict[str, Any]) -> Watch:
    from models.config import Watch, problems

    return problems.valid(Watch, values)


def _watched(watch: Watch, quiet: bool) -> Watched:
    from flows.screen.live import showing

    with (
        showing(time.time(), None, quiet),
        redirect_stdout(sys.stderr),  # standard output is the result's, whatever a library has to say
    ):
        from flows.watch import watch as flow

        ending.log_to_file()  # Prefect has put its own handlers in place
        return flow(watch)


def _table(found: Watched) -> RenderableType:
    from flows.screen.tables import rows_table
    from tasks.monitoring.page import table_rows

    rows = table_rows(found.drift, _SHOWN)
    return rows_table(list(rows[0]) if rows else ("column",), [list(row.values()) for row in rows])


def _last_lines(found: Watched) -> list[RenderableType]:
    """Notes, where to read on, and one clear line."""
    from rich.text import Text

    from flows.screen.tables import plain

    lines: list[RenderableType] = [Text(f"· {plain(note, 300)}") for note in (*found.drift.notes, *found.notes)]
    told = "  The event nestor.drift was sent." if found.event else ""
    lines.append(Text(f"MLflow run {found.run_id}: drift.html{told}", style="dim"))
    style = "bold yellow" if found.drift.drifted else "bold green"
    return [*lines, Text(f"\n{plain(found.drift.sentence, 600)}", style=style)]
