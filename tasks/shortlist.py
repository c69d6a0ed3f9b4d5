"""Which families suit this table within this budget, and a sentence for each that is left out; and with them the plan:
how many folds, decided once from the table's shape and the seconds of the first default fits, before any score is
seen."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from models import fairness
from models.class_weight import class_weights
from models.columns import many_levels
from models.config import Run
from models.errors import BudgetError, InputError, listed, unknown
from models.families import Family, Shape, families, family, usable
from models.metric import Metric, metric_for
from models.nested import Study
from models.objectives import goal_for
from models.outcome import How
from models.plan import LEAST_TRIALS, REFIT, Level, affordable, first_level, inner_rows
from models.search import strategies, strategy
from models.space import view_of
from models.split import Fold, layout
from models.table import Table
from models.tails import skewed
from tasks import fit, progress
from tasks.brief import Brief, Fit
from tasks.session import Session
from tasks.tune import SEARCH, default_job, study_of
from tasks.warm import warm_up
from tasks.workers import FitError

ALL = "all"
"""Name of the search on all work rows."""

_SHARE = 0.85
"""Share of the cores that fits get; the rest is the driver's, Prefect's and MLflow's."""

_WARM = 1.0
"""Seconds of first fits beside which what libraries load late does not matter."""

_DECLARED = 0.2
"""A family whose declared cost of one fit is over this share of the time is left out unseen: cautious, since a declared
cost is an order of magnitude; what passes is measured."""

_PROBE_SHARE = 0.12
"""Share of the whole time that one first default fit may take."""

_PROBES_SHARE = 0.25
"""Share of the whole time that all first default fits may take; never less than twice the limit of one."""


def suited(table: Table, run: Run) -> tuple[list[Family], dict[str, str]]:
    """The families that suit the table's task and size, cheapest first, and why the others do not. No fit."""
    _monotone(table, run)
    asked = [usable(name) for name in run.search.families] or list(families().values())
    for name in run.families:
        family(name)
    told = _told(table, run)
    _searchable(told, run)
    shape = told.shape(table.rows, table.features.shape[1])
    inside = replace(shape, rows=inner_rows(table.rows, run.split))
    found = {one.name: _misfit(one, shape, run) or _unsearched(one, inside, told.scorer, run) for one in asked}
    left_out = {name: why for name, why in found.items() if why}
    kept = [f for f in sorted(asked, key=lambda f: (f.cost, f.name)) if f.name not in left_out]
    if not kept:
        reasons = "".join(f"\n  {name}: {why}" for name, why in left_out.items())
        raise InputError(f"No family that was asked for suits this table:{reasons}")
    return kept, left_out


def _monotone(table: Table, run: Run) -> None:
    """InputError where a column that is to be monotone is not there or no number, or the target has several classes."""
    kinds = table.reading.kinds
    for column in run.monotone:
        if column not in kinds:
            raise unknown("column", column, table.kinds)
        if kinds[column] not in ("number", "boolean", "drop"):
            raise InputError(f"{column} can't be monotone: it is a {kinds[column]}, and a number is wanted.")
    if run.monotone and table.task == "multiclass":
        raise InputError("Monotone columns go with two classes or a number: of several classes none can only rise.")


def _misfit(one: Family, shape: Shape, run: Run) -> str:
    """Why the family is not tried on a table of this shape; empty where it is. Who asks for it by name may pay more."""
    named, cells = bool(run.search.families), shape.rows * max(1, shape.columns)
    if one.lack:
        return one.lack
    if not one.safe and not named:
        return "its models can only be pickled: name it to allow that"
    if one.many and not named and not strategy(run.search.strategy).gradient:
        return "it has many hyperparameters: name it, or search by gradient"
    if shape.task not in one.tasks:
        return f"it does not do {shape.task}"
    if shape.loss == "quantile" and "quantile" not in one.losses:
        return "it can't fit a quantile"
    if run.monotone and one.tunable and not one.monotone:
        return "it can't be held to monotone columns"
    if cells > one.most_cells and not named:
        return f"{cells:,} cells are over its {one.most_cells:,.0f}: it would cost too much here"
    if not named and run.seconds is not None and (declared := one.cost * cells / 1e6) > _DECLARED * run.seconds:
        return f"its declared cost, about {declared:,.0f} s for one fit, is too dear for {run.seconds:.0f} s"
    return one.unsuited(shape)


def _unsearched(one: Family, shape: Shape, metric: Metric, run: Run) -> str:
    """Why the search can't search the family's space; empty where it can. InputError for ranges that can't be, and as
    `_refused`."""
    if not one.tunable:
        return ""
    return _refused(one.name, Study(view_of(one, shape, metric, run), ALL, run.search.strategy).unsuited, run)


def _refused(family_name: str, why: str, run: Run) -> str:
    """Why the family is left out by a search that can't search it; empty where it can. InputError where the family was
    asked for by name: then both are wanted, and can't be had."""
    name = run.search.strategy
    if why and run.search.families:
        raise InputError(f"The search {name} can't search {family_name}: {why}.")
    return why and f"the search {name} can't search it: {why}"


def _searched_everywhere(session: Session, level: Level) -> Level:
    """The level without families that can't be searched in some fold: which choices there are may hang on its rows.
    InputError as `_refused`."""
    out = {}
    for name in (n for n in level.families if family(n).tunable):
        why = next((w for fold in session.folds if (w := study_of(session, name, fold).unsuited)), "")
        out |= {name: said} if (said := _refused(name, why, session.run)) else {}
    kept = tuple(name for name in level.families if name not in out)
    return replace(level, families=kept, left_out={**level.left_out, **out})


def _searchable(told: Brief, run: Run) -> None:
    """InputError where several objectives are asked of a search that knows one only."""
    asked, goal = strategy(run.search.strategy), told.goal
    if goal is not None and goal.several and not asked.several and asked.chooses is None:
        able = listed((name for name, one in strategies().items() if one.several or one.chooses is not None), 30)
        names = listed([goal.metric.name, *(o.name for o in goal.beside)])
        raise InputError(f"The search {asked.name} is for one objective, not for {names}. Those that can: {able}.")


def refit_too(run: Run) -> bool:
    """Whether a search on all work rows is part of the plan: what is delivered is then one pipeline."""
    if run.final.deliver == "auto":
        return run.split.time is not None or run.final.rows == "all" or run.lean
    return run.final.deliver == "refit"


def shortlist(session: Session) -> None:
    """Fixes families and folds, writes both down, and says what they are."""
    progress.emit(progress.Stage("shortlist"))
    with session.ledger.stage("shortlist"):
        _shortlist(session)
    _tell(session)


def _shortlist(session: Session) -> None:
    kept, left_out = suited(session.work, session.run)
    for name in sorted(session.run.families.keys() - {f.name for f in kept}):
        why = left_out.get(name, "it is not among the families asked for")
        session.note(f"Settings are given for {name}, which is not tried: {why}.")
    stored = session.workdir.read_pickle("plan")
    if stored is None:
        start, level = _start(session), None
        if session.ledger.limit is None:
            level = Level(*start, tuple(f.name for f in kept), left_out)
        else:
            level = _timed(session, kept, left_out, start)
        _laid_out(session, level.outer, level.inner)
        session.workdir.write_pickle("plan", (level, session.folds, session.default_seconds, session.model_mb))
    else:
        level, session.folds, session.default_seconds, session.model_mb = stored
        _brief(session, f"{level.outer}x{level.inner}")
    session.configurations = level.configurations
    session.level = _searched_everywhere(session, level)
    _comparable(session)
    deaf = [name for name in level.families if family(name).tunable and not family(name).weights]
    if deaf and (session.run.weight or session.run.class_weight):
        session.note(f"Weights count for nothing in fits of {listed(deaf)}.")
    _say_search(session)
    warm_up(session)


def _comparable(session: Session) -> None:
    """InputError where some part that judges is too small for the subgroups that are compared."""
    work = session.work
    parts = [rows for f in session.folds.values() for rows in (f.judge, *(judge for _, judge in f.inner)) if len(rows)]
    for one in (o for o in session.goal.measured if isinstance(o.metric, fairness.Gap)):
        groups = session.brief.subgroups[one.column or ""]
        for rows in parts:
            if not fairness.comparable(groups[rows], work.target[rows], one.metric.by_class):  # type: ignore[union-attr]
                raise InputError(
                    f"{one.name} can't be measured: a part of {len(rows):,} judging rows holds no two subgroups with "
                    f"{fairness.LEAST} rows each{' of one class' * one.metric.by_class}. Give more rows, fewer folds "  # type: ignore[union-attr]
                    "(--outer, --inner), or a column of fewer values."
                )


def _say_search(session: Session) -> None:
    """Says which search each family has, and why, where the settings leave that open; and how much there is to try,
    where that is fixed."""
    taken: dict[tuple[str, str], list[str]] = defaultdict(list)
    sizes: dict[str, list[str]] = defaultdict(list)
    for name in (n for n in session.level.families if family(n).tunable):
        study = study_of(session, name, next(iter(session.folds)))
        taken[study.strategy.name, study.why] += [name]
        if study.size is not None:
            sizes[study.strategy.name] += [f"{study.size:,.0f} of {name}"]
    for (search, why), names in taken.items():
        if why:
            session.note(f"Search {search} for {listed(names, 30)}: {why}.")
    for search, counts in sizes.items():
        session.note(f"Search {search} has {listed(counts, 30)} to try, after each default.")


def _start(session: Session) -> tuple[int, int]:
    """(outer, inner): what the user wants, or what suits the table's size; both at most what its smallest class or its
    groups allow."""
    wanted, inner = first_level(session.work.rows, session.run.split)
    rows = np.arange(session.work.rows)
    outer, _ = session.plan.most_folds(rows, wanted)
    if outer < wanted:
        session.note(f"{outer} outer folds: the smallest class or the groups allow no more.")
    if outer < 5 and not session.run.split.inner:
        inner = min(inner, max(2, outer - 1))
    folds = layout(session.plan, rows, outer, inner, with_all=refit_too(session.run) or not outer)
    most = min(len(fold.inner) for fold in folds)
    if most < (session.run.split.inner or 0):
        session.note(f"{most} inner folds: the smallest class or the groups allow no more.")
    return outer, min(inner, most)


def _timed(session: Session, kept: list[Family], left_out: Mapping[str, str], start: tuple[int, int]) -> Level:
    """The level that the time allows, from one default fit of each family."""
    session.ledger.afford(session.ledger.registration)
    asked = bool(session.run.search.families)
    _laid_out(session, *start)
    first, slow = _probe(session, kept)
    session.default_seconds = first
    wall = session.ledger.left - session.ledger.registration - 2.0
    if not first:
        raise BudgetError(_too_little(session, slow))
    level = affordable(
        {name: seconds for name, seconds in first.items() if family(name).tunable},
        max(0.0, wall) * session.workers * _SHARE,
        start,
        fixed=session.run.split.outer is not None,
        refit_too=refit_too(session.run),
        keep=len(first) if asked else 2,
        priority={name: family(name).priority for name in first},
    )
    if level.how != How("nested", *start):
        session.note(f"Time is short for {start[0]} x {start[1]} folds: {named(level.how)} instead.")
    references = tuple(name for name in first if not family(name).tunable)
    out = {**left_out, **slow, **level.left_out}
    return replace(level, families=(*references, *level.families), left_out=out)


def _probe(session: Session, kept: list[Family]) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of each family's default on a first inner fold, and why others have none.

    Two folds, the quicker counts: a worker's very first fit of a family pays for what libraries load late. Both are
    fits of trial 0, which its studies will find on disk. All together they may take a quarter of the time; what can't
    be tuned needs no such haste, it is the last resort."""
    limit = max(5.0, _PROBE_SHARE * (session.ledger.limit or 0))
    over = threading.Timer(max(2 * limit, _PROBES_SHARE * (session.ledger.limit or 0)), _end_probes, [session])
    over.start()
    try:
        return _probed(session, kept, limit)
    finally:
        over.cancel()


def _end_probes(session: Session) -> None:
    session.fits.cancel(lambda priority: priority[0] == SEARCH and priority[1] > 0)


def _probed(session: Session, kept: list[Family], limit: float) -> tuple[dict[str, float], dict[str, str]]:
    first, slow = {}, {}
    for fold in list(session.folds)[:2]:
        waiting = {f.name: _default(session, f.name, fold, limit) for f in kept if f.name not in slow}
        for name, future in waiting.items():
            try:
                first[name] = min(_cost(session, name, future.result()), first.get(name, float("inf")))
            except FitError as error:
                if error.state == "timeout" and name in first:
                    continue  # the first fold has measured it
                slow[name] = f"its first default fit ended as {error.state}: {error.reason}"
                first.pop(name, None)
        if sum(first.values()) > _WARM * session.workers:
            break
    return first, slow


def _default(session: Session, name: str, fold: str, limit: float) -> Future[Fit]:
    job = default_job(session, name, fold)
    # What can't be tuned costs nothing and is the last resort: it is never too slow.
    timeout = limit if family(name).tunable else session.refit_limit()
    place = family(name).priority if family(name).tunable else 0
    return session.fits.submit(fit.run, job, priority=(SEARCH, place), timeout=timeout)


def _cost(session: Session, name: str, done: Fit) -> float:
    """Core-seconds of one configuration on one inner fold: columns are prepared once for all configurations."""
    session.model_mb[name] = done.model_mb
    return done.seconds + done.preparing / LEAST_TRIALS


def _laid_out(session: Session, outer: int, inner: int) -> None:
    """Makes the folds and writes down what every fit of this plan shares."""
    work = session.work
    folds = layout(session.plan, np.arange(work.rows), outer, inner, with_all=refit_too(session.run) or not outer)
    session.folds = {f.name: f for f in folds}
    _brief(session, f"{outer}x{inner}")


def _brief(session: Session, plan: str) -> None:
    session.brief = _told(session.work, session.run, plan, session.folds)
    session.workdir.write_pickle(f"briefs/{plan}", session.brief)


def _told(table: Table, run: Run, plan: str = "", folds: Mapping[str, Fold] = MappingProxyType({})) -> Brief:
    """What fits are told of the table; before there is a plan, what families may know of it."""
    cells = table.rows * table.features.shape[1]
    threads = 1 if cells < 20_000_000 else 2
    subgroups = pd.DataFrame() if table.subgroups is None else table.subgroups
    return Brief(
        plan, table.task, table.classes, run.metric, table.kinds, dict(folds), threads, run.seed, run.places,
        {c: 1 if said == "rising" else -1 for c, said in run.monotone.items()}, run.split.time is not None,
        table.season, costs=run.costs, class_weight=class_weights(run.class_weight, table.classes),
        skewed=table.task == "regression" and table.history is None and skewed(table.target), orders=table.orders,
        many=many_levels(table.features, table.kinds), past=table.past, group=table.group,
        goal=goal_for(metric_for(run.metric, table.task, table.classes, run.costs), run.search),
        subgroups={str(name): fairness.codes(column) for name, column in subgroups.items()},
    )  # fmt: skip


def _too_little(session: Session, slow: Mapping[str, str]) -> str:
    need = 3 * session.ledger.elapsed + 10 * _PROBE_SHARE * (session.ledger.limit or 0)
    return (
        f"{session.ledger.limit:.0f} s are too little for this table of {session.work.rows:,} rows and "
        f"{session.work.features.shape[1]} columns: no family finished one fit. Try --budget {need:.0f}s."
    )


def named(how: How) -> str:
    """The plan in words."""
    if how.method == "nested":
        return f"{how.outer} outer x {how.inner} inner folds"
    return f"{how.inner} folds without an outer loop (BBC-CV)" if how.method == "bbc" else "one hold-out of defaults"


def planned(session: Session) -> progress.Planned:
    """The plan as whoever shows it wants it."""
    level = session.level
    expected = None if session.ledger.limit is None else session.ledger.origin + session.ledger.limit * 0.9
    return progress.Planned(
        level.families, tuple(session.folds), named(level.how), session.metric.name,
        session.metric.greater_is_better, dict(level.left_out), session.run.search.trials, expected,
    )  # fmt: skip


def _tell(session: Session) -> None:
    """Tells the screen and MLflow of families and folds."""
    level = session.level
    progress.emit(planned(session))
    for name in level.families:
        session.record(name, "family", parent="run")
        for fold in session.folds:
            session.record(f"{name}/{fold}", "fold", parent=name)
    session.workdir.write_json("plan.json", {"how": asdict(level.how), "families": level.families,
                                             "left_out": level.left_out, "refit": REFIT})  # fmt: skip
