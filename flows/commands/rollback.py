"""`nestor rollback`: the previous champion is champion again."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from flows.commands.promote import Why
from flows.options import flags
from flows.screen import ending
from flows.screen.printing import show_json, show_text

EXAMPLES = (
    "nestor rollback loans",
    'nestor rollback loans --why "complaints since Monday"',
)


def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered model.")],
    why: Why = "",
    as_json: flags.AsJson = False,
) -> None:
    """Go back to the previous champion; asked again, to the one before it."""
    with redirect_stdout(sys.stderr):
        from tasks.retrain.gate import rollback as rolled_back

        ending.log_to_file()
        move = rolled_back(name, why)
    if as_json:
        show_json(move.as_json())
    else:
        show_text(f"Version {move.after} is the champion of {name} again; it was version {move.before}.")
        if move.why != why:
            show_text(move.why)
