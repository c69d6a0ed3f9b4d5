"""`nestor score`: new rows predicted by a registered model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from flows import ending
from flows import options as o
from flows.printing import show, show_json

EXAMPLES = (
    "nestor score loans new.csv --out scored.csv",
    "nestor score loans/3 new.parquet --out scored.parquet",
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
    with redirect_stdout(sys.stderr):
        from tasks.score import score as scored

        ending.log_to_file()
        result = scored(model, data, out)
    if as_json:
        show_json(result if isinstance(result, Mapping) else {"model": model, "out": str(out), "rows": result})
    else:
        show(f"{result:,} rows scored: {out}" if isinstance(result, int) else f"Scored: {out}")
