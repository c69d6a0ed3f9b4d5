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
from tasks.evaluation import conformal as coverage
from tasks.evaluation import repeats
from tasks.evaluation.ensemble import Chosen, array, assembled, delivering, inner_predictions, refits, threshold
from tasks.execution import worker
from tasks.execution.pool import JUDGE, FitError
from tasks.session import Session
from tasks.tuning import selection


@dataclass(frozen=True, eq=False)
class Concluded:
    """Every number of the run, and what is delivered."""

    chosen: dict[str, Chosen]
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


def conclude(session: Session) -> Concluded:
    """Weighs, refits, judges, and opens the sealed rows once."""
    chosen = assembled(session)
    if not delivering(chosen) or (ALL in session.folds and ALL not in chosen and not session.goal.plain):
        raise _nothing(session)
    if ALL in session.folds and ALL not in chosen:
        session.note("The search on all work rows made no model: the average of the outer folds' models is delivered.")
    _tell_finish(session, chosen)
    shown = tuple((k, _judged(session, k, chosen[k])) for k in session.folds if k != ALL and k in chosen)
    outer = tuple((k, apply_threshold(rows, chosen[k].finish.threshold)) for k, rows in shown)
    alone = any(one.last for one in chosen.values())
    procedure = None if alone else _interval(session, outer)
    optimism = _optimism(session, chosen, outer)
    if ALL in chosen and not outer and not alone:
        procedure = _without_outer(session, chosen[ALL])
    families = _families(session, chosen)
    test, agreement = _opened(session, chosen, outer)
    scores = coverage.scores(session, chosen, shown)
    covered = () if test is None else coverage.on_sealed(session, chosen, scores)
    judging = None if test is None else _delivered_on_sealed(session, chosen)
    apart = repeats.outcome(session, () if procedure is None or not shown else outer, judging)
    return Concluded(
        chosen, families, _winner(session, families, alone), procedure, test, optimism, agreement,
        _beats_constant(session, procedure), shown, scores, covered, threshold(session, chosen), apart,
    )  # fmt: skip


def _nothing(session: Session) -> NestorError:
    """Why there is no model: limits that nothing keeps, too little time, or what most fits failed of."""
    over = selection.over_all(session, [ALL] if ALL in session.folds else list(session.folds))
    if over is not None:
        return over
    reasons = Counter(t.reason for trials in session.trials.values() for t in trials if t.state == "failed")
    if reasons:
        why, times = reasons.most_common(1)[0]
        return NestorError(f"No configuration could be fitted. {times:,} fits failed with: {shorten(why, 200)}")
    if session.broken:
        why, times = Counter(session.broken.values()).most_common(1)[0]
        return NestorError(f"No configuration could be fitted. {times:,} searches ended with: {why}")
    used = session.ledger.elapsed
    return BudgetError(f"Nothing could be fitted in {used:.0f} s. Give more time: --budget {3 * used:.0f}s.")


def decided(session: Session, concluded: Concluded) -> list[tuple[str, np.ndarray]]:
    """The codes of the outer rows, fold by fold, as they were judged."""
    rows = [(k, apply_threshold(one, concluded.chosen[k].finish.threshold)[1]) for k, one in concluded.outer]
    return [(k, session.metric.decided(said) if said.ndim == 2 else said) for k, said in rows]


def _tell_finish(session: Session, chosen: dict[str, Chosen]) -> None:
    """Says what was calibrated and which threshold holds."""
    delivered = delivering(chosen)
    methods = Counter(c.finish.calibration.method for c in delivered if c.finish.calibration)
    if methods:
        how = ", ".join(f"{method} in {n} of {len(delivered)} folds" for method, n in methods.items())
        session.note(f"Probabilities are calibrated on inner rows: {how}.")
    held = [c.fold for c in delivered if c.held]
    if held:
        limits = join_names([limit.words for limit in session.goal.limits if limit.objective.metric])
        session.note(
            f"In {len(held)} of {len(delivered)} folds the calibration or threshold that is best for "
            f"{session.metric.name} is not used: with it the inner rows would not keep {limits}."
        )
    at = threshold(session, chosen)
    if at is not None:
        folds = [c.finish.threshold for c in delivered if c.finish.threshold is not None]
        session.note(
            f"The label {session.work.classes[1]} is given from a probability of {at:.3g} on, a threshold chosen "
            f"on inner rows: in {len(folds)} of {len(delivered)} folds, between {min(folds):.3g} and {max(folds):.3g}."
        )


def _judged(session: Session, fold: str, chosen: Chosen) -> Fold3:
    """B_k's rows with the fold's ensemble predictions, calibrated."""
    prediction = sum(w * array(session, file) for file, w in refits(session, chosen))
    return _scored(session, fold, chosen.finish.odds(np.asarray(prediction)))


def _scored(session: Session, fold: str, prediction: np.ndarray) -> Fold3:
    rows, weight = session.folds[fold].judge, session.work.weight
    return session.work.target[rows], prediction, None if weight is None else weight[rows]


def _interval(session: Session, outer: Sequence[tuple[str, Fold3]]) -> Interval | None:
    """The score over all outer folds; None without a prediction in every fold."""
    names = [k for k in session.folds if k != ALL]
    if not names or [k for k, _ in outer] != names:
        return None
    keys = [session.keys[session.folds[k].judge] for k in names]
    sizes = [len(session.folds[k].train) for k in names]
    folds = [rows for _, rows in outer]
    found = estimate.estimate_score(session.metric, folds, keys, sizes, session.run.seed)
    return estimate.keep_defined_interval(found, session.unit(session.keys))


def _families(session: Session, chosen: dict[str, Chosen]) -> tuple[FamilyOutcome, ...]:
    """The leaderboard: families that were judged in every fold before others, each by inner score, best first."""
    found = [_family(session, name, chosen) for name in session.level.families]
    worst = -float("inf")

    def rank(family: FamilyOutcome) -> tuple[bool, float]:
        return family.estimate is not None, worst if family.inner is None else session.metric.gain(family.inner)

    return tuple(sorted(found, key=rank, reverse=True))


def _family(session: Session, name: str, chosen: dict[str, Chosen]) -> FamilyOutcome:
    trials = {k: session.trials.get((name, k), []) for k in session.folds}
    bests = {k: selection.of_family(session, name, k) for k in trials}
    judged = []
    for k in (k for k in session.folds if k != ALL):
        best = bests[k]
        file = session.job(name, k, best.number, {}).file if best else ""
        if best and session.workdir.has(file + ".npy"):
            judged.append((k, _scored(session, k, array(session, file))))
    delivered = delivering(chosen)
    weight = sum(m.weight for c in delivered for m in c.members if m.family == name) / max(1, len(delivered))
    inner = [b.inner for b in bests.values() if b is not None and b.inner is not None]
    return FamilyOutcome(
        name,
        _interval(session, judged),
        sum(inner) / len(inner) if inner else None,
        sum(map(len, trials.values())),
        session.ledger.fitting.get(name, 0.0),
        tuple(len(t) for t in trials.values()),
        weight,
    )


def _winner(session: Session, families: Sequence[FamilyOutcome], alone: bool) -> str:
    if (session.goal.several or alone) and families:
        return max(families, key=lambda family: family.weight).name
    return families[0].name if families else "constant"


def _optimism(session: Session, chosen: dict[str, Chosen], outer: Sequence[tuple[str, Fold3]]) -> float | None:
    """Inner minus outer score of what was picked."""
    if not outer:
        return None
    return estimate.measure_optimism(
        session.metric, [chosen[k].inner for k, _ in outer], [session.metric.score(*rows) for _, rows in outer]
    )


def _without_outer(session: Session, chosen: Chosen) -> Interval | None:
    """BBC-CV over the configurations that finished every fold; for one hold-out its score, with an interval."""
    fold = session.folds[chosen.fold]
    rows = np.concatenate([judge for _, judge in fold.inner])
    parts = np.split(np.arange(len(rows)), np.cumsum([len(judge) for _, judge in fold.inner])[:-1])
    tried = [
        (name, t)
        for name in session.level.families
        for t in session.trials.get((name, chosen.fold), [])
        if t.inner is not None and session.goal.keeps(t)
    ]
    found = [np.concatenate(inner_predictions(session, name, chosen.fold, t)) for name, t in tried]
    weight = None if session.work.weight is None else session.work.weight[rows]
    return estimate.keep_defined_interval(estimate.estimate_by_bbc(
        session.metric, session.work.target[rows], found, session.keys[rows], parts, session.run.seed, weight,
        session.goal.chooser([t for _, t in tried], selection.floor(session, chosen.fold)),
    ), session.unit(session.keys))  # fmt: skip


def _opened(
    session: Session, chosen: dict[str, Chosen], outer: Sequence[tuple[str, Fold3]]
) -> tuple[Interval | None, float | None]:
    """The delivered model's score on the sealed rows, and how it agrees with the outer folds; nothing of both where
    these rows could not be predicted."""
    if session.sealed is None:
        return None, None
    session.count_opening()
    try:
        _predict_sealed(session, chosen.values())
    except FitError as error:
        session.note(f"The sealed rows could not be predicted: {error.reason}. There is no test score.")
        return None, None
    sealed, keys = session.sealed, session.sealed_keys
    rows = _delivered_on_sealed(session, chosen)
    test = estimate.keep_defined_interval(
        estimate.estimate_test_score(session.metric, rows, keys, session.run.seed), session.unit(keys)
    )
    if not outer or test is None:
        return test, None
    by_fold = [
        apply_threshold((sealed.target, fold_on_sealed(session, chosen[k]), sealed.weight), chosen[k].finish.threshold)
        for k, _ in outer
    ]
    own_keys = [session.keys[session.folds[k].judge] for k, _ in outer]
    return test, estimate.measure_agreement(
        session.metric, [r for _, r in outer], by_fold, own_keys, keys, session.run.seed
    )


def _delivered_on_sealed(session: Session, chosen: dict[str, Chosen]) -> Fold3:
    """The sealed rows as the delivered model is judged by them."""
    assert session.sealed is not None
    whole = session.sealed.target, on_sealed(session, chosen), session.sealed.weight
    return apply_threshold(whole, threshold(session, chosen))


def on_sealed(session: Session, chosen: dict[str, Chosen]) -> np.ndarray:
    """What the delivered model, the tested one, says of the sealed rows, once they were opened."""
    return np.mean([fold_on_sealed(session, one) for one in delivering(chosen)], axis=0)


def fold_on_sealed(session: Session, chosen: Chosen) -> np.ndarray:
    """What one fold's ensemble says of the sealed rows, calibrated."""
    return chosen.finish.odds(array(session, f"sealed/{chosen.fold}"))


def _predict_sealed(session: Session, chosen: Iterable[Chosen]) -> None:
    names = {f"sealed/{one.fold}": refits(session, one) for one in chosen}
    plan, limit = (str(session.workdir.path), session.brief.plan), session.sealed_limit()
    waiting = [
        session.fits.submit(worker.predict_sealed, *plan, members, name, priority=(JUDGE, 0), timeout=limit)
        for name, members in names.items()
        if session.workdir.kept_array(name) is None
    ]
    for one in waiting:
        one.result()


def _beats_constant(session: Session, procedure: Interval | None) -> bool:
    """Whether the estimate is on the better side of the best constant prediction."""
    if procedure is None:
        return False
    level = estimate.score_best_constant(session.metric, session.work.target, session.work.weight)
    return session.metric.gain(procedure.value) > session.metric.gain(level)
