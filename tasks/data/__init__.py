"""Reads: a path, a database, `sklearn:NAME` or a DataFrame as the Table that everything else sees, and later tables the
same way.

What counts as missing. In any column: nothing, blanks, `?`, `N/A`, `NaN`, `null`. In columns of numbers or dates also
`NA`, `None`, `-`, `.`, `unknown`, Excel's `#DIV/0!` and a few more (words.py): there they can't be anything else. In
columns of words `None`, `NA` or `-` may be a level (no alley, Namibia), so they stay one; `NA` alone is missing there
too when the table's numbers write it, as files from R do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from models.config import Run
from models.data import hashes
from models.data.table import Finding, Reading, Table
from models.errors import InputError, join_names
from models.monitoring.table_profile import count_every_level
from models.splitting.seal import Seal
from models.text.safe import shorten
from models.tuning.goal import list_compared_columns
from tasks.data import places
from tasks.data.chunks import list_used_columns, make_misfit_error, refuse_lacking
from tasks.data.column_types.arrow import pc
from tasks.data.column_types.columns import CanonicalColumn, is_textual, list_data_rows, make_whole_parser, to_canonical
from tasks.data.column_types.kinds import InferredKind, infer_kind
from tasks.data.column_types.numeric import writes_comma
from tasks.data.column_types.target import Target, read_target
from tasks.data.column_types.words import MARKS, NUMBER_MARKS, DistinctWords, to_distinct_words
from tasks.data.headers import refuse_same_names
from tasks.data.keyed import read_row_key
from tasks.data.notes import ColumnNote, describe_rows, gather_findings
from tasks.data.roles import (
    ColumnRoles,
    assign_roles,
    encode_groups,
    read_ids,
    read_split_column,
    read_times,
    read_weights,
    to_names,
)
from tasks.data.room import measure_room
from tasks.data.seen import apply_reading
from tasks.data.sources.source import RawTable, fetch_data, load_raw_table
from tasks.data.spelled import Speller
from tasks.system import memory

__all__ = ["fetch_data", "read_like", "read_table", "read_with"]


def read_table(
    run: Run, now: datetime | None = None, kept: Callable[[], Mapping[str, Any] | None] | None = None
) -> Table:
    """The table that the run names, with everything that had to be decided as findings. `now`: when the run began,
    which dates in its path and in bound values are counted from; `kept`: how this name's rows were sealed before, asked
    for when the source is read."""
    raw = load_raw_table(run.data, run.query, run.bound, now, measure_room(run.budget))
    if not len(raw.frame):
        raise InputError(f"{raw.source} has a header but no rows.")
    if raw.frame.shape[1] == 1:
        raise InputError(
            f"{raw.source} has one column only ({shorten(raw.frame.columns[0])!r}); a target and at least one "
            "feature are needed. In a csv file commas, semicolons, tabs or | divide columns; blanks and colons do not."
        )
    roles = assign_roles(run, list(raw.frame.columns), raw.source, raw.renamed)
    mark = find_decimal_mark(raw)
    frame = raw.frame[list(roles.needed)]
    test = None if roles.test_column is None else read_split_column(raw.frame[roles.test_column])
    record = None if kept is None or test is not None or run.test is not None else kept()
    seal = None if record is None else Seal.from_json(record)
    named_by = raw.frame[[c for c in raw.frame.columns if seal is not None and c in seal.columns]]
    # From here on each column is held once: as text until it is read, as what it was read as from then on.
    columns, raw = {str(c): column for c, column in raw.frame.items()}, replace(raw, frame=named_by)
    names = list(columns)
    features, reading, notes = _read_features(raw, columns, roles, run, mark)
    key = None if seal is None else read_row_key(raw, names, seal, roles, reading, features)
    findings: list[Finding] = []
    if run.test is not None:
        features, frame, test = _join_test_table(run, roles, reading, features, frame, now)
    target = read_target(frame[roles.target], run, mark, reading.missing)
    findings += _find_unseen_classes(target, test)
    table = Table(
        name=run.name or raw.name,
        features=features,
        target=target.values,
        task=target.task,
        classes=target.classes,
        reading=reading,
        fingerprint="",
        weight=None if roles.weight is None else read_weights(frame[roles.weight], mark),
        group=None if roles.group is None else encode_groups(frame[roles.group]),
        group_names=None if roles.group is None else read_ids(frame[[roles.group]]),
        time=None if roles.time is None else read_times(frame[roles.time], mark, run.types.get(roles.time)),
        series=None if roles.series is None else encode_groups(frame[roles.series], "series"),
        ids=read_ids(frame[list(roles.ids)]) if roles.ids else None,
        subgroups=_take_subgroups(frame, roles, run),
        test=test,
        key=key,
        findings=(*raw.findings, *gather_findings(notes), *target.findings, *findings),
    )
    table = _drop_targetless_rows(table, target, roles.target)
    return replace(table, fingerprint=_compute_fingerprint(table))


def _take_subgroups(frame: pd.DataFrame, roles: ColumnRoles, run: Run) -> pd.DataFrame | None:
    """The columns whose subgroups are compared, under the names that the run gives them."""
    pairs = zip(list_compared_columns(run.search), roles.subgroups, strict=True)
    subgroups = {name: to_names(frame[column]).array for name, column in pairs}
    return pd.DataFrame(subgroups, index=pd.RangeIndex(len(frame))) if subgroups else None


def read_like(reading: Reading, source: object) -> pd.DataFrame:
    """The features of a later table, read as the first was, in its column order; stops where a column is missing or a
    value does not fit. Extra columns, another order and levels never seen are fine."""
    return _read_features_like(reading, load_raw_table(source))


def read_with(
    reading: Reading, source: object, names: Sequence[str], speller: Speller
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The features as `read_like` gives them, spelled as the speller does, and those of the columns `names` that the
    table has, as they came. InputError where a column's levels are known ones that are written otherwise."""
    raw = load_raw_table(source)
    features = _read_features_like(reading, raw, speller)
    speller.refuse(raw.source, certain=True)
    return features, raw.frame[[n for n in names if n in raw.frame.columns]]


def _read_features_like(reading: Reading, raw: RawTable, speller: Speller | None = None) -> pd.DataFrame:
    speller = speller or Speller({})
    refuse_lacking(reading, list(raw.frame.columns), raw.source, raw.renamed)
    comma = find_decimal_mark(raw) == ","
    columns = {
        c: speller.read(_read_column_like(raw.frame[c], reading, comma, raw.source)) for c in list_used_columns(reading)
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(len(raw.frame)))


def _read_column_like(column: pd.Series, reading: Reading, comma: bool, source: str) -> pd.Series:
    """The column in canonical form; stops at the first value that does not fit its kind."""
    name = str(column.name)
    kind, canonical = reading.kinds[name], apply_reading(column, reading, comma)
    if canonical.bad.any():
        raise make_misfit_error(source, column, kind, canonical.bad)
    return canonical.values.reset_index(drop=True)


def find_decimal_mark(raw: RawTable) -> str | None:
    """`,` where some column of a text file can only be read with decimal commas."""
    if raw.format != "csv":
        return None
    for name in raw.frame.columns:
        array = pa.array(raw.frame[name])
        if pc.any(pc.match_substring_regex(array, r"\d,\d")).as_py():
            words = to_distinct_words(raw.frame[name])
            if writes_comma(words, words.find_missing(NUMBER_MARKS)):
                return ","
    return "."


@dataclass(frozen=True)
class _Feature:
    """A column that may be learned from, as it was read."""

    kind: str
    parser: dict[str, Any]
    notes: tuple[ColumnNote, ...]
    beyond: tuple[ColumnNote, ...]
    """On values that are out of range."""
    writes_na: bool
    values: pd.Series | None
    """In canonical form; None where it is not used."""


def _read_features(
    raw: RawTable, columns: dict[str, pd.Series], roles: ColumnRoles, run: Run, mark: str | None
) -> tuple[pd.DataFrame, Reading, list[ColumnNote]]:
    """The used columns in canonical form, how they were read, and what was decided. What it reads it takes out of
    `columns`."""
    names = tuple(columns)
    features = {n: _read_feature(columns.pop(n), mark, run, roles) for n in roles.features(names)}
    marks = (*MARKS, "na") if any(f.writes_na for f in features.values()) else MARKS
    kinds = {n: f.kind for n, f in features.items()}
    stay = places.find_kept_columns(kinds, run)
    reading = Reading(
        source=raw.source if raw.format != "frame" else "frame",
        format=raw.format,
        encoding=raw.encoding,
        separator=raw.separator,
        decimal=mark or ".",
        missing=marks,
        kinds=kinds,
        parsers={n: f.parser for n, f in features.items() if f.parser},
        renamed=raw.renamed,
        others=tuple(c for c in names if c not in features),
        pinned=tuple(c for c in kinds if c in stay),
    )
    notes = [note for f in features.values() for note in f.notes] + [n for f in features.values() for n in f.beyond]
    values = {n: _apply_marks(f.values, f.kind, marks).array for n, f in features.items() if f.values is not None}
    return pd.DataFrame(values, index=pd.RangeIndex(len(raw.frame))), reading, notes


def _read_feature(column: pd.Series, mark: str | None, run: Run, roles: ColumnRoles) -> _Feature:
    """The column, read. What stands for missing in words is not known before all columns are: see `_apply_marks`."""
    name = str(column.name)
    inference = _infer_column_kind(
        column, mark, run.types.get(name) or _find_role_kind(name, roles), name == roles.time, run.order.get(name)
    )
    if inference.kind in ("id", "drop"):
        return _Feature(inference.kind, inference.parser, inference.notes, (), inference.writes_na, None)
    canonical = to_canonical(column, inference.kind, inference.parser, found=inference.words)
    memory.give_back_memory(len(column))
    if name in run.types:
        _refuse_unfit(column, canonical, inference.words, run.types[name])
    return _Feature(
        inference.kind,
        inference.parser,
        inference.notes,
        _find_out_of_range(name, canonical),
        inference.writes_na,
        canonical.values,
    )


def _apply_marks(values: pd.Series, kind: str, marks: tuple[str, ...]) -> pd.Series:
    """A column in canonical form in which these marks stand for missing too."""
    words_only = kind in ("category", "ordered", "text")
    return to_canonical(values, kind, {}, marks).values if words_only and marks != MARKS else values


def _find_role_kind(name: str, roles: ColumnRoles) -> str | None:
    """The kind that a column's role asks for: numbers that name series are names."""
    return "category" if name == roles.series else None


def _infer_column_kind(
    column: pd.Series, mark: str | None, kind: str | None, is_time: bool, order: Sequence[str] | None = None
) -> InferredKind:
    """The column's kind; the time column is a date or a number, never an id."""
    inference = infer_kind(column, mark, kind, order)
    if is_time and inference.kind in ("id", "key", "category"):
        return infer_kind(column, mark, "number")
    if inference.kind == "category" and is_textual(column):
        return replace(inference, parser=inference.parser | make_whole_parser(column, inference.words))
    return inference


def _refuse_unfit(raw: pd.Series, canonical: CanonicalColumn, words: DistinctWords | None, kind: str) -> None:
    """Stops where not one value is of the kind that was asked for."""
    present = raw.notna().to_numpy() if words is None else words.find_rows(~words.find_missing(NUMBER_MARKS))
    if present.any() and canonical.values.isna().all():
        row = list_data_rows(present, 1)[0]
        raise InputError(
            f"The type {kind} is given for the column {shorten(raw.name)!r}, and no value of it is one: "
            f"{shorten(str(raw.iloc[row - 1]))!r} in data row {row}. Leave out its type, or give another."
        )


def _find_out_of_range(name: str, column: CanonicalColumn) -> tuple[ColumnNote, ...]:
    """What is said of values that are out of range."""
    if not column.far.any():
        return ()
    rows = list_data_rows(column.far)
    check = "far_dates" if column.values.dtype.kind == "M" else "out_of_range"
    return (ColumnNote(check, name, describe_rows(rows, int(column.far.sum())), rows),)


def _join_test_table(
    run: Run, roles: ColumnRoles, reading: Reading, features: pd.DataFrame, frame: pd.DataFrame, now: datetime | None
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """The table with the rows of the test table beneath, and which those are."""
    if roles.test_column is not None:
        raise InputError("Give a test table or a split column, not both.")
    test_table = load_raw_table(run.test, now=now, room=measure_room(run.budget))
    missing = [c for c in roles.needed if c not in test_table.frame.columns]
    if missing:
        raise InputError(
            f"{test_table.source} lacks the column {shorten(missing[0])!r}, which the test table has to hold too."
        )
    refuse_same_names(roles.named, list(test_table.frame.columns), test_table.renamed, test_table.source)
    if not len(test_table.frame):
        raise InputError(f"{test_table.source} has a header but no rows.")
    columns = {c: _stack_columns(frame[c], test_table.frame[c]) for c in roles.needed}
    test = np.arange(len(features) + len(test_table.frame)) >= len(features)
    speller = Speller(count_every_level(features, reading.kinds))
    joined = pd.concat([features, _read_features_like(reading, test_table, speller)], ignore_index=True)
    speller.refuse(test_table.source)
    return joined, pd.DataFrame(columns), test


def _stack_columns(first: pd.Series, second: pd.Series) -> pd.Series:
    """One column under the other; as text where their types differ."""
    if is_textual(first) != is_textual(second):
        first, second = (c.astype("object").where(c.notna()).astype("str") for c in (first, second))
    return pd.concat([first, second], ignore_index=True)


def _find_unseen_classes(target: Target, test: np.ndarray | None) -> list[Finding]:
    if test is None or target.task == "regression":
        return []
    classes = set(target.values[~test & ~target.missing].tolist())
    unseen = [target.classes[c] for c in sorted(set(target.values[test & ~target.missing].tolist()) - classes)]
    sentence = (
        f"Targets that stand in the test rows only can't be learned: {join_names(unseen)}. Leave those rows out of the "
        "test set, or give training rows with these targets too."
    )
    return [Finding("unseen_classes", "stop", sentence)] if unseen else []


def _drop_targetless_rows(table: Table, target: Target, name: str) -> Table:
    """The table without the rows that have no target."""
    if not target.missing.any():
        return table
    if target.missing.all():
        raise InputError(f"The target {name!r} has no values: all of its {len(target.missing)} rows are missing.")
    for part, where in (("test", table.test), ("training", None if table.test is None else ~table.test)):
        if where is not None and target.missing[where].all():
            raise InputError(f"The target {name!r} has no values in the {part} rows.")
    rows = list_data_rows(target.missing)
    count = int(target.missing.sum())
    sentence = (
        f"{count:,} of {table.rows:,} rows have no target {name!r} and were left out: {describe_rows(rows, count)}."
    )
    finding = Finding("missing_target", "warn", sentence, (name,), rows)
    return replace(table.take(np.flatnonzero(~target.missing)), findings=(*table.findings, finding))


def _compute_fingerprint(table: Table) -> str:
    """Hex digest over names, kinds, features, target, roles: the content, not the file's form."""
    digest = hashlib.sha256()
    digest.update(repr([(c, table.reading.kinds[c]) for c in table.features.columns]).encode())
    digest.update(repr((table.task, table.classes)).encode())
    if table.features.shape[1]:
        digest.update(hashes.hash_rows(table.features).tobytes())
    for values in (table.target, table.weight, table.group, table.time, table.test):
        digest.update(b"-" if values is None else np.ascontiguousarray(values).tobytes())
    for frame in (table.ids, table.subgroups):
        if frame is not None:
            digest.update(hashes.hash_rows(frame).tobytes())
    return digest.hexdigest()[:32]
