"""What a run is doing, as events for whoever listens: the screen, Prefect's progress artifact, nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.data.table import Finding


@dataclass(frozen=True)
class Began:
    """A stage began: of a training one of `tasks.run.stage`, of other flows a word of theirs."""

    stage: str
    note: str = ""


@dataclass(frozen=True)
class FindingEvent:
    """A check found something."""

    finding: Finding


@dataclass(frozen=True)
class PlanEvent:
    """The plan is fixed."""

    families: tuple[str, ...]
    folds: tuple[str, ...]
    """Names of the folds: "1", "2", ..., and "all" for the search on all work rows."""
    how: str
    """Such as `5 outer x 4 inner folds`."""
    metric: str
    greater_is_better: bool
    left_out: dict[str, str]
    trials: int | None
    """Configurations per study where a count was asked for."""


@dataclass(frozen=True)
class TrialEvent:
    """A trial ended."""

    family: str
    fold: str
    number: int
    state: str
    inner: float | None
    """Mean inner score in the metric's own sense."""
    best: bool
    """Whether it is the best of its family and fold so far."""
    share: float = 1.0
    """What part of a whole trial it was."""


@dataclass(frozen=True)
class NoteEvent:
    """A sentence for the user: what gave way, what was decided."""

    text: str


Event = Began | FindingEvent | PlanEvent | TrialEvent | NoteEvent

TimedEvent = tuple[float, Event]
"""time.time() of the event, and the event."""

_listeners: list[Callable[[Event], None]] = []


def emit(event: Event) -> None:
    """Tells every listener."""
    for listener in tuple(_listeners):
        listener(event)


@contextmanager
def listen_to_events(listener: Callable[[Event], None]) -> Iterator[None]:
    """`listener` is told every event inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def record_events() -> Iterator[list[TimedEvent]]:
    """The list to which every event inside the block is added."""
    record: list[TimedEvent] = []
    with listen_to_events(lambda event: record.append((time.time(), event))):
        yield record
