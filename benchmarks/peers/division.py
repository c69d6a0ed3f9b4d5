"""The held-out rows of a table: drawn from a seed before any system sees the table, the same for all of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.peers.catalogue import Table

TEST_SHARE = 0.25


@dataclass(frozen=True)
class Division:
    """A table in two parts."""

    train: pd.DataFrame
    test: pd.DataFrame
    digest: str
    """Of the values of both parts and of their order."""


def divide_table(frame: pd.DataFrame, table: Table, seed: int) -> Division:
    """Train and test rows: the last quarter by time where the table has a time column, else a quarter of the groups
    where it has groups, else a quarter of the rows; classes in equal shares as far as that goes.

    Of a table with both, time divides and its groups are on both sides. With time the seed changes no row."""
    whole = frame[frame[table.target].notna()].reset_index(drop=True)
    test = _mark_test_rows(whole, table, seed)
    parts = [whole[rows].reset_index(drop=True) for rows in (~test, test)]
    return Division(parts[0], parts[1], compute_digest(parts[0], parts[1], table))


def _mark_test_rows(whole: pd.DataFrame, table: Table, seed: int) -> np.ndarray:
    if table.time:
        return _mark_newest(whole[table.time])
    labels = None if table.task == "regression" else whole[table.target].astype(str)
    if table.group:
        return _mark_groups(whole[table.group], labels, seed)
    return _draw(np.arange(len(whole)), labels, seed)


def _mark_newest(moments: pd.Series) -> np.ndarray:
    """The rows from a moment on; rows of one moment are on one side."""
    ordered = moments.sort_values(kind="stable").reset_index(drop=True)
    border = ordered[round(len(ordered) * (1 - TEST_SHARE))]
    return (moments >= border).to_numpy()


def _mark_groups(groups: pd.Series, labels: pd.Series | None, seed: int) -> np.ndarray:
    """The rows of a quarter of the groups; a group counts as of its most frequent class."""
    names = groups.drop_duplicates().reset_index(drop=True)
    usual = None if labels is None else names.map(labels.groupby(groups).agg(lambda found: found.mode().iloc[0]))
    drawn = _draw(np.arange(len(names)), usual, seed)
    return groups.isin(names[drawn]).to_numpy()


def _draw(numbers: np.ndarray, labels: pd.Series | None, seed: int) -> np.ndarray:
    """True at a quarter of the numbers, of each class alike where every class has two at least."""
    from sklearn.model_selection import train_test_split

    even = labels is not None and labels.value_counts().min() > 1
    _, test = train_test_split(
        numbers,
        test_size=TEST_SHARE,
        random_state=seed,
        stratify=labels.to_numpy() if even and labels is not None else None,
    )
    return np.isin(numbers, test)


def compute_digest(train: pd.DataFrame, test: pd.DataFrame, table: Table) -> str:
    """Twelve characters that tell one division from another."""
    told = hashlib.sha256(repr((table.target, table.task, table.metric, table.group, table.time)).encode())
    for part in (train, test):
        told.update(repr(list(part.columns)).encode())
        told.update(pd.util.hash_pandas_object(part, index=False).to_numpy().tobytes())
    return told.hexdigest()[:12]
