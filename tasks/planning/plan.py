"""The plan of a run: which of the families that suit the table its budget is enough for, in how many folds; decided
once, from the table's shape and the seconds that default fits take, before any score is seen."""

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
from models.splitting.budget import REFIT, SearchScope, choose_affordable_plan
from models.splitting.folds import (
    FoldLayout,
    choose_folds,
    find_unjudged_folds,
    includes_refit,
    list_required_metrics,
    make_even_folds,
    refuse_small_subgroups,
)
from models.splitting.split import Fold
from tasks.execution.job import FitContext, add_folds, make_fit_context
from tasks.planning import search_plan, timing
from tasks.planning.eligible import choose_families, find_unsearched
from tasks.planning.warm_start import load_warm_start
from tasks.run import events
from tasks.run.folder import Workdir, make_version_error
from tasks.run.stage import PLAN
from tasks.values import RunPlan, SealedTable, advance

_SHARE = 0.85
"""Share of the cores that fits get; the rest is the driver's, Prefect's and MLflow's."""
_PARTS = 5
"""What is written down of a plan: scope, folds, seconds, sizes, notes."""


def make_plan(sealed: SealedTable) -> RunPlan:
    """Families and folds, fixed, written down and told."""
    context = sealed.context
    with context.enter_stage(PLAN):
        context.start_pool()
        plan = _choose_plan(sealed)
        context.seals.agree()
    _announce_plan(plan)
    return plan


def _choose_plan(sealed: SealedTable) -> RunPlan:
    run, context, work = sealed.run, sealed.context, sealed.work_rows
    fit_context = replace(make_fit_context(work, run, sealed.table), units=_find_units(sealed))
    families, left_out = choose_families(work, run, fit_context)
    for name in sorted(run.families.keys() - {f.name for f in families}):
        reason = left_out.get(name, "it is not among the families asked for")
        context.note(f"Settings are given for {name}, which is not tried: {reason}.")
    plan = _fix_plan(sealed, fit_context, families, left_out)
    folds = tuple(plan.folds.values())
    context.add_findings(find_unjudged_folds(work, plan.metric, folds))
    plan = _keep_searchable(plan)
    refuse_small_subgroups(work, folds, plan.goal)
    names = [name for name in plan.scope.families if load_family(name).tunable and not load_family(name).weights]
    if names and (run.weight or run.class_weight):
        context.note(f"Fitted without weights, which they can't use: {join_names(names)}.")
    search_plan.announce_searches(plan)
    return replace(plan, warm_start=load_warm_start(plan))


def _fix_plan(
    sealed: SealedTable, fit_context: FitContext, families: list[Family], left_out: Mapping[str, str]
) -> RunPlan:
    """The plan as an earlier attempt at this run fixed it, else as it is made, and fixed, now."""
    context = sealed.context
    record, count = context.folder.read_fixed(partial(_read_stored, context.folder), "plan"), len(context.notes)
    if record is None:
        plan = _lay_first_folds(sealed, fit_context, families, left_out)
        if context.ledger.limit is not None:
            plan = _plan_by_time(plan, families)
        parts = (plan.scope, plan.folds, plan.default_seconds, plan.model_mb, context.notes[count:])
        context.folder.write_pickle("plan", parts)
        return plan
    scope, folds, default_seconds, model_mb, notes = record
    for note in notes:
        context.note(note)
    return advance(
        RunPlan, sealed, scope=scope, folds=folds, default_seconds=default_seconds, model_mb=model_mb,
        fit_context=_write_context(sealed, fit_context, f"{scope.outer}x{scope.inner}", folds),
    )  # fmt: skip


def _find_units(sealed: SealedTable) -> np.ndarray | None:
    """What each work row is a part of; None where each is one of its own."""
    return sealed.keys if len(np.unique(sealed.keys)) < len(sealed.keys) else None


def _read_stored(folder: Workdir, name: str) -> tuple[Any, ...] | None:
    """What an earlier attempt wrote down; DamagedFileError where it is not what this version of Nestor writes."""
    parts = folder.read_pickle(name)
    if parts is not None and not (isinstance(parts, tuple) and len(parts) == _PARTS):
        raise make_version_error(folder.path / f"{name}.pkl", "it holds other parts")
    return parts


def _keep_searchable(plan: RunPlan) -> RunPlan:
    """The plan without families that can't be searched in some fold. InputError as `explain_unsearchable`."""
    scope, columns = plan.scope, plan.work_rows.features.shape[1]
    left_out = find_unsearched(scope.families, plan.folds.values(), plan.fit_context, columns, plan.run)
    families = tuple(name for name in scope.families if name not in left_out)
    return replace(plan, scope=replace(scope, families=families, left_out={**scope.left_out, **left_out}))


def _lay_first_folds(
    sealed: SealedTable, fit_context: FitContext, families: list[Family], left_out: Mapping[str, str]
) -> RunPlan:
    """The plan to begin with: the folds that the user wants, or that suit the table's size; both at most what its
    smallest class, its groups or its times allow."""
    metrics = list_required_metrics(sealed.goal)
    layout = choose_folds(sealed.work_rows, sealed.division.plan, sealed.run, metrics, sealed.table)
    for note in layout.notes:
        sealed.context.note(note)
    scope = SearchScope(layout.outer, layout.inner, tuple(f.name for f in families), left_out)
    return advance(RunPlan, sealed, scope=scope, **_take_folds(sealed, fit_context, layout))


def _plan_by_time(plan: RunPlan, families: list[Family]) -> RunPlan:
    """The plan that the time allows, from what a default fit of each family costs in the folds laid out before."""
    start, ledger, run = (plan.scope.outer, plan.scope.inner), plan.context.ledger, plan.run
    ledger.afford(ledger.registration)
    costs = timing.foretell_defaults(plan, families)
    default_seconds, reasons = costs.seconds, costs.explain()
    wall = ledger.left - ledger.registration - 2.0
    if not default_seconds:
        raise _explain_no_fit(plan, reasons, costs.slow)
    scope = choose_affordable_plan(
        {name: seconds for name, seconds in default_seconds.items() if load_family(name).tunable},
        max(0.0, wall) * plan.context.workers * _SHARE,
        start,
        fixed=run.split.outer is not None,
        refit_too=includes_refit(run),
        keep=len(default_seconds) if run.search.families else 2,
        priority={name: load_family(name).priority for name in default_seconds},
        by_time=run.split.time is not None,
    )
    references = tuple(name for name in default_seconds if not load_family(name).tunable)
    left_out = {**plan.scope.left_out, **reasons, **scope.left_out}
    scope = replace(scope, families=(*references, *scope.families), left_out=left_out)
    plan = replace(plan, scope=scope, default_seconds=default_seconds, model_mb=costs.model_mb)
    return plan if (scope.outer, scope.inner) == start else _lay_fewer_folds(plan, start)


def _lay_fewer_folds(plan: RunPlan, start: tuple[int, int]) -> RunPlan:
    """The plan in the folds that the time allows; in those laid out before where a part of them would lack a class."""
    sentence, metrics = f"There is too little time for {start[0]} x {start[1]} folds", list_required_metrics(plan.goal)
    scope = plan.scope
    try:
        layout = make_even_folds(
            plan.work_rows, plan.division.plan, plan.run, metrics, plan.table, scope.outer, scope.inner
        )
    except InputError:
        plan.context.note(f"{sentence}, but with fewer a part of the rows would lack what it needs: they are kept.")
        return replace(plan, scope=replace(scope, outer=start[0], inner=start[1]))
    plan.context.note(f"{sentence}: the plan is {describe_plan(scope.how)}.")
    scope = replace(scope, outer=layout.outer, inner=layout.inner)
    return replace(plan, scope=scope, **_take_folds(plan, plan.fit_context, layout))


def _take_folds(sealed: SealedTable, fit_context: FitContext, layout: FoldLayout) -> dict[str, Any]:
    """The folds of a layout, and what every fit of a plan with them is told."""
    folds = {fold.name: fold for fold in layout.folds}
    return {"folds": folds, "fit_context": _write_context(sealed, fit_context, f"{layout.outer}x{layout.inner}", folds)}


def _write_context(sealed: SealedTable, fit_context: FitContext, plan: str, folds: Mapping[str, Fold]) -> FitContext:
    """What every fit of the plan of that name is told, written down for the workers."""
    brief = add_folds(fit_context, plan, dict(folds), sealed.work_rows)
    sealed.context.folder.write_pickle(f"briefs/{plan}", brief)
    return brief


def _explain_no_fit(plan: RunPlan, endings: Mapping[str, str], slow: bool) -> NestorError:
    """What to raise where no family finished one fit: with more time it might, if one was slow."""
    table = f"this table of {plan.work_rows.rows:,} rows and {plan.work_rows.features.shape[1]} columns"
    reasons = "".join(f"\n  {name}: {reason}" for name, reason in endings.items())
    if not slow:
        return NestorError(f"No family could be fitted on {table}:{reasons}")
    seconds = 3 * plan.context.ledger.elapsed + 10 * timing.SHARE * (plan.context.ledger.limit or 0)
    return BudgetError(
        f"{plan.context.ledger.limit:.0f} s are too little for {table}: no family finished one fit. Try --budget "
        f"{seconds:.0f}s.{reasons}"
    )


def describe_plan(how: EvaluationPlan) -> str:
    """The plan in words."""
    if how.method == "nested":
        return f"{how.outer} outer x {how.inner} inner folds"
    if how.method == "bbc":
        return f"{how.inner} folds without an outer loop (BBC-CV)"
    return "one hold-out split, with default settings"


def make_plan_event(plan: RunPlan) -> events.PlanEvent:
    """The plan as whoever shows it wants it."""
    scope = plan.scope
    return events.PlanEvent(
        scope.families, tuple(plan.folds), describe_plan(scope.how), plan.metric.name, plan.metric.greater_is_better,
        dict(scope.left_out), plan.run.search.trials,
    )  # fmt: skip


def _announce_plan(plan: RunPlan) -> None:
    """Tells the screen and MLflow of families and folds."""
    context, scope = plan.context, plan.scope
    events.emit(make_plan_event(plan))
    for name in scope.families:
        context.record(name, "family", parent="run")
        for fold in plan.folds:
            context.record(f"{name}/{fold}", "fold", parent=name)
    facts = {"how": asdict(scope.how), "families": scope.families, "left_out": scope.left_out, "refit": REFIT}
    context.folder.write_json("plan.json", facts)
