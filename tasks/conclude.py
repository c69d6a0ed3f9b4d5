"""From tuned families to what is delivered and what is said of it: weights in every fold, the procedure's estimate, the
one opening of the sealed rows, agreement.

Everything is chosen by inner scores. B_k and T only judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from models import estimate
from models.calibration import wanted
from models.conformal import Conformal
from models.ensemble import MOST_PER_FAMILY, Candidate, Member, weigh
from models.errors import BudgetError, NestorError, shortened
from models.finish import PLAIN, Finish, finished, judged, of_all
from models.metric import Fold3
from models.nested import Trial
from models.outcome import Coverage, FamilyOutcome, Interval
from models.threshold import moves
from tasks import coverage, fit, picked
from tasks.session import Session
from tasks.shortlist import ALL
from tasks.tune import JUDGE, refit


@dataclass(frozen=True)
class Chosen:
    """What `procedure` returned in one fold: its members, fitted on the fold's training part."""

    fold: str
    members: tuple[Member, ...]
    inner: float
    """The ensemble's score on inner out-of-fold rows, finished as it is judged."""
    finish: Finish = PLAIN
    """Its calibration and threshold."""


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
    conformal: Conformal | None = None
    """The outer rows' scores, from which intervals and sets are made."""
    coverage: tuple[Coverage, ...] = ()
    """What these cover of the sealed rows."""
    threshold: float | None = None
    """From which probability on the delivered model says the positive class; None: plainly."""


def conclude(session: Session) -> Concluded:
    """Weighs, refits, judges, and opens the sealed rows once."""
    chosen = _assembled(session)
    if not delivering(chosen) or (ALL in session.folds and ALL not in chosen and not session.goal.plain):
        raise _nothing(session)
    _tell_finish(session, chosen)
    shown = tuple((k, _judged(session, k, chosen[k])) for k in session.folds if k != ALL and k in chosen)
    outer = tuple((k, judged(rows, chosen[k].finish.threshold)) for k, rows in shown)
    procedure = _interval(session, outer)
    optimism = _optimism(session, chosen, outer)
    if ALL in chosen and not outer:
        procedure = _without_outer(session, chosen[ALL])
    families = _families(session, chosen)
    test, agreement = _opened(session, chosen, outer)
    scores = coverage.scores(session, chosen, shown)
    return Concluded(
        chosen, families, _winner(session, families), procedure, test, optimism, agreement,
        _beats_constant(session, procedure), shown, scores, coverage.on_sealed(session, chosen, scores),
        threshold(session, chosen),
    )  # fmt: skip


def _nothing(session: Session) -> NestorError:
    """Why there is no model: limits that nothing keeps, too little time, or what most fits failed of."""
    over = picked.over_all(session, [ALL] if ALL in session.folds else list(session.folds))
    if over is not None:
        return over
    reasons = Counter(t.reason for trials in session.trials.values() for t in trials if t.state == "failed")
    if reasons:
        why, times = reasons.most_common(1)[0]
        return NestorError(f"No configuration could be fitted. {times} fits failed of: {shortened(why, 200)}")
    used = session.ledger.elapsed
    return BudgetError(f"Nothing could be fitted in {used:.0f} s. Give more time: --budget {3 * used:.0f}s.")


def _assembled(session: Session) -> dict[str, Chosen]:
    """Every fold's ensemble with all its members refitted; folds where nothing finished are left out.

    Beside the members, and after them, each family's best is refitted too: it is judged for the leaderboard as far as
    the time goes."""
    weighed = {fold: found for fold, found in _all_weighed(session).items() if found is not None}
    members = {(m.family, k, m.trial) for k, one in weighed.items() for m in one.members}
    bests = {
        (name, k, best.number)
        for (name, k), trials in session.trials.items()
        if k != ALL and (best := session.goal.best(trials)) is not None
    }
    with ThreadPoolExecutor(64) as threads:
        waiting = {
            key: threads.submit(refit, session, *key[:2], _trial(session, *key), needed=key in members)
            for key in sorted(members | bests, key=lambda key: (key not in members, key))
        }
    fitted = {key for key, future in waiting.items() if future.result() is not None}
    kept = {k: one for k in weighed if (one := _of_fitted(weighed[k], fitted)) is not None}
    return {k: _finished(session, one) for k, one in kept.items()}


def _all_weighed(session: Session) -> dict[str, Chosen | None]:
    """Every fold's choice. Where more than the metric counts its members are refitted already, since their costs as
    refitted have a say."""
    if session.goal.plain:
        return {fold: _weighed(session, fold) for fold in session.folds}
    with ThreadPoolExecutor(len(session.folds)) as threads:
        return dict(zip(session.folds, threads.map(lambda fold: _settled(session, fold), session.folds), strict=True))


def _settled(session: Session, fold: str) -> Chosen | None:
    """The fold's one configuration, or with limits alone its ensemble, whose costs as refitted keep the limits."""
    choose = _one if session.goal.several else _weighed
    return picked.settled(
        session, fold, lambda trials: choose(session, fold, trials),
        lambda found: [(m.family, m.trial) for m in found.members],
        lambda name, k, trial: refit(session, name, k, trial),
    )  # fmt: skip


def _one(session: Session, fold: str, trials: picked.Tried) -> Chosen | None:
    """The one configuration that the goal picks, by inner values alone."""
    key = picked.best(session, fold, trials)
    return key and Chosen(fold, (Member(*key, 1.0),), _trial(session, key[0], fold, key[1]).inner or 0.0)


def _of_fitted(chosen: Chosen, fitted: set[tuple[str, str, int]]) -> Chosen | None:
    """The ensemble of those members that could be refitted, their weights summing to one again."""
    members = [m for m in chosen.members if (m.family, chosen.fold, m.trial) in fitted]
    whole = sum(m.weight for m in members)
    return replace(chosen, members=tuple(replace(m, weight=m.weight / whole) for m in members)) if members else None


def _weighed(session: Session, fold: str, trials: picked.Tried | None = None) -> Chosen | None:
    """The fold's ensemble, by inner scores alone, within the limits; None where no configuration finished within."""
    trials = picked.tried(session, fold) if trials is None else trials
    candidates = _candidates(session, fold, trials)
    if not candidates:
        return None
    parts = [judge for _, judge in session.folds[fold].inner]
    targets = [session.work.target[rows] for rows in parts]
    weights = [None if session.work.weight is None else session.work.weight[rows] for rows in parts]
    keeps = picked.within(session, fold, trials) if session.goal.limits else None
    return Chosen(fold, *weigh(candidates, targets, weights, session.metric, keeps))


def _finished(session: Session, chosen: Chosen) -> Chosen:
    """With the calibration and the threshold that are best on the fold's inner rows. Without outer folds nothing would
    judge what was chosen so: then probabilities and decisions stay as they are."""
    final, metric, work = session.run.final, session.metric, session.work
    parts = [judge for _, judge in session.folds[chosen.fold].inner]
    choose = final.threshold == "auto" and moves(metric, sum(map(len, parts)))
    if not (choose or wanted(metric, final.calibrate)):
        return chosen
    if set(session.folds) == {ALL}:
        session.note("Without outer folds nothing would judge a calibration or a threshold: none is chosen.")
        return chosen
    odds = _inner_odds(session, chosen)
    weights = [None if work.weight is None else work.weight[rows] for rows in parts]
    folds = list(zip([work.target[rows] for rows in parts], odds, weights, strict=True))
    keys = [session.keys[rows] for rows in parts]
    pooled = ALL not in session.folds
    finish, inner = finished(metric, folds, keys, final.calibrate, choose, session.run.seed, pooled)
    return chosen if finish == PLAIN else replace(chosen, inner=inner, finish=finish)


def _inner_odds(session: Session, chosen: Chosen) -> list[np.ndarray]:
    """The ensemble's predictions on each inner fold's validation rows."""
    members = [
        [m.weight * part for part in inner_predictions(session, m.family, chosen.fold, trial)]
        for m in chosen.members
        for trial in [_trial(session, m.family, chosen.fold, m.trial)]
    ]
    return [np.sum(parts, axis=0) for parts in zip(*members, strict=True)]


def threshold(session: Session, chosen: dict[str, Chosen]) -> float | None:
    """The delivered model's threshold; None where it decides plainly."""
    return of_all(session.metric, [c.finish for c in delivering(chosen)])


def decided(session: Session, concluded: Concluded) -> list[tuple[str, np.ndarray]]:
    """The codes of the outer rows, fold by fold, as they were judged."""
    rows = [(k, judged(one, concluded.chosen[k].finish.threshold)[1]) for k, one in concluded.outer]
    return [(k, session.metric.decided(said) if said.ndim == 2 else said) for k, said in rows]


def _tell_finish(session: Session, chosen: dict[str, Chosen]) -> None:
    """Says what was calibrated and which threshold holds."""
    delivered = delivering(chosen)
    methods = Counter(c.finish.calibration.method for c in delivered if c.finish.calibration)
    if methods:
        how = ", ".join(f"{method} in {n} of {len(delivered)}" for method, n in methods.items())
        session.note(f"Probabilities are calibrated on inner rows (folds: {how}).")
    at = threshold(session, chosen)
    if at is not None:
        folds = [c.finish.threshold for c in delivered if c.finish.threshold is not None]
        session.note(
            f"{session.work.classes[1]} is said from a probability of {at:.3g} on: chosen on inner rows, in "
            f"{len(folds)} of {len(delivered)} folds between {min(folds):.3g} and {max(folds):.3g}."
        )


def _candidates(session: Session, fold: str, trials: picked.Tried) -> list[Candidate]:
    found = []
    for name in session.level.families:
        best = sorted(
            (t for t in session.goal.complete(trials.get(name, ())) if session.goal.keeps(t)),
            key=lambda t: (-session.metric.gain(t.inner or 0.0), t.number),
        )
        found += [
            Candidate(name, t.number, inner_predictions(session, name, fold, t), t.inner or 0.0)
            for t in best[:MOST_PER_FAMILY]
        ]
    return found


def inner_predictions(session: Session, name: str, fold: str, trial: Trial) -> tuple[np.ndarray, ...]:
    """What the configuration says of each inner fold's validation rows."""
    files = [session.job(name, fold, trial.number, {}, inner=j).file for j in range(len(trial.scores))]
    return tuple(_array(session, file) for file in files)


def _array(session: Session, file: str) -> np.ndarray:
    found = session.workdir.read_array(file)
    assert found is not None, f"{file} was written before its trial was told"
    return np.asarray(found)


def _trial(session: Session, family: str, fold: str, number: int) -> Trial:
    return session.trials[family, fold][number]


def refits(session: Session, chosen: Chosen, with_sealed: bool = False) -> list[tuple[str, float]]:
    """File and weight of each member."""
    return [
        (session.job(m.family, chosen.fold, m.trial, {}, with_sealed=with_sealed).file, m.weight)
        for m in chosen.members
    ]


def _judged(session: Session, fold: str, chosen: Chosen) -> Fold3:
    """B_k's rows with the fold's ensemble predictions, calibrated."""
    prediction = sum(w * _array(session, file) for file, w in refits(session, chosen))
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
    return estimate.interval(session.metric, [rows for _, rows in outer], keys, sizes, session.run.seed)


def _families(session: Session, chosen: dict[str, Chosen]) -> tuple[FamilyOutcome, ...]:
    """The leaderboard, best inner score first."""
    found = [_family(session, name, chosen) for name in session.level.families]
    worst = -float("inf")
    return tuple(
        sorted(found, key=lambda f: session.metric.gain(f.inner) if f.inner is not None else worst, reverse=True)
    )


def _family(session: Session, name: str, chosen: dict[str, Chosen]) -> FamilyOutcome:
    trials = {k: session.trials.get((name, k), []) for k in session.folds}
    bests = {k: session.goal.best(t) for k, t in trials.items()}
    judged = []
    for k in (k for k in session.folds if k != ALL):
        best = bests[k]
        file = session.job(name, k, best.number, {}).file if best else ""
        if best and session.workdir.has(file + ".npy"):
            judged.append((k, _scored(session, k, _array(session, file))))
    delivered = delivering(chosen)
    weight = sum(m.weight for c in delivered for m in c.members if m.family == name) / max(1, len(delivered))
    inner = [b.inner for b in bests.values() if b is not None and b.inner is not None]
    return FamilyOutcome(
        name,
        _interval(session, judged),
        sum(inner) / len(inner) if inner else None,
        sum(map(len, trials.values())),
        session.ledger.fitting.get(name, 0.0) or sum(t.seconds for ts in trials.values() for t in ts),
        tuple(len(t) for t in trials.values()),
        weight,
    )


def delivering(chosen: dict[str, Chosen]) -> list[Chosen]:
    """The search on all rows where there was one, else every fold's."""
    return [chosen[ALL]] if ALL in chosen else list(chosen.values())


def _winner(session: Session, families: Sequence[FamilyOutcome]) -> str:
    if session.goal.several and families:
        return max(families, key=lambda family: family.weight).name
    return families[0].name if families else "constant"


def _optimism(session: Session, chosen: dict[str, Chosen], outer: Sequence[tuple[str, Fold3]]) -> float | None:
    """Inner minus outer score of what was picked."""
    if not outer:
        return None
    return estimate.optimism(
        session.metric, [chosen[k].inner for k, _ in outer], [session.metric.score(*rows) for _, rows in outer]
    )


def _without_outer(session: Session, chosen: Chosen) -> Interval:
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
    found = [
        np.concatenate(inner_predictions(session, name, chosen.fold, t))
        for name, t in tried
    ]
    weight = None if session.work.weight is None else session.work.weight[rows]
    return estimate.bbc_interval(
        session.metric, session.work.target[rows], found, session.keys[rows], parts, session.run.seed, weight,
        session.goal.chooser([t for _, t in tried], picked.floor(session, chosen.fold)),
    )  # fmt: skip


def _opened(
    session: Session, chosen: dict[str, Chosen], outer: Sequence[tuple[str, Fold3]]
) -> tuple[Interval | None, float | None]:
    """The delivered model's score on the sealed rows, and how it agrees with the outer folds."""
    if session.sealed is None:
        return None, None
    for one in chosen.values():
        _predict_sealed(session, one)
    sealed, keys = session.sealed, session.sealed_keys
    rows = judged((sealed.target, on_sealed(session, chosen), sealed.weight), threshold(session, chosen))
    test = estimate.test_interval(session.metric, rows, keys, session.run.seed)
    session.count_opening()
    if not outer:
        return test, None
    by_fold = [
        judged((sealed.target, fold_on_sealed(session, chosen[k]), sealed.weight), chosen[k].finish.threshold)
        for k, _ in outer
    ]
    own_keys = [session.keys[session.folds[k].judge] for k, _ in outer]
    return test, estimate.agreement(session.metric, [r for _, r in outer], by_fold, own_keys, keys, session.run.seed)


def on_sealed(session: Session, chosen: dict[str, Chosen]) -> np.ndarray:
    """What the delivered model, the tested one, says of the sealed rows, once they were opened."""
    return np.mean([fold_on_sealed(session, one) for one in delivering(chosen)], axis=0)


def fold_on_sealed(session: Session, chosen: Chosen) -> np.ndarray:
    """What one fold's ensemble says of the sealed rows, calibrated."""
    return chosen.finish.odds(_array(session, f"sealed/{chosen.fold}"))


def _predict_sealed(session: Session, chosen: Chosen) -> None:
    name = f"sealed/{chosen.fold}"
    if session.workdir.has(name + ".npy"):
        return
    work = (fit.predict_sealed, str(session.workdir.path), session.brief.plan, refits(session, chosen), name)
    session.fits.submit(*work, priority=(JUDGE, 0), timeout=session.sealed_limit()).result()


def _beats_constant(session: Session, procedure: Interval | None) -> bool:
    """Whether the estimate is on the better side of the best constant prediction."""
    if procedure is None:
        return False
    level = estimate.chance(session.metric, session.work.target, session.work.weight)
    return session.metric.gain(procedure.value) > session.metric.gain(level)
