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
from models.tuning import goal as objectives
from models.tuning.goal import ADDED, Objective
from tasks.evaluation.ensemble import FoldEnsemble, compute_threshold, list_delivered
from tasks.evaluation.evaluate import Evaluation, average_sealed_predictions
from tasks.execution import costs as measure
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
    own = ObjectiveOutcome(
        goal.metric.name, "the metric", "", goal.metric.greater_is_better, limits.get(goal.metric.name),
        _compute_mean([c.inner for c in list_delivered(evaluation.chosen)]), evaluation.estimate, evaluation.test,
    )  # fmt: skip
    return (own, *(_evaluate_objective(evaluation, one, limits.get(one.name), costs) for one in goal.measured))


def _evaluate_objective(
    evaluation: Evaluation, one: Objective, limit: float | None, costs: Mapping[str, float]
) -> ObjectiveOutcome:
    inner = _compute_mean([_find_inner_value(evaluation, chosen, one) for chosen in list_delivered(evaluation.chosen)])
    outer = _average_outer_cost(evaluation, one) if one.metric is None else _estimate_outer_score(evaluation, one)
    test = None if one.metric is None else _estimate_test_score(evaluation, one)
    says = (one.name, one.says, one.unit, one.greater_is_better)
    return ObjectiveOutcome(*says, limit, inner, outer, test, costs.get(one.name))


def _compute_mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _find_inner_value(studies: Studies, chosen: FoldEnsemble, one: Objective) -> float:
    """What a fold's choice has on inner rows: of several members the sum of what adds up, the largest memory."""
    if one.metric is not None:
        return chosen.values[one.name]
    trials = [studies.trials[m.family, chosen.fold][m.trial] for m in chosen.members]
    return _combine_costs(one, [trial.measures[one.name] for trial in trials])


def _combine_costs(one: Objective, values: Sequence[float]) -> float:
    return sum(values) if one.name in ADDED else max(values)


def _find_refit_cost(studies: Studies, chosen: FoldEnsemble, one: Objective) -> float:
    """A cost of a fold's refitted members."""
    costs = [
        selection.add_refit_costs(studies, chosen.fold, m.family, [studies.trials[m.family, chosen.fold][m.trial]])[
            0
        ].measures
        for m in chosen.members
    ]
    return _combine_costs(one, [of[one.name] for of in costs])


def _average_outer_cost(evaluation: Evaluation, one: Objective) -> Interval | None:
    """A cost of what the outer folds refitted, averaged over them; None without outer folds."""
    folds = [k for k in evaluation.chosen if k != ALL]
    mean = _compute_mean([_find_refit_cost(evaluation, evaluation.chosen[k], one) for k in folds])
    return None if mean is None else Interval(mean)


def _estimate_outer_score(evaluation: Evaluation, one: Objective) -> Interval | None:
    """A metric or a gap of the picked ones on the outer rows, with its interval; None without all outer folds."""
    names = [k for k in evaluation.folds if k != ALL]
    if not names or [k for k, _ in evaluation.outer] != names:
        return None
    found = []
    for k, rows in evaluation.outer:
        places, at = evaluation.folds[k].judge, evaluation.chosen[k].finish.threshold
        found.append(selection.resolve_objective(evaluation, one, apply_threshold(rows, at), rows[1], places)[1])
    keys = [evaluation.keys[evaluation.folds[k].judge] for k in names]
    sizes = [len(evaluation.folds[k].train) for k in names]
    assert one.metric is not None
    taken = estimate.estimate_score(one.metric, found, keys, sizes, evaluation.run.seed)
    return estimate.keep_defined_interval(taken, evaluation.unit(evaluation.keys))


def _estimate_test_score(evaluation: Evaluation, one: Objective) -> Interval | None:
    """A metric or a gap of the delivered model on the sealed rows, which were opened for the test score."""
    sealed = evaluation.sealed_rows
    if sealed is None or evaluation.test is None:
        return None
    rows: Fold3 = (sealed.target, average_sealed_predictions(evaluation.context, evaluation.chosen), sealed.weight)
    groups = None
    if one.column is not None and sealed.subgroups is not None:
        groups = fairness.encode_subgroups(sealed.subgroups[one.column])
    metric, told = evaluation.goal.fold(
        one, apply_threshold(rows, compute_threshold(evaluation, evaluation.chosen)), rows[1], groups
    )
    keys = evaluation.sealed_keys
    return estimate.keep_defined_interval(
        estimate.estimate_test_score(metric, told, keys, evaluation.run.seed), evaluation.unit(keys)
    )


def measure_delivered_costs(evaluation: Evaluation, model: Path) -> dict[str, float]:
    """The costs that count of the model for consumers, in this file: latency and size as it is delivered, the others as
    its members were fitted. Says where it is over a limit after all."""
    goal, taken = evaluation.goal, {}
    if goal.asks("latency", "size"):
        limit, files = (
            min(MOST_SECONDS, evaluation.context.ledger.refit_limit()),
            (str(model), str(evaluation.context.folder.path)),
        )
        work = evaluation.context.pool.submit(measure.measure_model_file, *files, priority=(JUDGE, 0), timeout=limit)
        with suppress(FitError):  # then what its members cost has to do
            taken = work.result()
    found = {
        one.name: taken[one.name] if one.name in taken else max(
            _find_refit_cost(evaluation, chosen, one) for chosen in list_delivered(evaluation.chosen)
        )
        for one in goal.measured
        if one.metric is None
    }  # fmt: skip
    for limit in goal.limits:
        value = found.get(limit.objective.name)
        if value is not None and limit.excess(value) > 0:
            evaluation.context.note(
                f"The delivered model is over a limit: {limit.objective.name} {format_number(value)}, where "
                f"{limit.words} was asked. Each of its members kept the limit; averaging them, or fitting them on more "
                "rows, went over it."
            )
    return found


def list_points(evaluation: Evaluation) -> tuple[FrontPoint, ...]:
    """Every complete configuration of what is delivered: its inner values, in the order of `outcomes`."""
    goal, found = evaluation.goal, []
    for chosen in () if goal.plain else list_delivered(evaluation.chosen):
        members = {(m.family, m.trial) for m in chosen.members}
        trials = [(n, t) for n, ts in evaluation.of_fold(chosen.fold).items() for t in goal.complete(ts)]
        kept = [place for place, (_, trial) in enumerate(trials) if goal.keeps(trial)]
        low = selection.compute_gain_floor(evaluation, chosen.fold)  # what is no better than guessing is on no front
        able = [k for k in kept if goal.learned(trials[k][1], low)] or kept
        gains = np.array([goal.gains(trials[k][1]) for k in able]).reshape(len(able), len(goal.directions))
        on = {able[i] for i in np.flatnonzero(objectives.mark_front(gains))}
        for place, (name, trial) in enumerate(trials):
            values = (trial.inner or 0.0, *(trial.measures[one.name] for one in goal.measured))
            is_picked = (name, trial.number) in members
            found.append(FrontPoint(name, chosen.fold, trial.number, values, place in on, place in kept, is_picked))
    return tuple(found)
