"""`nestor score`: new rows predicted by a registered model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

from flows.options import flags
from flows.options.command_input import CommandInput
from flows.options.option import Option, take_options
from flows.options.texts import parse_levels, parse_names
from flows.screen import ending
from flows.screen.printing import show_json, show_text

EXAMPLES = (
    "nestor score loans new.csv --out scored.csv",
    "nestor score houses new.csv --out scored.csv --interval 0.8 --interval 0.95",
    "nestor score loans/3 'new-%Y-%m-%d.parquet' --out scored.parquet --keep id,day",
    "nestor score loans env:LOANS_DB --query 'select * from loans where day > :a' --bind a=today-1d --out new.parquet",
)
STOPPED = "Nothing was written; the same command begins anew."
LINE_EVERY = 10.0
"""Seconds between lines that tell how far it is, where there is no terminal."""


# fmt: off
OPTIONS = (
    Option("model", "NAME[@ALIAS|/VERSION]", None, "A registered model; without an alias its champion.", default=...),
    Option("data", "DATA", None,
           "The rows to predict: csv (compressed too) or parquet; with %Y-%m-%d in its path the newest that fits; or a "
           "database address with --query.", default=...),
    Option("out", "--out -o", "FILE", "Where the predictions go: csv or parquet; %Y-%m-%d becomes today.", default=...),
    Option("keep", "--keep", "A,B", "Columns of the input that the output repeats, such as an id.", list, parse_names),
    Option("intervals", "--interval", "LEVEL",
           "Such as 0.9: beside each prediction the interval, or for classes the set of labels, that holds the true "
           "value in 90 % of rows. May be repeated.", list, parse_levels),
    *flags.select_run_options("query", "bound"),
    Option("chunk", "--chunk", "N", "Rows that are read and predicted at once.", int, default=50_000, least=1),
    flags.UNSAFE,
)
# fmt: on


@take_options(OPTIONS)
def score(inputs: CommandInput, as_json: flags.AsJson = False, quiet: flags.Quiet = False) -> None:
    """Predict new rows with a registered model; its input is checked against what it was trained on."""
    with ending.allow_interrupt(STOPPED), _show_progress(quiet) as listener, redirect_stdout(sys.stderr):
        from models.config import Score, problems
        from tasks.scoring.score import score as scored

        ending.log_to_file()
        report = scored(problems.validate_settings(Score, inputs.overrule({})), told=listener)
    for note in report.remarks:
        ending.write_message(f"Note: {note}")
    show_json(report.as_json()) if as_json else show_text(report.sentence)


@contextmanager
def _show_progress(quiet: bool) -> Iterator[Callable[[int, int | None], None] | None]:
    """What is told how many rows are written, of how many: a line that counts on a terminal, some lines elsewhere."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from rich.console import Console

        with Console(file=sys.stderr, highlight=False).status("Loading the model") as status:
            yield _make_counter(lambda text: status.update(text))
    else:
        yield _make_counter(lambda text: ending.write_message(f"nestor: {text}"), LINE_EVERY)


def _make_counter(writer: Callable[[str], None], interval: float = 0.0) -> Callable[[int, int | None], None]:
    """Writes rows, their share and, from the second chunk on, their speed, at most once in `interval` seconds."""
    begun: tuple[float, int] | None = None
    last = time.monotonic()

    def told(rows: int, total: int | None) -> None:
        nonlocal begun, last
        moment = time.monotonic()
        begun = begun or (moment, rows)
        if moment - last >= interval:
            share = f" of {total:,}" if total else ""
            speed = f", {(rows - begun[1]) / (moment - begun[0]):,.0f} rows/s" if rows > begun[1] else ""
            writer(f"{rows:,}{share} rows{speed}")
            last = moment

    return told
