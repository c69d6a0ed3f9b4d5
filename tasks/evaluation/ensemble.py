"""What `procedure` makes of each fold: the ensemble of its best configurations by inner scores, every member refitted
on the fold's training part, and the calibration and the threshold that go with it.

Nothing here looks at B_k or T."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from models.evaluation.calibration import wants_calibration
from models.evaluation.decision import (
    PLAIN,
    PostProcessing,
    apply_threshold,
    average_thresholds,
    choose_post_processing,
)
from models.evaluation.ensemble import MOST_PER_FAMILY, Candidate, EnsembleMember, weigh_candidates
from models.evaluation.threshold import chooses_threshold
from models.families import load_family
from models.metrics.metric import Fold3
from models.splitting.split import ALL
from models.tuning.trial import Trial
from tasks.context import RunContext
from tasks.tuning import selection
from tasks.tuning.deadline import Deadline
from tasks.tuning.tune import limit_refit_time, refit
from tasks.values import RunPlan, Studies, TrialsOfFold

TrialKey = tuple[str, str, int]
"""Family, fold and number of a trial."""


@dataclass(frozen=True)
class FoldEnsemble:
    """What `procedure` returned in one fold: its members, fitted on the fold's training part."""

    fold: str
    members: tuple[EnsembleMember, ...]
    inner: float
    """The ensemble's score on inner out-of-fold rows, finished as it is judged."""
    finish: PostProcessing = PLAIN
    """Its calibration and threshold."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Of metrics and gaps that are objectives or limited, on inner rows, finished as it is judged."""
    held: bool = False
    """Whether a limit kept it from the best calibration or threshold."""
    last: bool = False
    """Whether it is only what could be refitted at all: then nothing that is said of the procedure holds for it."""


def build_ensembles(studies: Studies) -> dict[str, FoldEnsemble]:
    """Every fold's ensemble with all its members refitted; folds where nothing finished are left out.

    Beside the members, and after them, each family's best is refitted too: it is judged for the leaderboard as far as
    the time goes."""
    with limit_refit_time(studies.context):
        ensembles = _refit_ensembles(studies)
    suffices = ensembles and (studies.goal.plain or ALL in ensembles or ALL not in studies.folds)
    return ensembles if suffices or studies.context.ledger.limit is None else _refit_quickest(studies)


def _refit_quickest(studies: Studies) -> dict[str, FoldEnsemble]:
    """The configuration that was fitted in the fewest seconds and can be refitted within the limits, alone, however
    late: where nothing of what was chosen could be refitted there would be no model, although there are trials. What
    learns nothing comes last, but always gets its turn. Empty where all of them fail."""
    late, deadline = not studies.context.ledger.may_judge(), Deadline(studies, studies.trials)
    end = time.monotonic() + deadline.limit_last_resort()
    for fold, name, trial in deadline.list_last_resorts():
        seconds = end - time.monotonic() if load_family(name).tunable else deadline.limit_last_resort()
        if seconds <= 0 or refit(studies, name, fold, trial, last=seconds) is None:
            continue
        if studies.goal.keeps(selection.add_refit_costs(studies, fold, name, [trial])[0]):
            _note_last_resort(studies, name, fold, late)
            ensemble = FoldEnsemble(fold, (EnsembleMember(name, trial.number, 1.0),), trial.inner or 0.0, last=True)
            return {fold: _finish_ensemble(studies, ensemble)}
    return {}


def _note_last_resort(plan: RunPlan, name: str, fold: str, late: bool) -> None:
    why = "Time was too short to refit what was chosen"
    if not late:
        why = "What was chosen could not be refitted" + " within the limits" * bool(plan.goal.limits)
    plan.context.note(
        f"{why}: {name} on fold {fold} is delivered alone, the quickest configuration that could be. It was not chosen "
        "by its score, so there is no estimate."
    )


def refit_ahead(studies: Studies) -> Sequence[str]:
    """Refits what would be chosen if the search were over now, so that the end has less to do; returns the family of
    each member that would be delivered. Where more than the metric counts the choice itself asks for refits: then
    nothing is made ahead."""
    if not studies.goal.plain:
        return ()
    with limit_refit_time(studies.context):
        ensembles = {fold: ensemble for fold, ensemble in _choose_ensembles(studies).items() if ensemble is not None}
        _refit_all(studies, _list_members(ensembles.values()) | _list_bests(studies), set())
    return [member.family for ensemble in list_delivered(ensembles) for member in ensemble.members]


def _refit_ensembles(studies: Studies) -> dict[str, FoldEnsemble]:
    ensembles = {fold: ensemble for fold, ensemble in _choose_ensembles(studies).items() if ensemble is not None}
    members = _list_members(ensembles.values())
    keys = _refit_all(studies, members | _list_bests(studies), members)
    refits = {k: ensemble for k in ensembles if (ensemble := _keep_fitted(ensembles[k], keys)) is not None}
    return {k: _finish_ensemble(studies, ensemble) for k, ensemble in refits.items()}


def _list_members(ensembles: Iterable[FoldEnsemble]) -> set[TrialKey]:
    return {(m.family, ensemble.fold, m.trial) for ensemble in ensembles for m in ensemble.members}


def _list_bests(studies: Studies) -> set[TrialKey]:
    """Each family's best in each outer fold, which the leaderboard shows. Where one was refitted while the search went
    on, it stays that one: the time is better spent on the search."""
    bests = ((name, k, selection.pick_judged_trial(studies, name, k)) for name, k in studies.trials if k != ALL)
    return {(name, k, best.number) for name, k, best in bests if best is not None}


def _refit_all(studies: Studies, keys: set[TrialKey], needed: set[TrialKey]) -> set[TrialKey]:
    """Refits these trials, those that are needed first; returns those that could be refitted."""
    with ThreadPoolExecutor(64) as threads:
        futures = {
            key: threads.submit(refit, studies, *key[:2], _find_trial(studies, *key), needed=key in needed)
            for key in sorted(keys, key=lambda key: (key not in needed, key))
        }
    return {key for key, future in futures.items() if future.result() is not None}


def _choose_ensembles(studies: Studies) -> dict[str, FoldEnsemble | None]:
    """Every fold's choice. Where more than the metric counts its members are refitted already, since their costs as
    refitted have a say."""
    if studies.goal.plain:
        return {fold: _weigh_ensemble(studies, fold) for fold in studies.folds}
    with ThreadPoolExecutor(len(studies.folds)) as threads:
        return dict(
            zip(
                studies.folds,
                threads.map(lambda fold: _choose_within_limits(studies, fold), studies.folds),
                strict=True,
            )
        )


def _choose_within_limits(studies: Studies, fold: str) -> FoldEnsemble | None:
    """The fold's one configuration, or with limits alone its ensemble, whose costs as refitted keep the limits."""
    choose = _choose_one if studies.goal.several else _weigh_ensemble
    return selection.choose_until_refitted(
        studies, fold, lambda trials: choose(studies, fold, trials),
        lambda ensemble: [(m.family, m.trial) for m in ensemble.members],
        lambda name, k, trial: refit(studies, name, k, trial),
    )  # fmt: skip


def _choose_one(studies: Studies, fold: str, trials: TrialsOfFold) -> FoldEnsemble | None:
    """The one configuration that the goal picks, by inner values alone."""
    key = selection.pick_trial(studies, fold, trials)
    return key and FoldEnsemble(
        fold, (EnsembleMember(*key, 1.0),), _find_trial(studies, key[0], fold, key[1]).inner or 0.0
    )


def _keep_fitted(ensemble: FoldEnsemble, keys: set[tuple[str, str, int]]) -> FoldEnsemble | None:
    """The ensemble of those members that could be refitted, their weights summing to one again."""
    members = [m for m in ensemble.members if (m.family, ensemble.fold, m.trial) in keys]
    total = sum(m.weight for m in members)
    return replace(ensemble, members=tuple(replace(m, weight=m.weight / total) for m in members)) if members else None


def _weigh_ensemble(studies: Studies, fold: str, trials: TrialsOfFold | None = None) -> FoldEnsemble | None:
    """The fold's ensemble, by inner scores alone, within the limits; None where no configuration finished within."""
    trials = studies.list_trials(fold) if trials is None else trials
    candidates = _list_candidates(studies, fold, trials)
    if not candidates:
        return None
    parts = [judge for _, judge in studies.folds[fold].inner]
    targets = [studies.work_rows.target[rows] for rows in parts]
    weights = [None if studies.work_rows.weight is None else studies.work_rows.weight[rows] for rows in parts]
    keeps = selection.make_limit_check(studies, fold, trials) if studies.goal.limits else None
    return FoldEnsemble(fold, *weigh_candidates(candidates, targets, weights, studies.metric, keeps))


def _list_candidates(plan: RunPlan, fold: str, trials: TrialsOfFold) -> list[Candidate]:
    candidates = []
    for name in plan.scope.families:
        best = sorted(
            (t for t in plan.goal.complete(trials.get(name, ())) if plan.goal.keeps(t)),
            key=lambda t: (-plan.metric.gain(t.inner or 0.0), t.number),
        )
        candidates += [
            Candidate(name, t.number, read_inner_predictions(plan, name, fold, t), t.inner or 0.0)
            for t in best[:MOST_PER_FAMILY]
        ]
    return candidates


def _finish_ensemble(studies: Studies, ensemble: FoldEnsemble) -> FoldEnsemble:
    """With the calibration and the threshold that are best on the fold's inner rows, as far as limits are kept with
    them: its members were chosen within the limits by plain decisions."""
    choose, calibrate = _can_finish(studies, ensemble.fold)
    if not (choose or calibrate or studies.goal.scored):
        return ensemble
    folds = _predict_inner_rows(studies, ensemble)
    best, calibrated_folds = (
        _find_best_finish(studies, ensemble.fold, folds, choose) if choose or calibrate else (PLAIN, folds)
    )
    for finish, rows in ((best, calibrated_folds), (replace(best, threshold=None), calibrated_folds), (PLAIN, folds)):
        values = _score_finish(studies, ensemble.fold, finish, rows)
        if _keeps_limits(studies, values):
            break
    decisions = [apply_threshold(fold, finish.threshold) for fold in rows]
    inner = ensemble.inner if finish == PLAIN else studies.metric.score_folds(decisions)
    return replace(ensemble, inner=inner, finish=finish, values=values, held=finish != best)


def _can_finish(plan: RunPlan, fold: str) -> tuple[bool, bool]:
    """Whether a threshold may be chosen, and a calibration. Without outer folds nothing would judge what was chosen so:
    then probabilities and decisions stay as they are."""
    final, rows = plan.run.final, sum(len(judge) for _, judge in plan.folds[fold].inner)
    choose = final.threshold == "auto" and chooses_threshold(plan.metric, rows)
    calibrate = wants_calibration(plan.metric, final.calibrate)
    if (choose or calibrate) and set(plan.folds) == {ALL}:
        plan.context.note("Without outer folds nothing would judge a calibration or a threshold: none is chosen.")
        return False, False
    return choose, calibrate


def _find_best_finish(
    plan: RunPlan, fold: str, folds: Sequence[Fold3], choose: bool
) -> tuple[PostProcessing, list[Fold3]]:
    """The best finish by the metric alone, and the inner rows calibrated."""
    keys = [plan.keys[judge] for _, judge in plan.folds[fold].inner]
    pooled = ALL not in plan.folds
    return choose_post_processing(plan.metric, folds, keys, plan.run.final.calibrate, choose, plan.run.seed, pooled)


def _score_finish(plan: RunPlan, fold: str, finish: PostProcessing, rows: Sequence[Fold3]) -> dict[str, float]:
    """The metrics and gaps that are objectives or limited, of calibrated inner rows decided by the threshold."""
    odds = [prediction for _, prediction, _ in rows]
    return {
        objective.name: float(np.mean(selection.score_inner_folds(plan, fold, objective, odds, finish.threshold)))
        for objective in plan.goal.scored
    }


def _keeps_limits(plan: RunPlan, values: Mapping[str, float]) -> bool:
    return all(
        limit.measure_excess(values[limit.objective.name]) <= 0 for limit in plan.goal.limits if limit.objective.metric
    )


def _predict_inner_rows(studies: Studies, ensemble: FoldEnsemble) -> list[Fold3]:
    """Each inner fold's validation rows with the ensemble's predictions."""
    members = [
        [m.weight * part for part in read_inner_predictions(studies, m.family, ensemble.fold, trial)]
        for m in ensemble.members
        for trial in [_find_trial(studies, m.family, ensemble.fold, m.trial)]
    ]
    odds = [np.sum(parts, axis=0) for parts in zip(*members, strict=True)]
    parts, work = [judge for _, judge in studies.folds[ensemble.fold].inner], studies.work_rows
    weights = [None if work.weight is None else work.weight[rows] for rows in parts]
    return list(zip([work.target[rows] for rows in parts], odds, weights, strict=True))


def read_inner_predictions(plan: RunPlan, name: str, fold: str, trial: Trial) -> tuple[np.ndarray, ...]:
    """What the configuration says of each inner fold's validation rows."""
    files = [plan.make_job(name, fold, trial.number, {}, inner=j).file for j in range(len(trial.scores))]
    return tuple(read_predictions(plan.context, file) for file in files)


def read_predictions(context: RunContext, file: str) -> np.ndarray:
    """The predictions that a fit left in this file."""
    predictions = context.folder.read_array(file)
    assert predictions is not None, f"{file} was written before its trial was told"
    return np.asarray(predictions)


def _find_trial(studies: Studies, family: str, fold: str, number: int) -> Trial:
    return studies.trials[family, fold][number]


def list_refits(plan: RunPlan, ensemble: FoldEnsemble, with_sealed: bool = False) -> list[tuple[str, float]]:
    """File and weight of each member."""
    return [
        (plan.make_job(m.family, ensemble.fold, m.trial, {}, with_sealed=with_sealed).file, m.weight)
        for m in ensemble.members
    ]


def list_delivered(ensembles: dict[str, FoldEnsemble]) -> list[FoldEnsemble]:
    """The search on all rows where there was one, else every fold's."""
    return [ensembles[ALL]] if ALL in ensembles else list(ensembles.values())


def compute_threshold(plan: RunPlan, ensembles: dict[str, FoldEnsemble]) -> float | None:
    """The delivered model's threshold; None where it decides plainly."""
    return average_thresholds(plan.metric, [c.finish for c in list_delivered(ensembles)])
