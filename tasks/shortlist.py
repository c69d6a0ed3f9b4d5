"""The plan of a run: which of the families that suit the table its budget is enough for, in how many folds; decided
once, from the table's shape and the seconds of the first default fits, before any score is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from models import fairness
from models.config import Run
from models.errors import BudgetError, InputError, NestorError, listed
from models.families import Family, family
from models.outcome import How
from models.plan import REFIT, Level, affordable, first_level
from models.split import ALL, layout
from tasks import probe, progress, searches
from tasks.brief import brief_for
from tasks.session import Session
from tasks.suited import refused, suited
from tasks.tune import study_of
from tasks.warm import warm_up

_SHARE = 0.85
"""Share of the cores that fits get; the rest is the driver's, Prefect's and MLflow's."""


def _searched_everywhere(session: Session) -> Level:
    """The plan without families that can't be searched in some fold: which choices there are may hang on its rows.
    InputError as `refused`."""
    out, level = {}, session.level
    for name in (n for n in level.families if family(n).tunable):
        why = next((w for fold in session.folds if (w := study_of(session, name, fold).unsuited)), "")
        out |= {name: said} if (said := refused(name, why, session.run)) else {}
    kept = tuple(name for name in level.families if name not in out)
    return replace(level, families=kept, left_out={**level.left_out, **out})


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
    session.brief = brief_for(session.work, session.run)
    kept, left_out = suited(session.work, session.run, session.brief)
    for name in sorted(session.run.families.keys() - {f.name for f in kept}):
        why = left_out.get(name, "it is not among the families asked for")
        session.note(f"Settings are given for {name}, which is not tried: {why}.")
    stored = session.workdir.read_pickle("plan")
    if stored is None:
        session.level = Level(*_start(session), tuple(f.name for f in kept), left_out)
        if session.ledger.limit is not None:
            session.level = _timed(session, kept)
        parts = (session.level, session.folds, session.default_seconds, session.model_mb)
        session.workdir.write_pickle("plan", parts)
    else:
        session.level, session.folds, session.default_seconds, session.model_mb = stored
        _brief(session, f"{session.level.outer}x{session.level.inner}")
    session.level = _searched_everywhere(session)
    _comparable(session)
    deaf = [name for name in session.level.families if family(name).tunable and not family(name).weights]
    if deaf and (session.run.weight or session.run.class_weight):
        session.note(f"Weights count for nothing in fits of {listed(deaf)}.")
    searches.said(session)
    warm_up(session)


def _deliverable(session: Session) -> None:
    """InputError where a bag is to be delivered, and the training rows of every fold lack a class."""
    classes = set(range(len(session.work.classes)))
    if ALL in session.folds or not classes:
        return
    lacking = [classes - set(session.work.target[fold.train].tolist()) for fold in session.folds.values()]
    if all(lacking):
        labels = listed([session.work.classes[code] for code in sorted(set.union(*lacking))])
        raise InputError(
            f"In every fold the training rows lack at least one of these targets: {labels}. So no model of a bag would "
            "know them all. Deliver one model fitted on all work rows instead: --deliver refit."
        )


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


def _start(session: Session) -> tuple[int, int]:
    """(outer, inner) to begin with, laid out: what the user wants, or what suits the table's size; both at most what
    its smallest class or its groups allow."""
    wanted, inner = first_level(session.work.rows, session.run.split)
    outer, _ = session.plan.most_folds(np.arange(session.work.rows), wanted)
    if outer < wanted:
        session.note(f"{outer} outer folds: the smallest class or the groups allow no more.")
    if outer < 5 and not session.run.split.inner:
        inner = min(inner, max(2, outer - 1))
    _lay_out(session, outer, inner)
    most = min(len(fold.inner) for fold in session.folds.values())
    if most < (session.run.split.inner or 0):
        session.note(f"{most} inner folds: the smallest class or the groups allow no more.")
    if most < inner:
        _lay_out(session, outer, most)
    return outer, min(inner, most)


def _timed(session: Session, kept: list[Family]) -> Level:
    """The plan that the time allows, laid out, from one default fit of each family in the folds laid out before."""
    start = session.level.outer, session.level.inner
    session.ledger.afford(session.ledger.registration)
    first, none = probe.probed(session, kept)
    ended = {name: f"its first default fit ended as {error.state}: {error.reason}" for name, error in none.items()}
    session.default_seconds = first
    wall = session.ledger.left - session.ledger.registration - 2.0
    if not first:
        raise _nothing(session, ended, any(error.state == "timeout" for error in none.values()))
    level = affordable(
        {name: seconds for name, seconds in first.items() if family(name).tunable},
        max(0.0, wall) * session.workers * _SHARE,
        start,
        fixed=session.run.split.outer is not None,
        refit_too=refit_too(session.run),
        keep=len(first) if session.run.search.families else 2,
        priority={name: family(name).priority for name in first},
    )
    if (level.outer, level.inner) != start:
        session.note(f"Time is short for {start[0]} x {start[1]} folds: {named(level.how)} instead.")
        _lay_out(session, level.outer, level.inner)
    references = tuple(name for name in first if not family(name).tunable)
    out = {**session.level.left_out, **ended, **level.left_out}
    return replace(level, families=(*references, *level.families), left_out=out)


def _lay_out(session: Session, outer: int, inner: int) -> None:
    """Makes the folds and writes down what every fit of this plan shares. InputError as `_deliverable`."""
    work = session.work
    folds = layout(session.plan, np.arange(work.rows), outer, inner, with_all=refit_too(session.run) or not outer)
    session.folds = {f.name: f for f in folds}
    _deliverable(session)
    _brief(session, f"{outer}x{inner}")


def _brief(session: Session, plan: str) -> None:
    session.brief = replace(session.brief, plan=plan, folds=session.folds)
    session.workdir.write_pickle(f"briefs/{plan}", session.brief)


def _nothing(session: Session, ended: Mapping[str, str], slow: bool) -> NestorError:
    """What to raise where no family finished one fit: with more time it might, if one was slow."""
    table = f"this table of {session.work.rows:,} rows and {session.work.features.shape[1]} columns"
    reasons = "".join(f"\n  {name}: {why}" for name, why in ended.items())
    if not slow:
        return NestorError(f"No family could be fitted on {table}:{reasons}")
    need = 3 * session.ledger.elapsed + 10 * probe.SHARE * (session.ledger.limit or 0)
    return BudgetError(
        f"{session.ledger.limit:.0f} s are too little for {table}: no family finished one fit. Try --budget "
        f"{need:.0f}s.{reasons}"
    )


def named(how: How) -> str:
    """The plan in words."""
    if how.method == "nested":
        return f"{how.outer} outer x {how.inner} inner folds"
    return f"{how.inner} folds without an outer loop (BBC-CV)" if how.method == "bbc" else "one hold-out of defaults"


def planned(session: Session) -> progress.Planned:
    """The plan as whoever shows it wants it."""
    level = session.level
    return progress.Planned(
        level.families, tuple(session.folds), named(level.how), session.metric.name,
        session.metric.greater_is_better, dict(level.left_out), session.run.search.trials,
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
