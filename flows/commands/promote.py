"""`nestor promote`: a version made champion on a person's word."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from flows.options import flags
from flows.screen import ending
from flows.screen.printing import show_json, show_text
from models.errors import InputError

EXAMPLES = (
    "nestor promote loans",
    'nestor promote loans/3 --why "the new columns matter to the team"',
)

Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the history.", show_default=False)]


def promote(
    model: Annotated[
        str, typer.Argument(metavar="NAME[/VERSION]", help="A registered model; without a version its challenger.")
    ],
    why: Why = "",
    unsafe: flags.Unsafe = False,
    as_json: flags.AsJson = False,
) -> None:
    """Make a version the champion, which is what consumers follow; `nestor rollback` undoes it."""
    name, version = _split_model_name(model)
    with redirect_stdout(sys.stderr):
        from tasks.retrain.gate import promote as promoted

        ending.log_to_file()
        move = promoted(name, version, why, unsafe=unsafe)
    if as_json:
        show_json(move.as_json())
    else:
        before = "there was none" if move.before is None else f"it was version {move.before}"
        show_text(f"Version {move.after} is the champion of {name} now; {before}.")


def _split_model_name(model: str) -> tuple[str, int | None]:
    name, slash, version = model.partition("/")
    if "@" in model or not name or (slash and not version.isdigit()):
        raise InputError(f"A version to promote is named NAME or NAME/VERSION, not {model!r}.")
    return name, int(version) if slash else None
