"""The table's checks: those of form act or stop before any row is cut off, those of signal warn about work rows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models import checks
from models.checks.constant_columns import find_unused_columns
from models.config import Run, Search
from models.data.forecast import plan_history, widen_table
from models.data.table import Finding, Table, Task
from models.errors import InputError
from models.metrics import fairness
from models.metrics.class_weight import encode_class_weights
from models.metrics.metric import Metric, make_metric
from models.monitoring.schema import ChampionSchema, Columns, compare_schemas
from models.monitoring.table_profile import TableProfile
from models.splitting.division import divide_table
from models.splitting.folds import choose_folds, find_unjudged_folds, list_required_metrics, refuse_small_subgroups
from models.tuning.goal import Goal, make_goal
from tasks.data import find_decimal_mark, read_table
from tasks.data.seen import observe_table
from tasks.data.sources.source import load_raw_table
from tasks.run.resume import choose_model_name
from tasks.tracking import seal_copy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.splitting.split import Fold
    from tasks.execution.job import FitContext
    from tasks.registry.load import LoadedVersion

MOST_STOPS = 8


def check_form(table: Table, run: Run | None = None) -> Table:
    """The table less its constant columns, with the form checks' findings and, as the run asks, the plan of its
    history; stops with all that forbids to go on."""
    table = add_form_findings(table)
    table = table if run is None else plan_history(table, run)
    stops = [f.message for f in table.findings if f.verdict == "stop"]
    if stops:
        rest = len(stops) - MOST_STOPS
        lines = [f"And {rest} more."] if rest > 0 else []
        raise InputError(f"{table.reading.source}: " + "\n".join(stops[:MOST_STOPS] + lines))
    return table


def add_form_findings(table: Table) -> Table:
    """The same without stopping: stops stand among the findings."""
    findings = checks.check_form(table)
    columns = find_unused_columns(table)
    if not columns or len(columns) == table.features.shape[1]:
        return replace(table, findings=(*table.findings, *findings))
    reading = replace(table.reading, kinds=table.reading.kinds | dict.fromkeys(columns, "drop"))
    features = table.features.drop(columns=columns)
    return replace(table, features=features, reading=reading, findings=(*table.findings, *findings))


def check_work_rows(
    features: pd.DataFrame, target: np.ndarray, task: Task, classes: tuple[Any, ...]
) -> tuple[Finding, ...]:
    """What the signal checks see in these (work) rows."""
    return checks.check_signal(checks.WorkRows(features, target, task, classes))


def require_known_names(run: Run) -> None:
    """InputError where a family or a search is named that there is not: said before anything is read."""
    if not _asks_for_families(run):
        return
    from models.families import load_family  # slow to import, as the searches are
    from models.search import require_strategy

    for name in (*run.search.families, *run.families):
        load_family(name)
    require_strategy(run.search.strategy)


def _asks_for_families(run: Run) -> bool:
    """Whether anything is asked of families or of their search; where nothing is, some family suits every table."""
    return bool(run.search != Search() or run.families or run.monotone)


def make_metric_and_goal(table: Table, run: Run) -> tuple[Metric, Goal]:
    """The metric, and all that counts beside it. InputError where the settings do not go with the table."""
    metric = make_metric(run.metric, table.task, table.classes, run.costs)
    goal = make_goal(metric, run.search)
    for objective in goal.measured:
        if isinstance(objective.metric, fairness.Gap) and table.subgroups is not None:
            fairness.check_subgroups(table.subgroups[objective.column], table.target, objective.metric.by_class)
    encode_class_weights(run.class_weight, table.classes)  # an unknown label is said before anything is fitted
    return metric, goal


def check_table(run: Run) -> tuple[Table | None, tuple[Finding, ...]]:
    """The table (None where it could not be read) and every finding, stops included: what `nestor check` shows. It
    stops wherever training would stop before its first fit."""
    try:
        require_known_names(run)
        find_seal = cache(partial(_find_kept_seal, run))
        table = plan_history(add_form_findings(read_table(run, kept=find_seal)), run)
    except InputError as error:
        return None, (Finding("reading", "stop", str(error)),)
    if any(f.verdict == "stop" for f in table.findings):
        return table, table.findings
    try:
        return table, (*table.findings, *_check_division(table, run, find_seal() if table.test is None else None))
    except InputError as error:
        return table, (*table.findings, Finding("split_plan", "stop", str(error)))


def _check_division(table: Table, run: Run, seal_settings: dict[str, Any] | None) -> tuple[Finding, ...]:
    """What is found where the rows are divided as training divides them, and in the work rows."""
    metric, goal = make_metric_and_goal(table, run)
    division = divide_table(table, run, metric, seal_settings)
    work = widen_table(table).take(division.work_places)
    choice = _choose_families(work, run, table)
    folds = choose_folds(work, division.plan, run, list_required_metrics(goal), table)
    if choice is not None:
        _require_searchable(*choice, folds.folds, work, run)
    refuse_small_subgroups(work, folds.folds, goal)
    notes = [Finding("split_plan", "pass", note) for note in (division.note, *folds.notes) if note]
    signal = check_work_rows(work.features, work.target, work.task, work.classes)
    return (*division.findings, *find_unjudged_folds(work, metric, folds.folds), *notes, *signal)


def _choose_families(work: Table, run: Run, table: Table) -> tuple[list[str], FitContext] | None:
    """The families that suit the work rows, and the brief of these, where anything is asked of families or searches.
    InputError where no family does."""
    if not _asks_for_families(run):
        return None
    from tasks.execution.job import make_fit_context  # slow to import, as what follows
    from tasks.planning.eligible import choose_families

    brief = make_fit_context(work, run, table)
    return [family.name for family in choose_families(work, run, brief)[0]], brief


def _require_searchable(families: list[str], brief: FitContext, folds: Sequence[Fold], work: Table, run: Run) -> None:
    """InputError where a family that was asked for by name can't be searched in some fold."""
    from tasks.execution.job import add_folds
    from tasks.planning.eligible import choose_families, find_unsearched

    brief = add_folds(brief, "", {fold.name: fold for fold in folds}, work)
    skewed = [part for fold in folds if (part := fold.identify_part(None)) in brief.skewed]
    for part in skewed[:1]:  # where there is one hyperparameter more
        choose_families(work, run, brief, part)
    find_unsearched(families, folds, brief, work.features.shape[1], run)


def _find_kept_seal(run: Run) -> dict[str, Any] | None:
    """How this name's rows were sealed before. Data that needs a name to be given has none here: `check` asks for
    none, and training asks for it before anything else."""
    try:
        name = choose_model_name(run)
    except InputError:
        return None
    return seal_copy.find_seal_settings(name)


def check_schema(source: Any, loaded: LoadedVersion, columns: Columns = "stop") -> tuple[Finding, ...]:
    """What differs between the table that `source` names (a path, or a DataFrame) and the one that the champion was
    trained on: `models.monitoring.schema.compare_schemas`'s findings. Nothing is raised but for a source that can't be
    read at all."""
    raw, reading = load_raw_table(source), loaded.reading
    profile = TableProfile.from_json(loaded.profile).columns if loaded.profile else {}
    target, classes = loaded.facts["target"], tuple(loaded.facts["classes"])
    schema = ChampionSchema(
        reading.kinds, target, classes, tuple(reading.others), tuple(reading.pinned), profile, loaded.levels
    )
    return compare_schemas(schema, observe_table(raw, reading, schema, find_decimal_mark(raw)), columns)
