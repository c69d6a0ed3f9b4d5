"""What columns hold: other types, nothing, new levels and classes, numbers out of range."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from models.data.spelling import Spelling, Tally, describe_refusals, make_tallies
from models.data.table import Finding
from models.errors import join_names
from models.monitoring.schema.values import ChampionSchema, ObservedTable, make_finding, normalise_label
from models.monitoring.table_profile import ColumnProfile, count_levels, count_values
from models.text.safe import shorten

RETYPED = 0.05
"""From this share of values on that don't fit, the column is of another type; below it they are odd values."""
OUTSIDE = 0.01
"""From this share of values out of the known range on, it is a warning; else only told."""


_TYPED = ("number", "key", "date", "boolean")
"""Kinds that a value may not fit."""


def find_retyped_columns(known: ChampionSchema, seen: ObservedTable, verdict: str) -> Iterator[Finding]:
    """Columns of another type; odd values in columns that kept theirs are told apart."""
    other = {c: _describe_other_type(known, seen, c) for c in seen.features.columns}
    found = {c: said for c, said in other.items() if said}
    if found:
        ends = "Correct the source, or train with what can be read (columns: adapt)." if verdict == "stop" else ""
        said = f"Columns are of another type: {join_names((f'{c} ({s})' for c, s in found.items()), width=140)}. {ends}"
        yield make_finding("data_type", verdict, found, said.strip())
    few = {c: odd for c, odd in seen.odd.items() if c not in found and c in known.used}
    if few:
        items = (f"{c} ({shorten(value, 24)!r} in data row {row}, {n:,} in all)" for c, (n, value, row) in few.items())
        said = f"Some values don't fit their column and count as missing: {join_names(items, width=140)}."
        yield make_finding("odd_values", "warn", few, said)


def _describe_other_type(known: ChampionSchema, seen: ObservedTable, name: str) -> str | None:
    """What is to be said of a column that has changed its type; None of one that has not."""
    kind, now = known.kinds[name], seen.kinds[name]
    if kind in _TYPED:
        count, example, row = seen.odd.get(name, (0, "", 0))
        there = count + int(seen.features[name].notna().sum())
        if there and count >= RETYPED * there:
            return f"{kind} before, now {shorten(example, 24)!r} in data row {row} and {count:,} of {there:,} values"
        return None
    if now not in _TYPED or name in known.pinned or _has_familiar_levels(known, seen, name):
        return None
    return f"{kind} before, now {now}{_suggest_spelling(known, seen, name)}"


def _suggest_spelling(known: ChampionSchema, seen: ObservedTable, name: str) -> str:
    """A value of the column and the level that it may be, written otherwise."""
    spelling = Spelling(known.levels.get(name, {}))
    pairs = (
        (text, spelling.perhaps(text)) for text in count_values(seen.features[name]) if text not in spelling.levels
    )
    pair = next((pair for pair in pairs if pair[1] is not None), None)
    return f"; perhaps {pair[0]!r} was {pair[1]!r}" if pair else ""


def _has_familiar_levels(known: ChampionSchema, seen: ObservedTable, name: str) -> bool:
    """Whether the levels are those of before all the same: 1, 2 and 3 were codes then too."""
    was = known.columns.get(name)
    if was is None or not was.levels:
        return False
    now = count_levels(seen.features[name])
    rows = max(1, sum(now.values()))
    usual = sum(was.levels.values()) / max(1, was.rows - was.missing)
    return sum(n for level, n in now.items() if level in was.levels) >= 0.5 * usual * rows


def find_emptied_columns(known: ChampionSchema, seen: ObservedTable) -> Iterator[Finding]:
    """Columns that held values and hold none now."""
    there = seen.features.columns[seen.features.isna().all().to_numpy()] if len(seen.features) else []
    names = [str(c) for c in there if c not in seen.odd and _was_filled(known.columns.get(str(c)))]
    if names:
        said = f"Columns that held values hold none now: {join_names(names, width=60)}. Is their source broken?"
        yield make_finding("completeness", "warn", names, said)


def _was_filled(was: ColumnProfile | None) -> bool:
    return was is None or was.missing < was.rows


def find_new_levels(known: ChampionSchema, seen: ObservedTable, verdict: str) -> Iterator[Finding]:
    """Levels that the training table did not hold: of most rows, or of some."""
    found = _tally_levels(known, seen)
    strange = [one for one in found if one.strange]
    if strange:
        ends = " Or train with what there is (columns: adapt)." if verdict == "stop" else ""
        yield make_finding("categorical_values", verdict, [c.name for c in strange], describe_refusals(strange) + ends)
    new = {one.name: dict(one.new.most_common()) for one in found if one.unusual and one not in strange}
    if new:
        items = join_names((f"{c} ({_describe_counts(fresh)})" for c, fresh in new.items()), width=140)
        said = f"Categories hold levels that the champion never saw, and reads as missing: {items}."
        yield make_finding("categorical_values", "warn", new, said)


def _tally_levels(known: ChampionSchema, seen: ObservedTable) -> list[Tally]:
    """What columns of the champion's kind hold. A level that is written otherwise is a new one: to read it as the
    champion does would change what the new table is."""
    there = {c: tally for c, tally in make_tallies(known.levels).items() if c in seen.features}
    found = [tally for c, tally in there.items() if not _describe_other_type(known, seen, c)]
    for tally in found:
        tally.count(count_values(seen.features[tally.name]))
    return found


def _describe_counts(found: Mapping[str, int]) -> str:
    return join_names((f"{shorten(level, 24)!r} in {n:,} rows" for level, n in found.items()), 3, 60)


def find_out_of_range(known: ChampionSchema, seen: ObservedTable) -> Iterator[Finding]:
    """Numbers below or above all that were trained on: a warning where they are many, or far out."""
    beyond: dict[str, tuple[float, str]] = {}
    for name, was in known.columns.items():
        if was.kind != "number" or was.low is None or was.high is None or was.moves or name not in seen.features:
            continue
        values = seen.features[name].to_numpy(np.float64)
        values = values[~np.isnan(values)]
        out = values[(values < was.low) | (values > was.high)]
        if len(out):
            worst = out[np.argmax(np.maximum(was.low - out, out - was.high))]
            far = max(was.low - worst, worst - was.high) > (was.high - was.low)
            share = len(out) / len(values)
            said = f"{name} ({len(out):,} outside of {was.low:.6g} to {was.high:.6g}, such as {worst:.6g})"
            beyond[name] = (max(share, float(far)), said)
    for verdict, judge in _VERDICTS:
        chosen = {c: said for c, (share, said) in beyond.items() if judge(share)}
        if chosen:
            yield make_finding(
                "range",
                verdict,
                chosen,
                f"Numbers out of the range trained on: {join_names(chosen.values(), width=140)}.",
            )


_VERDICTS: tuple[tuple[str, Callable[[float], bool]], ...] = (
    ("warn", lambda share: share >= OUTSIDE),
    ("pass", lambda share: share < OUTSIDE),
)


def find_class_changes(known: ChampionSchema, seen: ObservedTable) -> Iterator[Finding]:
    """Labels that came or went; a target of numbers that is none any more."""
    if known.target in seen.odd:
        count, example, row = seen.odd[known.target]
        said = f"The target {shorten(known.target, 60)!r} was a number, now {shorten(example, 24)!r} in data row {row}"
        yield make_finding("data_type", "stop", [known.target], f"{said} ({count:,} such values). Correct it.")
    if seen.labels is None or not known.classes:
        return
    mine = {normalise_label(c) for c in known.classes}
    new = {k: n for k, n in seen.labels.items() if normalise_label(k) not in mine}
    gone = [c for c in known.classes if normalise_label(c) not in {normalise_label(k) for k in seen.labels}]
    tally = _tally_labels(known, seen.labels, mine)
    if tally.strange:
        yield make_finding("target_classes", "stop", [known.target], tally.refusal)
    elif new:
        said = f"The target holds classes that the champion can't predict: {_describe_counts(new)}."
        yield make_finding("target_classes", "warn", [known.target], said)
    if gone:
        said = f"The target lacks classes that the champion knows: {join_names(gone)}."
        yield make_finding("target_classes", "warn", [known.target], said)


def _tally_labels(known: ChampionSchema, now: Mapping[str, int], mine: set[str]) -> Tally:
    """The target's labels as levels of it, those that say the same as a class as that class."""
    own = next(iter(mine))
    found = Tally(known.target, Spelling(dict.fromkeys(mine, 2)))
    for text, rows in now.items():
        found.count({own if normalise_label(text) in mine else text: rows})
    return found
