"""The command `nestor`: each command is a flow or a look at what a flow left.

Standard output holds the result, standard error progress and messages. Nothing heavy is imported up here: help must
come at once, and the Prefect server must be on its way before pandas is."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from flows import ending
from flows import options as o


def _examples(*lines: str) -> str:
    return "[b]Examples[/b]\n\n" + "\n\n".join(lines)


app = typer.Typer(
    name="nestor",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "nestor train loans.csv --target paid --budget 10m",
        "nestor check loans.csv --target paid",
        "nestor score loans new.csv --out scored.csv",
    ),
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"nestor {version('nestor')}")
        raise typer.Exit


@app.callback()
def nestor(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A table in, a registered model and an honest estimate of it out: nested cross-validation, every trial kept."""


@app.command(
    epilog=_examples(
        "nestor train loans.csv --target paid --budget 10m",
        "nestor train sklearn:diabetes --trials 20 --families linear,lightgbm",
        "nestor train visits.parquet -t revenue --time day --group customer --json > result.json",
        "nestor train loans.csv --target paid --resume",
    )
)
def train(
    data: o.Data = None,
    target: o.Target = None,
    task: o.Task = None,
    positive: o.Positive = None,
    test: o.Test = None,
    test_column: o.TestColumn = None,
    weight: o.Weight = None,
    drop: o.Drop = None,
    types: o.Types = None,
    budget: o.Budget = None,
    trials: o.Trials = None,
    metric: o.Metric = None,
    families: o.Families = None,
    search: o.Strategy = None,
    seed: o.Seed = None,
    outer: o.Outer = None,
    inner: o.Inner = None,
    group: o.Group = None,
    time: o.Time = None,
    id: o.Id = None,
    sealed: o.Sealed = None,
    name: o.Name = None,
    workers: o.Workers = None,
    memory: o.Memory = None,
    deliver: o.Deliver = None,
    final_rows: o.FinalRows = None,
    config: o.Config = None,
    resume: o.Resume = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Find, tune, judge and register a model for a table."""
    given: o.Given = {
        ("data",): data,
        ("target",): target,
        ("task",): task,
        ("positive",): positive,
        ("test",): test,
        ("weight",): weight,
        ("drop",): o.names(drop),
        ("types",): o.kinds(types),
        ("metric",): metric,
        ("seed",): seed,
        ("name",): name,
        ("budget", "seconds"): budget,
        ("budget", "workers"): workers,
        ("budget", "memory"): memory,
        ("search", "trials"): trials,
        ("search", "families"): families,
        ("search", "strategy"): search,
        ("split", "outer"): outer,
        ("split", "inner"): inner,
        ("split", "group"): group,
        ("split", "time"): time,
        ("split", "id"): o.names(id),
        ("split", "sealed"): sealed,
        ("split", "test_column"): test_column,
        ("final", "deliver"): deliver,
        ("final", "rows"): final_rows,
    }
    from flows import commands

    commands.train(config, given, resume, dry_run, as_json, quiet)


@app.command(
    epilog=_examples(
        "nestor check loans.csv --target paid", "nestor check loans.csv --target paid --json | jq .findings"
    )
)
def check(
    data: o.Data = None,
    target: o.Target = None,
    test: o.Test = None,
    task: o.Task = None,
    positive: o.Positive = None,
    weight: o.Weight = None,
    drop: o.Drop = None,
    types: o.Types = None,
    group: o.Group = None,
    time: o.Time = None,
    id: o.Id = None,
    config: o.Config = None,
    as_json: o.AsJson = False,
) -> None:
    """Look a table over as `train` would, and say what is wrong with it. Exit code 2 where training would stop."""
    given: o.Given = {
        ("data",): data,
        ("target",): target,
        ("test",): test,
        ("task",): task,
        ("positive",): positive,
        ("weight",): weight,
        ("drop",): o.names(drop),
        ("types",): o.kinds(types),
        ("split", "group"): group,
        ("split", "time"): time,
        ("split", "id"): o.names(id),
    }
    from flows import commands

    commands.check(config, given, as_json)


@app.command(
    epilog=_examples(
        "nestor score loans new.csv --out scored.csv", "nestor score loans/3 new.parquet --out scored.parquet"
    )
)
def score(
    model: Annotated[
        str, typer.Argument(metavar="NAME[@ALIAS|/VERSION]", help="A registered model; without an alias its champion.")
    ],
    data: Annotated[str, typer.Argument(metavar="DATA", help="The rows to predict: csv or parquet.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the predictions go: csv or parquet.")],
    as_json: o.AsJson = False,
) -> None:
    """Predict new rows with a registered model; its input is checked against what it was trained on."""
    from flows import commands

    commands.score(model, data, out, as_json)


@app.command(epilog=_examples("nestor runs", "nestor runs loans --json"))
def runs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A model's name.", show_default=False)] = None,
    as_json: o.AsJson = False,
) -> None:
    """List the training runs, newest first."""
    from flows import commands

    commands.runs(name, as_json)


@app.command(epilog=_examples("nestor report loans", "nestor report 3f2a91c0 --out report.html"))
def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id or its beginning, or a model's name: its newest run.")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Copy the page to this file.")] = None,
) -> None:
    """Say where the html report of a run lies, or copy it."""
    from flows import commands

    commands.report(run, out)


@app.command(epilog=_examples("nestor families"))
def families(as_json: o.AsJson = False) -> None:
    """List the families of models, cheapest first, and what they suit."""
    from flows import commands

    commands.families(as_json)


@app.command(epilog=_examples("nestor searches"))
def searches(as_json: o.AsJson = False) -> None:
    """List the ways hyperparameters are searched."""
    from flows import commands

    commands.searches(as_json)


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.argv[1:] = ending.with_resume_value(sys.argv[1:])
    try:
        app()
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("NESTOR_DEBUG"):
            raise
        sys.exit(ending.ended(error))


if __name__ == "__main__":
    main()
