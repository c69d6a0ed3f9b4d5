"""The inner loop: which configurations one family tries on one fold's training rows, and when one is stopped.

`Study` knows no data, no clock and no processes: it proposes configurations, is told what came of them, and says which
is best. What it proposes is a function of (seed, family, fold, told trials), so a run with a count of trials repeats
to the last digit however its fits were scheduled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from models.families import Family, Shape, proposed
from models.metric import Metric
from models.search import seed_for, strategy

BATCH = 4
"""Configurations asked together. The default stands alone before the first batch, as the mark for stopping early."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Trial:
    """One configuration and what came of it."""

    number: int
    params: Mapping[str, Any]
    """What the search names; `config` is what `fit` takes."""
    config: Mapping[str, Any]
    state: str = "complete"
    """complete, pruned, failed, timeout or memory."""
    scores: tuple[float, ...] = ()
    """Score of each inner fold that was fitted, in the metric's own sense."""
    rounds: tuple[int, ...] = ()
    """Best rounds of each inner fold, where the family stops early."""
    seconds: float = 0.0
    peak_mb: float = 0.0
    reason: str = ""
    start: float = 0.0
    end: float = 0.0
    distributions: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def inner(self) -> float | None:
        """Mean inner score; None unless every inner fold was fitted."""
        return sum(self.scores) / len(self.scores) if self.state == "complete" and self.scores else None

    @property
    def refit_config(self) -> dict[str, Any]:
        """The configuration for more rows: the inner folds' mean best rounds, and no early stopping."""
        mean = {"rounds": max(1, round(sum(self.rounds) / len(self.rounds)))} if self.rounds else {}
        return {**self.config, **mean}


def best_of(trials: Sequence[Trial], metric: Metric) -> Trial | None:
    """The complete trial with the best mean inner score; the earlier one, so the default, where equal."""
    complete = [t for t in trials if t.inner is not None and math.isfinite(t.inner)]
    return max(complete, key=lambda t: (metric.gain(t.inner or 0.0), -t.number), default=None)


def hopeless(scores: Sequence[float], best: Trial | None, metric: Metric) -> bool:
    """Whether a configuration with these scores so far is worse than the worst fold of the best one.

    The "forgiving" rule of Bergman et al. 2024 (AutoML conference, PMLR 256)."""
    if best is None or not scores or len(scores) >= len(best.scores):
        return False
    mean = sum(scores) / len(scores)
    return metric.gain(mean) < min(metric.gain(s) for s in best.scores)


class Study:
    """The search of one family on one fold: ask a batch, tell it whole and in order, ask the next."""

    def __init__(
        self,
        family: Family,
        fold: str,
        shape: Shape,
        metric: Metric,
        strategy_name: str,
        seed: int,
        initial: Sequence[Mapping[str, Any]] = (),
    ):
        """A study without trials; `initial` are params to try first thing after the default (a warm start)."""
        self.family, self.fold, self.shape, self.metric = family, fold, shape, metric
        self.strategy, self.seed, self.initial = strategy(strategy_name), seed, initial
        self.told: list[Trial] = []
        self._study: optuna.Study

    @property
    def best(self) -> Trial | None:
        """The best told trial."""
        return best_of(self.told, self.metric)

    def ask(self, most: int = BATCH) -> list[Trial]:
        """The next batch, at most `most` configurations: the default alone at first, then those to begin with; empty
        when there is no more."""
        if self.told and not self.family.tunable:
            return []
        batch = (len(self.told) + BATCH - 1) // BATCH
        sampler = self.strategy.sampler(seed_for(self.seed, self.family.name, self.fold, batch))
        # Made anew from what was told: a resumed search can know no more and no less than one that went on.
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._study.add_trials([frozen(trial, self.metric) for trial in self.told])
        for params in {0: [self.family.default], 1: self.initial}.get(len(self.told), ()):
            self._study.enqueue_trial(dict(params))
        return [self._asked() for _ in range(min(most, BATCH) if self.told else 1)]

    def _asked(self) -> Trial:
        asked = self._study.ask()
        config = proposed(self.family, asked, self.shape)
        return Trial(asked.number, asked.params, config, distributions=asked.distributions)

    def tell(self, batch: Sequence[Trial]) -> None:
        """Takes the finished trials of the batch asked last, in order of their numbers."""
        self.told += sorted(batch, key=lambda t: t.number)

    def recall(self, trials: Sequence[Trial]) -> None:
        """Takes trials told in an earlier session, as if they had been asked and told here."""
        self.told += trials


def frozen(trial: Trial, metric: Metric) -> optuna.trial.FrozenTrial:
    """The trial as Optuna stores it; everything that `thawed` needs is in its user attributes."""
    inner = trial.inner if trial.inner is not None and math.isfinite(trial.inner) else None
    ended = TrialState.PRUNED if trial.state == "pruned" else TrialState.FAIL
    state = ended if inner is None else TrialState.COMPLETE
    return create_trial(
        state=state,
        value=None if inner is None else metric.gain(inner),
        params=dict(trial.params),
        distributions=dict(trial.distributions),
        intermediate_values={i: metric.gain(s) for i, s in enumerate(trial.scores)} if state != TrialState.FAIL else {},
        user_attrs={
            "nestor.number": trial.number,
            "nestor.config": dict(trial.config),
            "nestor.state": trial.state,
            "nestor.scores": list(trial.scores),
            "nestor.rounds": list(trial.rounds),
            "nestor.seconds": trial.seconds,
            "nestor.peak_mb": trial.peak_mb,
            "nestor.reason": trial.reason,
            "nestor.span": [trial.start, trial.end],
        },
    )


def thawed(stored: optuna.trial.FrozenTrial) -> Trial:
    """The trial that `frozen` stored."""
    kept = {k.removeprefix("nestor."): v for k, v in stored.user_attrs.items()}
    return Trial(
        number=kept["number"],
        params=stored.params,
        config=kept["config"],
        state=kept["state"],
        scores=tuple(kept["scores"]),
        rounds=tuple(kept["rounds"]),
        seconds=kept["seconds"],
        peak_mb=kept["peak_mb"],
        reason=kept["reason"],
        start=kept["span"][0],
        end=kept["span"][1],
        distributions=stored.distributions,
    )
