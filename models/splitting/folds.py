"""The folds of a run: as many as its rows allow, so that every part has what training and judging need; or why there
are none. Nothing is fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from models.config import Run
from models.data.table import Finding, Table
from models.errors import InputError, join_names
from models.metrics import fairness
from models.metrics.fairness import Gap
from models.metrics.metric import Metric
from models.splitting.budget import list_levels, suggest_fold_counts
from models.splitting.division import explain_undefined_metric, is_metric_defined, take_weighted_rows
from models.splitting.seal import choose_seal, mark_sealed_rows, mark_work_rows
from models.splitting.split import ALL, Fold, SplitPlan, UndividedRowsError, build_folds
from models.text.safe import shorten
from models.tuning.goal import Goal

MOST_TIMES = 40
"""How many different times are tried at most, to say how many would do."""
_GROUPS = 4
"""In fewer groups than these a class may well be missing on one side: one trains, one chooses, one judges, one more."""


@dataclass(frozen=True, eq=False)
class FoldLayout:
    """Folds that can be trained and judged."""

    outer: int
    inner: int
    folds: tuple[Fold, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoldDeficit:
    """What a part of a fold lacks."""

    fold: str
    part: str
    """`train` or `judge`."""
    rows: np.ndarray
    """The part's rows."""
    metric: Metric | None = None
    """The metric that can't be computed on them; None where nothing can be learned from them."""


def list_required_metrics(goal: Goal) -> tuple[Metric, ...]:
    """The metric that rows are judged by, and those of other objectives and limits; gaps between subgroups, which want
    more than rows, are looked at elsewhere."""
    metrics = (
        objective.metric
        for objective in goal.measured
        if objective.metric is not None and not isinstance(objective.metric, Gap)
    )
    return (goal.metric, *metrics)


def includes_refit(run: Run) -> bool:
    """Whether a search on all work rows is part of the plan: what is delivered is then one pipeline."""
    if run.final.deliver == "auto":
        return run.split.time is not None or run.final.rows == "all" or run.lean
    return run.final.deliver == "refit"


def choose_folds(work: Table, plan: SplitPlan, run: Run, metrics: Sequence[Metric], whole: Table) -> FoldLayout:
    """The folds that the user wants or that suit the table's size, or the first fewer ones in which every part has what
    it needs; `whole` is the table with its sealed rows. InputError with the cause where there are none such."""
    start, notes = _choose_start(work, plan, run)
    try:
        layout = make_even_folds(work, plan, run, metrics, whole, *start)
    except InputError as error:
        return _try_fewer_folds(error, start, work, plan, run, metrics, whole)
    if run.split.inner and layout.inner < run.split.inner:
        notes = (*notes, f"{_describe_fold_count(layout.inner, 'inner')}: {_describe_limit(plan)} allow no more.")
    return replace(layout, notes=notes)


def _try_fewer_folds(
    error: InputError, start: tuple[int, int], work: Table, plan: SplitPlan, run: Run, metrics: Sequence[Metric],
    whole: Table,
) -> FoldLayout:  # fmt: skip
    """Fewer folds than `start`, where those would do; the error where none would, or the user fixed their number."""
    for outer, inner in _list_fewer_folds(start, plan):
        try:
            layout = make_even_folds(work, plan, run, metrics, whole, outer, inner)
        except InputError:
            continue
        split = run.split
        if (split.outer or layout.outer, split.inner or layout.inner) != (layout.outer, layout.inner):
            raise InputError(f"{error} Fewer folds would do: --outer {layout.outer} --inner {layout.inner}.") from None
        note = (
            f"{layout.outer} outer x {layout.inner} inner folds instead of {start[0]} x {start[1]}: with more of them "
            "some part would have nothing to learn from, or nothing to be judged by."
        )
        return replace(layout, notes=(note,))
    raise error


def make_even_folds(
    work: Table, plan: SplitPlan, run: Run, metrics: Sequence[Metric], whole: Table, outer: int, inner: int
) -> FoldLayout:  # fmt: skip
    """So many outer folds, each with as many inner ones; fewer of these where some fold allows no more. InputError with
    the cause where some part lacks what it needs."""
    rows, with_all = np.arange(work.rows), includes_refit(run) or not outer
    try:
        folds = build_folds(plan, rows, outer, inner, with_all)
        most = min(len(fold.inner) for fold in folds)
        if most < inner:
            folds = build_folds(plan, rows, outer, most, with_all)
    except UndividedRowsError as error:
        raise InputError(_explain_undivided(error, plan, run, whole)) from None
    _refuse_incomplete_bag(work, folds)
    deficits = list(_find_deficits(work, metrics, folds))
    if deficits:
        raise InputError(_explain_deficits(work, plan, deficits, folds))
    judging = sum(fold.name != ALL for fold in folds)
    return FoldLayout(judging, min(inner, most), folds)


def _choose_start(work: Table, plan: SplitPlan, run: Run) -> tuple[tuple[int, int], tuple[str, ...]]:
    """(outer, inner) to begin with: what the user wants, or what suits the table's size; outer at most what the
    smallest class, the groups or the times allow."""
    suggestion, inner = suggest_fold_counts(work.rows, run.split)
    outer, _ = plan.count_folds(np.arange(work.rows), suggestion)
    if outer < 5 and not run.split.inner:
        inner = min(inner, max(2, outer - 1))
    notes = (
        (f"{_describe_fold_count(outer, 'outer')}: {_describe_limit(plan)} allow no more.",)
        if outer < suggestion
        else ()
    )
    return (outer, inner), notes


def _describe_fold_count(folds: int, kind: str) -> str:
    return f"{folds or 'No'} {kind} fold{'s' * (folds != 1)}"


def _describe_limit(plan: SplitPlan) -> str:
    return {
        "random": "the rows of the smallest class",
        "group": "the groups, or those that hold the smallest class,",
        "time": "the different times",
        "group_time": "the groups and times",
    }[plan.kind]


def _list_fewer_folds(start: tuple[int, int], plan: SplitPlan) -> list[tuple[int, int]]:
    """Fewer folds than at the start, the most first; with an outer loop."""
    levels = (*list_levels(plan.time is not None), (2, 1), *([(1, 1)] if plan.time is not None else []))
    return [(k, j) for k, j in levels if 0 < k <= start[0] and j <= start[1] and (k, j) != start]


# --- What parts lack -------------------------------------------------------------------------------------------------


def _find_deficits(work: Table, metrics: Sequence[Metric], folds: Sequence[Fold]) -> Iterator[FoldDeficit]:
    """The parts of the search that can't be trained on or judged by; the outer parts where none can be judged by."""
    for fold in folds:
        for train, judge in fold.inner:
            if not _can_learn_from(work, train):
                yield FoldDeficit(fold.name, "train", train)
            for metric in metrics:
                if not is_metric_defined(work, metric, judge):
                    yield FoldDeficit(fold.name, "judge", judge, metric)
    outer = [fold for fold in folds if fold.name != ALL]
    if outer and not any(is_metric_defined(work, metrics[0], fold.judge) for fold in outer):
        yield from (FoldDeficit(fold.name, "judge", fold.judge, metrics[0]) for fold in outer)


def _can_learn_from(work: Table, rows: np.ndarray) -> bool:
    """Whether there is something to learn from these rows: weights, and two classes."""
    counted = take_weighted_rows(work, rows)
    return len(np.unique(work.target[counted])) > 1 if work.classes else len(counted) > 0


def find_unjudged_folds(work: Table, metric: Metric, folds: Sequence[Fold]) -> tuple[Finding, ...]:
    """A warning where some outer folds can't be judged."""
    reasons = {
        f.name: reason for f in folds if f.name != ALL and (reason := explain_undefined_metric(work, metric, f.judge))
    }
    if not reasons:
        return ()
    cause = next(iter(reasons.values()))
    sentence = f"In fold {join_names(reasons)} {cause}, so the estimate rests on the other outer folds."
    return (Finding("split_plan", "warn", sentence),)


def _refuse_incomplete_bag(work: Table, folds: Sequence[Fold]) -> None:
    """InputError where a bag is to be delivered, and the training rows of every fold lack a class."""
    classes = set(range(len(work.classes)))
    if not classes or any(fold.name == ALL for fold in folds):
        return
    deficits = [classes - set(work.target[fold.train].tolist()) for fold in folds]
    if all(deficits):
        labels = join_names([work.classes[code] for code in sorted(set.union(*deficits))])
        raise InputError(
            f"In every fold the training rows lack at least one of these targets: {labels}. So no model of a bag would "
            "know them all. Deliver one model fitted on all work rows instead: --deliver refit."
        )


def refuse_small_subgroups(work: Table, folds: Sequence[Fold], goal: Goal) -> None:
    """InputError where some part that judges is too small for the subgroups that are compared."""
    parts = [rows for f in folds for rows in (f.judge, *(judge for _, judge in f.inner)) if len(rows)]
    for objective in goal.measured:
        if not isinstance(objective.metric, Gap) or work.subgroups is None:
            continue
        groups = fairness.encode_subgroups(work.subgroups[objective.column])
        for rows in parts:
            if not fairness.has_comparable_subgroups(groups[rows], work.target[rows], objective.metric.by_class):
                raise InputError(
                    f"{objective.name} can't be measured: a part of {len(rows):,} judging rows holds no two subgroups "
                    "with "
                    f"{fairness.LEAST} rows each{' of one class' * objective.metric.by_class}. Give more rows, fewer "
                    "folds "
                    "(--outer, --inner), or a column of fewer values."
                )


# --- Why -------------------------------------------------------------------------------------------------------------


def _explain_deficits(work: Table, plan: SplitPlan, deficits: Sequence[FoldDeficit], folds: Sequence[Fold]) -> str:
    """Why parts lack something: that which most folds suffer from."""
    struck = {part: {deficit.fold for deficit in deficits if deficit.part == part} for part in ("train", "judge")}
    part = max(struck, key=lambda name: len(struck[name]))
    part_deficits = [deficit for deficit in deficits if deficit.part == part]
    absent = Counter(code for deficit in part_deficits for code in _list_absent_classes(work, deficit.rows))
    top, metric = part_deficits[0], part_deficits[0].metric
    if not len(take_weighted_rows(work, top.rows)):
        return (
            f"In fold {top.fold} all {len(top.rows):,} rows that {part} weigh 0, so they count for nothing. Give more "
            "rows a weight above 0, or leave out those of weight 0."
        )
    if not absent:
        assert metric is not None
        return (
            f"In fold {top.fold} {explain_undefined_metric(work, metric, top.rows)}. Choose another metric (--metric)."
        )
    everywhere = struck[part] >= {f.name for f in folds if f.name != ALL}
    where = "no part" if everywhere else f"in fold {top.fold} not every part"
    does = "trains on it" if metric is None else f"that judges holds it, and {metric.name} needs it there"
    place, advice = _describe_class_place(work, plan, absent.most_common(1)[0][0], part)
    return f"{place}, so {where} {does}. {advice}"


def _list_absent_classes(work: Table, rows: np.ndarray) -> list[int]:
    """The classes that these rows lack, as far as they weigh more than 0."""
    codes = set(work.target[take_weighted_rows(work, rows)].tolist())
    return [code for code in range(len(work.classes)) if code not in codes]


def _describe_class_place(work: Table, plan: SplitPlan, code: int, part: str) -> tuple[str, str]:
    """Where the rows of a class stand, so that parts lack it (`Class new stands only after 2024-05-31`), and what to
    do."""
    name = f"class {shorten(work.classes[code], 30)}"
    rows = take_weighted_rows(work, np.flatnonzero(work.target == code))
    if not len(rows):
        return f"All rows of {name} weigh 0", "Give them weights above 0, or leave the class out."
    subject = name[0].upper() + name[1:]
    mask = np.isin(np.arange(work.rows), rows)
    groups = len(np.unique(plan.keys[mask]))
    if plan.kind in ("group", "group_time") and groups < _GROUPS:
        clause = "is in one group alone" if groups == 1 else f"is in {groups} groups only"
        return f"{subject} {clause}", "Give rows of it in more groups, or divide without --group."
    if plan.time is not None:
        return (
            f"{subject} {_describe_class_times(plan.time, mask, part)}",
            "Give rows of it at other times, or divide without --time.",
        )
    count = "one row" if len(rows) == 1 else f"{len(rows):,} rows"
    return f"{subject} has {count} beside the sealed ones", "Give more rows of it, or leave the class out."


def _describe_class_times(time: np.ndarray, mask: np.ndarray, part: str) -> str:
    """When a class's rows stand, told by the rows before them where training lacks it, by those after them else."""
    earlier, later = time[time < time[mask].min()], time[time > time[mask].max()]
    if part == "train" and len(earlier):
        return f"stands only after {format_instant(earlier.max())}"
    if part == "judge" and len(later):
        return f"stands only before {format_instant(later.min())}"
    return f"stands at {len(np.unique(time[mask])):,} of {len(np.unique(time)):,} different times"


def format_instant(value: np.generic) -> str:
    """A time as a table has it: `2024-05-31`, with the time of day where it has one, or a number."""
    if value.dtype.kind == "f":
        return f"{float(value):.10g}"
    moment = pd.Timestamp(int(value), unit="us")
    return str(moment.date()) if moment == moment.normalize() else str(moment)


def _explain_undivided(error: UndividedRowsError, plan: SplitPlan, run: Run, whole: Table) -> str:
    """Why rows can't be divided into folds."""
    times = 0 if whole.time is None else len(np.unique(whole.time))
    if plan.known is not None:
        return f"{error} Shorten --horizon, or give a longer table."
    needed = _count_needed_times(whole.rows, times, run) if plan.kind == "time" else None
    if needed is None:
        return str(error)
    return (
        f"{times:,} different times in {whole.rows:,} rows; {needed} are needed: the earliest rows train, later ones "
        "choose, later ones judge, and the latest are sealed. Give times more exactly, rows of more times, or divide "
        "without --time."
    )


def _count_needed_times(size: int, times: int, run: Run) -> int | None:
    """How many different times would do, more than there are, were so many rows spread evenly over them; None where no
    number would."""
    rows, gap = np.arange(size, dtype=np.uint64), run.split.gap or 0
    for count in range(times + 1, MOST_TIMES):
        time = np.arange(size) * count // size
        seal, _ = choose_seal(rows, None, "time", share=run.split.sealed, time=time)
        sealed = np.zeros(size, bool) if seal is None else mark_sealed_rows(seal, rows, time)
        work = np.flatnonzero(mark_work_rows(sealed, rows, time, gap))
        plan = SplitPlan("time", np.arange(len(work)), None, time[work], gap, run.seed)
        if len(work) and any(
            _can_divide(plan, *level) for level in _list_fewer_folds(suggest_fold_counts(len(work), run.split), plan)
        ):
            return count
    return None


def _can_divide(plan: SplitPlan, outer: int, inner: int) -> bool:
    try:
        build_folds(plan, np.arange(len(plan.keys)), outer, inner, True)
    except UndividedRowsError:
        return False
    return True
