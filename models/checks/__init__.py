"""What a table must satisfy, one question per file, found by looking in this folder.

A file holds `PASSED`, the sentence for a table in which nothing was seen, and one of
- `form(table)`: looks at the whole table, never at how a feature goes with the target; may stop or tell what to drop;
- `signal(work)`: looks at how features go with the target, among work rows only; may only warn.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from models.data.table import Finding, Table, Task


@dataclass(frozen=True)
class WorkRows:
    """The work rows that signal checks look at."""

    features: pd.DataFrame
    target: np.ndarray
    """Codes into `classes`, or numbers."""
    task: Task
    classes: tuple[Any, ...]


@cache
def load_checks(kind: str) -> dict[str, ModuleType]:
    """The files in this folder that hold a check of this kind (`form` or `signal`), by name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, kind)}


def check_form(table: Table) -> tuple[Finding, ...]:
    """What the form checks see in the table, in order of their names."""
    return tuple(f for name, m in load_checks("form").items() for f in _run_check(name, m, m.form, table))


def check_signal(work: WorkRows) -> tuple[Finding, ...]:
    """What the signal checks see in the work rows; a warning at most."""
    return tuple(f for name, m in load_checks("signal").items() for f in _run_check(name, m, m.signal, work))


def _run_check(
    name: str, module: ModuleType, check: Callable[[Any], Iterable[Finding]], value: object
) -> list[Finding]:
    return list(check(value)) or [Finding(name, "pass", module.PASSED)]


def take_data_rows(table: Table, places: np.ndarray) -> tuple[int, ...]:
    """The data rows at these places of the table; the first eight."""
    return tuple(int(r) for r in table.data_rows[places[:8]])


def take_first_names(names: Iterable[object]) -> tuple[str, ...]:
    """The first eight names, as a finding keeps them."""
    return tuple(str(n) for n in list(names)[:8])


def format_percent(part: float, total: float) -> str:
    """`60 %`, or `0.4 %` where whole percents would say nothing."""
    share = 100 * part / max(total, 1)
    return f"{share:.0f} %" if share >= 1 or share == 0 else f"{share:.1g} %"


def format_count(count: int, singular: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
