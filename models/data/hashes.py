"""Hashes of values and of rows, equal to those of pandas. Of a column of words only the different ones become Python's
texts, and only some of them at a time: a million would take a hundred megabytes."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from pandas.core.util.hashing import combine_hash_arrays  # pyright: ignore[reportAttributeAccessIssue]

_AT_ONCE = 50_000
_MISSING = np.uint64(2**64 - 1)


def hash_rows(frame: pd.DataFrame) -> np.ndarray:
    """The hash of each row: that of `pd.util.hash_pandas_object` without the index."""
    return combine_hash_arrays((hash_values(column) for _, column in frame.items()), frame.shape[1])


def hash_values(column: pd.Series) -> np.ndarray:
    """The hash of each value."""
    if not isinstance(column.dtype, pd.StringDtype):
        return pd.util.hash_pandas_object(column, index=False).to_numpy()
    codes, levels = pd.factorize(column.array)
    parts = (levels[i : i + _AT_ONCE].to_numpy(object) for i in range(0, len(levels), _AT_ONCE))
    hashes = [pd.util.hash_array(part, categorize=False) for part in parts]
    return np.concatenate([*hashes, [_MISSING]])[codes]


def derive_seed(*parts: object) -> int:
    """A seed in 0..2**31-1 from a hash of the parts: the same on every machine and in every session."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
