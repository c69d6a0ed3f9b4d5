"""A new table against the one that a champion was trained on: what is missing, more, renamed, of another type or new.

The violations are those that users know from Amazon SageMaker's Model Monitor (missing_column_check,
extra_column_check, data_type_check, completeness_check) and Deepchecks (category mismatch, new labels); that a column
was renamed is told besides."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd

from models.errors import listed, shortened
from models.profile import Column, between, levels, numbers
from models.table import Finding

Columns = Literal["stop", "adapt"]

RETYPED = 0.05
"""From this share of values on that don't fit, the column is of another type; below it they are odd values."""
NAME, CONTENT = 0.75, 0.8
"""From this likeness on (of names: difflib's ratio; of content: shared rows) two columns are taken for one."""
LOOKED_AT, MOST_PAIRS = 5_000, 400
"""Contents are compared on about so many rows, and only where so many pairs of columns or fewer may be meant."""
OUTSIDE = 0.01
"""From this share of values out of the known range on, it is a warning; else only told."""


@dataclass(frozen=True)
class Known:
    """What a champion knows of its training table."""

    kinds: Mapping[str, str]
    """Of every feature, those not used too."""
    target: str
    classes: tuple[Any, ...] = ()
    """Empty for regression."""
    others: tuple[str, ...] = ()
    """Columns that were there and no features: weights, groups, ids, dropped ones."""
    pinned: tuple[str, ...] = ()
    """Columns whose kind a person gave, whatever they look like."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    """The training profile; empty where the version has none."""

    @property
    def used(self) -> list[str]:
        """The features that the model looks at."""
        return [c for c, kind in self.kinds.items() if kind not in ("id", "drop")]


@dataclass(frozen=True)
class Seen:
    """A new table."""

    kinds: Mapping[str, str]
    """Every column, and what it looks like by itself."""
    features: pd.DataFrame
    """The champion's columns that are there, read as the champion reads; what does not fit is missing."""
    odd: Mapping[str, tuple[int, str, int]] = field(default_factory=dict)
    """Column -> how many values do not fit the champion's kind, the first of them, and its data row."""
    extra: pd.DataFrame = field(default_factory=pd.DataFrame)
    """The columns that the champion does not know, in canonical form."""
    labels: Mapping[str, int] | None = None
    """The target's labels and their rows; None where there is no target or it is a number."""


def compared(known: Known, seen: Seen, columns: Columns = "stop") -> tuple[Finding, ...]:
    """What differs, a finding for each check; one `schema` that passes where nothing does. Missing and retyped columns
    stop, or with `adapt` warn; a target that is missing or of another type stops always."""
    verdict = "stop" if columns == "stop" else "warn"
    renamed = _renamed(known, seen)
    looks: list[Iterator[Finding]] = [
        _target_there(known, seen),
        _missing(known, seen, renamed, verdict),
        _pairs(renamed, verdict),
        _extra(known, seen, renamed),
        _retyped(known, seen, verdict),
        _empty(known, seen),
        _levels(known, seen),
        _range(known, seen),
        _classes(known, seen),
    ]
    found = tuple(finding for look in looks for finding in look)
    return found or (
        Finding("schema", "pass", f"All {len(known.used)} columns are there, as the champion knows them."),
    )


def _note(check: str, verdict: Any, names: Iterable[str], sentence: str) -> Finding:
    return Finding(check, verdict, sentence, tuple(names)[:8])


# ---------------------------------------------------------------- which columns there are


def _target_there(known: Known, seen: Seen) -> Iterator[Finding]:
    if known.target not in seen.kinds:
        said = f"The target {shortened(known.target, 60)!r} is missing: without it nothing can be trained or compared."
        yield _note("missing_column", "stop", [known.target], said)


def _lacking(known: Known, seen: Seen) -> list[str]:
    return [c for c in known.used if c not in seen.kinds]


def _strange(known: Known, seen: Seen) -> list[str]:
    return [c for c in seen.kinds if c not in known.kinds and c not in known.others and c != known.target]


def _missing(known: Known, seen: Seen, renamed: Mapping[str, Any], verdict: str) -> Iterator[Finding]:
    names = [c for c in _lacking(known, seen) if c not in renamed]
    if names:
        ends = {"stop": "Bring them back, or train without them (columns: adapt).", "warn": "Trained without them."}
        said = f"Columns that the champion uses are missing: {listed(names, width=60)}. {ends[verdict]}"
        yield _note("missing_column", verdict, names, said)


def _pairs(renamed: Mapping[str, tuple[str, str]], verdict: str) -> Iterator[Finding]:
    if renamed:
        pairs = listed((f"{old} (now {new}? alike by {why})" for old, (new, why) in renamed.items()), width=120)
        said = f"Columns seem to have other names: {pairs}. Give them the old names, in the file or in the query."
        yield _note("renamed_column", verdict, renamed, said)


def _extra(known: Known, seen: Seen, renamed: Mapping[str, tuple[str, str]]) -> Iterator[Finding]:
    taken = {new for new, _ in renamed.values()}
    names = [c for c in _strange(known, seen) if c not in taken]
    if names:
        said = f"Columns that the champion does not know: {listed(names, width=60)}."
        yield _note("extra_column", "warn", names, said)


def _renamed(known: Known, seen: Seen) -> dict[str, tuple[str, str]]:
    """Missing column -> (the extra one that looks like it, by what); the most alike first, each once."""
    pairs = [
        (old, new)
        for old, new in product(_lacking(known, seen), _strange(known, seen))
        if _family(known.kinds[old]) == _family(seen.kinds[new])
    ]
    rows = seen.extra.iloc[:: max(1, len(seen.extra) // LOOKED_AT)]
    likely = []
    for old, new in pairs:
        name = _same_name(old, new)
        content = _same_content(known.columns.get(old), rows, new) if len(pairs) <= MOST_PAIRS else 0.0
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


def _family(kind: str) -> str:
    """Kinds that a column may change between from table to table without a change of its own."""
    return {"boolean": "number", "text": "words", "category": "words", "id": "words"}.get(kind, kind)


def _same_name(one: str, other: str) -> float:
    plain = [re.sub(r"[\W_]+", "", name.casefold()) for name in (one, other)]
    shorter, longer = sorted(plain, key=len)
    if len(shorter) >= 4 and (longer.startswith(shorter) or longer.endswith(shorter)):
        return 0.9
    found = difflib.SequenceMatcher(None, shorter, longer)
    return found.ratio() if found.real_quick_ratio() >= NAME and found.quick_ratio() >= NAME else 0.0


def _same_content(was: Column | None, extra: pd.DataFrame, new: str) -> float:
    """The share of rows that both columns hold in the same cells (of numbers) or levels; 0 where it says nothing."""
    if was is None or new not in extra or was.kind in ("boolean", "date") or was.rows == was.missing:
        return 0.0
    if was.edges and pd.api.types.is_numeric_dtype(extra[new].dtype) and len(was.counts) > 4:
        return _shared(np.array(was.counts), between(was.edges, numbers(extra[new], "number")))
    if was.kind == "category" and len(was.levels) > 2:
        now = levels(extra[new])
        names = [*was.levels, *(level for level in now if level not in was.levels)]
        return _shared(np.array([was.levels.get(n, 0) for n in names]), np.array([now.get(n, 0) for n in names]))
    return 0.0


def _shared(one: np.ndarray, other: np.ndarray) -> float:
    """The overlap of two distributions: 1 minus their total variation."""
    if not one.sum() or not other.sum():
        return 0.0
    return float(np.minimum(one / one.sum(), other / other.sum()).sum())


# ---------------------------------------------------------------- what the columns hold


def _retyped(known: Known, seen: Seen, verdict: str) -> Iterator[Finding]:
    """Columns of another type; odd values in columns that kept theirs are told apart."""
    other = {c: _other_type(known, seen, c) for c in seen.features.columns}
    found = {c: said for c, said in other.items() if said}
    if found:
        ends = "Correct the source, or train with what can be read (columns: adapt)." if verdict == "stop" else ""
        said = f"Columns are of another type: {listed((f'{c} ({s})' for c, s in found.items()), width=140)}. {ends}"
        yield _note("data_type", verdict, found, said.strip())
    few = {c: odd for c, odd in seen.odd.items() if c not in found and c in known.used}
    if few:
        items = (
            f"{c} ({shortened(value, 24)!r} in data row {row}, {n:,} in all)" for c, (n, value, row) in few.items()
        )
        said = f"Some values don't fit their column and count as missing: {listed(items, width=140)}."
        yield _note("odd_values", "warn", few, said)


def _other_type(known: Known, seen: Seen, name: str) -> str | None:
    """What is to be said of a column that has changed its type; None of one that has not."""
    kind, now = known.kinds[name], seen.kinds[name]
    if kind in ("number", "date", "boolean"):
        count, example, row = seen.odd.get(name, (0, "", 0))
        there = count + int(seen.features[name].notna().sum())
        if there and count >= RETYPED * there:
            return f"{kind} before, now {shortened(example, 24)!r} in data row {row} and {count:,} of {there:,} values"
        return None
    if now not in ("number", "date", "boolean") or name in known.pinned or _familiar(known, seen, name):
        return None
    return f"{kind} before, now {now}"


def _familiar(known: Known, seen: Seen, name: str) -> bool:
    """Whether the levels are those of before all the same: 1, 2 and 3 were codes then too."""
    was = known.columns.get(name)
    if was is None or not was.levels:
        return False
    now = levels(seen.features[name])
    rows = max(1, sum(now.values()))
    usual = sum(was.levels.values()) / max(1, was.rows - was.missing)
    return sum(n for level, n in now.items() if level in was.levels) >= 0.5 * usual * rows


def _empty(known: Known, seen: Seen) -> Iterator[Finding]:
    there = seen.features.columns[seen.features.isna().all().to_numpy()] if len(seen.features) else []
    names = [str(c) for c in there if c not in seen.odd and _was_filled(known.columns.get(str(c)))]
    if names:
        said = f"Columns that held values hold none now: {listed(names, width=60)}. Is their source broken?"
        yield _note("completeness", "warn", names, said)


def _was_filled(was: Column | None) -> bool:
    return was is None or was.missing < was.rows


def _levels(known: Known, seen: Seen) -> Iterator[Finding]:
    """Levels that the training table did not hold, of columns whose levels are all known."""
    new: dict[str, dict[str, int]] = {}
    for name, was in known.columns.items():
        if was.kind == "category" and was.whole and was.levels and name in seen.features:
            fresh = {k: n for k, n in levels(seen.features[name]).items() if k not in was.levels}
            new |= {name: fresh} if fresh else {}
    if new:
        items = listed((f"{c} ({_counted(fresh)})" for c, fresh in new.items()), width=140)
        said = f"Categories hold levels that the champion never saw, and reads as missing: {items}."
        yield _note("categorical_values", "warn", new, said)


def _counted(found: Mapping[str, int]) -> str:
    return listed((f"{shortened(level, 24)!r} in {n:,} rows" for level, n in found.items()), 3, 60)


def _range(known: Known, seen: Seen) -> Iterator[Finding]:
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
            yield _note(
                "range", verdict, chosen, f"Numbers out of the range trained on: {listed(chosen.values(), width=140)}."
            )


_VERDICTS: tuple[tuple[str, Callable[[float], bool]], ...] = (
    ("warn", lambda share: share >= OUTSIDE),
    ("pass", lambda share: share < OUTSIDE),
)


def _classes(known: Known, seen: Seen) -> Iterator[Finding]:
    """Labels that came or went; a target of numbers that is none any more."""
    if known.target in seen.odd:
        count, example, row = seen.odd[known.target]
        said = (
            f"The target {shortened(known.target, 60)!r} was a number, now {shortened(example, 24)!r} in data row {row}"
        )
        yield _note("data_type", "stop", [known.target], f"{said} ({count:,} such values). Correct it.")
    if seen.labels is None or not known.classes:
        return
    mine = {label(c) for c in known.classes}
    new = {k: n for k, n in seen.labels.items() if label(k) not in mine}
    gone = [c for c in known.classes if label(c) not in {label(k) for k in seen.labels}]
    if new:
        said = f"The target holds classes that the champion can't predict: {_counted(new)}."
        yield _note("target_classes", "warn", [known.target], said)
    if gone:
        said = f"The target lacks classes that the champion knows: {listed(gone)}."
        yield _note("target_classes", "warn", [known.target], said)


def label(value: object) -> str:
    """A label as text that is the same for 1, 1.0 and "1", for True and "true"."""
    text = str(value).strip()
    if text.casefold() in ("true", "false"):
        return text.casefold()
    try:
        return f"{float(text):.15g}"
    except ValueError:
        return text


def labels(values: Sequence[Any] | pd.Series) -> dict[str, int]:
    """The labels in a column and their rows, most frequent first; nothing for missing ones."""
    return {str(k): int(n) for k, n in pd.Series(values).dropna().astype(str).value_counts().items()}
