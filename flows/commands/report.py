"""`nestor report`: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError

EXAMPLES = (
    "nestor report loans",
    "nestor report 3f2a91c0 --out report.html",
)


def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id or its beginning, or a model's name: its newest run.")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Copy the page to this file.")] = None,
) -> None:
    """Say where the html report of a run lies, or copy it."""
    from tasks.tracking import fetch_artifact

    path = fetch_artifact(run, "report.html")
    if out:
        import shutil

        try:
            shutil.copyfile(path, out)
        except OSError as error:
            raise InputError(f"--out: {out} can't be written: {error.strerror}.") from None
    print(out or path)
