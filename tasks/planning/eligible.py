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
from models.splitting.split import ALL, Fold, Part
from models.studies.study import Study
from models.tuning.space import make_view
from tasks.execution.job import FitContext, make_fit_context
from tasks.planning.studies import make_fold_view

_PREDICTED = {"binary": "two classes", "multiclass": "more", "regression": "numbers"}
_DECLARED = 0.2
"""A family whose declared cost of one fit is over this share of the time is left out unseen: cautious, since a declared
cost is an order of magnitude; what passes is measured."""


def choose_families(
    table: Table, run: Run, brief: FitContext | None = None, part: Part = ()
) -> tuple[list[Family], dict[str, str]]:
    """The families that suit the table's task and size, cheapest first, and why the others do not. No fit. `brief` is
    the table's brief, where it is made; `part`: on which rows they are searched, () for what holds for all."""
    _check_monotone(table, run)
    candidates = [require_family(name) for name in run.search.families] or list(load_families().values())
    for name in run.families:
        load_family(name)
    brief = brief or make_fit_context(table, run, table)
    _check_objectives(brief, run)
    shape = brief.make_shape(table.rows, table.features.shape[1], part)
    inner_shape = replace(shape, rows=estimate_inner_rows(table.rows, run.split))
    reasons = {
        family.name: _explain_unsuited(family, shape, run)
        or _explain_unsearched(family, inner_shape, brief.scorer, run)
        for family in candidates
    }
    left_out = {name: reason for name, reason in reasons.items() if reason}
    families = [f for f in sorted(candidates, key=lambda f: (f.cost, f.name)) if f.name not in left_out]
    if not families:
        lines = "".join(f"\n  {name}: {reason}" for name, reason in left_out.items())
        raise InputError(f"No family that was asked for suits this table:{lines}")
    return families, left_out


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


def _explain_unsuited(family: Family, shape: Shape, run: Run) -> str:
    """Why the family is not tried on a table of this shape; empty where it is. Who asks for it by name may pay more."""
    is_named, cells = bool(run.search.families), shape.rows * max(1, shape.columns)
    if family.lack:
        return family.lack
    if not family.safe and not is_named:
        return "its models can only be saved as pickles, which may run code when loaded; allow it by name (--families)"
    if family.many and not is_named and not require_strategy(run.search.strategy).gradient:
        return "it has very many hyperparameters: name it (--families), or take --search gradient"
    if shape.task not in family.tasks:
        return f"it can only predict {' or '.join(_PREDICTED[task] for task in family.tasks)}"
    if shape.loss == "quantile" and "quantile" not in family.losses:
        return "it can't fit a quantile"
    if run.monotone and family.tunable and not family.monotone:
        return "it can't keep to the monotone columns (--monotone)"
    if cells > family.most_cells and not is_named:
        return f"the table has {cells:,} cells, and over {family.most_cells:,.0f} it takes too long"
    if shape.classes > family.most_classes and not is_named:
        return (
            f"the target has {shape.classes} classes, and over {family.most_classes:.0f} its models are large and "
            "slow; ask for it by name (--families)"
        )
    if not is_named and run.seconds is not None and (seconds := family.cost * cells / 1e6) > _DECLARED * run.seconds:
        return f"one fit is expected to take about {seconds:,.0f} s, too long for a budget of {run.seconds:.0f} s"
    return family.unsuited(shape)


def _explain_unsearched(family: Family, shape: Shape, metric: Metric, run: Run) -> str:
    """Why the search can't search the family's space; empty where it can. InputError for ranges that can't be, or where
    there is nothing to tune, and as `explain_unsearchable`."""
    if not family.tunable:
        if run.families.get(family.name, OfFamily()) != OfFamily():
            raise InputError(
                f"{family.name} has nothing to tune: leave out what is set for it in families.{family.name}."
            )
        return ""
    return explain_unsearchable(
        family.name, Study(make_view(family, shape, metric, run), ALL, run.search.strategy).unsuited, run
    )


def find_unsearched(
    names: Iterable[str], folds: Collection[Fold], brief: FitContext, columns: int, run: Run
) -> dict[str, str]:
    """The families that can't be searched in some fold, and why: which choices there are may hang on its rows.
    InputError as `explain_unsearchable`."""
    reasons = {}
    for name in (n for n in names if load_family(n).tunable):
        studies = (
            Study(make_fold_view(name, fold, brief, columns, run), fold.name, run.search.strategy) for fold in folds
        )
        reason = next(filter(None, (study.unsuited for study in studies)), "")
        reasons[name] = explain_unsearchable(name, reason, run)
    return {name: reason for name, reason in reasons.items() if reason}


def explain_unsearchable(family_name: str, reason: str, run: Run) -> str:
    """Why the family is left out by a search that can't search it; empty where it can. InputError where the family was
    asked for by name: then both are wanted, and can't be had."""
    name = run.search.strategy
    if reason and run.search.families:
        raise InputError(f"The search {name} can't search {family_name}: {reason}.")
    return reason and f"the search {name} can't search it: {reason}"


def _check_objectives(brief: FitContext, run: Run) -> None:
    """InputError where several objectives are asked of a search that knows one only."""
    search, goal = require_strategy(run.search.strategy), brief.goal
    if goal is not None and goal.several and not search.several and search.chooses is None:
        strategies = join_names(
            (name for name, strategy in load_strategies().items() if strategy.several or strategy.chooses is not None),
            30,
        )
        names = join_names([goal.metric.name, *(o.name for o in goal.beside)])
        raise InputError(
            f"The search {search.name} is for one objective, not for {names}. Those that can: {strategies}."
        )
