"""The seal of a table: that which its name has, or a new one where it has none or the user says so. What a name's first
run fixed moves no row later; what can't be kept stops, and says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isclose
from typing import Any

import numpy as np

from models.checks.constant_columns import constant
from models.config import Run
from models.data.table import Finding, Key, Table
from models.errors import InputError, listed
from models.splitting.repeats import Repeats, decide_unit, points
from models.splitting.seal import COUNTED, PLAIN, Seal, choose_seal, read_as, renewed, sealed_rows
from models.splitting.seal import form as form_of
from models.splitting.split import Plan, kind_of

FIRST, ASKED = "the first run of the name", "it was asked for"
"""Why a seal was drawn, where nothing stood in the way of an earlier one."""
_HELD = ("number", "kind", "fraction", "salt", "drawn", "why")
"""What is kept of a seal that another one has replaced, beside its columns."""
_UNITS = {"row": "stand alone", "point": "stay together", "group": "go by their group"}
_DIVIDED = {
    "random": "at random", "group": "by a group", "time": "by time", "group_time": "by a group and by time",
}  # fmt: skip


@dataclass(frozen=True)
class Sealing:
    """What a table's seal is, and what is said of it."""

    seal: Seal | None
    """None where nothing is sealed."""
    settings: dict[str, Any] | None
    """What is kept for later runs of the name; None where there is nothing to keep."""
    findings: tuple[Finding, ...] = ()
    note: str = ""
    """What must be said of the test set; may be empty."""


def key_of(table: Table) -> Key:
    """What a row is known by: the columns that its name's seal fixed, else its group, its ids, or its features but for
    constant ones, which tell no row from another and may change from table to table."""
    if table.key is not None and not table.key.lacks:
        return table.key
    for kind, frame in (("group", table.group_names), ("id", table.ids)):
        if frame is not None:
            return Key(frame, read_as(table.reading, dict.fromkeys(map(str, frame.columns), kind)))
    # Those whose kind nobody gave are left out before.
    pinned = table.features[[c for c in table.reading.pinned if c in table.features.columns]]
    same = {*constant(pinned)} if len(pinned.columns) < len(table.features.columns) else set()
    own = {c: kind for c, kind in table.kinds.items() if c not in same}
    return Key(table.features[[*own]] if same else table.features, read_as(table.reading, own))


def made_of(seal: Seal) -> tuple[str, ...]:
    """What a seal's keys are made of: columns, each with what its values are to a key."""
    assert seal.reading is not None
    counted = not seal.by_name and (seal.unit == "row" or seal.apart)
    plainly = {"text": PLAIN} if seal.plain else {}
    forms = {column: form_of(kind) for column, kind in seal.reading.kinds.items()}
    columns = (f"{plainly.get(form, form)}:{column}" for column, form in forms.items())
    return tuple(sorted([*columns, *([COUNTED] if counted else [])]))


# --- The seal that a name has ----------------------------------------------------------------------------------------


def before(kept: Mapping[str, Any], table: Table, run: Run) -> tuple[Seal | None, str]:
    """The seal that was kept; or None and why a new one is drawn, where the run asks for that. InputError where it
    can't be kept and none is asked for."""
    seal = Seal.from_json(kept)
    why = _hindered(seal, table, run)
    if run.split.new_seal:
        return None, why or ASKED
    if why:
        raise _refused(why)
    if seal.reading is None or (table.key is not None and table.key.lacks):
        # One that an earlier version drew, or a time plan's: from now on as this table's columns are read.
        key = key_of(table)
        seal = replace(seal, reading=key.reading, columns=tuple(map(str, key.columns.columns)))
        seal = replace(seal, unit="row") if seal.by_name and seal.unit == "point" else seal
    return seal, ""


def _hindered(seal: Seal, table: Table, run: Run) -> str:
    """Why the seal can't be kept, as a part of a sentence; empty where it can."""
    asked, split = run.split.sealed, run.split
    kind = kind_of(table)
    if table.key is not None and table.key.lacks and kind != "time":  # a time plan seals by the time alone
        return table.key.lacks
    if kind != seal.kind:
        return f"rows were sealed {_DIVIDED[seal.kind]}, and are to be divided {_DIVIDED[kind]}"
    if "group" in kind and seal.columns != (split.group,):
        return f"rows were sealed by the group {listed(seal.columns)}, and are to be divided by {split.group}"
    if table.time is not None and seal.time not in (None, split.time):
        return f"rows were sealed by the time {seal.time}, and are to be divided by {split.time}"
    dates = table.time is not None and table.time.dtype.kind == "i"
    if table.time is not None and seal.cut is not None and isinstance(seal.cut, float) == dates:
        read = ("numbers", "dates")
        return f"the time {split.time} was read as {read[not dates]} when rows were sealed, and is now as {read[dates]}"
    if asked is not None and not isclose(asked, seal.fraction, rel_tol=1e-6):
        return f"{100 * asked:g} % of the rows are to be sealed (--sealed), and it seals {100 * seal.fraction:g} %"
    if split.salt not in (None, seal.salt) and seal.kind != "time":
        return f"rows are to be drawn by the salt {split.salt} (--salt), and were drawn by {seal.salt}"
    return ""


def _refused(why: str) -> InputError:
    """The error where a seal can't be kept."""
    return InputError(
        f"What this name has sealed can't stay sealed: {why}. Leave that as it was when the seal was drawn, or train "
        "under another name (--name), or draw a new seal (--new-seal): that is written down with its reason, and what "
        "the gate counts begins anew."
    )


def as_before(seal: Seal, table: Table, run: Run) -> tuple[Repeats, tuple[Finding, ...]]:
    """What rows are divided by under that seal, whatever would be decided today, and a word where that is otherwise.
    InputError where the user wants it otherwise."""
    found = decide_unit(table, run)
    if seal.kind == "time":  # its seal knows no units
        return found, ()
    kept = replace(found, unit=seal.unit, cut=seal.apart)
    if seal.unit == found.unit or len(np.unique(points(table))) == table.rows:
        return kept, ()
    if run.split.copies != "auto" and not seal.by_name:
        raise _refused(f"rows with equal features {_UNITS[seal.unit]} in it, and are not to (split.copies)")
    said = (
        f"Rows with equal features {_UNITS[seal.unit]} in the seal of this name, and so in all parts. By today's rows "
        f"they would {_UNITS[found.unit]}: {found.reason}. --new-seal decides anew."
    )
    return replace(kept, reason="so this name's seal was drawn"), (Finding("seal", "warn", said),)


def held(seal: Seal, kept: Mapping[str, Any], table: Table, row_keys: np.ndarray) -> Sealing:
    """The seal that the name has, over a later table."""
    now = renewed(seal, table.time)
    settings = {"drawn": None, **kept, **now.as_json()}
    if not seal.fraction:
        return Sealing(None, settings, (), _untested("No rows are sealed: so this name's seal was drawn."))
    count = int(sealed_rows(now, row_keys, table.time).sum())
    note = "" if count else _untested("None of these rows is sealed by the seal of this name.")
    return Sealing(now, settings, (_said(count, table.rows),), note)


# --- A new seal ------------------------------------------------------------------------------------------------------


def template(run: Run, plan: Plan, repeats: Repeats, key: Key, kept: Mapping[str, Any] | None) -> Seal:
    """A new seal of which all but the share, the salt and the cut is known."""
    number = 1 if kept is None else kept.get("number", 1) + 1
    columns = tuple(map(str, key.columns.columns))
    return Seal(
        plan.kind, columns, 0.0, 0, unit=repeats.unit, apart=repeats.cut, reading=key.reading, time=run.split.time,
        number=number, plain=not key.by_name,
    )  # fmt: skip


def drawn(
    like: Seal, table: Table, run: Run, strata: np.ndarray | None, row_keys: np.ndarray,
    kept: Mapping[str, Any] | None, why: str,
) -> Sealing:  # fmt: skip
    """A new seal like that; `kept` is the one that it replaces, and `why`."""
    used = () if kept is None else [kept["salt"], *(one["salt"] for one in kept.get("earlier", ()))]
    salt, share = run.split.salt, run.split.sealed
    seal, sentence = choose_seal(row_keys, strata, like.kind, like.columns, share, table.time, salt, used)
    if seal is None and salt is not None:
        raise InputError(f"With split.salt {salt} too few rows or too many would be sealed: take another, 0 to 99.")
    if seal is None and kept is not None and share != 0:
        raise InputError(f"No new seal can be drawn. {sentence}")
    whole = like if seal is None else replace(like, fraction=seal.fraction, salt=seal.salt, cut=seal.cut)
    settings = {**whole.as_json(), "why": why if kept is not None else FIRST, "earlier": _earlier(kept)}
    told = () if kept is None else (_replaced(whole, why),)
    if seal is None:
        return Sealing(None, settings if kept is not None else None, told, _untested(sentence))
    count = int(sealed_rows(whole, row_keys, table.time).sum())
    return Sealing(whole, settings, (_said(count, table.rows), *told))


def _earlier(kept: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The seals that came before, the oldest first, without how they were read."""
    if kept is None:
        return []
    last = {name: kept.get(name) for name in _HELD} | {"number": kept.get("number", 1)}
    return [*kept.get("earlier", ()), {**last, "columns": listed(kept["columns"])}]


def _replaced(seal: Seal, why: str) -> Finding:
    said = f"A new seal is drawn, number {seal.number} of this name: {why}. Rows that were sealed may train now."
    return Finding("seal", "warn", said)


def _said(count: int, rows: int) -> Finding:
    return Finding("seal", "pass", f"{count:,} of {rows:,} rows are sealed until the end.")


def _untested(sentence: str) -> str:
    return f"{sentence} So there is no test score and no agreement."


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both are the same seal, whatever has moved with time."""
    return all(_plain(one, name) == _plain(other, name) for name in ("number", "kind", "columns", "fraction", "salt"))


def _plain(settings: Mapping[str, Any], name: str) -> Any:
    value = settings.get(name, 1)
    return list(value) if isinstance(value, tuple) else value
