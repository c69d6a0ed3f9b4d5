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


def find_retyped_columns(champion: ChampionSchema, table: ObservedTable, verdict: str) -> Iterator[Finding]:
    """Columns of another type; odd values in columns that kept theirs are told apart."""
    reasons = {c: _describe_other_type(champion, table, c) for c in table.features.columns}
    columns = {c: reason for c, reason in reasons.items() if reason}
    if columns:
        ends = "Correct the source, or train with what can be read (columns: adapt)." if verdict == "stop" else ""
        sentence = (
            f"Columns are of another type: {join_names((f'{c} ({s})' for c, s in columns.items()), width=140)}. {ends}"
        )
        yield make_finding("data_type", verdict, columns, sentence.strip())
    examples = {c: example for c, example in table.odd.items() if c not in columns and c in champion.used}
    if examples:
        items = (
            f"{c} ({shorten(value, 24)!r} in data row {row}, {n:,} in all)" for c, (n, value, row) in examples.items()
        )
        sentence = f"Some values don't fit their column and count as missing: {join_names(items, width=140)}."
        yield make_finding("odd_values", "warn", examples, sentence)


def _describe_other_type(champion: ChampionSchema, table: ObservedTable, name: str) -> str | None:
    """What is to be said of a column that has changed its type; None of one that has not."""
    kind, new_kind = champion.kinds[name], table.kinds[name]
    if kind in _TYPED:
        count, example, row = table.odd.get(name, (0, "", 0))
        total = count + int(table.features[name].notna().sum())
        if total and count >= RETYPED * total:
            return f"{kind} before, now {shorten(example, 24)!r} in data row {row} and {count:,} of {total:,} values"
        return None
    if new_kind not in _TYPED or name in champion.pinned or _has_familiar_levels(champion, table, name):
        return None
    return f"{kind} before, now {new_kind}{_suggest_spelling(champion, table, name)}"


def _suggest_spelling(champion: ChampionSchema, table: ObservedTable, name: str) -> str:
    """A value of the column and the level that it may be, written otherwise."""
    spelling = Spelling(champion.levels.get(name, {}))
    pairs = (
        (text, spelling.suggest_level(text))
        for text in count_values(table.features[name])
        if text not in spelling.levels
    )
    pair = next((pair for pair in pairs if pair[1] is not None), None)
    return f"; perhaps {pair[0]!r} was {pair[1]!r}" if pair else ""


def _has_familiar_levels(champion: ChampionSchema, table: ObservedTable, name: str) -> bool:
    """Whether the levels are those of before all the same: 1, 2 and 3 were codes then too."""
    profile = champion.columns.get(name)
    if profile is None or not profile.levels:
        return False
    counts = count_levels(table.features[name])
    rows = max(1, sum(counts.values()))
    usual = sum(profile.levels.values()) / max(1, profile.rows - profile.missing)
    return sum(n for level, n in counts.items() if level in profile.levels) >= 0.5 * usual * rows


def find_emptied_columns(champion: ChampionSchema, table: ObservedTable) -> Iterator[Finding]:
    """Columns that held values and hold none now."""
    columns = table.features.columns[table.features.isna().all().to_numpy()] if len(table.features) else []
    names = [str(c) for c in columns if c not in table.odd and _was_filled(champion.columns.get(str(c)))]
    if names:
        sentence = f"Columns that held values hold none now: {join_names(names, width=60)}. Is their source broken?"
        yield make_finding("completeness", "warn", names, sentence)


def _was_filled(profile: ColumnProfile | None) -> bool:
    return profile is None or profile.missing < profile.rows


def find_new_levels(champion: ChampionSchema, table: ObservedTable, verdict: str) -> Iterator[Finding]:
    """Levels that the training table did not hold: of most rows, or of some."""
    tallies = _tally_levels(champion, table)
    strange = [tally for tally in tallies if tally.strange]
    if strange:
        ends = " Or train with what there is (columns: adapt)." if verdict == "stop" else ""
        yield make_finding("categorical_values", verdict, [c.name for c in strange], describe_refusals(strange) + ends)
    new_levels = {
        tally.name: dict(tally.new.most_common()) for tally in tallies if tally.unusual and tally not in strange
    }
    if new_levels:
        items = join_names((f"{c} ({_describe_counts(counts)})" for c, counts in new_levels.items()), width=140)
        sentence = f"Categories hold levels that the champion never saw, and reads as missing: {items}."
        yield make_finding("categorical_values", "warn", new_levels, sentence)


def _tally_levels(champion: ChampionSchema, table: ObservedTable) -> list[Tally]:
    """What columns of the champion's kind hold. A level that is written otherwise is a new one: to read it as the
    champion does would change what the new table is."""
    by_column = {c: tally for c, tally in make_tallies(champion.levels).items() if c in table.features}
    tallies = [tally for c, tally in by_column.items() if not _describe_other_type(champion, table, c)]
    for tally in tallies:
        tally.count(count_values(table.features[tally.name]))
    return tallies


def _describe_counts(counts: Mapping[str, int]) -> str:
    return join_names((f"{shorten(level, 24)!r} in {n:,} rows" for level, n in counts.items()), 3, 60)


def find_out_of_range(champion: ChampionSchema, table: ObservedTable) -> Iterator[Finding]:
    """Numbers below or above all that were trained on: a warning where they are many, or far out."""
    beyond: dict[str, tuple[float, str]] = {}
    for name, profile in champion.columns.items():
        if (
            profile.kind != "number"
            or profile.low is None
            or profile.high is None
            or profile.moves
            or name not in table.features
        ):
            continue
        values = table.features[name].to_numpy(np.float64)
        values = values[~np.isnan(values)]
        out = values[(values < profile.low) | (values > profile.high)]
        if len(out):
            worst = out[np.argmax(np.maximum(profile.low - out, out - profile.high))]
            far = max(profile.low - worst, worst - profile.high) > (profile.high - profile.low)
            share = len(out) / len(values)
            sentence = f"{name} ({len(out):,} outside of {profile.low:.6g} to {profile.high:.6g}, such as {worst:.6g})"
            beyond[name] = (max(share, float(far)), sentence)
    for verdict, judge in _VERDICTS:
        columns = {c: sentence for c, (share, sentence) in beyond.items() if judge(share)}
        if columns:
            yield make_finding(
                "range",
                verdict,
                columns,
                f"Numbers out of the range trained on: {join_names(columns.values(), width=140)}.",
            )


_VERDICTS: tuple[tuple[str, Callable[[float], bool]], ...] = (
    ("warn", lambda share: share >= OUTSIDE),
    ("pass", lambda share: share < OUTSIDE),
)


def find_class_changes(champion: ChampionSchema, table: ObservedTable) -> Iterator[Finding]:
    """Labels that came or went; a target of numbers that is none any more."""
    if champion.target in table.odd:
        count, example, row = table.odd[champion.target]
        sentence = (
            f"The target {shorten(champion.target, 60)!r} was a number, now {shorten(example, 24)!r} in data row {row}"
        )
        yield make_finding("data_type", "stop", [champion.target], f"{sentence} ({count:,} such values). Correct it.")
    if table.labels is None or not champion.classes:
        return
    classes = {normalise_label(c) for c in champion.classes}
    new_labels = {k: n for k, n in table.labels.items() if normalise_label(k) not in classes}
    lost_classes = [c for c in champion.classes if normalise_label(c) not in {normalise_label(k) for k in table.labels}]
    tally = _tally_labels(champion, table.labels, classes)
    if tally.strange:
        yield make_finding("target_classes", "stop", [champion.target], tally.refusal)
    elif new_labels:
        sentence = f"The target holds classes that the champion can't predict: {_describe_counts(new_labels)}."
        yield make_finding("target_classes", "warn", [champion.target], sentence)
    if lost_classes:
        sentence = f"The target lacks classes that the champion knows: {join_names(lost_classes)}."
        yield make_finding("target_classes", "warn", [champion.target], sentence)


def _tally_labels(champion: ChampionSchema, counts: Mapping[str, int], classes: set[str]) -> Tally:
    """The target's labels as levels of it, those that say the same as a class as that class."""
    label = next(iter(classes))
    tally = Tally(champion.target, Spelling(dict.fromkeys(classes, 2)))
    for text, rows in counts.items():
        tally.count({label if normalise_label(text) in classes else text: rows})
    return tally
