"""Which families suit this table and this search, and a sentence for each that is left out: no fit."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from models.config import OfFamily, Run
from models.data.table import Table
from models.errors import InputError, join_names, make_unknown_error
from models.families import load_families, load_family, require_family
from models.fitting.family import Family, Shape
from models.metrics.metric import Metric
from models.search import load_strategies, require_strategy
from models.splitting.budget import estimate_inner_rows
from models.splitting.split import ALL, Fold
from models.studies.study import Study
from models.tuning.space import make_view
from tasks.execution.job import FitContext, make_fit_context
from tasks.planning.studies import make_fold_view

_PREDICTED = {"binary": "two classes", "multiclass": "more", "regression": "numbers"}
_DECLARED = 0.2
"""A family whose declared cost of one fit is over this share of the time is left out unseen: cautious, since a declared
cost is an order of magnitude; what passes is measured."""


def choose_families(
    table: Table, run: Run, told: FitContext | None = None, fold: str = ""
) -> tuple[list[Family], dict[str, str]]:
    """The families that suit the table's task and size, cheapest first, and why the others do not. No fit. `told` is
    the table's brief, where it is made; `fold`: in which fold they are searched, "" for what holds in all."""
    _check_monotone(table, run)
    asked = [require_family(name) for name in run.search.families] or list(load_families().values())
    for name in run.families:
        load_family(name)
    told = told or make_fit_context(table, run, table)
    _check_objectives(told, run)
    shape = told.shape(table.rows, table.features.shape[1], fold)
    inside = replace(shape, rows=estimate_inner_rows(table.rows, run.split))
    found = {
        one.name: _explain_unsuited(one, shape, run) or _explain_unsearched(one, inside, told.scorer, run)
        for one in asked
    }
    left_out = {name: why for name, why in found.items() if why}
    kept = [f for f in sorted(asked, key=lambda f: (f.cost, f.name)) if f.name not in left_out]
    if not kept:
        reasons = "".join(f"\n  {name}: {why}" for name, why in left_out.items())
        raise InputError(f"No family that was asked for suits this table:{reasons}")
    return kept, left_out


def _check_monotone(table: Table, run: Run) -> None:
    """InputError where a column that is to be monotone is not there or no number, or the target has several classes."""
    kinds = table.reading.kinds
    for column in run.monotone:
        if column not in kinds:
            raise make_unknown_error("column", column, table.kinds)
        if kinds[column] not in ("number", "boolean", "drop"):
            raise InputError(f"{column} can't be monotone: its kind is {kinds[column]}, and only numbers can.")
    if run.monotone and table.task == "multiclass":
        raise InputError("Monotone columns need a target of two classes or of numbers, not of several classes.")


def _explain_unsuited(one: Family, shape: Shape, run: Run) -> str:
    """Why the family is not tried on a table of this shape; empty where it is. Who asks for it by name may pay more."""
    named, cells = bool(run.search.families), shape.rows * max(1, shape.columns)
    if one.lack:
        return one.lack
    if not one.safe and not named:
        return "its models can only be saved as pickles, which may run code when loaded; allow it by name (--families)"
    if one.many and not named and not require_strategy(run.search.strategy).gradient:
        return "it has very many hyperparameters: name it (--families), or take --search gradient"
    if shape.task not in one.tasks:
        return f"it can only predict {' or '.join(_PREDICTED[task] for task in one.tasks)}"
    if shape.loss == "quantile" and "quantile" not in one.losses:
        return "it can't fit a quantile"
    if run.monotone and one.tunable and not one.monotone:
        return "it can't keep to the monotone columns (--monotone)"
    if cells > one.most_cells and not named:
        return f"the table has {cells:,} cells, and over {one.most_cells:,.0f} it takes too long"
    if not named and run.seconds is not None and (declared := one.cost * cells / 1e6) > _DECLARED * run.seconds:
        return f"one fit is expected to take about {declared:,.0f} s, too long for a budget of {run.seconds:.0f} s"
    return one.unsuited(shape)


def _explain_unsearched(one: Family, shape: Shape, metric: Metric, run: Run) -> str:
    """Why the search can't search the family's space; empty where it can. InputError for ranges that can't be, or where
    there is nothing to tune, and as `explain_unsearchable`."""
    if not one.tunable:
        if run.families.get(one.name, OfFamily()) != OfFamily():
            raise InputError(f"{one.name} has nothing to tune: leave out what is set for it in families.{one.name}.")
        return ""
    return explain_unsearchable(
        one.name, Study(make_view(one, shape, metric, run), ALL, run.search.strategy).unsuited, run
    )


def find_unsearched(
    names: Iterable[str], folds: Collection[Fold], told: FitContext, columns: int, run: Run
) -> dict[str, str]:
    """The families that can't be searched in some fold, and why: which choices there are may hang on its rows.
    InputError as `explain_unsearchable`."""
    found = {}
    for name in (n for n in names if load_family(n).tunable):
        studies = (
            Study(make_fold_view(name, fold, told, columns, run), fold.name, run.search.strategy) for fold in folds
        )
        why = next(filter(None, (study.unsuited for study in studies)), "")
        found[name] = explain_unsearchable(name, why, run)
    return {name: why for name, why in found.items() if why}


def explain_unsearchable(family_name: str, why: str, run: Run) -> str:
    """Why the family is left out by a search that can't search it; empty where it can. InputError where the family was
    asked for by name: then both are wanted, and can't be had."""
    name = run.search.strategy
    if why and run.search.families:
        raise InputError(f"The search {name} can't search {family_name}: {why}.")
    return why and f"the search {name} can't search it: {why}"


def _check_objectives(told: FitContext, run: Run) -> None:
    """InputError where several objectives are asked of a search that knows one only."""
    asked, goal = require_strategy(run.search.strategy), told.goal
    if goal is not None and goal.several and not asked.several and asked.chooses is None:
        able = join_names(
            (name for name, one in load_strategies().items() if one.several or one.chooses is not None), 30
        )
        names = join_names([goal.metric.name, *(o.name for o in goal.beside)])
        raise InputError(f"The search {asked.name} is for one objective, not for {names}. Those that can: {able}.")
