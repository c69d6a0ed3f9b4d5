"""Rows of a series as a version that forecasts takes them: history and new rows in one table.

Rows with a known target are the history; rows with an empty one are those to predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from models.data.history import History, prepare_new_rows, widen_rows
from models.errors import InputError
from tasks.data.chunks import Chunk, read_chunks
from tasks.scoring import labels

if TYPE_CHECKING:
    from tasks.data.rows import TableRows
    from tasks.data.spelled import Speller
    from tasks.registry.load import LoadedVersion


def list_key_columns(history: History) -> list[str]:
    """The columns that say which row a prediction is for: only some of the input's rows get one."""
    return [history.time, *([history.series] if history.series else [])]


def read_new_rows(
    loaded: LoadedVersion, history: History, table: TableRows, size: int, keep: Sequence[str], speller: Speller
) -> tuple[Iterator[Chunk], list[str], int]:
    """The rows to predict, `size` at a time, what is to be said of their history, and how many there are.

    The table is read whole, since a row's features are made of others. InputError where it holds no history, or one
    that will not do."""
    goal = history.target
    if goal not in table.names:
        raise InputError(
            f"{table.source} has no column {goal!r}. {loaded.label} forecasts {history.horizon[0]} ahead from what was "
            f"before: give the recent rows with a known {goal!r}, and the rows to predict with an empty one."
        )
    parts = list(read_chunks(loaded.reading, table, size, list(dict.fromkeys([*keep, goal])), speller))
    rows = pd.concat([part.features for part in parts], ignore_index=True)
    extras = pa.concat_tables([part.kept for part in parts], promote_options="permissive")
    target, sentence = read_past_target(loaded, history, extras[goal].to_pandas())
    if sentence:  # rows without a label are those to predict
        raise InputError(f"{table.source}: {sentence} Correct them, or leave their rows out of the history.")
    try:
        features, notes = prepare_new_rows(rows, target, history)
    except ValueError as error:
        raise InputError(f"{table.source}: {error}") from None
    return _cut_chunks(features, extras.select(list(keep)), size), notes, len(features)


def _cut_chunks(features: pd.DataFrame, extras: pa.Table, size: int) -> Iterator[Chunk]:
    rows = extras.take(pa.array(features.index))
    for start in range(0, len(features), size):
        yield Chunk(features.iloc[start : start + size].reset_index(drop=True), rows.slice(start, size))


def read_past_target(loaded: LoadedVersion, history: History, column: pd.Series) -> tuple[pd.Series, str]:
    """The target column of later rows as history takes it, and what is to be said of unknown labels."""
    codes, sentence = labels.encode_labels(loaded, column)
    if history.numeric:
        return pd.Series(codes, dtype="float64"), sentence
    return pd.Series([history.labels[int(c)] if np.isfinite(c) else None for c in codes], dtype="str"), sentence


def add_history(
    loaded: LoadedVersion, features: pd.DataFrame, column: pd.Series | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Every row as the version takes it, each with the history before it, and which of them have one; as they are where
    the version needs none. `column`: the target; None: nothing is known of any row's past."""
    if (history := loaded.history) is None:
        return features, np.ones(len(features), bool)
    blanks = pd.Series(np.full(len(features), np.nan), dtype="float64")
    target = blanks if column is None else read_past_target(loaded, history, column.reset_index(drop=True))[0]
    rows = widen_rows(features.reset_index(drop=True), target, history)
    return rows, rows[history.reference].notna().to_numpy()
