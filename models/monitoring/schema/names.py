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


def check_target(champion: ChampionSchema, table: ObservedTable) -> Iterator[Finding]:
    """A stop where the target is missing."""
    if champion.target not in table.kinds:
        sentence = (
            f"The target {shorten(champion.target, 60)!r} is missing: without it nothing can be trained or compared."
        )
        yield make_finding("missing_column", "stop", [champion.target], sentence)


def _list_missing_columns(champion: ChampionSchema, table: ObservedTable) -> list[str]:
    return [c for c in champion.used if c not in table.kinds]


def _list_unknown_columns(champion: ChampionSchema, table: ObservedTable) -> list[str]:
    return [c for c in table.kinds if c not in champion.kinds and c not in champion.others and c != champion.target]


def find_missing_columns(
    champion: ChampionSchema, table: ObservedTable, pairs: Mapping[str, Any], verdict: str
) -> Iterator[Finding]:
    """The columns that the champion uses and the table lacks, but for those that seem to be renamed."""
    names = [c for c in _list_missing_columns(champion, table) if c not in pairs]
    if names:
        ends = {"stop": "Bring them back, or train without them (columns: adapt).", "warn": "Trained without them."}
        sentence = f"Columns that the champion uses are missing: {join_names(names, width=60)}. {ends[verdict]}"
        yield make_finding("missing_column", verdict, names, sentence)


def find_renamed_columns(pairs: Mapping[str, tuple[str, str]], verdict: str) -> Iterator[Finding]:
    """The columns that seem to be renamed."""
    if pairs:
        items = join_names((f"{old} (now {new}? alike by {reason})" for old, (new, reason) in pairs.items()), width=120)
        sentence = f"Columns seem to have other names: {items}. Give them the old names, in the file or in the query."
        yield make_finding("renamed_column", verdict, pairs, sentence)


def find_extra_columns(
    champion: ChampionSchema, table: ObservedTable, pairs: Mapping[str, tuple[str, str]]
) -> Iterator[Finding]:
    """The columns that the champion does not know."""
    new_names = {new for new, _ in pairs.values()}
    names = [c for c in _list_unknown_columns(champion, table) if c not in new_names]
    if names:
        sentence = f"Columns that the champion does not know: {join_names(names, width=60)}."
        yield make_finding("extra_column", "warn", names, sentence)


def match_renamed_columns(champion: ChampionSchema, table: ObservedTable) -> dict[str, tuple[str, str]]:
    """Missing column -> (the extra one that looks like it, by what); the most alike first, each once."""
    pairs = [
        (old, new)
        for old, new in product(_list_missing_columns(champion, table), _list_unknown_columns(champion, table))
        if _to_broad_kind(champion.kinds[old]) == _to_broad_kind(table.kinds[new])
    ]
    rows = table.extra.iloc[:: max(1, len(table.extra) // LOOKED_AT)]
    likely = []
    for old, new in pairs:
        name = _compare_names(old, new)
        content = _compare_contents(champion.columns.get(old), rows, new) if len(pairs) <= MOST_PAIRS else 0.0
        if name >= NAME or content >= CONTENT:
            reason = " and ".join(w for w, alike in (("name", name >= NAME), ("content", content >= CONTENT)) if alike)
            likely.append((-(name + content), old, new, reason))
    matches: dict[str, tuple[str, str]] = {}
    new_names = set[str]()
    for _, old, new, reason in sorted(likely):
        if old not in matches and new not in new_names:
            matches[old] = new, reason
            new_names.add(new)
    return matches


def _to_broad_kind(kind: str) -> str:
    """Kinds that a column may change between from table to table without a change of its own."""
    words = dict.fromkeys(("text", "category", "ordered", "id"), "words")
    return {**words, "boolean": "number", "key": "number"}.get(kind, kind)


def _compare_names(old: str, new: str) -> float:
    words = [re.sub(r"[\W_]+", "", name.casefold()) for name in (old, new)]
    shorter, longer = sorted(words, key=len)
    if len(shorter) >= 4 and (longer.startswith(shorter) or longer.endswith(shorter)):
        return 0.9
    matcher = difflib.SequenceMatcher(None, shorter, longer)
    return matcher.ratio() if matcher.real_quick_ratio() >= NAME and matcher.quick_ratio() >= NAME else 0.0


def _compare_contents(profile: ColumnProfile | None, extra: pd.DataFrame, new: str) -> float:
    """The share of rows that both columns hold in the same cells (of numbers) or levels; 0 where it says nothing."""
    if profile is None or new not in extra or profile.kind in ("boolean", "date") or profile.rows == profile.missing:
        return 0.0
    if profile.edges and pd.api.types.is_numeric_dtype(extra[new].dtype) and len(profile.counts) > 4:
        return _measure_overlap(
            np.array(profile.counts), count_by_edges(profile.edges, to_numbers(extra[new], "number"))
        )
    if profile.kind == "category" and len(profile.levels) > 2:
        counts = count_levels(extra[new])
        names = [*profile.levels, *(level for level in counts if level not in profile.levels)]
        return _measure_overlap(
            np.array([profile.levels.get(n, 0) for n in names]), np.array([counts.get(n, 0) for n in names])
        )
    return 0.0


def _measure_overlap(reference: np.ndarray, current: np.ndarray) -> float:
    """The overlap of two distributions: 1 minus their total variation."""
    if not reference.sum() or not current.sum():
        return 0.0
    return float(np.minimum(reference / reference.sum(), current / current.sum()).sum())
