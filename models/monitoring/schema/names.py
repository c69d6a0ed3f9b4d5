"""Which columns there are: missing, unknown, and unknown ones that look like a missing one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from models.data.table import Finding
from models.errors import join_names
from models.monitoring.schema.values import ChampionSchema, ObservedTable, make_finding
from models.monitoring.table_profile import ColumnProfile, count_by_edges, count_levels, to_numbers
from models.text.safe import shorten

NAME, CONTENT = 0.75, 0.8
"""From this likeness on (of names: difflib's ratio; of content: shared rows) two columns are taken for one."""
LOOKED_AT, MOST_PAIRS = 5_000, 400
"""Contents are compared on about so many rows, and only where so many pairs of columns or fewer may be meant."""


def check_target(known: ChampionSchema, seen: ObservedTable) -> Iterator[Finding]:
    """A stop where the target is missing."""
    if known.target not in seen.kinds:
        said = f"The target {shorten(known.target, 60)!r} is missing: without it nothing can be trained or compared."
        yield make_finding("missing_column", "stop", [known.target], said)


def _list_missing_columns(known: ChampionSchema, seen: ObservedTable) -> list[str]:
    return [c for c in known.used if c not in seen.kinds]


def _list_unknown_columns(known: ChampionSchema, seen: ObservedTable) -> list[str]:
    return [c for c in seen.kinds if c not in known.kinds and c not in known.others and c != known.target]


def find_missing_columns(
    known: ChampionSchema, seen: ObservedTable, pairs: Mapping[str, Any], verdict: str
) -> Iterator[Finding]:
    """The columns that the champion uses and the table lacks, but for those that seem to be renamed."""
    names = [c for c in _list_missing_columns(known, seen) if c not in pairs]
    if names:
        ends = {"stop": "Bring them back, or train without them (columns: adapt).", "warn": "Trained without them."}
        said = f"Columns that the champion uses are missing: {join_names(names, width=60)}. {ends[verdict]}"
        yield make_finding("missing_column", verdict, names, said)


def find_renamed_columns(pairs: Mapping[str, tuple[str, str]], verdict: str) -> Iterator[Finding]:
    """The columns that seem to be renamed."""
    if pairs:
        items = join_names((f"{old} (now {new}? alike by {why})" for old, (new, why) in pairs.items()), width=120)
        said = f"Columns seem to have other names: {items}. Give them the old names, in the file or in the query."
        yield make_finding("renamed_column", verdict, pairs, said)


def find_extra_columns(
    known: ChampionSchema, seen: ObservedTable, pairs: Mapping[str, tuple[str, str]]
) -> Iterator[Finding]:
    """The columns that the champion does not know."""
    taken = {new for new, _ in pairs.values()}
    names = [c for c in _list_unknown_columns(known, seen) if c not in taken]
    if names:
        said = f"Columns that the champion does not know: {join_names(names, width=60)}."
        yield make_finding("extra_column", "warn", names, said)


def match_renamed_columns(known: ChampionSchema, seen: ObservedTable) -> dict[str, tuple[str, str]]:
    """Missing column -> (the extra one that looks like it, by what); the most alike first, each once."""
    pairs = [
        (old, new)
        for old, new in product(_list_missing_columns(known, seen), _list_unknown_columns(known, seen))
        if _to_broad_kind(known.kinds[old]) == _to_broad_kind(seen.kinds[new])
    ]
    rows = seen.extra.iloc[:: max(1, len(seen.extra) // LOOKED_AT)]
    likely = []
    for old, new in pairs:
        name = _compare_names(old, new)
        content = _compare_contents(known.columns.get(old), rows, new) if len(pairs) <= MOST_PAIRS else 0.0
        if name >= NAME or content >= CONTENT:
            why = " and ".join(w for w, there in (("name", name >= NAME), ("content", content >= CONTENT)) if there)
            likely.append((-(name + content), old, new, why))
    found: dict[str, tuple[str, str]] = {}
    taken = set[str]()
    for _, old, new, why in sorted(likely):
        if old not in found and new not in taken:
            found[old] = new, why
            taken.add(new)
    return found


def _to_broad_kind(kind: str) -> str:
    """Kinds that a column may change between from table to table without a change of its own."""
    words = dict.fromkeys(("text", "category", "ordered", "id"), "words")
    return {**words, "boolean": "number", "key": "number"}.get(kind, kind)


def _compare_names(one: str, other: str) -> float:
    plain = [re.sub(r"[\W_]+", "", name.casefold()) for name in (one, other)]
    shorter, longer = sorted(plain, key=len)
    if len(shorter) >= 4 and (longer.startswith(shorter) or longer.endswith(shorter)):
        return 0.9
    found = difflib.SequenceMatcher(None, shorter, longer)
    return found.ratio() if found.real_quick_ratio() >= NAME and found.quick_ratio() >= NAME else 0.0


def _compare_contents(was: ColumnProfile | None, extra: pd.DataFrame, new: str) -> float:
    """The share of rows that both columns hold in the same cells (of numbers) or levels; 0 where it says nothing."""
    if was is None or new not in extra or was.kind in ("boolean", "date") or was.rows == was.missing:
        return 0.0
    if was.edges and pd.api.types.is_numeric_dtype(extra[new].dtype) and len(was.counts) > 4:
        return _measure_overlap(np.array(was.counts), count_by_edges(was.edges, to_numbers(extra[new], "number")))
    if was.kind == "category" and len(was.levels) > 2:
        now = count_levels(extra[new])
        names = [*was.levels, *(level for level in now if level not in was.levels)]
        return _measure_overlap(
            np.array([was.levels.get(n, 0) for n in names]), np.array([now.get(n, 0) for n in names])
        )
    return 0.0


def _measure_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The overlap of two distributions: 1 minus their total variation."""
    if not one.sum() or not other.sum():
        return 0.0
    return float(np.minimum(one / one.sum(), other / other.sum()).sum())
