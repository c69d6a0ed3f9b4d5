"""The columns by which a name's seal knows rows, read as when it was drawn, whatever this table takes them for."""

from __future__ import annotations

import pandas as pd

from models.data.table import Key, Reading
from models.errors import join_names
from models.splitting.seal import Seal, make_key_reading, to_key_form
from models.text.safe import shorten
from tasks.data.column_types.columns import list_data_rows
from tasks.data.headers import suggest_near_names
from tasks.data.roles import ColumnRoles, to_names
from tasks.data.seen import apply_reading
from tasks.data.sources.source import RawTable


def read_row_key(
    raw: RawTable, there: list[str], seal: Seal, mine: ColumnRoles, reading: Reading, features: pd.DataFrame
) -> Key:
    """What the seal knows the table's rows by; `raw` holds at least the columns that it knows, `there` are all that the
    table has, and `reading` and `features` are its own. Where that can't be had the key says why."""
    known = seal.reading or _adopt_reading(seal, mine, reading)
    why = _explain_lacking(raw.source, there, seal.columns, mine.target)
    if why:
        return Key(features[[]], known, why)
    comma = reading.decimal == ","
    columns: dict[str, pd.Series] = {}
    for name in seal.columns:
        own = features[name] if name in features.columns else None
        if known.kinds[name] in ("id", "group"):
            columns[name] = to_names(raw.frame[name])
        elif own is not None and _is_read_alike(name, known, reading):
            columns[name] = own
        else:
            columns[name], why = _read_key_column(raw.frame[name], known, reading, own, comma)
        why = why or _explain_empty(columns[name])
        if why:
            return Key(features[[]], known, why)
    return Key(pd.DataFrame({n: c.array for n, c in columns.items()}, index=pd.RangeIndex(len(raw.frame))), known)


def _adopt_reading(seal: Seal, mine: ColumnRoles, reading: Reading) -> Reading:
    """How to read the columns of a seal of which an earlier version wrote down the names alone: as this table's are."""
    names = "group" if "group" in seal.kind else "id" if {*seal.columns} == {*mine.ids} else ""

    def kind(name: str) -> str:
        own = reading.kinds.get(name, "category")
        return names or ("id" if own in ("id", "drop") else own)

    return make_key_reading(reading, {name: kind(name) for name in seal.columns})


def _explain_lacking(source: str, there: list[str], names: tuple[str, ...], target: str) -> str:
    """What the table lacks of these columns; empty where all are there."""
    absent = [name for name in names if name not in there]
    if target in names:
        return f"it knows rows by {join_names(names, 4)}, and {shorten(target)!r} is to be the target now"
    if not absent:
        return ""
    hint = suggest_near_names(absent[0], [c for c in there if c not in names])
    also = f" ({hint.strip()})" if "Did you mean" in hint else ""
    return f"it knows rows by {len(names):,} columns, of which {source} lacks {join_names(map(repr, absent))}{also}"


def _is_read_alike(name: str, known: Reading, own: Reading) -> bool:
    """Whether the column is read now as it was then."""
    parser = make_key_reading(own, {name: own.kinds[name]}).parsers.get(name, {})
    same = own.kinds[name] == known.kinds[name] and parser == known.parsers.get(name, {})
    return same and ({*own.missing} == {*known.missing} or to_key_form(own.kinds[name]) != "text")


def _read_key_column(
    column: pd.Series, known: Reading, own: Reading, features: pd.Series | None, comma: bool
) -> tuple[pd.Series, str]:
    """The column as it was read then; where most values do not fit, as this table reads it, if values of that kind are
    the same to a key; else why neither will do."""
    name = str(column.name)
    read = apply_reading(column, known, comma)
    there = read.bad | read.values.notna().to_numpy()
    if 2 * read.bad.sum() <= there.sum():
        return read.values, ""
    kind, now = known.kinds[name], own.kinds.get(name, "drop")
    if features is not None and to_key_form(now) == to_key_form(kind) and features.notna().any():
        return features, ""
    row = list_data_rows(read.bad, 1)[0]
    return read.values, (
        f"it knows rows by the column {shorten(name)!r} read as {kind}, and {int(read.bad.sum()):,} of its "
        f"{int(there.sum()):,} values are none, such as {shorten(str(column.iloc[row - 1]))!r} in data row {row}"
    )


def _explain_empty(column: pd.Series) -> str:
    """A word where nothing is left in a column."""
    some = len(column) and not column.isna().all()
    return "" if some else f"it knows rows by the column {shorten(str(column.name))!r}, which holds no value now"
