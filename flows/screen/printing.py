"""Results on standard output: a table for people, or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from flows.screen.hints import as_typed

if TYPE_CHECKING:
    from rich.console import RenderableType


def show_text(*parts: RenderableType) -> None:
    """Prints text and tables."""
    from flows.screen.tables import SafeConsole

    console = SafeConsole(highlight=False, width=measure_width())
    for part in parts:
        console.print(as_typed(part) if isinstance(part, str) else part, markup=False)


def measure_width() -> int:
    """Characters of a line: the terminal's. A pipe has none: what reads it should see whole lines, so 160."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else 160


def show_json(value: Any) -> None:
    """Prints one JSON value."""
    from models.outcome import to_json_value
    from models.text.safe import escape_json

    print(escape_json(json.dumps(to_json_value(value), ensure_ascii=False, allow_nan=False, indent=2)))


def show_rows(columns: tuple[str, ...], rows: list[tuple[str, ...]], as_json: bool, count: int) -> None:
    """Prints rows: as JSON with every column, for people the first `count` of them."""
    if as_json:
        return show_json([dict(zip(columns, row, strict=True)) for row in rows])
    from flows.screen.tables import make_rows_table

    show_text(make_rows_table(columns[:count], [row[:count] for row in rows]))
