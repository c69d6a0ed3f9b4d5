"""How a table is divided before anything is fitted: sealed rows, rows to work with, and the plan of these. One function
for `check`, a dry plan and a run, so that what one of them stops at, all do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.config import Run
from models.errors import InputError, listed
from models.metric import Metric
from models.repeats import Repeats, decide_unit, points
from models.seal import Seal, choose_seal, keys, renewed, sealed_rows, work_rows
from models.split import Plan, plan_for
from models.table import Finding, Table


@dataclass(frozen=True, eq=False)
class Division:
    """Sealed rows, work rows, and how the work rows are divided further."""

    plan: Plan
    """Of the work rows."""
    sealed: np.ndarray
    """True where a row of the table is sealed."""
    work_places: np.ndarray
    """The places of the work rows in the table."""
    young_places: np.ndarray
    """The places of rows that would be worked with, were they not younger than the sealed ones' horizon."""
    seal: Seal | None
    """None where nothing is sealed, and where the user gave the test rows."""
    settings: dict[str, Any] | None
    """What is to be kept for later runs of this name, where the seal is new."""
    findings: tuple[Finding, ...]
    note: str
    """What must be said of the test set; may be empty."""
    repeats: Repeats
    """What is divided as one, and why."""

    @property
    def sealed_places(self) -> np.ndarray:
        """The places of the sealed rows in the table."""
        return np.flatnonzero(self.sealed)


def divided(table: Table, run: Run, metric: Metric, kept: Mapping[str, Any] | None = None) -> Division:
    """The table divided; `kept` is how this name's first run sealed its rows. InputError where that leaves nothing of a
    class to learn from."""
    repeats = decide_unit(table, run)
    whole, _ = plan_for(table, run, repeats)
    seal, settings, note, found = _seal(table, run, whole, kept)
    sealed = _sealed(table, seal)
    earlier, work = (work_rows(sealed, whole.keys, whole.time, whole.gap, k) for k in (None, whole.known))
    work_places = np.flatnonzero(work)
    # Keys and copies are told by the source's own columns, whatever history makes of them.
    plan, findings = plan_for(table.take(work_places), run, repeats)
    stops = [f.message for f in findings if f.verdict == "stop"]
    if stops:
        raise InputError(" ".join(stops))
    _learnable(table, run, sealed, work_places)
    shared = [] if table.test is None else list(_shared(table, table.test, whole, work_places, repeats))
    told = (*found, *findings, *shared, *_measured(table, sealed, metric))
    return Division(plan, sealed, work_places, np.flatnonzero(earlier & ~work), seal, settings, told, note, repeats)


def key_columns(table: Table) -> pd.DataFrame:
    """What a row's key is made of: its group, its ids, else its features."""
    if table.group_names is not None:
        return table.group_names
    return table.features if table.ids is None else table.ids


def _sealed(table: Table, seal: Seal | None) -> np.ndarray:
    if table.test is not None:
        return table.test
    return np.zeros(table.rows, dtype=bool) if seal is None else sealed_rows(seal, keys(key_columns(table)), table.time)


def _seal(
    table: Table, run: Run, whole: Plan, kept: Mapping[str, Any] | None
) -> tuple[Seal | None, dict[str, Any] | None, str, list[Finding]]:
    """The seal, its settings where they are new, a note, and findings."""
    if table.test is not None:
        if not 0 < table.test.sum() < table.rows:
            raise InputError("The test rows that were given are all the rows, or none.")
        return None, None, f"The {int(table.test.sum()):,} rows that you gave are the sealed test set.", []
    named = key_columns(table)
    row_keys = keys(named)
    target, salt = f"{table.task}:{','.join(named.columns)}", run.split.salt
    same = kept is not None and kept.get("share") == run.split.sealed and kept.get("target") == target
    settings = None
    if kept is not None and same and (salt in (None, kept["salt"]) or kept["kind"] == "time"):
        own = Seal(kept["kind"], tuple(kept["columns"]), kept["fraction"], kept["salt"], kept["cut"])
        seal, sentence = renewed(own, table.time), ""
    else:
        seal, sentence = choose_seal(
            row_keys, whole.strata, whole.kind, tuple(named.columns), run.split.sealed, table.time, salt
        )
        if seal is None and salt is not None:
            raise InputError(f"With split.salt {salt} too few rows or too many would be sealed: take another, 0 to 99.")
        if seal is not None:
            settings = {**seal.__dict__, "share": run.split.sealed, "target": target, "asked": salt is not None}
    if seal is None:
        return None, None, f"{sentence} So there is no test score and no agreement.", []
    count = int(sealed_rows(seal, row_keys, table.time).sum())
    said = f"{count:,} of {table.rows:,} rows are sealed until the end."
    return seal, settings, "", [Finding("seal", "pass", said)]


def _shared(
    table: Table, test: np.ndarray, whole: Plan, work_places: np.ndarray, repeats: Repeats
) -> Iterator[Finding]:
    """What a given test set shares with the rows for training, and how many of these are left."""
    train = np.flatnonzero(~test)
    units = np.isin(whole.keys[train], whole.keys[test])
    left = f"{len(work_places):,} of {len(train):,} rows for training are left"
    if units.any():
        how = {
            "group": "belong to groups of the given test set",
            "point": "have the same features as rows of the given test set and count as copies of them",
        }[repeats.unit if table.group is None else "group"]
        keep = "" if repeats.unit != "point" else f" ({repeats.reason}; `split.copies: apart` keeps them)"
        yield Finding("test_set", "warn", f"{units.sum():,} rows {how}, so they do not train: {left}{keep}.")
    elif len(work_places) < len(train):
        yield Finding("test_set", "warn", f"Rows that are not earlier than the given test set do not train: {left}.")
    own = points(table)
    known = int(np.isin(own[test], own[work_places]).sum())
    if known:
        said = f"{known:,} of {test.sum():,} rows of the given test set have features that rows for training have too"
        why = "their points are too large for one side" if repeats.unit == "point" else repeats.reason
        yield Finding("test_set", "pass", f"{said}, and these stay: {why}.")


def _learnable(table: Table, run: Run, sealed: np.ndarray, work_places: np.ndarray) -> None:
    """InputError where the sealed rows, and what is left out beside them, took every row of a class."""
    gone = np.setdiff1d(np.arange(len(table.classes)), table.target[work_places])
    if not len(gone):
        return
    apart = ", or left out to keep these apart (their copies and groups, later rows, the gap in time)"
    drawn = "Seal fewer rows (--sealed), other ones (--salt, --test)"
    raise InputError(
        f"All rows with the target {listed([table.classes[code] for code in gone])} are sealed for the final test"
        f"{'' if sealed[np.isin(table.target, gone)].all() else apart}, so no model could learn what they are. "
        f"{drawn if table.test is None else 'Give other test rows'}"
        f"{', take a smaller gap (split.gap)' if run.split.gap else ''}, or leave these rows out of the table."
    )


def _measured(table: Table, sealed: np.ndarray, metric: Metric) -> list[Finding]:
    """A warning where the metric can't be computed on the sealed rows."""
    rows = np.flatnonzero(sealed)
    why = undefined(table, metric, rows) if len(rows) else ""
    return [Finding("seal", "warn", f"The sealed rows can't give a test score: {why}.")] if why else []


def undefined(table: Table, metric: Metric, rows: np.ndarray) -> str:
    """Why the metric can't be computed on these rows, whatever is predicted; empty where it can."""
    if table.weight is not None and not table.weight[rows].any():
        return f"all {len(rows):,} rows weigh 0"
    if defined(table, metric, rows):
        return ""
    held = np.unique(table.target[counting(table, rows)])
    if len(held) > 1:
        return f"{metric.name} can't be computed on these {len(rows):,} rows"
    only = f"class {table.classes[int(held[0])]}" if table.classes else f"the target {held[0]:g}"
    return f"the {len(rows):,} rows all have {only}, and {metric.name} can't be computed on them"


def counting(table: Table, rows: np.ndarray) -> np.ndarray:
    """Those of the rows that weigh more than 0."""
    return rows if table.weight is None else rows[table.weight[rows] > 0]


def defined(table: Table, metric: Metric, rows: np.ndarray) -> bool:
    """Whether the metric has a value on these rows for some prediction."""
    weight = None if table.weight is None else table.weight[rows]
    return any(not np.isnan(metric.score(table.target[rows], guess, weight)) for guess in _guesses(table, metric, rows))


def _guesses(table: Table, metric: Metric, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Predictions nearly as good as can be; of labels also one label for all rows, since some ratios want mistakes."""
    target = table.target[rows]
    if metric.needs == "value":
        yield target * 0.99 + 0.01 * target.mean()
    elif metric.needs == "label":
        yield target
        yield from (np.full(len(target), code) for code in (0, len(metric.classes) - 1))
    else:
        odds = np.full((len(target), len(metric.classes)), 0.1 / len(metric.classes))
        odds[np.arange(len(target)), target.astype(np.int64)] += 0.9
        yield odds
