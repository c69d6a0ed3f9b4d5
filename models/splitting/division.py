"""How a table is divided before anything is fitted: sealed rows, rows to work with, and the plan of these. One function
for `check`, a dry plan and a run, so that what one of them stops at, all do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.config import Run
from models.data.table import Finding, Table
from models.errors import InputError, join_names
from models.metrics.metric import Metric
from models.splitting import sealing
from models.splitting.repeats import UnitDecision, decide_unit, make_point_keys
from models.splitting.seal import Seal, make_row_keys, mark_sealed_rows, mark_work_rows
from models.splitting.sealing import TableSeal
from models.splitting.split import SplitPlan, make_split_plan


@dataclass(frozen=True, eq=False)
class Division:
    """Sealed rows, work rows, and how the work rows are divided further."""

    plan: SplitPlan
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
    """What is to be kept of the seal for later runs of this name; None where there is none."""
    findings: tuple[Finding, ...]
    note: str
    """What must be said of the test set; may be empty."""
    repeats: UnitDecision
    """What is divided as one, and why."""
    row_keys: np.ndarray
    """What each row of the table is known by."""
    made_of: tuple[str, ...]
    """What these keys are made of: columns, each with what its values are to a key."""
    points: np.ndarray
    """A key per row, equal for rows with equal features, as far as the seal knows rows by them."""
    distinct: int
    """How many of the work rows differ in what they are known by, but for their order."""

    @property
    def sealed_places(self) -> np.ndarray:
        """The places of the sealed rows in the table, (sealed rows,)."""
        return np.flatnonzero(self.sealed)


def divide_table(table: Table, run: Run, metric: Metric, record: Mapping[str, Any] | None = None) -> Division:
    """The table divided; `record` is how this name's rows were sealed before. InputError where that can't go on, and
    where nothing of a class is left to learn from."""
    record = None if table.test is not None else record
    seal, reason = (None, "") if record is None else sealing.restore_seal(record, table, run)
    table = table if seal is not None else replace(table, key=None)
    key = sealing.choose_row_key(table)
    # Each row is hashed once, by the source's own columns, whatever history makes of them.
    hashed = make_row_keys(key.columns, seal.plain if seal is not None else not key.by_name)
    table = replace(table, points=make_row_keys(table.features) if key.by_name else hashed)
    repeats, unit_findings = (decide_unit(table, run), ()) if seal is None else sealing.restore_unit(seal, table, run)
    whole_plan, _ = make_split_plan(table, run, repeats)
    draft = seal or sealing.make_seal_template(run, whole_plan, repeats, key, record)
    row_keys = draft.make_keys(hashed)
    if table.test is not None:
        draw = _seal_given_rows(table.test)
    elif seal is not None and record is not None:
        draw = sealing.apply_seal(seal, record, table, row_keys)
    else:
        draw = sealing.draw_seal(draft, table, run, whole_plan.strata, row_keys, record, reason)
    sealed = _mark_test_rows(table, draw.seal, row_keys)
    earlier, work = (
        mark_work_rows(sealed, whole_plan.keys, whole_plan.time, whole_plan.gap, k) for k in (None, whole_plan.known)
    )
    work_places = np.flatnonzero(work)
    plan, findings = make_split_plan(table.take(work_places), run, repeats)
    stops = [f.message for f in findings if f.verdict == "stop"]
    if stops:
        raise InputError(" ".join(stops))
    _refuse_unlearnable_classes(table, run, sealed, work_places)
    shared = () if table.test is None else _find_shared_rows(table, table.test, whole_plan, work_places, repeats)
    remarks = (*draw.findings, *unit_findings, *findings, *shared, *_check_sealed_metric(table, sealed, metric))
    return Division(
        plan, sealed, work_places, np.flatnonzero(earlier & ~work), draw.seal, draw.settings, remarks, draw.note,
        repeats, row_keys, sealing.list_key_parts(draft), make_point_keys(table), len(np.unique(hashed[work_places])),
    )  # fmt: skip


def _seal_given_rows(test: np.ndarray) -> TableSeal:
    if not 0 < test.sum() < len(test):
        raise InputError("The test rows that were given are all the rows, or none.")
    return TableSeal(None, None, note=f"The {int(test.sum()):,} rows that you gave are the sealed test set.")


def _mark_test_rows(table: Table, seal: Seal | None, row_keys: np.ndarray) -> np.ndarray:
    if table.test is not None:
        return table.test
    return np.zeros(table.rows, dtype=bool) if seal is None else mark_sealed_rows(seal, row_keys, table.time)


def _find_shared_rows(
    table: Table, test: np.ndarray, plan: SplitPlan, work_places: np.ndarray, repeats: UnitDecision
) -> Iterator[Finding]:
    """What a given test set shares with the rows for training, and how many of these are left."""
    train = np.flatnonzero(~test)
    units = np.isin(plan.keys[train], plan.keys[test])
    remainder = f"{len(work_places):,} of {len(train):,} rows for training are left"
    if units.any():
        relation = {
            "group": "belong to groups of the given test set",
            "point": "have the same features as rows of the given test set and count as copies of them",
        }[repeats.unit if table.group is None else "group"]
        hint = "" if repeats.unit != "point" else f" ({repeats.reason}; `split.copies: apart` keeps them)"
        yield Finding("test_set", "warn", f"{units.sum():,} rows {relation}, so they do not train: {remainder}{hint}.")
    elif len(work_places) < len(train):
        yield Finding(
            "test_set", "warn", f"Rows that are not earlier than the given test set do not train: {remainder}."
        )
    points = make_point_keys(table)
    copies = int(np.isin(points[test], points[work_places]).sum())
    if copies:
        sentence = (
            f"{copies:,} of {test.sum():,} rows of the given test set have features that rows for training have too"
        )
        reason = "their points are too large for one side" if repeats.unit == "point" else repeats.reason
        yield Finding("test_set", "pass", f"{sentence}, and these stay: {reason}.")


def _refuse_unlearnable_classes(table: Table, run: Run, sealed: np.ndarray, work_places: np.ndarray) -> None:
    """InputError where the sealed rows, and what is left out beside them, took every row of a class."""
    codes = np.setdiff1d(np.arange(len(table.classes)), table.target[work_places])
    if not len(codes):
        return
    exclusions = ", or left out to keep these apart (their copies and groups, later rows, the gap in time)"
    advice = "Seal fewer rows (--sealed), other ones (--salt, --test), where the name has a seal with --new-seal"
    raise InputError(
        f"All rows with the target {join_names([table.classes[code] for code in codes])} are sealed for the final test"
        f"{'' if sealed[np.isin(table.target, codes)].all() else exclusions}, so no model could learn what they are. "
        f"{advice if table.test is None else 'Give other test rows'}"
        f"{', take a smaller gap (split.gap)' if run.split.gap else ''}, or leave these rows out of the table."
    )


def _check_sealed_metric(table: Table, sealed: np.ndarray, metric: Metric) -> list[Finding]:
    """A warning where the metric can't be computed on the sealed rows."""
    rows = np.flatnonzero(sealed)
    reason = explain_undefined_metric(table, metric, rows) if len(rows) else ""
    return [Finding("seal", "warn", f"The sealed rows can't give a test score: {reason}.")] if reason else []


def explain_undefined_metric(table: Table, metric: Metric, rows: np.ndarray) -> str:
    """Why the metric can't be computed on these rows, whatever is predicted; empty where it can. `rows`: places (n,) in
    the table. InputError where there are row weights and the metric takes none."""
    if table.weight is not None and not table.weight[rows].any():
        return f"all {len(rows):,} rows weigh 0"
    if is_metric_defined(table, metric, rows):
        return ""
    values = np.unique(table.target[take_weighted_rows(table, rows)])
    if len(values) > 1:
        return f"{metric.name} can't be computed on these {len(rows):,} rows"
    only = f"class {table.classes[int(values[0])]}" if table.classes else f"the target {values[0]:g}"
    return f"the {len(rows):,} rows all have {only}, and {metric.name} can't be computed on them"


def take_weighted_rows(table: Table, rows: np.ndarray) -> np.ndarray:
    """Those of the rows, places (n,) in the table, that weigh more than 0."""
    return rows if table.weight is None else rows[table.weight[rows] > 0]


def is_metric_defined(table: Table, metric: Metric, rows: np.ndarray) -> bool:
    """Whether the metric has a value on these rows for some prediction. `rows`: places (n,) in the table. InputError
    where there are row weights and the metric takes none."""
    weight = None if table.weight is None else table.weight[rows]
    return any(
        not np.isnan(metric.score(table.target[rows], guess, weight)) for guess in _make_guesses(table, metric, rows)
    )


def _make_guesses(table: Table, metric: Metric, rows: np.ndarray) -> Iterator[np.ndarray]:
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
