"""What is said of what was assembled: the procedure's estimate, the leaderboard, the one opening of the sealed rows,
agreement.

Everything was chosen by inner scores. B_k and T only judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import BudgetError, NestorError, join_names
from models.evaluation import estimate
from models.evaluation.conformal import ConformalScores
from models.evaluation.decision import apply_threshold
from models.metrics.metric import Fold3
from models.outcome import Coverage, FamilyOutcome, Interval, RepeatedRows
from models.splitting.split import ALL
from models.text.safe import shorten
from tasks.context import RunContext
from tasks.evaluation import repeats
from tasks.evaluation.conformal import make_conformal, measure_sealed_coverage
from tasks.evaluation.ensemble import (
    FoldEnsemble,
    build_ensembles,
    compute_threshold,
    list_delivered,
    list_refits,
    read_inner_predictions,
    read_predictions,
)
from tasks.execution import worker
from tasks.execution.pool import JUDGE, FitError
from tasks.run.stage import EVALUATE
from tasks.tuning import selection
from tasks.values import RunPlan, Studies, advance


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation(Studies):
    """The studies, every number of the run, and what is delivered."""

    chosen: dict[str, FoldEnsemble]
    families: tuple[FamilyOutcome, ...]
    winner: str
    estimate: Interval | None
    test: Interval | None
    optimism: float | None
    agreement: float | None
    beats_constant: bool
    outer: tuple[tuple[str, Fold3], ...]
    """Out-of-fold rows of the outer folds: fold, (target, prediction, weight); probabilities calibrated."""
    conformal: ConformalScores | None = None
    """The outer rows' scores, from which intervals and sets are made."""
    coverage: tuple[Coverage, ...] = ()
    """What these cover of the sealed rows."""
    threshold: float | None = None
    """From which probability on the delivered model says the positive class; None: plainly."""
    repeats: RepeatedRows | None = None
    """How rows that repeat were divided, and the scores on seen and on new points."""
    openings: int = 0
    """How many runs of this name have opened the sealed rows, this one included; 0 where there are none."""


def evaluate(studies: Studies) -> Evaluation:
    """Weighs, refits, judges, and opens the sealed rows once."""
    with studies.context.enter_stage(EVALUATE):
        return _evaluate(studies)


def _evaluate(studies: Studies) -> Evaluation:
    ensembles = build_ensembles(studies)
    if not list_delivered(ensembles) or (ALL in studies.folds and ALL not in ensembles and not studies.goal.plain):
        raise _explain_no_model(studies)
    if ALL in studies.folds and ALL not in ensembles:
        studies.context.note(
            "The search on all work rows made no model: the average of the outer folds' models is delivered."
        )
    _note_finish(studies, ensembles)
    predictions = tuple(
        (k, _judge_fold(studies, k, ensembles[k])) for k in studies.folds if k != ALL and k in ensembles
    )
    outer = tuple((k, apply_threshold(rows, ensembles[k].finish.threshold)) for k, rows in predictions)
    last_resort = any(ensemble.last for ensemble in ensembles.values())
    procedure = None if last_resort else _estimate_score(studies, outer)
    optimism = _measure_optimism(studies, ensembles, outer)
    if ALL in ensembles and not outer and not last_resort:
        procedure = _estimate_without_outer(studies, ensembles[ALL])
    families = _rank_families(studies, ensembles)
    openings = _count_opening(studies)
    test, agreement = _open_sealed_rows(studies, ensembles, outer)
    scores = make_conformal(studies, ensembles, predictions)
    coverages = () if test is None else measure_sealed_coverage(studies, ensembles, scores)
    sealed_rows = None if test is None else _judge_sealed_rows(studies, ensembles)
    repeated_rows = repeats.evaluate_repeats(
        studies, () if procedure is None or not predictions else outer, sealed_rows
    )
    return advance(
        Evaluation, studies, chosen=ensembles, families=families, winner=_find_winner(studies, families, last_resort),
        estimate=procedure, test=test, optimism=optimism, agreement=agreement,
        beats_constant=_beats_constant(studies, procedure), outer=predictions, conformal=scores, coverage=coverages,
        threshold=compute_threshold(studies, ensembles), repeats=repeated_rows, openings=openings,
    )  # fmt: skip


def _explain_no_model(studies: Studies) -> NestorError:
    """Why there is no model: limits that nothing keeps, too little time, or what most fits failed of."""
    error = selection.explain_no_feasible(studies, [ALL] if ALL in studies.folds else list(studies.folds))
    if error is not None:
        return error
    reasons = Counter(t.reason for trials in studies.trials.values() for t in trials if t.state == "failed")
    if reasons:
        reason, count = reasons.most_common(1)[0]
        return NestorError(f"No configuration could be fitted. {count:,} fits failed with: {shorten(reason, 200)}")
    if studies.broken:
        reason, count = Counter(studies.broken.values()).most_common(1)[0]
        return NestorError(f"No configuration could be fitted. {count:,} searches ended with: {reason}")
    seconds = studies.context.ledger.elapsed
    return BudgetError(f"Nothing could be fitted in {seconds:.0f} s. Give more time: --budget {3 * seconds:.0f}s.")


def decide_outer_rows(evaluation: Evaluation) -> list[tuple[str, np.ndarray]]:
    """The codes of the outer rows, fold by fold, as they were judged."""
    predictions = [(k, apply_threshold(fold, evaluation.chosen[k].finish.threshold)[1]) for k, fold in evaluation.outer]
    return [
        (k, evaluation.metric.decide(prediction) if prediction.ndim == 2 else prediction)
        for k, prediction in predictions
    ]


def _note_finish(plan: RunPlan, ensembles: dict[str, FoldEnsemble]) -> None:
    """Says what was calibrated and which threshold holds."""
    delivered = list_delivered(ensembles)
    methods = Counter(c.finish.calibration.method for c in delivered if c.finish.calibration)
    if methods:
        counts = ", ".join(f"{method} in {n} of {len(delivered)} folds" for method, n in methods.items())
        plan.context.note(f"Probabilities are calibrated on inner rows: {counts}.")
    folds = [c.fold for c in delivered if c.held]
    if folds:
        limits = join_names([limit.words for limit in plan.goal.limits if limit.objective.metric])
        plan.context.note(
            f"In {len(folds)} of {len(delivered)} folds the calibration or threshold that is best for "
            f"{plan.metric.name} is not used: with it the inner rows would not keep {limits}."
        )
    cut = compute_threshold(plan, ensembles)
    if cut is not None:
        cuts = [c.finish.threshold for c in delivered if c.finish.threshold is not None]
        plan.context.note(
            f"The label {plan.work_rows.classes[1]} is given from a probability of {cut:.3g} on, a threshold chosen "
            f"on inner rows: in {len(cuts)} of {len(delivered)} folds, between {min(cuts):.3g} and {max(cuts):.3g}."
        )


def _judge_fold(plan: RunPlan, fold: str, ensemble: FoldEnsemble) -> Fold3:
    """B_k's rows with the fold's ensemble predictions, calibrated."""
    prediction = sum(w * read_predictions(plan.context, file) for file, w in list_refits(plan, ensemble))
    return _make_fold_rows(plan, fold, ensemble.finish.calibrate(np.asarray(prediction)))


def _make_fold_rows(plan: RunPlan, fold: str, prediction: np.ndarray) -> Fold3:
    rows, weight = plan.folds[fold].judge, plan.work_rows.weight
    return plan.work_rows.target[rows], prediction, None if weight is None else weight[rows]


def _estimate_score(plan: RunPlan, outer: Sequence[tuple[str, Fold3]]) -> Interval | None:
    """The score over all outer folds; None without a prediction in every fold."""
    names = [k for k in plan.folds if k != ALL]
    if not names or [k for k, _ in outer] != names:
        return None
    keys = [plan.keys[plan.folds[k].judge] for k in names]
    sizes = [len(plan.folds[k].train) for k in names]
    folds = [rows for _, rows in outer]
    interval = estimate.estimate_score(plan.metric, folds, keys, sizes, plan.run.seed)
    return estimate.keep_defined_interval(interval, plan.find_unit(plan.keys))


def _rank_families(studies: Studies, ensembles: dict[str, FoldEnsemble]) -> tuple[FamilyOutcome, ...]:
    """The leaderboard: families that were judged in every fold before others, each by inner score, best first."""
    families = [_evaluate_family(studies, name, ensembles) for name in studies.scope.families]
    worst = -float("inf")

    def rank(family: FamilyOutcome) -> tuple[bool, float]:
        return family.estimate is not None, worst if family.inner is None else studies.metric.gain(family.inner)

    return tuple(sorted(families, key=rank, reverse=True))


def _evaluate_family(studies: Studies, name: str, ensembles: dict[str, FoldEnsemble]) -> FamilyOutcome:
    trials = {k: studies.trials.get((name, k), []) for k in studies.folds}
    bests = {k: selection.pick_judged_trial(studies, name, k) for k in trials}
    outer = []
    for k in (k for k in studies.folds if k != ALL):
        best = bests[k]
        file = studies.make_job(name, k, best.number, {}).file if best else ""
        if best and studies.context.folder.has(file + ".npy"):
            outer.append((k, _make_fold_rows(studies, k, read_predictions(studies.context, file))))
    delivered = list_delivered(ensembles)
    weight = sum(m.weight for c in delivered for m in c.members if m.family == name) / max(1, len(delivered))
    inner = [b.inner for b in bests.values() if b is not None and b.inner is not None]
    return FamilyOutcome(
        name,
        _estimate_score(studies, outer),
        sum(inner) / len(inner) if inner else None,
        sum(map(len, trials.values())),
        studies.context.ledger.fitting.get(name, 0.0),
        tuple(len(t) for t in trials.values()),
        weight,
    )


def _find_winner(plan: RunPlan, families: Sequence[FamilyOutcome], last_resort: bool) -> str:
    if (plan.goal.several or last_resort) and families:
        return max(families, key=lambda family: family.weight).name
    return families[0].name if families else "constant"


def _measure_optimism(
    plan: RunPlan, ensembles: dict[str, FoldEnsemble], outer: Sequence[tuple[str, Fold3]]
) -> float | None:
    """Inner minus outer score of what was picked."""
    if not outer:
        return None
    return estimate.measure_optimism(
        plan.metric, [ensembles[k].inner for k, _ in outer], [plan.metric.score(*rows) for _, rows in outer]
    )


def _estimate_without_outer(studies: Studies, ensemble: FoldEnsemble) -> Interval | None:
    """BBC-CV over the configurations that finished every fold; for one hold-out its score, with an interval."""
    fold = studies.folds[ensemble.fold]
    rows = np.concatenate([judge for _, judge in fold.inner])
    parts = np.split(np.arange(len(rows)), np.cumsum([len(judge) for _, judge in fold.inner])[:-1])
    candidates = [
        (name, t)
        for name in studies.scope.families
        for t in studies.trials.get((name, ensemble.fold), [])
        if t.inner is not None and studies.goal.keeps(t)
    ]
    outputs = [np.concatenate(read_inner_predictions(studies, name, ensemble.fold, t)) for name, t in candidates]
    weight = None if studies.work_rows.weight is None else studies.work_rows.weight[rows]
    return estimate.keep_defined_interval(estimate.estimate_by_bbc(
        studies.metric, studies.work_rows.target[rows], outputs, studies.keys[rows], parts, studies.run.seed, weight,
        studies.goal.make_chooser([t for _, t in candidates], selection.compute_gain_floor(studies, ensemble.fold)),
    ), studies.find_unit(studies.keys))  # fmt: skip


def _count_opening(plan: RunPlan) -> int:
    """Has MLflow count that this seal is opened, once for each run; from the second time on says what follows."""
    if plan.seal_id is None or plan.sealed_rows is None:
        return 0
    openings = plan.context.journal.call("count_opening", seal_id=plan.seal_id)
    if openings > 1:
        plan.context.note(
            "Choosing among runs by their test scores makes these look too good, a little more each time."
        )
    return openings


def _open_sealed_rows(
    studies: Studies, ensembles: dict[str, FoldEnsemble], outer: Sequence[tuple[str, Fold3]]
) -> tuple[Interval | None, float | None]:
    """The delivered model's score on the sealed rows, and how it agrees with the outer folds; nothing of both where
    these rows could not be predicted."""
    if studies.sealed_rows is None:
        return None, None
    try:
        _predict_sealed(studies, ensembles.values())
    except FitError as error:
        studies.context.note(f"The sealed rows could not be predicted: {error.reason}. There is no test score.")
        return None, None
    sealed, keys = studies.sealed_rows, studies.sealed_keys
    rows = _judge_sealed_rows(studies, ensembles)
    test = estimate.keep_defined_interval(
        estimate.estimate_test_score(studies.metric, rows, keys, studies.run.seed), studies.find_unit(keys)
    )
    if not outer or test is None:
        return test, None
    by_fold = [
        apply_threshold(
            (sealed.target, read_sealed_predictions(studies.context, ensembles[k]), sealed.weight),
            ensembles[k].finish.threshold,
        )
        for k, _ in outer
    ]
    outer_keys = [studies.keys[studies.folds[k].judge] for k, _ in outer]
    return test, estimate.measure_agreement(
        studies.metric, [r for _, r in outer], by_fold, outer_keys, keys, studies.run.seed
    )


def _judge_sealed_rows(plan: RunPlan, ensembles: dict[str, FoldEnsemble]) -> Fold3:
    """The sealed rows as the delivered model is judged by them."""
    assert plan.sealed_rows is not None
    rows = plan.sealed_rows.target, average_sealed_predictions(plan.context, ensembles), plan.sealed_rows.weight
    return apply_threshold(rows, compute_threshold(plan, ensembles))


def average_sealed_predictions(context: RunContext, ensembles: dict[str, FoldEnsemble]) -> np.ndarray:
    """What the delivered model, the tested one, says of the sealed rows, once they were opened."""
    return np.mean([read_sealed_predictions(context, ensemble) for ensemble in list_delivered(ensembles)], axis=0)


def read_sealed_predictions(context: RunContext, ensemble: FoldEnsemble) -> np.ndarray:
    """What one fold's ensemble says of the sealed rows, calibrated."""
    return ensemble.finish.calibrate(read_predictions(context, f"sealed/{ensemble.fold}"))


def _predict_sealed(plan: RunPlan, ensembles: Iterable[FoldEnsemble]) -> None:
    names = {f"sealed/{ensemble.fold}": list_refits(plan, ensemble) for ensemble in ensembles}
    place, limit = (str(plan.context.folder.path), plan.fit_context.plan), plan.context.ledger.limit_sealed()
    futures = [
        plan.context.pool.submit(worker.predict_sealed, *place, members, name, priority=(JUDGE, 0), timeout=limit)
        for name, members in names.items()
        if plan.context.folder.try_array(name) is None
    ]
    for future in futures:
        future.result()


def _beats_constant(plan: RunPlan, procedure: Interval | None) -> bool:
    """Whether the estimate is on the better side of the best constant prediction."""
    if procedure is None:
        return False
    level = estimate.score_best_constant(plan.metric, plan.work_rows.target, plan.work_rows.weight)
    return plan.metric.gain(procedure.value) > plan.metric.gain(level)
