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
    raw: RawTable, names: list[str], seal: Seal, roles: ColumnRoles, reading: Reading, features: pd.DataFrame
) -> Key:
    """What the seal knows the table's rows by; `raw` holds at least the columns that it knows, `names` are all that the
    table has, and `reading` and `features` are its own. Where that can't be had the key says why."""
    key_reading = seal.reading or _adopt_reading(seal, roles, reading)
    reason = _explain_lacking(raw.source, names, seal.columns, roles.target)
    if reason:
        return Key(features[[]], key_reading, reason)
    comma = reading.decimal == ","
    columns: dict[str, pd.Series] = {}
    for name in seal.columns:
        feature = features[name] if name in features.columns else None
        if key_reading.kinds[name] in ("id", "group"):
            columns[name] = to_names(raw.frame[name])
        elif feature is not None and _is_read_alike(name, key_reading, reading):
            columns[name] = feature
        else:
            columns[name], reason = _read_key_column(raw.frame[name], key_reading, reading, feature, comma)
        reason = reason or _explain_empty(columns[name])
        if reason:
            return Key(features[[]], key_reading, reason)
    return Key(pd.DataFrame({n: c.array for n, c in columns.items()}, index=pd.RangeIndex(len(raw.frame))), key_reading)


def _adopt_reading(seal: Seal, roles: ColumnRoles, reading: Reading) -> Reading:
    """How to read the columns of a seal of which an earlier version wrote down the names alone: as this table's are."""
    names = "group" if "group" in seal.kind else "id" if {*seal.columns} == {*roles.ids} else ""

    def kind(name: str) -> str:
        column_kind = reading.kinds.get(name, "category")
        return names or ("id" if column_kind in ("id", "drop") else column_kind)

    return make_key_reading(reading, {name: kind(name) for name in seal.columns})


def _explain_lacking(source: str, columns: list[str], names: tuple[str, ...], target: str) -> str:
    """What the table lacks of these columns; empty where all are there."""
    absent = [name for name in names if name not in columns]
    if target in names:
        return f"it knows rows by {join_names(names, 4)}, and {shorten(target)!r} is to be the target now"
    if not absent:
        return ""
    hint = suggest_near_names(absent[0], [c for c in columns if c not in names])
    also = f" ({hint.strip()})" if "Did you mean" in hint else ""
    return f"it knows rows by {len(names):,} columns, of which {source} lacks {join_names(map(repr, absent))}{also}"


def _is_read_alike(name: str, key_reading: Reading, table_reading: Reading) -> bool:
    """Whether the column is read now as it was then."""
    parser = make_key_reading(table_reading, {name: table_reading.kinds[name]}).parsers.get(name, {})
    alike = table_reading.kinds[name] == key_reading.kinds[name] and parser == key_reading.parsers.get(name, {})
    return alike and (
        {*table_reading.missing} == {*key_reading.missing} or to_key_form(table_reading.kinds[name]) != "text"
    )


def _read_key_column(
    column: pd.Series, key_reading: Reading, table_reading: Reading, features: pd.Series | None, comma: bool
) -> tuple[pd.Series, str]:
    """The column as it was read then; where most values do not fit, as this table reads it, if values of that kind are
    the same to a key; else why neither will do."""
    name = str(column.name)
    canonical = apply_reading(column, key_reading, comma)
    present = canonical.bad | canonical.values.notna().to_numpy()
    if 2 * canonical.bad.sum() <= present.sum():
        return canonical.values, ""
    kind, table_kind = key_reading.kinds[name], table_reading.kinds.get(name, "drop")
    if features is not None and to_key_form(table_kind) == to_key_form(kind) and features.notna().any():
        return features, ""
    row = list_data_rows(canonical.bad, 1)[0]
    return canonical.values, (
        f"it knows rows by the column {shorten(name)!r} read as {kind}, and {int(canonical.bad.sum()):,} of its "
        f"{int(present.sum()):,} values are none, such as {shorten(str(column.iloc[row - 1]))!r} in data row {row}"
    )


def _explain_empty(column: pd.Series) -> str:
    """A word where nothing is left in a column."""
    filled = len(column) and not column.isna().all()
    return "" if filled else f"it knows rows by the column {shorten(str(column.name))!r}, which holds no value now"
