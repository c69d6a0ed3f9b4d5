"""`nestor runs`: what was trained."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import flags
from flows.screen.printing import show_json, show_text
from models.text.safe import shorten

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLES = (
    "nestor runs",
    "nestor runs loans --json",
)


def runs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A model's name.", show_default=False)] = None,
    as_json: flags.AsJson = False,
) -> None:
    """List the training runs, newest first; of one model also who was champion when, and what it has sealed."""
    from tasks.tracking.look import list_champion_moves, list_runs, list_seals

    rows = list_runs(name)
    moves, seals = (list_champion_moves(name), list_seals(name)) if name else ([], [])
    if as_json:
        show_json({"runs": rows, "moves": moves, "seals": seals} if name else rows)
    elif not rows:
        show_text(f"No runs of {shorten(name)!r} yet." if name else "No runs yet: nestor train DATA --target COL")
    else:
        show_text(_make_runs_table(rows))
        if moves:
            show_text("", "champions, newest first", _make_moves_table(moves))
        if len(seals) > 1:
            show_text("", "seals, newest first", _make_seals_table(seals))


def _make_runs_table(rows: list[dict[str, Any]]) -> RenderableType:
    from flows.screen.tables import make_rows_table
    from models.outcome import format_number

    def score_of(value: Any) -> str:
        return format_number(value.get("value") if isinstance(value, Mapping) else value)

    columns = ("when", "name", "version", "run", "how", "estimate", "test", "status")
    return make_rows_table(
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
        spared=("how", "test", "status"),
    )


def _make_seals_table(seals: list[dict[str, Any]]) -> RenderableType:
    from flows.screen.tables import make_rows_table

    def when(seconds: float | None) -> str:
        return "-" if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")

    return make_rows_table(
        ("when", "seal", "share", "rows are known by", "why"),
        [
            (when(seal["when"]), str(seal["number"]), f"{100 * seal['share']:g} %", seal["columns"], seal["why"])
            for seal in seals
        ],
    )


def _make_moves_table(moves: list[dict[str, Any]]) -> RenderableType:
    from flows.screen.tables import make_rows_table

    columns = ("when", "from", "to", "move", "by", "who", "why")
    return make_rows_table(
        columns,
        [
            (
                datetime.fromtimestamp(move["when"]).strftime("%Y-%m-%d %H:%M"),
                move["from"] or "-",
                move["to"],
                move["kind"],
                move["how"],
                move["who"],
                move["why"] or "-",
            )
            for move in moves
        ],
        spared=("by", "move"),
    )
