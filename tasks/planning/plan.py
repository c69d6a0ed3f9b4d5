"""The plan of a run: which of the families that suit the table its budget is enough for, in how many folds; decided
once, from the table's shape and the seconds of the first default fits, before any score is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from models.errors import BudgetError, InputError, NestorError, join_names
from models.families import load_family
from models.fitting.family import Family
from models.outcome import EvaluationPlan
from models.splitting.budget import REFIT, RunPlan, choose_affordable_plan
from models.splitting.folds import (
    FoldLayout,
    choose_folds,
    find_unjudged_folds,
    includes_refit,
    list_required_metrics,
    make_even_folds,
    refuse_small_subgroups,
)
from tasks.execution.job import brief_for, with_folds
from tasks.planning import search_plan, timing
from tasks.planning.eligible import suited, unsearched
from tasks.planning.warm_start import warm_up
from tasks.run import events
from tasks.run.folder import of_other_versions
from tasks.session import Session

_SHARE = 0.85
"""Share of the cores that fits get; the rest is the driver's, Prefect's and MLflow's."""
_PARTS = 5
"""What is written down of a plan: level, folds, seconds, sizes, notes."""


def _searched_everywhere(session: Session) -> RunPlan:
    """The plan without families that can't be searched in some fold. InputError as `refused`."""
    level, columns = session.level, session.work.features.shape[1]
    out = unsearched(level.families, session.folds.values(), session.brief, columns, session.run)
    kept = tuple(name for name in level.families if name not in out)
    return replace(level, families=kept, left_out={**level.left_out, **out})


def shortlist(session: Session) -> None:
    """Fixes families and folds, writes both down, and says what they are."""
    events.emit(events.Stage("shortlist"))
    with session.ledger.stage("shortlist"):
        session.start_pool()
        _shortlist(session)
        session.agree_on_seal()
    _tell(session)


def _shortlist(session: Session) -> None:
    session.brief = replace(brief_for(session.work, session.run, session.table), units=_units(session))
    kept, left_out = suited(session.work, session.run, session.brief)
    for name in sorted(session.run.families.keys() - {f.name for f in kept}):
        why = left_out.get(name, "it is not among the families asked for")
        session.note(f"Settings are given for {name}, which is not tried: {why}.")
    stored, before = session.fixed(partial(_stored, session), "plan"), len(session.notes)
    if stored is None:
        session.level = RunPlan(*_start(session), tuple(f.name for f in kept), left_out)
        if session.ledger.limit is not None:
            session.level = _timed(session, kept)
        parts = (session.level, session.folds, session.default_seconds, session.model_mb, session.notes[before:])
        session.workdir.write_pickle("plan", parts)
    else:
        session.level, session.folds, session.default_seconds, session.model_mb, said = stored
        for note in said:
            session.note(note)
        _brief(session, f"{session.level.outer}x{session.level.inner}")
    session.found(find_unjudged_folds(session.work, session.metric, tuple(session.folds.values())))
    session.level = _searched_everywhere(session)
    refuse_small_subgroups(session.work, tuple(session.folds.values()), session.goal)
    deaf = [name for name in session.level.families if load_family(name).tunable and not load_family(name).weights]
    if deaf and (session.run.weight or session.run.class_weight):
        session.note(f"Fitted without weights, which they can't use: {join_names(deaf)}.")
    search_plan.said(session)
    warm_up(session)


def _units(session: Session) -> np.ndarray | None:
    """What each work row is a part of; None where each is one of its own."""
    return session.keys if len(np.unique(session.keys)) < len(session.keys) else None


def _stored(session: Session, name: str) -> tuple[Any, ...] | None:
    """What an earlier session wrote down; Damaged where it is not what this version of Nestor writes."""
    stored = session.workdir.read_pickle(name)
    if stored is not None and not (isinstance(stored, tuple) and len(stored) == _PARTS):
        raise of_other_versions(session.workdir.path / f"{name}.pkl", "it holds other parts")
    return stored


def _start(session: Session) -> tuple[int, int]:
    """(outer, inner) to begin with, laid out: what the user wants, or what suits the table's size; both at most what
    its smallest class, its groups or its times allow."""
    found = choose_folds(session.work, session.plan, session.run, list_required_metrics(session.goal), session.table)
    for note in found.notes:
        session.note(note)
    _take(session, found)
    return found.outer, found.inner


def _timed(session: Session, kept: list[Family]) -> RunPlan:
    """The plan that the time allows, laid out, from one default fit of each family in the folds laid out before."""
    start = session.level.outer, session.level.inner
    session.ledger.afford(session.ledger.registration)
    first, none = timing.probed(session, kept)
    ended = {name: f"its first fit, with default settings, failed: {error.reason}" for name, error in none.items()}
    session.default_seconds = first
    wall = session.ledger.left - session.ledger.registration - 2.0
    if not first:
        raise _nothing(session, ended, any(error.state == "timeout" for error in none.values()))
    level = choose_affordable_plan(
        {name: seconds for name, seconds in first.items() if load_family(name).tunable},
        max(0.0, wall) * session.workers * _SHARE,
        start,
        fixed=session.run.split.outer is not None,
        refit_too=includes_refit(session.run),
        keep=len(first) if session.run.search.families else 2,
        priority={name: load_family(name).priority for name in first},
    )
    if (level.outer, level.inner) != start:
        level = replace(level, **_laid_anew(session, start, level))
    references = tuple(name for name in first if not load_family(name).tunable)
    out = {**session.level.left_out, **ended, **level.left_out}
    return replace(level, families=(*references, *level.families), left_out=out)


def _laid_anew(session: Session, start: tuple[int, int], level: RunPlan) -> dict[str, int]:
    """The folds of the plan that the time allows; those laid out before where a part of it would lack a class."""
    short, metrics = f"There is too little time for {start[0]} x {start[1]} folds", list_required_metrics(session.goal)
    try:
        found = make_even_folds(
            session.work, session.plan, session.run, metrics, session.table, level.outer, level.inner
        )
    except InputError:
        session.note(f"{short}, but with fewer a part of the rows would lack what it needs: they are kept.")
        return {"outer": start[0], "inner": start[1]}
    session.note(f"{short}: the plan is {named(level.how)}.")
    _take(session, found)
    return {"outer": found.outer, "inner": found.inner}


def _take(session: Session, found: FoldLayout) -> None:
    """Writes down what every fit of a plan with these folds shares."""
    session.folds = {f.name: f for f in found.folds}
    _brief(session, f"{found.outer}x{found.inner}")


def _brief(session: Session, plan: str) -> None:
    session.brief = with_folds(session.brief, plan, session.folds, session.work)
    session.workdir.write_pickle(f"briefs/{plan}", session.brief)


def _nothing(session: Session, ended: Mapping[str, str], slow: bool) -> NestorError:
    """What to raise where no family finished one fit: with more time it might, if one was slow."""
    table = f"this table of {session.work.rows:,} rows and {session.work.features.shape[1]} columns"
    reasons = "".join(f"\n  {name}: {why}" for name, why in ended.items())
    if not slow:
        return NestorError(f"No family could be fitted on {table}:{reasons}")
    need = 3 * session.ledger.elapsed + 10 * timing.SHARE * (session.ledger.limit or 0)
    return BudgetError(
        f"{session.ledger.limit:.0f} s are too little for {table}: no family finished one fit. Try --budget "
        f"{need:.0f}s.{reasons}"
    )


def named(how: EvaluationPlan) -> str:
    """The plan in words."""
    if how.method == "nested":
        return f"{how.outer} outer x {how.inner} inner folds"
    if how.method == "bbc":
        return f"{how.inner} folds without an outer loop (BBC-CV)"
    return "one hold-out split, with default settings"


def planned(session: Session) -> events.Planned:
    """The plan as whoever shows it wants it."""
    level = session.level
    return events.Planned(
        level.families, tuple(session.folds), named(level.how), session.metric.name,
        session.metric.greater_is_better, dict(level.left_out), session.run.search.trials,
    )  # fmt: skip


def _tell(session: Session) -> None:
    """Tells the screen and MLflow of families and folds."""
    level = session.level
    events.emit(planned(session))
    for name in level.families:
        session.record(name, "family", parent="run")
        for fold in session.folds:
            session.record(f"{name}/{fold}", "fold", parent=name)
    session.workdir.write_json("plan.json", {"how": asdict(level.how), "families": level.families,
                                             "left_out": level.left_out, "refit": REFIT})  # fmt: skip
