"""`nestor retrain`: new data for a model that exists; the challenger meets the champion."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands import options as o
from flows.screen import ending
from flows.screen.printing import show, show_json

if TYPE_CHECKING:
    from models.config import Retrain
    from models.outcome import Retrained

EXAMPLES = (
    "nestor retrain loans",
    "nestor retrain loans --data 'loans-%Y-%m-%d.csv' --budget 10m",
    "nestor retrain sales --bind since=today-28d --gate not_worse",
    "nestor retrain loans --approval manual --config retrain.yaml",
)

_NEW, _MEET = "The table", "The gate"


def retrain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model's name in the registry.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="The new table. Default: where the last run found its table, read anew.",
            rich_help_panel=_NEW,
            show_default=False,
        ),
    ] = None,
    query: o.Query = None,
    bound: o.Bound = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="stop|adapt",
            help="Where columns are missing or of another type: stop, or train on what there is. Default: stop.",
            rich_help_panel=_NEW,
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            "-b",
            metavar="TIME",
            help="Wall time of the training. Default: as the last run.",
            show_default=False,
        ),
    ] = None,
    new_seal: o.NewSeal = False,
    force: Annotated[
        bool, typer.Option("--force", help="Train although nothing has changed since the last run.")
    ] = False,
    no_warm: Annotated[
        bool, typer.Option("--no-warm", help="Without the last run's best configurations to begin with.")
    ] = False,
    overlap: Annotated[
        str | None,
        typer.Option(
            "--overlap",
            metavar="refuse|queue",
            help="What to do while another retraining of this model is at work. Default: refuse.",
            show_default=False,
        ),
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            "--gate",
            metavar="better|not_worse",
            help="What the challenger must surely be, beside the champion. Default: better.",
            rich_help_panel=_MEET,
            show_default=False,
        ),
    ] = None,
    approval: Annotated[
        str | None,
        typer.Option(
            "--approval",
            metavar="auto|manual",
            help="manual: the run pauses until a person has answered in Prefect's page. Default: auto.",
            rich_help_panel=_MEET,
            show_default=False,
        ),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            "--notify",
            metavar="BLOCK",
            help="A Prefect notification block that is told how it ended, such as slack-webhook/team.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="A yaml file of settings; options go before it."),
    ] = None,
    unsafe: o.Unsafe = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Train a challenger on new data, and let it meet the champion."""
    from models.config import Retrain

    values = o.from_file(config, Retrain) if config else {}
    if isinstance(values.get("budget"), dict):  # `from_file` writes a Run's budget in its long form
        values["budget"] = values["budget"].get("seconds")
    given = {
        "name": name,
        "data": data,
        "query": query,
        "bound": o.bindings(bound),
        "columns": columns,
        "budget": budget,
        "new_seal": new_seal or None,
        "force": force or None,
        "warm": False if no_warm else None,
        "overlap": overlap,
        "notify": notify,
        "unsafe": unsafe or None,
    }
    values |= {k: v for k, v in given.items() if v is not None}
    rule = {k: v for k, v in {"rule": gate, "approval": approval}.items() if v is not None}
    values["gate"] = {**(values.get("gate") or {}), **rule}
    _run(values, as_json, quiet)


def _run(values: dict[str, Any], as_json: bool, quiet: bool) -> None:
    from flows.server import prefect_server

    with ending.interruptible("What is finished is kept; the same command goes on with it."):
        prefect_server.start()
        result = _retrained(_made(values), quiet)
    if as_json:
        return show_json(result.as_json())
    if result.report is not None:
        from flows.screen.tables import final_table

        show(final_table(result.report))
    show(f"\n{result.sentence}")


def _made(values: dict[str, Any]) -> Retrain:
    from models.config import Retrain, problems

    return problems.valid(Retrain, values)


def _retrained(retrain: Retrain, quiet: bool) -> Retrained:
    from flows.screen.live import showing

    with (
        showing(time.time(), retrain.budget, quiet),
        redirect_stdout(sys.stderr),  # standard output is the result's, whatever a library has to say
    ):
        from flows.retrain import retrain as flow

        ending.log_to_file()  # Prefect has put its own handlers in place
        return flow(retrain)
