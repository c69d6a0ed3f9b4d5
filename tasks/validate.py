"""The table's checks: those of form act or stop before any row is cut off, those of signal warn about work rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models import checks
from models.checks.constant_columns import unused
from models.config import Run
from models.errors import InputError
from models.forecast import planned, wide
from models.profiles import Profile
from models.schema import Columns, Known, compared
from models.table import Finding, Table, Task
from tasks.data import decimal_mark, read
from tasks.data.seen import seen
from tasks.data.source import load

if TYPE_CHECKING:
    from tasks.score import Loaded

MOST_STOPS = 8


def check_form(table: Table, run: Run | None = None) -> Table:
    """The table less its constant columns, with the form checks' findings and, as the run asks, the plan of its
    history; stops with all that forbids to go on."""
    table = formed(table)
    table = table if run is None else planned(table, run)
    stops = [f.message for f in table.findings if f.verdict == "stop"]
    if stops:
        rest = len(stops) - MOST_STOPS
        more = [f"And {rest} more."] if rest > 0 else []
        raise InputError(f"{table.reading.source}: " + "\n".join(stops[:MOST_STOPS] + more))
    return table


def formed(table: Table) -> Table:
    """The same without stopping: stops stand among the findings."""
    found = checks.form(table)
    same = unused(table)
    if not same or len(same) == table.features.shape[1]:
        return replace(table, findings=(*table.findings, *found))
    reading = replace(table.reading, kinds=table.reading.kinds | dict.fromkeys(same, "drop"))
    left = table.features.drop(columns=same)
    return replace(table, features=left, reading=reading, findings=(*table.findings, *found))


def check_signal(
    features: pd.DataFrame, target: np.ndarray, task: Task, classes: tuple[Any, ...]
) -> tuple[Finding, ...]:
    """What the signal checks see in these (work) rows."""
    return checks.signal(checks.Work(features, target, task, classes))


def check(run: Run) -> tuple[Table | None, tuple[Finding, ...]]:
    """The table (None where it could not be read) and every finding, stops included: what `nestor check` shows."""
    try:
        table = planned(formed(read(run)), run)
    except InputError as error:
        return None, (Finding("reading", "stop", str(error)),)
    if any(f.verdict == "stop" for f in table.findings):
        return table, table.findings
    # No rows are sealed here: those that the user gave as the test set are left out, the others count as work rows.
    rows = np.arange(table.rows) if table.test is None else np.flatnonzero(~table.test)
    found = check_signal(wide(table).features.iloc[rows], table.target[rows], table.task, table.classes)
    return table, (*table.findings, *found)


def check_schema(source: Any, loaded: Loaded, columns: Columns = "stop") -> tuple[Finding, ...]:
    """What differs between the table that `source` names (a path, or a DataFrame) and the one that the champion was
    trained on: `models.schema.compared`'s findings. Nothing is raised but for a source that can't be read at all."""
    raw, reading = load(source), loaded.reading
    kept = Profile.from_json(loaded.profile).columns if loaded.profile else {}
    target, classes = loaded.facts["target"], tuple(loaded.facts["classes"])
    known = Known(reading.kinds, target, classes, tuple(reading.others), tuple(reading.pinned), kept)
    return compared(known, seen(raw, reading, known, decimal_mark(raw)), columns)
