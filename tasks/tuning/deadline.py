"""When the search must stop so that the run's end, which nothing can be delivered without, is done in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.families import load_family
from models.splitting.budget import REFIT, count_fits
from models.splitting.split import ALL
from models.tuning.goal import find_best_trial
from models.tuning.trial import Trial
from tasks.run.ledger import EXIT, HANGS
from tasks.values import RunPlan, Trials, list_trials_of_fold

MEMBERS = 4
"""Members that a fold's ensemble is likely to have."""


class Deadline:
    """The arithmetic of a plan's time, as seen from the trials that there are."""

    def __init__(self, plan: RunPlan, trials: Trials):
        """`trials` may grow: what is asked is answered from what there is then."""
        self.plan, self.trials = plan, trials
        self.ledger = plan.context.ledger
        self.awaits_refits = False
        """Whether refits are made beside the search when their time comes: until then the search need not end for
        them."""
        self._settled: Mapping[tuple[str, str], int] = {}
        self._members: Sequence[str] = ()
        self._needs: tuple[int, tuple[float, float, float]] = (-1, (0.0, 0.0, 0.0))

    def may_search(self) -> bool:
        """Whether the clock allows more configurations."""
        return not self.is_end_due() or (self.awaits_refits and self.ledger.left > self._estimate_way_out())

    def is_end_due(self) -> bool:
        """Whether what is left of the time is needed for the end."""
        return self.ledger.limit is not None and self.ledger.left <= self.estimate_end()

    def settle(self, trials: Trials, members: Sequence[str]) -> None:
        """Notes that what is best of these trials is refitted: the end needs only refits of what was tried since.
        `members` are the families of what would be delivered, one for each member."""
        self._settled, self._members = {key: len(study) for key, study in trials.items()}, tuple(members)
        self._needs = (-1, self._needs[1])

    def limit_fit(self, family_name: str) -> float:
        """Seconds after which one fit of this family is stopped: only a hang where no clock may decide."""
        if self.ledger.limit is None:
            return HANGS
        seconds = self.plan.default_seconds.get(family_name, self.ledger.limit / 10)
        return min(max(3.0, 10 * seconds), max(1.0, self.ledger.left))

    def limit_last_resort(self) -> float:
        """Seconds that the last resort may take, without which there is no model at all: only a hang, or a machine
        where all takes ten times as long, ends it."""
        times = [trial.seconds_anew for _, _, trial in self.list_last_resorts()[:1]]
        return max([60.0, *(10 * REFIT * seconds for seconds in times)])

    def allow_overtime(self) -> float | None:
        """Seconds beyond the budget that the last resort, the sealed rows and the way out may take; None where nothing
        could be delivered."""
        if not self.is_deliverable():
            return None
        return 2 * self.limit_last_resort() + self.ledger.limit_sealed() + self.estimate_end()

    def grant_end(self) -> None:
        """Gives a run that was taken up again the time that its end needs, where clearly less is left: its trials are
        all there, and no resume would ever find more time."""
        shortage = self.estimate_end() - self.ledger.left
        if self.plan.context.is_resumed_with_records and shortage > EXIT:
            self.ledger.extend(shortage)
            self.plan.context.note(
                f"This resumed run had too little of its budget left to finish, so it got {shortage:.0f} s more."
            )

    def is_deliverable(self) -> bool:
        """Whether a configuration that keeps the limits was fitted on every inner fold of a fold that a model can be
        made of: then the run ends with a model. One that learns nothing counts only where no other is asked for."""
        if not self.trials:
            return False
        learns = any(load_family(name).tunable for name in self.plan.scope.families)
        return any(load_family(name).tunable or not learns for _, name, _ in self.list_last_resorts())

    def list_last_resorts(self) -> list[tuple[str, str, Trial]]:
        """Fold, family and trial of every complete configuration that keeps the limits by inner values, in a fold that
        a model can be made of; what learns something first, then the quicker."""
        goal = self.plan.goal
        folds = [ALL] if ALL in self.plan.folds and not goal.plain else list(self.plan.folds)
        resorts = [
            (fold, name, trial)
            for fold in folds
            for name, trials in list_trials_of_fold(self.plan, self.trials, fold).items()
            for trial in goal.complete(trials)
            if goal.keeps(trial)
        ]
        return sorted(resorts, key=lambda resort: (not load_family(resort[1]).tunable, resort[2].seconds_anew))

    def estimate_end(self) -> float:
        """Wall seconds that the end of this run needs, as seen from the fits so far: each fold's ensemble, which takes
        about as long as the best three configurations, and judging the best of other families as far as a tenth of the
        time goes."""
        plan, workers = self.plan, self.plan.context.workers
        count = sum(len(trials) for trials in list(self.trials.values()))
        if count != self._needs[0]:
            self._needs = count, self._sum_refits()
        needed, others, longest = self._needs[1]
        columns = 0.0 if self._settled else self._estimate_columns()
        needed, longest = needed + columns, longest + columns / len(plan.folds)
        tenth = 0.1 * workers * (self.ledger.limit or 0.0)
        return self._estimate_way_out(needed + min(others, tenth), longest)

    def _estimate_columns(self) -> float:
        """Core-seconds of preparing columns for refits: once for each fold and kind of need, where the search did it
        for each inner part."""
        parts = count_fits(self.plan.scope.outer, self.plan.scope.inner, self.plan.run.split.time is not None)
        return REFIT * self.ledger.preparing / max(1, parts)

    def _estimate_way_out(self, refits: float = 0.0, longest: float = 0.0) -> float:
        """Wall seconds of writing what MLflow does not have yet, of so many core-seconds of refits, and of what comes
        after them."""
        journal = self.plan.context.journal
        writing = journal.count_backlog() * journal.measure_seconds_per_record()
        return writing + self.ledger.reserve(refits, longest, self.plan.context.workers)

    def _sum_refits(self) -> tuple[float, float, float]:
        """Core-seconds of what the end must fit, of what it fits for the leaderboard, and of the longest of these."""
        plan, metric = self.plan, self.plan.metric
        inner = max(1, plan.scope.inner)
        needed, others, longest = 0.0, 0.0, 0.0
        families: list[str] = []
        for fold in plan.folds:
            studies = {name: tuple(trials) for (name, k), trials in list(self.trials.items()) if k == fold}
            bests = [
                (name, plan.goal.pick_best(trials) or find_best_trial(trials, metric))
                for name, trials in studies.items()
            ]
            ranking = sorted(((f, b) for f, b in bests if b), key=lambda b: -metric.gain(b[1].inner or 0.0))
            seconds = [REFIT * b.seconds_anew / inner for f, b in ranking if not self._is_settled(f, fold, b)]
            needed += REFIT * self._sum_best_three(studies, fold) / inner
            others, longest = others + self._sum_unjudged(ranking, fold) / inner, max([longest, *seconds[:3]])
            families += [f for f, _ in ranking[:3]]
        self._weigh_model(families)
        return needed, others, longest

    def _sum_unjudged(self, ranking: Sequence[tuple[str, Trial]], fold: str) -> float:
        """Core-seconds of refits for the leaderboard: of families beside the best one, and once refits were made, of
        those that had no trial then."""
        rest = ranking if self._settled else ranking[1:]
        return REFIT * sum(best.seconds_anew for name, best in rest if not self._settled.get((name, fold)))

    def _sum_best_three(self, trials: Mapping[str, Sequence[Trial]], fold: str) -> float:
        """Core-seconds of the best three configurations of a fold, of whichever families; those of what is refitted
        count only once more, where that is done with the sealed rows too."""
        candidates = [(f, trial) for f, study in trials.items() for trial in study if trial.inner is not None]
        best = sorted(candidates, key=lambda c: -self.plan.metric.gain(c[1].inner or 0.0))[:3]
        anew = 1 if fold == ALL and self.plan.joins_sealed else 0
        return sum(t.seconds_anew * (anew + (not self._is_settled(f, fold, t))) for f, t in best)

    def _is_settled(self, family_name: str, fold: str, trial: Trial) -> bool:
        """Whether the trial had its chance before refits were made: it is refitted, or was not chosen."""
        return trial.number < self._settled.get((family_name, fold), 0)

    def _weigh_model(self, families: Sequence[str]) -> None:
        """Tells the ledger about how large the delivered model will be, with members of these families."""
        likely = self._members or families
        folds = 1 if len(self.plan.folds) > self.plan.scope.outer else len(self.plan.folds)
        count = len(self._members) or MEMBERS * folds
        seconds = [self.ledger.estimate_writing(name, self.plan.model_mb.get(name, 0.0)) for name in likely]
        self.ledger.weigh_model(count * sum(seconds) / max(1, len(seconds)))
