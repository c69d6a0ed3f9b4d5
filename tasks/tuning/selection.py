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
    return studies.goal.rank_families(studies.list_trials(fold), compute_gain_floor(studies, fold))


def compute_gain_floor(studies: Studies, fold: str) -> float:
    """The best gain of the metric in this fold without any learning: of a constant prediction, and of families that
    have nothing to tune."""
    references = [
        t for name, trials in studies.list_trials(fold).items() if not load_families()[name].tunable for t in trials
    ]
    scores = [_score_constant(studies, fold), *(t.inner for t in references if t.inner is not None)]
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
    candidates = [(name, trial) for name, study in trials.items() for trial in study]
    choice = studies.goal.pick_best([trial for _, trial in candidates], compute_gain_floor(studies, fold))
    return next(((name, trial.number) for name, trial in candidates if trial is choice), None)


def pick_family_trial(studies: Studies, name: str, fold: str) -> Trial | None:
    """The family's configuration that the goal would pick in this fold, were there no other family; None where none
    keeps the limits."""
    floor = compute_gain_floor(studies, fold) if studies.goal.several else -math.inf
    return studies.goal.pick_best(studies.trials.get((name, fold), ()), floor)


def pick_judged_trial(studies: Studies, name: str, fold: str) -> Trial | None:
    """The family's best configuration by inner values of those that B_k has judged; of all where it has judged none."""

    def is_judged(trial: Trial) -> bool:
        return studies.context.folder.has(studies.make_job(name, fold, trial.number, {}).file + ".npy")

    trials = studies.trials.get((name, fold), ())
    floor = compute_gain_floor(studies, fold) if studies.goal.several else -math.inf
    return studies.goal.pick_best([t for t in trials if is_judged(t)], floor) or pick_family_trial(studies, name, fold)


def choose_until_refitted(
    studies: Studies, fold: str, choose: Callable[[TrialsOfFold], Any], keys: Callable[[Any], Collection[Key]],
    refit: Callable[[str, str, Trial], object | None],
) -> Any:  # fmt: skip
    """What `choose` makes of the fold's trials, once all that it takes (`keys`) is refitted and keeps the limits as it
    then is; None where nothing does. What could not be refitted, or is over a limit then, is chosen without. When the
    rest of the time is needed to register it chooses among what is refitted by then."""
    states: dict[Key, bool] = {}
    while True:
        is_open = not states or studies.context.ledger.may_judge()
        candidates = {
            n: [t for t in ts if states.get((n, t.number), is_open)] for n, ts in studies.list_trials(fold).items()
        }
        choice = choose({name: with_refit_costs(studies, fold, name, trials) for name, trials in candidates.items()})
        new_keys = [] if choice is None else [key for key in keys(choice) if key not in states]
        if not new_keys:
            return choice
        with ThreadPoolExecutor(len(new_keys)) as threads:
            trials = [studies.trials[name, fold][place] for name, place in new_keys]
            fits = threads.map(lambda pair: refit(pair[0][0], fold, pair[1]), zip(new_keys, trials, strict=True))
            states |= {key: fit is not None for key, fit in zip(new_keys, fits, strict=True)}


def with_refit_costs(plan: RunPlan, fold: str, name: str, trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the costs of their refits, where these were made and limits alone are asked; among several
    objectives inner values are compared, and those are left out whose refit is over a limit."""
    refits = add_refit_costs(plan, fold, name, trials)
    if not plan.goal.several:
        return refits
    keeps = plan.goal.keeps
    return [trial for trial, refit in zip(trials, refits, strict=True) if keeps(refit) or not keeps(trial)]


def add_refit_costs(plan: RunPlan, fold: str, name: str, trials: Sequence[Trial]) -> list[Trial]:
    """The trials, those that were refitted with the costs of that."""
    files = [plan.make_job(name, fold, trial.number, {}).file + ".json" for trial in trials]
    fits = [plan.context.folder.try_json(file) or {"measures": {}} for file in files]
    return [replace(t, measures={**t.measures, **f["measures"]}) for t, f in zip(trials, fits, strict=True)]


def make_limit_check(
    plan: RunPlan, fold: str, trials: TrialsOfFold
) -> Callable[[Sequence[Candidate], Sequence[np.ndarray]], bool]:
    """Whether several members together keep the limits: costs add up, memory is the largest; metrics and gaps are those
    of their mean prediction on the inner rows."""
    by_key = {(name, trial.number): trial for name, study in trials.items() for trial in study}

    def keeps(members: Sequence[Candidate], predictions: Sequence[np.ndarray]) -> bool:
        for limit in plan.goal.limits:
            objective = limit.objective
            if objective.metric is None:
                costs = [by_key[m.family, m.trial].measures[objective.name] for m in members]
                value = sum(costs) if objective.name in ADDED else max(costs)
            else:
                value = float(np.mean(score_inner_folds(plan, fold, objective, predictions)))
            if not limit.measure_excess(value) <= 0:
                return False
        return True

    return keeps


def score_inner_folds(
    plan: RunPlan, fold: str, objective: Objective, predictions: Sequence[np.ndarray], threshold: float | None = None
) -> list[float]:
    """A metric or a gap of these predictions on each inner fold's validation rows, decided by the
    threshold."""
    scores = []
    for (_, rows), odds in zip(plan.folds[fold].inner, predictions, strict=True):
        weight = None if plan.work_rows.weight is None else plan.work_rows.weight[rows]
        metric, fold_rows = resolve_objective(
            plan, objective, apply_threshold((plan.work_rows.target[rows], odds, weight), threshold), odds, rows
        )
        scores.append(metric.score(*fold_rows))
    return scores


def resolve_objective(plan: RunPlan, objective: Objective, rows: Fold3, odds: np.ndarray, places: np.ndarray) -> Any:
    """The objective's metric, and these work rows as it judges them."""
    groups = None if objective.column is None else plan.fit_context.subgroups[objective.column][places]
    return plan.goal.fold(objective, rows, odds, groups)


def explain_no_feasible(studies: Studies, folds: Sequence[str]) -> NestorError | None:
    """What to say where no configuration keeps the limits in these folds; None where nothing was complete at all."""
    goal = studies.goal
    candidates = [
        (name, trial)
        for fold in folds
        for name, trials in studies.list_trials(fold).items()
        for trial in goal.complete(add_refit_costs(studies, fold, name, trials))
    ]
    nearest = goal.find_nearest([trial for _, trial in candidates])
    if nearest is None or not goal.limits:
        return None
    name = next(name for name, trial in candidates if trial is nearest)
    texts, options = [], []
    for limit in goal.limits:
        value = goal.value(limit.objective, nearest.inner, nearest.measures)
        texts.append(f"{limit.objective.name} {format_number(value)} {limit.objective.unit}".strip())
        if limit.measure_excess(value) > 0:
            options.append(f"--limit {limit.objective.name}={_loosen_bound(limit, value):g}")
    limits = join_names([limit.words for limit in goal.limits])
    return NestorError(
        f"None of {len(candidates):,} configurations keeps the limits ({limits}) when it is fitted on all rows. The "
        f"nearest, of {name}, has {join_names(texts)}. Loosen {join_names(options)}, name leaner families, or search "
        "longer."
    )


def _loosen_bound(limit: Limit, value: float) -> float:
    """A round bound that the value keeps with a tenth to spare."""
    bound = value - 0.1 * abs(value) if limit.objective.greater_is_better else value + 0.1 * abs(value)
    return float(f"{bound:.2g}") if bound else 0.0
