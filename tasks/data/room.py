"""How much memory a table may take while it is read, and what is said of one that would take more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from models.config.run import Budget
from models.errors import InputError
from tasks.system.memory import measure_free_memory

PER_BYTE = 7.0
"""Bytes of memory for each byte of text until the table is read and checked, at most: measured on tables of numbers
(4), of digits (5) and of long texts (9), in a process of 200 MB."""
PER_CELL = 25.0
"""Bytes of memory for each value beside that of its text."""
SHARE = 0.9
"""Of the memory that is free; other processes want some too."""


@dataclass(frozen=True)
class MemoryRoom:
    """The memory that reading may take."""

    size: float
    """In bytes."""
    why: str
    """`2.1 GB are free`."""
    remedy: str
    """What gives more of it."""

    def hold_text(self, size: int, path: Path, cells: int = 0, whole: bool = True) -> None:
        """Stops where so many bytes of text, or so many values, can't be held. Where that is not the `whole` yet,
        nobody knows which share of it would fit."""
        self._hold(PER_BYTE * size + PER_CELL * cells, f"{_format_size(size)} of text", path, whole)

    def hold_values(self, size: float, path: Path) -> None:
        """Stops where values of so many bytes, which are copied once more, can't be held."""
        self._hold(2 * size, f"{_format_size(size)} of values", path, whole=False)

    def make_too_large_error(self, load: str, path: Path, share: float | None = None) -> InputError:
        """For a file that holds more than there is room for; `share` of its rows would fit."""
        fits = f" At most {share:.0%} of its rows would fit." if share else ""
        return InputError(
            f"{path} is too large for the memory that there is: it holds {load}, but {self.why}.{fits} Take a sample "
            f"of its rows, or fewer columns, or a parquet file, whose numbers take less, or {self.remedy}."
        )

    def _hold(self, need: float, load: str, path: Path, whole: bool) -> None:
        if need > self.size:
            share = self.size / need if whole else None
            raise self.make_too_large_error(
                f"{load}{'' if whole else ' or more'}, which take {_format_size(need)}", path, share
            )


def measure_room(budget: Budget | None = None) -> MemoryRoom:
    """The memory that reading may take now: what is free, and with a budget of memory no more than all fits together
    may have, each of which holds the table too."""
    size = SHARE * measure_free_memory()
    room = MemoryRoom(size, f"{_format_size(size)} are free", "use a machine with more memory")
    if budget is None or budget.memory is None:
        return room
    workers = budget.workers or psutil.cpu_count() or 1
    allowance = 1e9 * budget.memory * workers
    if allowance >= size:
        return room
    reason = (
        f"{workers} worker{'s'[: workers > 1]} with {budget.memory:g} GB each (--memory) have {_format_size(allowance)}"
    )
    return MemoryRoom(allowance, reason, "give more (--memory)")


def _format_size(size: float) -> str:
    """`2.1 GB`, `310 MB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.1f} KB"
