"""The live display of a run on standard error: a board on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from flows.screen.board import Board, draw_board
from flows.screen.ending import write_message
from flows.screen.tables import SafeConsole
from models.text.safe import to_line
from tasks.run import events
from tasks.run.events import Began, Event, FindingEvent, NoteEvent, PlanEvent

LINE_EVERY = 10.0
"""Seconds between plain lines that tell how far a stage is."""
_TICK = 0.25


@contextmanager
def show_live(
    began: float, budget: float | None, quiet: bool = False, console: Console | None = None
) -> Iterator[Board]:
    """Shows the events emitted inside the block. `began` is the command's own start, `budget` its wall seconds."""
    console = console or SafeConsole(file=sys.stderr, highlight=False)
    board = Board(began, budget)
    if quiet:
        yield board
        return
    with _draw_live(board, console) if console.is_terminal else _print_lines(board, console):
        yield board


@contextmanager
def _draw_live(board: Board, console: Console) -> Iterator[None]:
    """Redraws when something has happened, four times a second at most, and each second for the clock."""
    lock, news = threading.Lock(), threading.Event()

    def told(event: Event) -> None:
        with lock:
            board.tell(event)
        news.set()

    def draw(live: Live) -> None:
        with lock:
            picture = draw_board(board, console.width, console.height, time.time())
        live.update(picture, refresh=True)

    # Standard output is left alone: it belongs to the result.
    with (
        Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False) as live,
        events.listen_to_events(told),
        _draw_on_ticks(lambda: draw(live), news),
    ):
        yield


@contextmanager
def _draw_on_ticks(draw: Callable[[], None], news: threading.Event) -> Iterator[None]:
    end = threading.Event()

    def tick() -> None:
        while not end.is_set():
            draw()
            end.wait(_TICK)
            news.wait(1.0 - _TICK)
            news.clear()

    thread = threading.Thread(target=tick, daemon=True, name="screen")
    thread.start()
    try:
        yield
    finally:
        end.set()
        news.set()
        thread.join(2.0)


@contextmanager
def _print_lines(board: Board, console: Console) -> Iterator[None]:
    """One line per stage, warning and sentence, and one about every ten seconds."""
    lock, last = threading.Lock(), [time.monotonic()]

    def told(event: Event) -> None:
        with lock:
            board.tell(event)
            text = format_event(event)
            if text is None and time.monotonic() - last[0] >= LINE_EVERY:
                text = board.summarize(time.time())
            if text is not None:
                write_message(f"nestor: {text}") if console.file is sys.stderr else print(text, file=console.file)
                last[0] = time.monotonic()

    with events.listen_to_events(told):
        yield


def format_event(event: Event) -> str | None:
    """The event as a line of a log; None for those that only count."""
    match event:
        case Began(name, note):
            return f"{name}: {to_line(note, 200)}" if note else name
        case FindingEvent(finding) if finding.verdict != "pass":
            return f"{finding.verdict}: {to_line(finding.message, 400)}"
        case PlanEvent(families, _, how, metric, _, left_out):
            suffix = f"; not tried: {', '.join(left_out)}" if left_out else ""
            return f"plan: {how}, {metric}, {to_line(', '.join(families), 200)}{suffix}"
        case NoteEvent(text):
            return to_line(text, 400)
    return None
