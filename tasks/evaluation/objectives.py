"""What a run says of its objectives: every configuration's inner values, the Pareto front, what was picked, and what
the picked ones have on rows that had no part in picking them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from models.evaluation import estimate
from models.evaluation.decision import apply_threshold
from models.metrics import fairness
from models.metrics.metric import Fold3
from models.outcome import FrontPoint, Interval, ObjectiveOutcome, format_number
from models.splitting.split import ALL
from models.tuning.goal import ADDED, Objective, mark_front
from tasks.evaluation.ensemble import FoldEnsemble, compute_threshold, list_delivered
from tasks.evaluation.evaluate import Evaluation, average_sealed_predictions
from tasks.execution.costs import measure_model_file
from tasks.execution.pool import JUDGE, FitError
from tasks.tuning import selection
from tasks.values import Studies

MOST_SECONDS = 120.0
"""For loading the delivered model and predicting a few rows, where the budget leaves so many."""


def evaluate_objectives(evaluation: Evaluation, costs: Mapping[str, float]) -> tuple[ObjectiveOutcome, ...]:
    """The metric, then each objective and whatever else is limited; nothing where the metric alone counts. `costs` are
    those of the delivered model."""
    goal = evaluation.goal
    if goal.plain:
        return ()
    limits = {limit.objective.name: limit.bound for limit in goal.limits}
    outcome = ObjectiveOutcome(
        goal.metric.name, "the metric", "", goal.metric.greater_is_better, limits.get(goal.metric.name),
        _compute_mean([c.inner for c in list_delivered(evaluation.chosen)]), evaluation.estimate, evaluation.test,
    )  # fmt: skip
    return (
        outcome,
        *(_evaluate_objective(evaluation, objective, limits.get(objective.name), costs) for objective in goal.measured),
    )


def _evaluate_objective(
    evaluation: Evaluation, objective: Objective, limit: float | None, costs: Mapping[str, float]
) -> ObjectiveOutcome:
    inner = _compute_mean(
        [_find_inner_value(evaluation, ensemble, objective) for ensemble in list_delivered(evaluation.chosen)]
    )
    outer = (
        _average_outer_cost(evaluation, objective)
        if objective.metric is None
        else _estimate_outer_score(evaluation, objective)
    )
    test = None if objective.metric is None else _estimate_test_score(evaluation, objective)
    description = (objective.name, objective.says, objective.unit, objective.greater_is_better)
    return ObjectiveOutcome(*description, limit, inner, outer, test, costs.get(objective.name))


def _compute_mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _find_inner_value(studies: Studies, ensemble: FoldEnsemble, objective: Objective) -> float:
    """What a fold's choice has on inner rows: of several members the sum of what adds up, the largest memory."""
    if objective.metric is not None:
        return ensemble.values[objective.name]
    trials = [studies.trials[m.family, ensemble.fold][m.trial] for m in ensemble.members]
    return _combine_costs(objective, [trial.measures[objective.name] for trial in trials])


def _combine_costs(objective: Objective, values: Sequence[float]) -> float:
    return sum(values) if objective.name in ADDED else max(values)


def _find_refit_cost(studies: Studies, ensemble: FoldEnsemble, objective: Objective) -> float:
    """A cost of a fold's refitted members."""
    costs = [
        selection.add_refit_costs(studies, ensemble.fold, m.family, [studies.trials[m.family, ensemble.fold][m.trial]])[
            0
        ].measures
        for m in ensemble.members
    ]
    return _combine_costs(objective, [measures[objective.name] for measures in costs])


def _average_outer_cost(evaluation: Evaluation, objective: Objective) -> Interval | None:
    """A cost of what the outer folds refitted, averaged over them; None without outer folds."""
    folds = [k for k in evaluation.chosen if k != ALL]
    mean = _compute_mean([_find_refit_cost(evaluation, evaluation.chosen[k], objective) for k in folds])
    return None if mean is None else Interval(mean)


def _estimate_outer_score(evaluation: Evaluation, objective: Objective) -> Interval | None:
    """A metric or a gap of the picked ones on the outer rows, with its interval; None without all outer folds."""
    names = [k for k in evaluation.folds if k != ALL]
    if not names or [k for k, _ in evaluation.outer] != names:
        return None
    folds = []
    for k, rows in evaluation.outer:
        places, threshold = evaluation.folds[k].judge, evaluation.chosen[k].finish.threshold
        folds.append(
            selection.resolve_objective(evaluation, objective, apply_threshold(rows, threshold), rows[1], places)[1]
        )
    keys = [evaluation.keys[evaluation.folds[k].judge] for k in names]
    sizes = [len(evaluation.folds[k].train) for k in names]
    assert objective.metric is not None
    interval = estimate.estimate_score(objective.metric, folds, keys, sizes, evaluation.run.seed)
    return estimate.keep_defined_interval(interval, evaluation.find_unit(evaluation.keys))


def _estimate_test_score(evaluation: Evaluation, objective: Objective) -> Interval | None:
    """A metric or a gap of the delivered model on the sealed rows, which were opened for the test score."""
    sealed = evaluation.sealed_rows
    if sealed is None or evaluation.test is None:
        return None
    rows: Fold3 = (sealed.target, average_sealed_predictions(evaluation.context, evaluation.chosen), sealed.weight)
    groups = None
    if objective.column is not None and sealed.subgroups is not None:
        groups = fairness.encode_subgroups(sealed.subgroups[objective.column])
    metric, fold = evaluation.goal.fold(
        objective, apply_threshold(rows, compute_threshold(evaluation, evaluation.chosen)), rows[1], groups
    )
    keys = evaluation.sealed_keys
    return estimate.keep_defined_interval(
        estimate.estimate_test_score(metric, fold, keys, evaluation.run.seed), evaluation.find_unit(keys)
    )


def measure_delivered_costs(evaluation: Evaluation, model: Path) -> dict[str, float]:
    """The costs that count of the model for consumers, in this file: latency and size as it is delivered, the others as
    its members were fitted. Says where it is over a limit after all."""
    goal, measures = evaluation.goal, {}
    if goal.asks_for("latency", "size"):
        timeout, files = (
            min(MOST_SECONDS, evaluation.context.ledger.limit_refit()),
            (str(model), str(evaluation.context.folder.path)),
        )
        future = evaluation.context.pool.submit(measure_model_file, *files, priority=(JUDGE, 0), timeout=timeout)
        with suppress(FitError):  # then what its members cost has to do
            measures = future.result()
    costs = {
        objective.name: measures[objective.name] if objective.name in measures else max(
            _find_refit_cost(evaluation, ensemble, objective) for ensemble in list_delivered(evaluation.chosen)
        )
        for objective in goal.measured
        if objective.metric is None
    }  # fmt: skip
    for limit in goal.limits:
        value = costs.get(limit.objective.name)
        if value is not None and limit.measure_excess(value) > 0:
            evaluation.context.note(
                f"The delivered model is over a limit: {limit.objective.name} {format_number(value)}, where "
                f"{limit.words} was asked. Each of its members kept the limit; averaging them, or fitting them on more "
                "rows, went over it."
            )
    return costs


def list_points(evaluation: Evaluation) -> tuple[FrontPoint, ...]:
    """Every complete configuration of what is delivered: its inner values, in the order of `outcomes`."""
    goal, points = evaluation.goal, []
    for ensemble in () if goal.plain else list_delivered(evaluation.chosen):
        members = {(m.family, m.trial) for m in ensemble.members}
        trials = [(n, t) for n, ts in evaluation.list_trials(ensemble.fold).items() for t in goal.complete(ts)]
        places = [place for place, (_, trial) in enumerate(trials) if goal.keeps(trial)]
        floor = selection.compute_gain_floor(
            evaluation, ensemble.fold
        )  # what is no better than guessing is on no front
        candidates = [k for k in places if goal.has_learned(trials[k][1], floor)] or places
        gains = np.array([goal.gains(trials[k][1]) for k in candidates]).reshape(len(candidates), len(goal.directions))
        front = {candidates[i] for i in np.flatnonzero(mark_front(gains))}
        for place, (name, trial) in enumerate(trials):
            values = (trial.inner or 0.0, *(trial.measures[objective.name] for objective in goal.measured))
            is_picked = (name, trial.number) in members
            points.append(
                FrontPoint(name, ensemble.fold, trial.number, values, place in front, place in places, is_picked)
            )
    return tuple(points)
