"""A new table looked at with a champion's eyes: its columns by themselves, and read as the champion reads."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.data.table import Reading
from models.errors import InputError
from models.monitoring.schema import ChampionSchema, ObservedTable, count_labels
from tasks.data.column_types.columns import CanonicalColumn, is_textual, list_data_rows, make_whole_parser, to_canonical
from tasks.data.column_types.kinds import infer_kind
from tasks.data.column_types.numeric import parse_numbers
from tasks.data.column_types.words import NUMBER_MARKS, to_distinct_words
from tasks.data.sources.source import RawTable


def observe_table(raw: RawTable, reading: Reading, champion: ChampionSchema, decimal: str | None) -> ObservedTable:
    """What there is to compare: nothing stops here, whatever the columns hold."""
    frame = raw.frame
    if not len(frame):
        raise InputError(f"{raw.source} has a header but no rows.")
    inferences = {str(c): infer_kind(frame[c], decimal) for c in frame.columns}
    columns = [c for c in champion.used if c in inferences]
    values = {
        c: _read_for_training(apply_reading(frame[c], reading, decimal == ","), frame[c], reading) for c in columns
    }
    odd_values = {c: _count_odd_values(frame[c], column.bad) for c, column in values.items() if column.bad.any()}
    strange = [c for c in inferences if c not in champion.kinds and c not in champion.others and c != champion.target]
    extra = {
        c: to_canonical(frame[c], inferences[c].kind, inferences[c].parser, reading.missing, inferences[c].words)
        for c in strange
    }
    label_counts = None
    if champion.target in inferences:
        if champion.classes:
            label_counts = count_labels(to_canonical(frame[champion.target], "category", {}, reading.missing).values)
        else:
            odd_values |= _find_odd_target(frame[champion.target], decimal)
    return ObservedTable(
        {c: inference.kind for c, inference in inferences.items()},
        _make_frame(values, len(frame)),
        odd_values,
        _make_frame({c: column for c, column in extra.items() if inferences[c].kind not in ("drop",)}, len(frame)),
        label_counts,
    )


def _read_for_training(canonical: CanonicalColumn, column: pd.Series, reading: Reading) -> CanonicalColumn:
    """The column as a training on this table would read it: with 3 for 3.0, whatever the champion makes of that."""
    kind = reading.kinds[str(column.name)]
    parser = make_whole_parser(column) if kind == "category" and is_textual(column) else {}
    return to_canonical(column, kind, parser, reading.missing) if parser else canonical


def apply_reading(column: pd.Series, reading: Reading, comma: bool) -> CanonicalColumn:
    """The column in canonical form, read as the first table's was."""
    name = str(column.name)
    kind, parser = reading.kinds[name], reading.parsers.get(name, {})
    canonical = to_canonical(column, kind, parser, reading.missing)
    if canonical.bad.any() and kind in ("number", "key") and comma and is_textual(column):
        # This file writes decimal commas throughout, whatever the first one did.
        canonical = to_canonical(column, kind, {**parser, "decimal": ",", "thousands": "."}, reading.missing)
    return canonical


def _make_frame(columns: dict[str, CanonicalColumn], rows: int) -> pd.DataFrame:
    return pd.DataFrame({c: column.values.array for c, column in columns.items()}, index=pd.RangeIndex(rows))


def _count_odd_values(column: pd.Series, bad: np.ndarray) -> tuple[int, str, int]:
    """How many there are, the first of them, and its data row."""
    row = list_data_rows(bad, 1)[0]
    return int(bad.sum()), str(column.iloc[row - 1]), row


def _find_odd_target(column: pd.Series, decimal: str | None) -> dict[str, tuple[int, str, int]]:
    """The values of a target that should be numbers and are none."""
    if not is_textual(column):
        bad = column.notna().to_numpy() & (not pd.api.types.is_numeric_dtype(column.dtype))
    else:
        words = to_distinct_words(column)
        empty = words.find_missing(NUMBER_MARKS)
        bad = words.find_rows(~(parse_numbers(words, empty, decimal).good | empty))
    return {str(column.name): _count_odd_values(column, bad)} if bad.any() else {}
