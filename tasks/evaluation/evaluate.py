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
from tasks.evaluation import conformal as coverage
from tasks.evaluation import repeats
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
    with studies.context.stage(EVALUATE):
        return _evaluate(studies)


def _evaluate(studies: Studies) -> Evaluation:
    chosen = build_ensembles(studies)
    if not list_delivered(chosen) or (ALL in studies.folds and ALL not in chosen and not studies.goal.plain):
        raise _explain_no_model(studies)
    if ALL in studies.folds and ALL not in chosen:
        studies.context.note(
            "The search on all work rows made no model: the average of the outer folds' models is delivered."
        )
    _note_finish(studies, chosen)
    shown = tuple((k, _judge_fold(studies, k, chosen[k])) for k in studies.folds if k != ALL and k in chosen)
    outer = tuple((k, apply_threshold(rows, chosen[k].finish.threshold)) for k, rows in shown)
    alone = any(one.last for one in chosen.values())
    procedure = None if alone else _estimate_score(studies, outer)
    optimism = _measure_optimism(studies, chosen, outer)
    if ALL in chosen and not outer and not alone:
        procedure = _estimate_without_outer(studies, chosen[ALL])
    families = _rank_families(studies, chosen)
    openings = _count_opening(studies)
    test, agreement = _open_sealed_rows(studies, chosen, outer)
    scores = coverage.make_conformal(studies, chosen, shown)
    covered = () if test is None else coverage.measure_sealed_coverage(studies, chosen, scores)
    judging = None if test is None else _judge_sealed_rows(studies, chosen)
    apart = repeats.evaluate_repeats(studies, () if procedure is None or not shown else outer, judging)
    return advance(
        Evaluation, studies, chosen=chosen, families=families, winner=_find_winner(studies, families, alone),
        estimate=procedure, test=test, optimism=optimism, agreement=agreement,
        beats_constant=_beats_constant(studies, procedure), outer=shown, conformal=scores, coverage=covered,
        threshold=compute_threshold(studies, chosen), repeats=apart, openings=openings,
    )  # fmt: skip


def _explain_no_model(studies: Studies) -> NestorError:
    """Why there is no model: limits that nothing keeps, too little time, or what most fits failed of."""
    over = selection.explain_no_feasible(studies, [ALL] if ALL in studies.folds else list(studies.folds))
    if over is not None:
        return over
    reasons = Counter(t.reason for trials in studies.trials.values() for t in trials if t.state == "failed")
    if reasons:
        why, times = reasons.most_common(1)[0]
        return NestorError(f"No configuration could be fitted. {times:,} fits failed with: {shorten(why, 200)}")
    if studies.broken:
        why, times = Counter(studies.broken.values()).most_common(1)[0]
        return NestorError(f"No configuration could be fitted. {times:,} searches ended with: {why}")
    used = studies.context.ledger.elapsed
    return BudgetError(f"Nothing could be fitted in {used:.0f} s. Give more time: --budget {3 * used:.0f}s.")


def decide_outer_rows(evaluation: Evaluation) -> list[tuple[str, np.ndarray]]:
    """The codes of the outer rows, fold by fold, as they were judged."""
    rows = [(k, apply_threshold(one, evaluation.chosen[k].finish.threshold)[1]) for k, one in evaluation.outer]
    return [(k, evaluation.metric.decided(said) if said.ndim == 2 else said) for k, said in rows]


def _note_finish(plan: RunPlan, chosen: dict[str, FoldEnsemble]) -> None:
    """Says what was calibrated and which threshold holds."""
    delivered = list_delivered(chosen)
    methods = Counter(c.finish.calibration.method for c in delivered if c.finish.calibration)
    if methods:
        how = ", ".join(f"{method} in {n} of {len(delivered)} folds" for method, n in methods.items())
        plan.context.note(f"Probabilities are calibrated on inner rows: {how}.")
    held = [c.fold for c in delivered if c.held]
    if held:
        limits = join_names([limit.words for limit in plan.goal.limits if limit.objective.metric])
        plan.context.note(
            f"In {len(held)} of {len(delivered)} folds the calibration or threshold that is best for "
            f"{plan.metric.name} is not used: with it the inner rows would not keep {limits}."
        )
    at = compute_threshold(plan, chosen)
    if at is not None:
        folds = [c.finish.threshold for c in delivered if c.finish.threshold is not None]
        plan.context.note(
            f"The label {plan.work_rows.classes[1]} is given from a probability of {at:.3g} on, a threshold chosen "
            f"on inner rows: in {len(folds)} of {len(delivered)} folds, between {min(folds):.3g} and {max(folds):.3g}."
        )


def _judge_fold(plan: RunPlan, fold: str, chosen: FoldEnsemble) -> Fold3:
    """B_k's rows with the fold's ensemble predictions, calibrated."""
    prediction = sum(w * read_predictions(plan.context, file) for file, w in list_refits(plan, chosen))
    return _make_fold_rows(plan, fold, chosen.finish.odds(np.asarray(prediction)))


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
    found = estimate.estimate_score(plan.metric, folds, keys, sizes, plan.run.seed)
    return estimate.keep_defined_interval(found, plan.unit(plan.keys))


def _rank_families(studies: Studies, chosen: dict[str, FoldEnsemble]) -> tuple[FamilyOutcome, ...]:
    """The leaderboard: families that were judged in every fold before others, each by inner score, best first."""
    found = [_evaluate_family(studies, name, chosen) for name in studies.scope.families]
    worst = -float("inf")

    def rank(family: FamilyOutcome) -> tuple[bool, float]:
        return family.estimate is not None, worst if family.inner is None else studies.metric.gain(family.inner)

    return tuple(sorted(found, key=rank, reverse=True))


def _evaluate_family(studies: Studies, name: str, chosen: dict[str, FoldEnsemble]) -> FamilyOutcome:
    trials = {k: studies.trials.get((name, k), []) for k in studies.folds}
    bests = {k: selection.pick_family_trial(studies, name, k) for k in trials}
    judged = []
    for k in (k for k in studies.folds if k != ALL):
        best = bests[k]
        file = studies.job(name, k, best.number, {}).file if best else ""
        if best and studies.context.folder.has(file + ".npy"):
            judged.append((k, _make_fold_rows(studies, k, read_predictions(studies.context, file))))
    delivered = list_delivered(chosen)
    weight = sum(m.weight for c in delivered for m in c.members if m.family == name) / max(1, len(delivered))
    inner = [b.inner for b in bests.values() if b is not None and b.inner is not None]
    return FamilyOutcome(
        name,
        _estimate_score(studies, judged),
        sum(inner) / len(inner) if inner else None,
        sum(map(len, trials.values())),
        studies.context.ledger.fitting.get(name, 0.0),
        tuple(len(t) for t in trials.values()),
        weight,
    )


def _find_winner(plan: RunPlan, families: Sequence[FamilyOutcome], alone: bool) -> str:
    if (plan.goal.several or alone) and families:
        return max(families, key=lambda family: family.weight).name
    return families[0].name if families else "constant"


def _measure_optimism(
    plan: RunPlan, chosen: dict[str, FoldEnsemble], outer: Sequence[tuple[str, Fold3]]
) -> float | None:
    """Inner minus outer score of what was picked."""
    if not outer:
        return None
    return estimate.measure_optimism(
        plan.metric, [chosen[k].inner for k, _ in outer], [plan.metric.score(*rows) for _, rows in outer]
    )


def _estimate_without_outer(studies: Studies, chosen: FoldEnsemble) -> Interval | None:
    """BBC-CV over the configurations that finished every fold; for one hold-out its score, with an interval."""
    fold = studies.folds[chosen.fold]
    rows = np.concatenate([judge for _, judge in fold.inner])
    parts = np.split(np.arange(len(rows)), np.cumsum([len(judge) for _, judge in fold.inner])[:-1])
    tried = [
        (name, t)
        for name in studies.scope.families
        for t in studies.trials.get((name, chosen.fold), [])
        if t.inner is not None and studies.goal.keeps(t)
    ]
    found = [np.concatenate(read_inner_predictions(studies, name, chosen.fold, t)) for name, t in tried]
    weight = None if studies.work_rows.weight is None else studies.work_rows.weight[rows]
    return estimate.keep_defined_interval(estimate.estimate_by_bbc(
        studies.metric, studies.work_rows.target[rows], found, studies.keys[rows], parts, studies.run.seed, weight,
        studies.goal.chooser([t for _, t in tried], selection.compute_gain_floor(studies, chosen.fold)),
    ), studies.unit(studies.keys))  # fmt: skip


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
    studies: Studies, chosen: dict[str, FoldEnsemble], outer: Sequence[tuple[str, Fold3]]
) -> tuple[Interval | None, float | None]:
    """The delivered model's score on the sealed rows, and how it agrees with the outer folds; nothing of both where
    these rows could not be predicted."""
    if studies.sealed_rows is None:
        return None, None
    try:
        _predict_sealed(studies, chosen.values())
    except FitError as error:
        studies.context.note(f"The sealed rows could not be predicted: {error.reason}. There is no test score.")
        return None, None
    sealed, keys = studies.sealed_rows, studies.sealed_keys
    rows = _judge_sealed_rows(studies, chosen)
    test = estimate.keep_defined_interval(
        estimate.estimate_test_score(studies.metric, rows, keys, studies.run.seed), studies.unit(keys)
    )
    if not outer or test is None:
        return test, None
    by_fold = [
        apply_threshold(
            (sealed.target, read_sealed_predictions(studies.context, chosen[k]), sealed.weight),
            chosen[k].finish.threshold,
        )
        for k, _ in outer
    ]
    own_keys = [studies.keys[studies.folds[k].judge] for k, _ in outer]
    return test, estimate.measure_agreement(
        studies.metric, [r for _, r in outer], by_fold, own_keys, keys, studies.run.seed
    )


def _judge_sealed_rows(plan: RunPlan, chosen: dict[str, FoldEnsemble]) -> Fold3:
    """The sealed rows as the delivered model is judged by them."""
    assert plan.sealed_rows is not None
    whole = plan.sealed_rows.target, average_sealed_predictions(plan.context, chosen), plan.sealed_rows.weight
    return apply_threshold(whole, compute_threshold(plan, chosen))


def average_sealed_predictions(context: RunContext, chosen: dict[str, FoldEnsemble]) -> np.ndarray:
    """What the delivered model, the tested one, says of the sealed rows, once they were opened."""
    return np.mean([read_sealed_predictions(context, one) for one in list_delivered(chosen)], axis=0)


def read_sealed_predictions(context: RunContext, chosen: FoldEnsemble) -> np.ndarray:
    """What one fold's ensemble says of the sealed rows, calibrated."""
    return chosen.finish.odds(read_predictions(context, f"sealed/{chosen.fold}"))


def _predict_sealed(plan: RunPlan, chosen: Iterable[FoldEnsemble]) -> None:
    names = {f"sealed/{one.fold}": list_refits(plan, one) for one in chosen}
    place, limit = (str(plan.context.folder.path), plan.fit_context.plan), plan.context.ledger.sealed_limit()
    waiting = [
        plan.context.pool.submit(worker.predict_sealed, *place, members, name, priority=(JUDGE, 0), timeout=limit)
        for name, members in names.items()
        if plan.context.folder.kept_array(name) is None
    ]
    for one in waiting:
        one.result()


def _beats_constant(plan: RunPlan, procedure: Interval | None) -> bool:
    """Whether the estimate is on the better side of the best constant prediction."""
    if procedure is None:
        return False
    level = estimate.score_best_constant(plan.metric, plan.work_rows.target, plan.work_rows.weight)
    return plan.metric.gain(procedure.value) > plan.metric.gain(level)
