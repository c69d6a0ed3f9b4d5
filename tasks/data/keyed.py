"""The columns by which a name's seal knows rows, read as when it was drawn, whatever this table takes them for."""

from __future__ import annotations

import pandas as pd

from models.data.table import Key, Reading
from models.errors import listed, shortened
from models.splitting.seal import Seal, form, read_as
from tasks.data.column_types.columns import positions
from tasks.data.headers import near
from tasks.data.roles import Roles, named
from tasks.data.seen import fitted
from tasks.data.sources.source import Raw


def keyed(raw: Raw, there: list[str], seal: Seal, mine: Roles, reading: Reading, features: pd.DataFrame) -> Key:
    """What the seal knows the table's rows by; `raw` holds at least the columns that it knows, `there` are all that the
    table has, and `reading` and `features` are its own. Where that can't be had the key says why."""
    known = seal.reading or _taken(seal, mine, reading)
    why = _lacking(raw.source, there, seal.columns, mine.target)
    if why:
        return Key(features[[]], known, why)
    comma = reading.decimal == ","
    columns: dict[str, pd.Series] = {}
    for name in seal.columns:
        own = features[name] if name in features.columns else None
        if known.kinds[name] in ("id", "group"):
            columns[name] = named(raw.frame[name])
        elif own is not None and _alike(name, known, reading):
            columns[name] = own
        else:
            columns[name], why = _read(raw.frame[name], known, reading, own, comma)
        why = why or _empty(columns[name])
        if why:
            return Key(features[[]], known, why)
    return Key(pd.DataFrame({n: c.array for n, c in columns.items()}, index=pd.RangeIndex(len(raw.frame))), known)


def _taken(seal: Seal, mine: Roles, reading: Reading) -> Reading:
    """How to read the columns of a seal of which an earlier version wrote down the names alone: as this table's are."""
    names = "group" if "group" in seal.kind else "id" if {*seal.columns} == {*mine.ids} else ""

    def kind(name: str) -> str:
        own = reading.kinds.get(name, "category")
        return names or ("id" if own in ("id", "drop") else own)

    return read_as(reading, {name: kind(name) for name in seal.columns})


def _lacking(source: str, there: list[str], names: tuple[str, ...], target: str) -> str:
    """What the table lacks of these columns; empty where all are there."""
    absent = [name for name in names if name not in there]
    if target in names:
        return f"it knows rows by {listed(names, 4)}, and {shortened(target)!r} is to be the target now"
    if not absent:
        return ""
    hint = near(absent[0], [c for c in there if c not in names])
    also = f" ({hint.strip()})" if "Did you mean" in hint else ""
    return f"it knows rows by {len(names):,} columns, of which {source} lacks {listed(map(repr, absent))}{also}"


def _alike(name: str, known: Reading, own: Reading) -> bool:
    """Whether the column is read now as it was then."""
    parser = read_as(own, {name: own.kinds[name]}).parsers.get(name, {})
    same = own.kinds[name] == known.kinds[name] and parser == known.parsers.get(name, {})
    return same and ({*own.missing} == {*known.missing} or form(own.kinds[name]) != "text")


def _read(
    column: pd.Series, known: Reading, own: Reading, features: pd.Series | None, comma: bool
) -> tuple[pd.Series, str]:
    """The column as it was read then; where most values do not fit, as this table reads it, if values of that kind are
    the same to a key; else why neither will do."""
    name = str(column.name)
    read = fitted(column, known, comma)
    there = read.bad | read.values.notna().to_numpy()
    if 2 * read.bad.sum() <= there.sum():
        return read.values, ""
    kind, now = known.kinds[name], own.kinds.get(name, "drop")
    if features is not None and form(now) == form(kind) and features.notna().any():
        return features, ""
    row = positions(read.bad, 1)[0]
    return read.values, (
        f"it knows rows by the column {shortened(name)!r} read as {kind}, and {int(read.bad.sum()):,} of its "
        f"{int(there.sum()):,} values are none, such as {shortened(str(column.iloc[row - 1]))!r} in data row {row}"
    )


def _empty(column: pd.Series) -> str:
    """A word where nothing is left in a column."""
    some = len(column) and not column.isna().all()
    return "" if some else f"it knows rows by the column {shortened(str(column.name))!r}, which holds no value now"
