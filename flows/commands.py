"""What each command of `nestor` does, once its options are read. Imports are late: each command pays for its own."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import ending, server
from flows.options import Given, gathered, made_run
from models.errors import InputError, Interrupted, shortened

if TYPE_CHECKING:
    from rich.console import RenderableType

    from models.config import Run
    from models.outcome import Report


def train(config: Path | None, given: Given, resume: str | None, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Trains, and prints the report."""
    values = gathered(config, given)
    with _interruptible():
        if dry_run:
            return _plan(made_run(values, given), as_json, quiet)
        server.start()  # before pandas is imported: it needs five seconds, and reading the table hides them
        report = _trained(made_run(values, given), resume, quiet)
    if as_json:
        _print_json(report.as_json())
    else:
        from flows.tables import final_table

        _print(final_table(report))


def _trained(run: Run, resume: str | None, quiet: bool) -> Report:
    import psutil

    from flows.screen import showing
    from tasks import budget

    budget.command_started()
    with (
        showing(psutil.Process().create_time(), run.seconds, quiet),
        redirect_stdout(sys.stderr),  # standard output is the result's, whatever a library has to say
    ):
        from flows.begin import begun
        from tasks.session import finished

        ending.log_to_file()
        if resume is not None and (report := finished(run, resume)):
            return report
        with begun(run, resume):
            from flows.train import train  # Prefect's seconds pass while the server starts

            ending.log_to_file()  # again: Prefect has put its own handlers in place
            ending.log_to_file()  # Prefect has put its own handlers in place
            return train(run, resume)


def _plan(run: Run, as_json: bool, quiet: bool) -> None:
    from flows.dry import plan_table, planned
    from flows.screen import showing

    with showing(time.time(), run.seconds, quiet), redirect_stdout(sys.stderr):
        plan = planned(run)
    _print_json(plan) if as_json else _print(plan_table(plan))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets Ctrl-C, and a polite kill, end the run with a sentence."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"What is finished is kept; go on with\n  {ending.again(sys.argv[1:])}") from None


def check(config: Path | None, given: Given, as_json: bool) -> None:
    """Checks, and prints the findings."""
    run = made_run(gathered(config, given), given)
    from flows.tables import findings_line, findings_table
    from tasks.validate import check as checked

    _, findings = checked(run)
    stops = [f for f in findings if f.verdict == "stop"]
    if as_json:
        from dataclasses import asdict

        _print_json({"ok": not stops, "findings": [asdict(f) for f in findings]})
    else:
        _print(findings_table(findings), findings_line(findings))
    if stops:
        raise SystemExit(InputError.exit_code)


def score(model: str, data: str, out: Path, as_json: bool) -> None:
    """Scores, and says where the predictions are."""
    with redirect_stdout(sys.stderr):
        from tasks.score import score as scored

        ending.log_to_file()
        result = scored(model, data, out)
    if as_json:
        _print_json(result if isinstance(result, Mapping) else {"model": model, "out": str(out), "rows": result})
    else:
        _print(f"{result:,} rows scored: {out}" if isinstance(result, int) else f"Scored: {out}")


def runs(name: str | None, as_json: bool) -> None:
    """Prints the runs, newest first."""
    from tasks.tracking import runs as found

    rows = found(name)
    if as_json:
        _print_json(rows)
    elif not rows:
        _print(f"No runs of {shortened(name)!r} yet." if name else "No runs yet: nestor train DATA --target COL")
    else:
        _print(_runs_table(rows))


def _runs_table(rows: list[dict[str, Any]]) -> RenderableType:
    from flows.tables import rows_table
    from models.outcome import number

    def score_of(value: Any) -> str:
        return number(value.get("value") if isinstance(value, Mapping) else value)

    columns = ("when", "name", "version", "run", "how", "estimate", "test", "status")
    return rows_table(
        columns,
        [
            (
                datetime.fromtimestamp(row["when"]).strftime("%Y-%m-%d %H:%M"),
                row["name"],
                f"{row['version'] or '-'}{' @' + row['alias'] if row.get('alias') else ''}",
                str(row["run_id"])[:8],
                row.get("how") or "-",
                score_of(row.get("estimate")),
                score_of(row.get("test")),
                row["status"],
            )
            for row in rows
        ],
    )


def report(run: str, out: Path | None) -> None:
    """Prints the path of the run's report."""
    from tasks.tracking import artifact

    path = artifact(run, "report.html")
    if out:
        import shutil

        try:
            shutil.copyfile(path, out)
        except OSError as error:
            raise InputError(f"--out: {out} can't be written: {error.strerror}.") from None
    print(out or path)


def families(as_json: bool) -> None:
    """Prints the families."""
    from models.families import families as known

    rows = [(f.name, ", ".join(f.tasks), f.suits, f"{f.cost:g}", f.source) for f in known().values()]
    _listed(("name", "tasks", "suits", "cost", "source"), rows, as_json, shown=3)


def searches(as_json: bool) -> None:
    """Prints the search strategies."""
    from models.search import strategies as known

    rows = [(s.name, s.suits, s.source) for s in known().values()]
    _listed(("name", "suits", "source"), rows, as_json, shown=2)


def _listed(columns: tuple[str, ...], rows: list[tuple[str, ...]], as_json: bool, shown: int) -> None:
    if as_json:
        return _print_json([dict(zip(columns, row, strict=True)) for row in rows])
    from flows.tables import rows_table

    _print(rows_table(columns[:shown], [row[:shown] for row in rows]))


def _print(*parts: RenderableType) -> None:
    from rich.console import Console

    # a pipe has no width: what reads it should see whole lines
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=160)
    for part in parts:
        console.print(part, markup=False)


def _print_json(value: Any) -> None:
    from flows.tables import finite

    print(json.dumps(finite(value), ensure_ascii=False, allow_nan=False, indent=2))
