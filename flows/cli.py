"""The command `nestor`: each command is a flow or a look at what a flow left, in a file of its own in `commands/`.

Standard output holds the result, standard error progress and messages. Nothing heavy is imported up here: help must
come at once, and the Prefect server must be on its way before pandas is."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from flows.commands import check, families, promote, report, retrain, rollback, runs, score, searches, train, up, watch
from flows.screen import ending
from tasks.system import proxy, secret_addresses


def _format_examples(*lines: str) -> str:
    return "[b]Examples[/b]\n\n" + "\n\n".join(lines)


app = typer.Typer(
    name="nestor",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_format_examples(
        "nestor train loans.csv --target paid --budget 10m",
        "nestor check loans.csv --target paid",
        "nestor score loans new.csv --out scored.csv",
    ),
)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"nestor {version('nestor')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def nestor(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A table in, a registered model and an honest estimate of it out: nested cross-validation, every trial kept."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _command in (train, retrain, check, score, watch, promote, rollback, runs, report, families, searches, up):
    _name = _command.__name__.rpartition(".")[2]
    app.command(epilog=_format_examples(*_command.EXAMPLES))(getattr(_command, _name))


def _reach_server() -> dict[str, str]:
    """Prefect's settings for asking its server, once that answers: for an address that is kept in a Secret block."""
    from flows.server import prefect_server

    prefect_server.set_quiet_environment()
    return prefect_server.start_server().reach()


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    secret_addresses.server.set(_reach_server)
    proxy.spare_this_machine()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.argv[1:] = ending.fill_resume_value(sys.argv[1:])
    try:
        app()
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("NESTOR_DEBUG"):
            raise
        sys.exit(ending.report_error(error))
    finally:
        if code := ending.flush_output():
            sys.exit(code)


if __name__ == "__main__":
    main()
