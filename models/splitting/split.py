"""How rows are divided: one plan, made once from the table and the settings, and kept to at every level.

Nothing here looks at more than the rows it is given: how a part is divided depends on that part's rows alone (their
keys, strata and times, by order of appearance), on the seed and on the place in the run. Inner splits are cut along the
outer folds where that can be, so that folds share fits; else each fold's training rows are divided anew.
Randomness is a hash, not a generator, so that platforms and library versions agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.config import Run
from models.data.table import Finding, Table
from models.errors import InputError, join_names
from models.splitting.repeats import UnitDecision, decide_unit, encode_units, make_point_keys
from models.splitting.seal import Kind, digest_values, mix_bits

Rows = np.ndarray
Pair = tuple[np.ndarray, np.ndarray]
Part = tuple[str | int, ...]
"""Names training rows of a fold: all, or those of an inner split."""

ALL = "all"
"""Name of the fold that trains on all work rows and judges none."""
LEAST = 4
"""A class with fewer keys than this stays in every training part."""
INNER_SHARE = 0.2
"""What the one inner split holds out, where there is one."""
STOP_SHARE = 0.15
"""What early stopping holds out of a training part."""
_GREEDY = 4000
"""Groups placed one by one, the largest first; the many small ones after them are dealt in turn."""
_SLICES = 4
"""One in so many of the groups known from before is judged in a window of a grouped and time-ordered plan."""
_MET_IN = 3
"""A class is in so many folds at least, where it has so many keys: what is fitted without two of them still has it."""


class UndividedRowsError(InputError):
    """Rows that can't be divided any further."""


@dataclass(frozen=True)
class SplitPlan:
    """What must not be separated, what must be spread evenly, and what must come first."""

    kind: Kind
    keys: np.ndarray
    """A code per row: rows with equal codes are never on two sides. Groups, points (rows with equal features), else all
    different."""
    strata: np.ndarray | None
    """Class codes, or fifths of a numeric target."""
    time: np.ndarray | None
    gap: int
    seed: int
    labels: bool = True
    """Whether strata are classes, which must not be missing in training, or fifths, which may."""
    known: np.ndarray | None = None
    """For each row the latest time whose targets are known when it is forecast: what judges it trains on no later
    ones. None: on all that are earlier."""

    def divide(self, rows: Rows, count: int, *salt: object) -> list[Pair]:
        """(train, judge) row numbers, sorted: at most `count` pairs, as many as `most_folds` allows.

        Random and grouped plans judge every row once, but for rare classes, which always train. Time plans walk
        forward: the first pair trains on 2 of count + 2 equal windows and judges the third, and so on.
        """
        rows = np.sort(rows)
        if self.time is not None:
            pairs = list(_walk_forward(self, rows, count, salt))
        else:
            count = self.count_folds(rows, count)[0]
            assignment = _assign_folds(self, rows, count, salt) if count else rows
            pairs = [(rows[assignment != k], rows[assignment == k]) for k in range(count)]
        if not pairs:
            raise UndividedRowsError(f"{len(rows):,} rows can't be divided by {self._count_units(rows)}.")
        return pairs

    def hold_out(self, rows: Rows, share: float, *salt: object) -> Pair:
        """(train, held out) row numbers, sorted, with about `share` (up to a half) held out. Where nothing may be
        separated, the second part is empty."""
        rows = np.sort(rows)
        if self.time is not None:
            pairs = list(_walk_forward(self, rows, 1, salt, share))
            return pairs[0] if pairs else (rows, rows[:0])
        assignment = _assign_folds(self, rows, max(2, round(1 / share)), salt)
        judged = _choose_held_out(self, rows, assignment, share)
        return rows[~judged], rows[judged]

    def count_folds(self, rows: Rows, wanted: int) -> tuple[int, tuple[int, ...]]:
        """How many of the wanted folds the rows allow, and the codes of the classes too rare to be judged.

        Folds shrink to the smallest class with at least four keys. Where fewer than two classes have four, a class
        of two or three keys is judged as well: a fold with one class would measure nothing.
        """
        if self.time is not None:
            return len(list(_walk_forward(self, np.sort(rows), wanted, ()))), ()
        part = _KeyedRows.of(self, np.sort(rows))
        free = int((~part.always).sum())
        judged = part.counts[~part.rare & (part.counts > 1)] if self.labels else part.counts[:0]
        count = int(judged.min(initial=min(wanted, free)))
        return (count if count >= 2 else 0), tuple(int(c) for c in part.classes[part.rare])

    def _count_units(self, rows: Rows) -> str:
        """What the rows are divided by, and how many different ones there are."""
        keys = f"{len(np.unique(self.keys[rows])):,}"
        times = "" if self.time is None else f"{len(np.unique(self.time[rows])):,} different times"
        gap = f" and a gap of {self.gap:,} rows" if self.gap else " and a horizon" if self.known is not None else ""
        return {
            "random": f"their classes: {keys} of them are no copies of others",
            "group": f"groups: there are {keys}",
            "time": f"time: there are {times}{gap}",
            "group_time": f"groups and time: there are {keys} groups and {times}{gap}",
        }[self.kind]


def _draw_noise(plan: SplitPlan, size: int, salt: tuple[object, ...]) -> np.ndarray:
    """A number per position, drawn by hash from the plan's seed and the salt."""
    start = np.uint64(digest_values(plan.seed, *salt))
    return mix_bits(np.arange(size, dtype=np.uint64) ^ mix_bits(np.full(1, start)))


# --- Random and grouped plans ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _KeyedRows:
    """Some rows seen as keys and classes, both numbered by what occurs in these rows alone."""

    key: np.ndarray
    """Key number of each row, by first appearance."""
    size: np.ndarray
    """Rows of each key."""
    stratum: np.ndarray
    """Stratum number of each row."""
    rarest: np.ndarray
    """For each key the stratum number that fewest keys hold, of those of its rows."""
    classes: np.ndarray
    """Stratum number -> the plan's code."""
    counts: np.ndarray
    """Keys that hold each stratum."""
    rare: np.ndarray
    """Strata that stay in training."""
    always: np.ndarray
    """Keys that stay in training, since they hold a rare class."""
    mixed: bool
    """Whether some key holds several strata."""

    @staticmethod
    def of(plan: SplitPlan, rows: Rows) -> _KeyedRows:
        key, distinct = pd.factorize(plan.keys[rows])
        size = np.bincount(key, minlength=len(distinct))
        strata = np.zeros(len(rows), np.int64) if plan.strata is None else plan.strata[rows]
        classes, stratum = np.unique(strata, return_inverse=True)
        owner, pair_strata = np.divmod(np.unique(key * len(classes) + stratum), len(classes))
        counts = np.bincount(pair_strata, minlength=len(classes))
        order = np.lexsort((pair_strata, counts[pair_strata], owner))
        rarest = pair_strata[order[np.unique(owner, return_index=True)[1]]]
        rare, always = np.zeros(len(classes), bool), np.zeros(len(distinct), bool)
        for least in (LEAST, 2) if plan.labels and plan.strata is not None else ():
            scarce = counts < least
            train_keys = np.isin(np.arange(len(distinct)), owner[scarce[pair_strata]])
            several = least == 2 or (~scarce).sum() >= min(2, len(classes))
            # Large groups that hold a few rows of a rare class each: were all kept back, nothing would be judged.
            if several and train_keys.sum() * 2 <= len(distinct):
                rare, always = scarce, train_keys
                break
        return _KeyedRows(key, size, stratum, rarest, classes, counts, rare, always, len(owner) > len(size))


def _assign_folds(plan: SplitPlan, rows: Rows, count: int, salt: tuple[object, ...]) -> np.ndarray:
    """The fold that judges each row; -1 for rows that always train."""
    part = _KeyedRows.of(plan, rows)
    noise = _draw_noise(plan, len(part.size), salt)
    assignment = np.full(len(part.size), -1)
    if plan.kind == "group":
        _spread_groups(part, noise, count, assignment)
    else:
        order = np.lexsort((noise, -part.size, part.rarest))
        _deal_keys(order[~part.always[order]], count, assignment)
    if part.mixed:
        _mend_folds(part, assignment, count)
    return assignment[part.key]


def _deal_keys(order: np.ndarray, count: int, assignment: np.ndarray) -> None:
    """Deals the keys in turn. Since the deal goes on from stratum to stratum, folds differ by one key in each stratum
    and by one in all."""
    assignment[order] = np.arange(len(order)) % max(1, count)


def _spread_groups(part: _KeyedRows, noise: np.ndarray, count: int, assignment: np.ndarray) -> None:
    """Places groups, the largest first, where they add least to the sum of squared class shares and sizes, as
    scikit-learn's StratifiedGroupKFold does in spirit."""
    width, table = len(part.classes), _count_by_key(part)
    shares = np.column_stack([table, part.size])
    shares = shares / np.maximum(shares[~part.always].sum(axis=0), 1)
    order = np.lexsort((noise, -part.size))
    order = order[~part.always[order]]
    load = np.zeros((count, width + 1))
    for group in order[:_GREEDY]:
        fold = int(np.argmin(load @ shares[group]))
        load[fold] += shares[group]
        assignment[group] = fold
    rest = order[_GREEDY:]
    _deal_keys(rest[np.lexsort((noise[rest], -part.size[rest], part.rarest[rest]))], count, assignment)


def _count_by_key(part: _KeyedRows) -> np.ndarray:
    """Rows of each key (down) in each stratum (across)."""
    width = len(part.classes)
    return np.bincount(part.key * width + part.stratum, minlength=len(part.size) * width).reshape(-1, width)


def _mend_folds(part: _KeyedRows, assignment: np.ndarray, count: int) -> None:
    """Moves keys of each class whose keys fell into too few folds, so that every training part has the class."""
    table = _count_by_key(part)
    for c in np.flatnonzero(~part.rare & (part.counts >= 2)):
        owners = np.flatnonzero((table[:, c] > 0) & (assignment >= 0))
        for _ in range(min(_MET_IN, count, len(owners)) - len(np.unique(assignment[owners]))):
            _spread_class(assignment, owners, part.size, count)


def _spread_class(assignment: np.ndarray, owners: np.ndarray, sizes: np.ndarray, count: int) -> None:
    """Moves the smallest key of the fold that has most of the class's keys to the next fold that has none."""
    held = np.bincount(assignment[owners], minlength=count)
    fullest = int(np.argmax(held))
    candidates = owners[assignment[owners] == fullest]
    empty = next((fullest + step) % count for step in range(1, count) if not held[(fullest + step) % count])
    assignment[candidates[np.argmin(sizes[candidates])]] = empty


def _choose_held_out(plan: SplitPlan, rows: Rows, assignment: np.ndarray, share: float) -> np.ndarray:
    """The rows of that part which has most of the classes and is nearest to the share; none if all rows are one."""
    parts = np.unique(assignment[assignment >= 0])
    if len(parts) == 0 or len(np.unique(assignment)) < 2:
        return np.zeros(len(rows), bool)
    strata = assignment * 0 if plan.strata is None else plan.strata[rows]
    sizes = {k: ((assignment == k).sum(), len(np.unique(strata[assignment == k]))) for k in parts}
    best = min(parts, key=lambda k: (-sizes[k][1], abs(sizes[k][0] - share * len(rows))))
    return assignment == best


# --- Time plans ------------------------------------------------------------------------------------------------------


def _walk_forward(
    plan: SplitPlan, rows: Rows, count: int, salt: tuple[object, ...], share: float | None = None
) -> Iterator[Pair]:
    """Pairs of earlier rows and a later window, cut between two instants; rows of `gap` places before it left out, and
    those whose targets are not known yet when the window's first row is forecast.

    No key is on both sides: training rows with a key of the window are left out. In grouped plans a window judges all
    groups that are new and a rotating quarter (or one in `count`) of those known from before: were all of them
    judged, stores that are there from the first day to the last would leave nothing to train on.
    """
    if plan.time is None or not len(rows):
        return
    ordered = rows[np.argsort(plan.time[rows], kind="stable")]
    times = plan.time[ordered]
    known = None if plan.known is None else plan.known[ordered]
    starts = _find_window_starts(times, count, plan.gap, known, share)
    ends = [*starts[1:], len(ordered)]
    for turn, (start, end) in enumerate(zip(starts, ends, strict=False)):
        cut = np.searchsorted(times, times[start - plan.gap]) if plan.gap else start
        cut = cut if known is None else min(cut, np.searchsorted(times, known[start], "right"))
        train, judge = ordered[:cut], ordered[start:end]
        if plan.kind == "group_time":
            judge = _take_window_rows(plan, train, judge, turn, max(count, _SLICES), salt)
        train = train[~np.isin(plan.keys[train], plan.keys[judge])]
        if len(train) and len(judge):
            yield np.sort(train), np.sort(judge)


def _find_window_starts(
    times: np.ndarray, count: int, gap: int, known: np.ndarray | None, share: float | None
) -> list[int]:
    """Where windows begin in sorted times: the instants nearest to even windows that leave something before them."""
    begins = np.flatnonzero(np.diff(times)) + 1
    begins = begins[begins > gap]
    begins = begins[times[begins - gap] > times[0]]
    begins = begins if known is None else begins[known[begins] >= times[0]]
    if not len(begins):
        return []
    size = len(times)
    targets = np.array([size * (1 - share)]) if share else size * np.arange(2, count + 2) / (count + 2)
    right = np.searchsorted(begins, targets).clip(0, len(begins) - 1)
    left = (right - 1).clip(0)
    nearest = np.where(targets - begins[left] <= begins[right] - targets, left, right)
    return [int(begins[i]) for i in np.unique(nearest)]


def _take_window_rows(
    plan: SplitPlan, train: Rows, judge: Rows, turn: int, slices: int, salt: tuple[object, ...]
) -> Rows:
    """The window's rows of new groups and of this turn's slice of known ones."""
    groups = pd.unique(plan.keys[np.concatenate([train, judge])])
    known = np.isin(groups, plan.keys[train]) & np.isin(groups, plan.keys[judge])
    ranked = groups[known][np.argsort(_draw_noise(plan, len(groups), salt)[known], kind="stable")]
    take = min(max(1, len(ranked) // slices), len(ranked) - 1) if len(ranked) else 0
    resting = np.delete(ranked, (turn * take + np.arange(take)) % max(1, len(ranked)))
    return judge[~np.isin(plan.keys[judge], resting)]


# --- The plan of a table ---------------------------------------------------------------------------------------------


def make_split_plan(
    table: Table, run: Run, repeats: UnitDecision | None = None
) -> tuple[SplitPlan, tuple[Finding, ...]]:
    """The plan that the table and the settings ask for, and what was decided on the way; `repeats` where the unit was
    decided before, of a whole table of which these are some rows."""
    repeats = decide_unit(table, run) if repeats is None else repeats
    strata = table.target if table.task != "regression" else _cut_into_fifths(table.target)
    finding = None
    if table.group is not None:
        codes = _encode_groups(table.group)
    else:
        codes = encode_units(make_point_keys(table), repeats)
        finding = _check_copies(codes, repeats)
    known = table.known if run.split.gap is None else None
    gap = run.split.gap or 0
    plan = SplitPlan(
        find_split_kind(table), codes, strata, table.time, gap, run.seed, table.task != "regression", known
    )
    findings = (_check_plan(plan, run), finding, _check_gap(table, run), _find_rare_classes(plan, table, run))
    return plan, tuple(f for f in findings if f is not None)


def _check_gap(table: Table, run: Run) -> Finding | None:
    """A warning where targets that nobody knows yet, a horizon ahead, are trained on all the same."""
    if table.known is None or run.split.gap != 0:
        return None
    sentence = (
        "Rows train whose targets are not known yet when a row is forecast (split.gap is 0): scores look better than "
        "forecasts in use will be. Leave split.gap empty for the gap that the horizon asks for."
    )
    return Finding("gap", "warn", sentence)


def find_split_kind(table: Table) -> Kind:
    """By what the table's rows are divided."""
    if table.time is None:
        return "random" if table.group is None else "group"
    return "time" if table.group is None else "group_time"


def _cut_into_fifths(target: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.quantile(target, [0.2, 0.4, 0.6, 0.8]), target, side="right")


def _encode_groups(group: np.ndarray) -> np.ndarray:
    """Group codes; a row without one (negative) is a group of its own."""
    singles = group < 0
    codes = group.astype(np.int64)
    codes[singles] = codes.max(initial=0) + 1 + np.arange(singles.sum())
    return codes


def _check_copies(codes: np.ndarray, repeats: UnitDecision) -> Finding | None:
    """How rows with equal features are divided; None where none of these are joined, and nothing was asked."""
    if repeats.unit == "row":
        return Finding("copies", "pass", f"Rows with equal features count as separate observations: {repeats.reason}.")
    if len(np.unique(codes)) == len(codes):
        return None
    sentence = "Rows with equal features, whatever their targets, stay together on one side of every split"
    return Finding("copies", "pass", f"{sentence}: {repeats.reason}.")


def _check_plan(plan: SplitPlan, run: Run) -> Finding:
    sentences = {
        "random": "Rows are divided at random, with about the same share of each class (or of low and high targets) in "
        "every part.",
        "group": f"Rows are divided by {run.split.group!r}: no group is on both sides of a split.",
        "time": f"Rows are divided by {run.split.time!r}: earlier rows train, later rows judge, in every split.",
        "group_time": f"Rows are divided by {run.split.time!r}: earlier rows train, later rows judge, and no "
        f"{run.split.group!r} is on both sides of a split. Each window of later rows judges groups that are new in it, "
        "and some of the known ones in turn.",
    }
    groups = len(np.unique(plan.keys))
    if plan.kind in ("group", "group_time") and groups < 3:
        message = f"{run.split.group!r} has {groups} groups; at least 3 are needed to train, to choose and to judge."
        return Finding("split_plan", "stop", message, (str(run.split.group),))
    return Finding("split_plan", "pass", sentences[plan.kind])


def _find_rare_classes(plan: SplitPlan, table: Table, run: Run) -> Finding | None:
    if not table.classes or plan.time is not None:
        return None
    _, rare = plan.count_folds(np.arange(table.rows), run.split.outer or 5)
    if not rare:
        return None
    unit = "groups" if plan.kind == "group" else "rows"
    labels = join_names(table.classes[c] for c in rare)
    message = f"These classes have too few {unit} to be judged, so they only train: {labels}."
    return Finding("rare_classes", "warn", message)


# --- All folds of a run ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fold:
    """One outer fold, or all work rows with nothing to judge."""

    name: str
    """`1` to `K`, or `all`."""
    train: np.ndarray
    judge: np.ndarray
    inner: tuple[Pair, ...]
    """(train, validation) row numbers into the table."""
    stops: tuple[Pair, ...]
    """For each inner training part (fit, stop) rows for early stopping; no stop rows where none may be separated."""
    partners: tuple[str, ...] = ()
    """For each inner split the outer fold whose B_j are its validation rows: a fit of that split, which has seen
    neither fold's rows, is that fold's too. Empty where inner splits are this fold's own."""

    def identify_part(self, inner: int | None) -> Part:
        """Names the rows that a fit is trained on, the same for both folds that share it; None: all of A_k."""
        if inner is None:
            return self.name, "refit"
        return tuple(sorted((self.name, self.partners[inner]), key=int)) if self.partners else (self.name, inner)


def build_folds(plan: SplitPlan, work_rows: Rows, outer: int, inner: int, with_all: bool) -> tuple[Fold, ...]:
    """The outer folds with their inner splits and stops; `outer=0`: only `all`; `inner=1`: one split each."""
    work = np.sort(work_rows)
    pairs = plan.divide(work, outer, "outer") if outer else []
    folds = _build_sharing_folds(plan, pairs, inner) if plan.time is None else []
    folds = folds or [_build_fold(plan, str(k), train, judge, inner) for k, (train, judge) in enumerate(pairs, 1)]
    if with_all or not outer:
        folds.append(_build_fold(plan, ALL, work, work[:0], inner))
    return tuple(folds)


def _build_fold(plan: SplitPlan, name: str, train: Rows, judge: Rows, inner: int) -> Fold:
    single = inner == 1
    pairs = [plan.hold_out(train, INNER_SHARE, name)] if single else plan.divide(train, inner, "inner", name)
    if not len(pairs[0][1]):
        raise UndividedRowsError(f"Fold {name} has {len(train):,} training rows, which can't be divided any further.")
    stops = [_split_stop_rows(plan, part, name, j) for j, (part, _) in enumerate(pairs)]
    return Fold(name, train, judge, tuple(pairs), tuple(stops))


def shares_fits(outer: int, inner: int) -> bool:
    """Whether so many outer folds can be each other's inner ones, each fold with the same number of others."""
    return 2 <= inner < outer and (inner == outer - 1 or inner % 2 == 0)


def list_partners(outer: int, inner: int) -> list[list[int]]:
    """For each outer fold, 0 to K-1, the other folds that are its inner ones, `inner` of them, mutually.

    In such an order that the first inner splits are shared as well as may be: a configuration that is stopped after one
    of them costs few fits. So the pairs come in rounds, as in a tournament in which nobody plays twice in a round."""
    pairs = [(k, (k + d) % outer) for d in range(1, outer) for k in range(outer) if min(d, outer - d) * 2 <= inner + 1]
    rest = sorted({(min(pair), max(pair)) for pair in pairs}, key=lambda pair: ((pair[0] + pair[1]) % outer, pair))
    partners: list[list[int]] = [[] for _ in range(outer)]
    while rest:
        busy: set[int] = set()
        for a, b in list(rest):
            if not busy & {a, b}:
                busy |= {a, b}
                rest.remove((a, b))
                partners[a].append(b)
                partners[b].append(a)
    return partners


def _build_sharing_folds(plan: SplitPlan, pairs: list[Pair], inner: int) -> list[Fold]:
    """Outer folds whose inner splits are cut along the outer ones: fold k's validation rows are the B_j of others, and
    what is fitted without B_k and B_j serves both. None where that can't be, or where a class would be missing."""
    if not shares_fits(len(pairs), inner):
        return []
    folds = []
    for k, others in enumerate(list_partners(len(pairs), inner)):
        train, judge = pairs[k]
        splits = tuple((np.setdiff1d(train, pairs[j][1], assume_unique=True), pairs[j][1]) for j in others)
        names = [(min(k, j) + 1, max(k, j) + 1) for j in others]
        stops = tuple(_split_stop_rows(plan, part, *name) for (part, _), name in zip(splits, names, strict=True))
        folds.append(Fold(str(k + 1), train, judge, splits, stops, tuple(str(j + 1) for j in others)))
    return folds if all(_has_every_class(plan, fold) for fold in folds) else []


def _has_every_class(plan: SplitPlan, fold: Fold) -> bool:
    """Whether each inner training part has the classes that the fold's training rows have."""
    if not plan.labels or plan.strata is None:
        return True
    count = len(np.unique(plan.strata[fold.train]))
    return all(len(np.unique(plan.strata[part])) == count for part, _ in fold.inner)


def _split_stop_rows(plan: SplitPlan, part: Rows, *salt: object) -> Pair:
    """(fit, stop) rows for early stopping; no stop rows where what is left to fit would be of one class alone."""
    fit, stop = plan.hold_out(part, STOP_SHARE, "stop", *salt)
    if plan.labels and plan.strata is not None and len(np.unique(plan.strata[fit])) < 2:
        return part, part[:0]
    return fit, stop
