"""What is picked where more than the metric counts: which family leads in a fold, and what of it is refitted.

All by inner values. A limit of a cost holds for the refit too: what the fold's whole training part makes of a
configuration is known only then, and what is over the limit there is not delivered."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import NestorError, join_names
from models.evaluation.decision import apply_threshold
from models.evaluation.estimate import score_best_constant
from models.families import load_families
from models.outcome import format_number
from models.tuning.goal import ADDED

if TYPE_CHECKING:
    from models.evaluation.ensemble import Candidate
    from models.metrics.metric import Fold3
    from models.tuning.goal import Limit, Objective
    from models.tuning.trial import Trial
    from tasks.values import RunPlan, Studies, TrialsOfFold

Key = tuple[str, int]
"""Family and number of a trial."""


def rank_families(studies: Studies, fold: str) -> list[str]:
    """The fold's families by the goal, best first; those without a complete trial are left out."""
    return studies.goal.ranked(studies.of_fold(fold), compute_gain_floor(studies, fold))


def compute_gain_floor(studies: Studies, fold: str) -> float:
    """The best gain of the metric in this fold without any learning: of a constant prediction, and of families that
    have nothing to tune."""
    marks = [t for name, trials in studies.of_fold(fold).items() if not load_families()[name].tunable for t in trials]
    scores = [_score_constant(studies, fold), *(t.inner for t in marks if t.inner is not None)]
    return max((gain for gain in map(studies.metric.gain, scores) if math.isfinite(gain)), default=-math.inf)


def _score_constant(plan: RunPlan, fold: str) -> float:
    """The mean over the inner folds of the score of the best constant prediction."""
    if fold not in plan.guesses:
        target, weight = plan.work_rows.target, plan.work_rows.weight
        parts = [(target[rows], None if weight is None else weight[rows]) for _, rows in plan.folds[fold].inner]
        plan.guesses[fold] = float(np.mean([score_best_constant(plan.metric, *part) for part in parts]))
    return plan.guesses[fold]


def pick_trial(studies: Studies, fold: str, trials: TrialsOfFold) -> Key | None:
    """Family and number of the trial that the goal picks among these; None where none keeps the limits."""
    whole = [(name, trial) for name, ones in trials.items() for trial in ones]
    found = studies.goal.best([trial for _, trial in whole], compute_gain_floor(studies, fold))
    return next(((name, trial.number) for name, trial in whole if trial is found), None)


def pick_family_trial(studies: Studies, name: str, fold: str) -> Trial | None:
    """The family's configuration that the goal would pick in this fold, were there no other family; None where none
    keeps the limits."""
    least = compute_gain_floor(studies, fold) if studies.goal.several else -math.inf
    return studies.goal.best(studies.trials.get((name, fold), ()), least)


def choose_until_refitted(
    studies: Studies, fold: str, choose: Callable[[TrialsOfFold], Any], keys: Callable[[Any], Collection[Key]],
    refitted: Callable[[str, str, Trial], object | None],
) -> Any:  # fmt: skip
    """What `choose` makes of the fold's trials, once all that it takes (`keys`) is refitted and keeps the limits as it
    then is; None where nothing does. What could not be refitted, or is over a limit then, is chosen without. When the
    rest of the time is needed to register it chooses among what is refitted by then."""
    done: dict[Key, bool] = {}
    while True:
        more = not done or studies.context.ledger.may_judge()
        left = {n: [t for t in ts if done.get((n, t.number), more)] for n, ts in studies.of_fold(fold).items()}
        found = choose({name: with_refit_costs(studies, fold, name, trials) for name, trials in left.items()})
        new = [] if found is None else [key for key in keys(found) if key not in done]
        if not new:
            return found
        with ThreadPoolExecutor(len(new)) as threads:
            trials = [studies.trials[name, fold][place] for name, place in new]
            fits = threads.map(lambda one: refitted(one[0][0], fold, one[1]), zip(new, trials, strict=True))
            done |= {key: fit is not None for key, fit in zip(new, fits, strict=True)}


def with_refit_costs(plan: RunPlan, fold: str, name: str, trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the costs of their refits, where these were made and limits alone are asked; among several
    objectives inner values are compared, and those are left out whose refit is over a limit."""
    now = add_refit_costs(plan, fold, name, trials)
    if not plan.goal.several:
        return now
    keeps = plan.goal.keeps
    return [trial for trial, then in zip(trials, now, strict=True) if keeps(then) or not keeps(trial)]


def add_refit_costs(plan: RunPlan, fold: str, name: str, trials: Sequence[Trial]) -> list[Trial]:
    """The trials, those that were refitted with the costs of that."""
    files = [plan.job(name, fold, trial.number, {}).file + ".json" for trial in trials]
    fits = [plan.context.folder.kept_json(file) or {"measures": {}} for file in files]
    return [replace(t, measures={**t.measures, **f["measures"]}) for t, f in zip(trials, fits, strict=True)]


def make_limit_check(
    plan: RunPlan, fold: str, trials: TrialsOfFold
) -> Callable[[Sequence[Candidate], Sequence[np.ndarray]], bool]:
    """Whether several members together keep the limits: costs add up, memory is the largest; metrics and gaps are those
    of their mean prediction on the inner rows."""
    by_key = {(name, trial.number): trial for name, ones in trials.items() for trial in ones}

    def keeps(members: Sequence[Candidate], predictions: Sequence[np.ndarray]) -> bool:
        for limit in plan.goal.limits:
            one = limit.objective
            if one.metric is None:
                costs = [by_key[m.family, m.trial].measures[one.name] for m in members]
                value = sum(costs) if one.name in ADDED else max(costs)
            else:
                value = float(np.mean(score_inner_folds(plan, fold, one, predictions)))
            if not limit.excess(value) <= 0:
                return False
        return True

    return keeps


def score_inner_folds(
    plan: RunPlan, fold: str, one: Objective, predictions: Sequence[np.ndarray], at: float | None = None
) -> list[float]:
    """A metric or a gap of these predictions on each inner fold's validation rows, decided by the threshold `at`."""
    found = []
    for (_, rows), odds in zip(plan.folds[fold].inner, predictions, strict=True):
        weight = None if plan.work_rows.weight is None else plan.work_rows.weight[rows]
        metric, told = resolve_objective(
            plan, one, apply_threshold((plan.work_rows.target[rows], odds, weight), at), odds, rows
        )
        found.append(metric.score(*told))
    return found


def resolve_objective(plan: RunPlan, one: Objective, rows: Fold3, odds: np.ndarray, places: np.ndarray) -> Any:
    """The objective's metric, and these work rows as it judges them."""
    groups = None if one.column is None else plan.fit_context.subgroups[one.column][places]
    return plan.goal.fold(one, rows, odds, groups)


def explain_no_feasible(studies: Studies, folds: Sequence[str]) -> NestorError | None:
    """What to say where no configuration keeps the limits in these folds; None where nothing was complete at all."""
    goal = studies.goal
    whole = [
        (name, trial)
        for fold in folds
        for name, trials in studies.of_fold(fold).items()
        for trial in goal.complete(add_refit_costs(studies, fold, name, trials))
    ]
    nearest = goal.nearest([trial for _, trial in whole])
    if nearest is None or not goal.limits:
        return None
    name = next(name for name, trial in whole if trial is nearest)
    has, loosen = [], []
    for limit in goal.limits:
        value = goal.value(limit.objective, nearest.inner, nearest.measures)
        has.append(f"{limit.objective.name} {format_number(value)} {limit.objective.unit}".strip())
        if limit.excess(value) > 0:
            loosen.append(f"--limit {limit.objective.name}={_loosen_bound(limit, value):g}")
    limits = join_names([limit.words for limit in goal.limits])
    return NestorError(
        f"None of {len(whole):,} configurations keeps the limits ({limits}) when it is fitted on all rows. The "
        f"nearest, of {name}, has {join_names(has)}. Loosen {join_names(loosen)}, name leaner families, or search "
        "longer."
    )


def _loosen_bound(limit: Limit, value: float) -> float:
    """A round bound that the value keeps with a tenth to spare."""
    wide = value - 0.1 * abs(value) if limit.objective.greater_is_better else value + 0.1 * abs(value)
    return float(f"{wide:.2g}") if wide else 0.0
