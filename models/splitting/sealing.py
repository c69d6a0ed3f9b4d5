"""The seal of a table: that which its name has, or a new one where it has none or the user says so. What a name's first
run fixed moves no row later; what can't be kept stops, and says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isclose
from typing import Any

import numpy as np

from models.checks.constant_columns import find_constant_columns
from models.config import Run
from models.data.table import Finding, Key, Table
from models.errors import InputError, join_names
from models.splitting.repeats import UnitDecision, decide_unit, make_point_keys
from models.splitting.seal import (
    COUNTED,
    PLAIN,
    Seal,
    choose_seal,
    make_key_reading,
    mark_sealed_rows,
    renew_seal,
    to_key_form,
)
from models.splitting.split import SplitPlan, find_split_kind

FIRST, ASKED = "the first run of the name", "it was asked for"
"""Why a seal was drawn, where nothing stood in the way of an earlier one."""
_HELD = ("number", "kind", "fraction", "salt", "drawn", "why")
"""What is kept of a seal that another one has replaced, beside its columns."""
_UNITS = {"row": "stand alone", "point": "stay together", "group": "go by their group"}
_DIVIDED = {
    "random": "at random", "group": "by a group", "time": "by time", "group_time": "by a group and by time",
}  # fmt: skip


@dataclass(frozen=True)
class TableSeal:
    """What a table's seal is, and what is said of it."""

    seal: Seal | None
    """None where nothing is sealed."""
    settings: dict[str, Any] | None
    """What is kept for later runs of the name; None where there is nothing to keep."""
    findings: tuple[Finding, ...] = ()
    note: str = ""
    """What must be said of the test set; may be empty."""


def choose_row_key(table: Table) -> Key:
    """What a row is known by: the columns that its name's seal fixed, else its group, its ids, or its features but for
    constant ones, which tell no row from another and may change from table to table."""
    if table.key is not None and not table.key.lacks:
        return table.key
    for kind, frame in (("group", table.group_names), ("id", table.ids)):
        if frame is not None:
            return Key(frame, make_key_reading(table.reading, dict.fromkeys(map(str, frame.columns), kind)))
    # Those whose kind nobody gave are left out before.
    pinned = table.features[[c for c in table.reading.pinned if c in table.features.columns]]
    constants = {*find_constant_columns(pinned)} if len(pinned.columns) < len(table.features.columns) else set()
    kinds = {c: kind for c, kind in table.kinds.items() if c not in constants}
    return Key(table.features[[*kinds]] if constants else table.features, make_key_reading(table.reading, kinds))


def list_key_parts(seal: Seal) -> tuple[str, ...]:
    """What a seal's keys are made of: columns, each with what its values are to a key."""
    assert seal.reading is not None
    counted = not seal.by_name and (seal.unit == "row" or seal.apart)
    plainly = {"text": PLAIN} if seal.plain else {}
    forms = {column: to_key_form(kind) for column, kind in seal.reading.kinds.items()}
    columns = (f"{plainly.get(form, form)}:{column}" for column, form in forms.items())
    return tuple(sorted([*columns, *([COUNTED] if counted else [])]))


# --- The seal that a name has ----------------------------------------------------------------------------------------


def restore_seal(record: Mapping[str, Any], table: Table, run: Run) -> tuple[Seal | None, str]:
    """The seal that was kept; or None and why a new one is drawn, where the run asks for that. InputError where it
    can't be kept and none is asked for."""
    seal = Seal.from_json(record)
    reason = _explain_hindrance(seal, table, run)
    if run.split.new_seal:
        return None, reason or ASKED
    if reason:
        raise _make_seal_error(reason)
    if seal.reading is None or (table.key is not None and table.key.lacks):
        # One that an earlier version drew, or a time plan's: from now on as this table's columns are read.
        key = choose_row_key(table)
        seal = replace(seal, reading=key.reading, columns=tuple(map(str, key.columns.columns)))
        seal = replace(seal, unit="row") if seal.by_name and seal.unit == "point" else seal
    return seal, ""


def _explain_hindrance(seal: Seal, table: Table, run: Run) -> str:
    """Why the seal can't be kept, as a part of a sentence; empty where it can."""
    share, split = run.split.sealed, run.split
    kind = find_split_kind(table)
    if table.key is not None and table.key.lacks and kind != "time":  # a time plan seals by the time alone
        return table.key.lacks
    if kind != seal.kind:
        return f"rows were sealed {_DIVIDED[seal.kind]}, and are to be divided {_DIVIDED[kind]}"
    if "group" in kind and seal.columns != (split.group,):
        return f"rows were sealed by the group {join_names(seal.columns)}, and are to be divided by {split.group}"
    if table.time is not None and seal.time not in (None, split.time):
        return f"rows were sealed by the time {seal.time}, and are to be divided by {split.time}"
    dates = table.time is not None and table.time.dtype.kind == "i"
    if table.time is not None and seal.cut is not None and isinstance(seal.cut, float) == dates:
        kinds = ("numbers", "dates")
        return (
            f"the time {split.time} was read as {kinds[not dates]} when rows were sealed, and is now as {kinds[dates]}"
        )
    if share is not None and not isclose(share, seal.fraction, rel_tol=1e-6):
        return f"{100 * share:g} % of the rows are to be sealed (--sealed), and it seals {100 * seal.fraction:g} %"
    if split.salt not in (None, seal.salt) and seal.kind != "time":
        return f"rows are to be drawn by the salt {split.salt} (--salt), and were drawn by {seal.salt}"
    return ""


def _make_seal_error(cause: str) -> InputError:
    """The error where a seal can't be kept."""
    return InputError(
        f"What this name has sealed can't stay sealed: {cause}. Leave that as it was when the seal was drawn, or train "
        "under another name (--name), or draw a new seal (--new-seal): that is written down with its reason, and what "
        "the gate counts begins anew."
    )


def restore_unit(seal: Seal, table: Table, run: Run) -> tuple[UnitDecision, tuple[Finding, ...]]:
    """What rows are divided by under that seal, whatever would be decided today, and a word where that is otherwise.
    InputError where the user wants it otherwise."""
    decision = decide_unit(table, run)
    if seal.kind == "time":  # its seal knows no units
        return decision, ()
    sealed_decision = replace(decision, unit=seal.unit, cut=seal.apart)
    if seal.unit == decision.unit or len(np.unique(make_point_keys(table))) == table.rows:
        return sealed_decision, ()
    if run.split.copies != "auto" and not seal.by_name:
        raise _make_seal_error(f"rows with equal features {_UNITS[seal.unit]} in it, and are not to (split.copies)")
    sentence = (
        f"Rows with equal features {_UNITS[seal.unit]} in the seal of this name, and so in all parts. By today's rows "
        f"they would {_UNITS[decision.unit]}: {decision.reason}. --new-seal decides anew."
    )
    return replace(sealed_decision, reason="so this name's seal was drawn"), (Finding("seal", "warn", sentence),)


def apply_seal(seal: Seal, record: Mapping[str, Any], table: Table, row_keys: np.ndarray) -> TableSeal:
    """The seal that the name has, over a later table. `row_keys`: a uint64 key for each row."""
    current = renew_seal(seal, table.time)
    settings = {"drawn": None, **record, **current.as_json()}
    if not seal.fraction:
        return TableSeal(None, settings, (), _explain_untested("No rows are sealed: so this name's seal was drawn."))
    count = int(mark_sealed_rows(current, row_keys, table.time).sum())
    note = "" if count else _explain_untested("None of these rows is sealed by the seal of this name.")
    return TableSeal(current, settings, (_make_sealed_finding(count, table.rows),), note)


# --- A new seal ------------------------------------------------------------------------------------------------------


def make_seal_template(
    run: Run, plan: SplitPlan, repeats: UnitDecision, key: Key, record: Mapping[str, Any] | None
) -> Seal:
    """A new seal of which all but the share, the salt and the cut is known."""
    number = 1 if record is None else record.get("number", 1) + 1
    columns = tuple(map(str, key.columns.columns))
    return Seal(
        plan.kind, columns, 0.0, 0, unit=repeats.unit, apart=repeats.cut, reading=key.reading, time=run.split.time,
        number=number, plain=not key.by_name,
    )  # fmt: skip


def draw_seal(
    template: Seal, table: Table, run: Run, strata: np.ndarray | None, row_keys: np.ndarray,
    record: Mapping[str, Any] | None, why: str,
) -> TableSeal:  # fmt: skip
    """A new seal like that; `record` is the one that it replaces, and `why`. `strata` and `row_keys` are (rows,).
    InputError where the salt that is asked for seals too few rows or too many, or no new seal can replace that of
    `record`."""
    salts = () if record is None else [record["salt"], *(seal["salt"] for seal in record.get("earlier", ()))]
    salt, share = run.split.salt, run.split.sealed
    seal, sentence = choose_seal(row_keys, strata, template.kind, template.columns, share, table.time, salt, salts)
    if seal is None and salt is not None:
        raise InputError(f"With split.salt {salt} too few rows or too many would be sealed: take another, 0 to 99.")
    if seal is None and record is not None and share != 0:
        raise InputError(f"No new seal can be drawn. {sentence}")
    new_seal = template if seal is None else replace(template, fraction=seal.fraction, salt=seal.salt, cut=seal.cut)
    settings = {
        **new_seal.as_json(),
        "why": why if record is not None else FIRST,
        "earlier": _list_earlier_seals(record),
    }
    findings = () if record is None else (_make_new_seal_finding(new_seal, why),)
    if seal is None:
        return TableSeal(None, settings if record is not None else None, findings, _explain_untested(sentence))
    count = int(mark_sealed_rows(new_seal, row_keys, table.time).sum())
    return TableSeal(new_seal, settings, (_make_sealed_finding(count, table.rows), *findings))


def _list_earlier_seals(record: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The seals that came before, the oldest first, without how they were read."""
    if record is None:
        return []
    latest = {name: record.get(name) for name in _HELD} | {"number": record.get("number", 1)}
    return [*record.get("earlier", ()), {**latest, "columns": join_names(record["columns"])}]


def _make_new_seal_finding(seal: Seal, reason: str) -> Finding:
    sentence = f"A new seal is drawn, number {seal.number} of this name: {reason}. Rows that were sealed may train now."
    return Finding("seal", "warn", sentence)


def _make_sealed_finding(count: int, rows: int) -> Finding:
    return Finding("seal", "pass", f"{count:,} of {rows:,} rows are sealed until the end.")


def _explain_untested(sentence: str) -> str:
    return f"{sentence} So there is no test score and no agreement."


def is_same_seal(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether both are the same seal, whatever has moved with time."""
    return all(
        _to_plain_value(first, name) == _to_plain_value(second, name)
        for name in ("number", "kind", "columns", "fraction", "salt")
    )


def _to_plain_value(settings: Mapping[str, Any], name: str) -> Any:
    value = settings.get(name, 1)
    return list(value) if isinstance(value, tuple) else value
