"""The inner loop: which configurations one family tries on one fold's training rows, and when one is stopped.

`Study` knows no data, no clock and no processes: it proposes configurations, is told what came of them, and says which
is best. What it proposes is a function of (seed, family, fold, told trials), so a run with a count of trials repeats
to the last digit however its fits were scheduled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from models.families import proposed
from models.metric import Metric
from models.objectives import Goal
from models.schedule import extended, rounds
from models.search import BATCH, Proposal, Strategy, View, seed_for, strategy
from models.space import distributions

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
    share: float = 1.0
    """Fidelity: the share of rows, rounds or inner folds that it was given; under 1 it ends as pruned."""
    parent: int | None = None
    """The number of the trial that it comes of."""
    goes_on: bool = False
    """Whether its training goes on where the parent's ended."""
    gradient: Mapping[str, float] | None = None
    """Derivative of the mean inner loss by hyperparameter; empty where it is wanted and was not measured yet."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """What was measured beside the score, averaged over the inner folds: other objectives, latency, size."""
    marks: Mapping[str, Any] = field(default_factory=dict)
    """What the sampler keeps of it from batch to batch, such as its generation."""
    distributions: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def inner(self) -> float | None:
        """Mean inner score; None unless every inner fold was fitted."""
        return sum(self.scores) / len(self.scores) if self.state == "complete" and self.scores else None

    @property
    def score(self) -> float | None:
        """Mean of the scores that it has, whether they are all or not; None where it has none, or did not end well."""
        ended = self.state in ("complete", "pruned") and bool(self.scores)
        mean = sum(self.scores) / len(self.scores) if ended else math.nan
        return mean if math.isfinite(mean) else None

    @property
    def stoppable(self) -> bool:
        """Whether it may be stopped after some inner folds: not where it is a part of a fit, and not where it is a step
        of a schedule, which others may go on from in every fold."""
        return self.share >= 1 and "steps" not in self.config

    @property
    def seconds_anew(self) -> float:
        """Seconds of its fits from nothing: those of a schedule's step made as many more as there are more rounds."""
        steps = self.config.get("steps")
        return self.seconds * rounds(self.config) / steps[-1][0] if steps else self.seconds

    @property
    def refit_config(self) -> dict[str, Any]:
        """The configuration for more rows: the inner folds' mean best rounds, and no early stopping."""
        mean = {"rounds": max(1, round(sum(self.rounds) / len(self.rounds)))} if self.rounds else {}
        return {**self.config, **mean}


def best_of(trials: Sequence[Trial], metric: Metric) -> Trial | None:
    """The complete trial with the best mean inner score; the earlier one, so the default, where equal."""
    return Goal(metric).best(trials)


def hopeless(scores: Sequence[float], best: Trial | None, metric: Metric) -> bool:
    """Whether a configuration with these scores so far is worse than the worst fold of the best one.

    The "forgiving" rule of Bergman et al. 2024 (AutoML conference, PMLR 256)."""
    if best is None or not scores or len(scores) >= len(best.scores):
        return False
    mean = sum(scores) / len(scores)
    return metric.gain(mean) < min(metric.gain(s) for s in best.scores)


class Study:
    """The search of one family on one fold: ask a batch, tell it whole and in order, ask the next."""

    def __init__(self, view: View, fold: str, search: Strategy | str, initial: Sequence[Mapping[str, Any]] = ()):
        """A study without trials, over the family and the shape of `view`, whose `study_seed` is the run's; `initial`
        are params to try first thing after the default (a warm start)."""
        self.family, self.metric, self.fold, self.initial = view.family, view.metric, fold, initial
        self.goal = view.goal or Goal(view.metric)
        self.seed = view.study_seed
        self._view = replace(view, study_seed=seed_for(self.seed, self.family.name, fold))
        self.strategy = strategy(search) if isinstance(search, str) else search
        self.why = ""
        """Why this strategy, where another one chose it."""
        while self.strategy.chooses is not None:
            name, self.why = self.strategy.chooses(self._view)
            self.strategy = strategy(name)
        self.told: list[Trial] = []
        self._study: optuna.Study

    @property
    def best(self) -> Trial | None:
        """The best told trial; None where none keeps the limits."""
        return self.goal.best(self.told)

    @property
    def size(self) -> float | None:
        """How many configurations the strategy will try beside the default; None where that is not fixed beforehand."""
        return None if self.strategy.size is None else self.strategy.size(self._view)

    @property
    def unsuited(self) -> str:
        """Why the strategy can't search this family's space; empty where it can."""
        return self.strategy.unsuited(self._view)

    @property
    def spent(self) -> float:
        """How many whole configurations were told; a part of one counts by its share."""
        return math.fsum(trial.share for trial in self.told)

    def ask(self, most: float = BATCH) -> list[Trial]:
        """The next batch, at most `most` configurations, of which parts count by their share: the default alone at
        first, then those to begin with; empty when there is no more, such as where every choice is fixed."""
        if not self.told:
            return self._asked([Proposal(self.family.default, gradient=self.strategy.gradient)], self._batch())
        if not self.family.tunable or self.settled:
            return []
        view = self._batch()
        proposals = list(self.strategy.plan(view))
        if len(self.told) == 1:
            told = zip(proposals, self.initial, strict=False)
            begin = {"share": 1.0, "parent": None, "goes_on": False}
            proposals[: len(self.initial)] = [replace(proposal, params=params, **begin) for proposal, params in told]
        return self._asked(_within(proposals[:BATCH], most), view)

    @cached_property
    def settled(self) -> bool:
        """Whether the user fixed every choice that there was, so that the default is the only configuration."""
        return all(one.single() for one in distributions(self.family, self._view.shape).values())

    def _batch(self) -> View:
        batch = (len(self.told) + BATCH - 1) // BATCH
        return replace(self._view, told=tuple(self.told), seed=seed_for(self.seed, self.family.name, self.fold, batch))

    def _asked(self, proposals: Sequence[Proposal], view: View) -> list[Trial]:
        # Made anew from what was told: a resumed search can know no more and no less than one that went on.
        self._study = optuna.create_study(directions=view.directions, sampler=self.strategy.sampler(view))
        shown = self.told if self.strategy.stopped else [_as_complete(trial) for trial in self.told]
        self._study.add_trials([frozen(trial, self.goal) for trial in shown])
        for proposal in proposals:
            self._study.enqueue_trial(dict(proposal.params))
        return [self._named(proposal, view) for proposal in proposals]

    def _named(self, proposal: Proposal, view: View) -> Trial:
        asked = self._study.ask()
        config = self._composed(proposal, proposed(self.family, asked, view.shape))
        kept = self._study.get_trials(deepcopy=False)[asked.number].system_attrs
        return Trial(
            asked.number, asked.params, config, share=proposal.share, parent=proposal.parent, goes_on=proposal.goes_on,
            gradient={} if proposal.gradient else None, distributions=asked.distributions,
            marks={name: mark for name, mark in kept.items() if name != "fixed_params"},
        )  # fmt: skip

    def _composed(self, proposal: Proposal, config: dict[str, Any]) -> dict[str, Any]:
        """The configuration with the schedule of those that it goes on from and its own step, where it is one."""
        if proposal.rounds is None:
            return config
        before = next((t.config for t in self.told if proposal.goes_on and t.number == proposal.parent), None)
        return extended(self.family, config, proposal.rounds, before)

    def tell(self, batch: Sequence[Trial]) -> None:
        """Takes the finished trials of the batch asked last, in order of their numbers."""
        self.told += sorted(batch, key=lambda t: t.number)

    def recall(self, trials: Sequence[Trial]) -> None:
        """Takes trials told in an earlier session, as if they had been asked and told here."""
        self.told += trials


def _within(proposals: Sequence[Proposal], most: float) -> list[Proposal]:
    """The first of them that together are no more than so many configurations."""
    sums = accumulate(proposal.share for proposal in proposals)
    return [proposal for proposal, spent in zip(proposals, sums, strict=True) if spent <= most + 1e-9]


def _as_complete(trial: Trial) -> Trial:
    """A stopped trial as if the folds it had were all."""
    return replace(trial, state="complete") if trial.state == "pruned" and trial.share == 1 else trial


_KEPT = ("number", "config", "state", "scores", "rounds", "seconds", "peak_mb", "reason", "start", "end", "share",
         "parent", "goes_on", "gradient", "measures", "marks")  # fmt: skip
"""Fields of a trial that Optuna has no place for; its params and distributions have one."""


def frozen(trial: Trial, goal: Goal | Metric) -> optuna.trial.FrozenTrial:
    """The trial as Optuna stores it: objectives as values, limits as constraints; everything that `thawed` needs is in
    its user attributes."""
    goal = Goal(goal) if isinstance(goal, Metric) else goal
    whole = bool(goal.complete([trial]))
    ended = TrialState.PRUNED if trial.state == "pruned" else TrialState.FAIL
    state = TrialState.COMPLETE if whole else ended
    return create_trial(
        state=state,
        values=goal.gains(trial) if whole else None,
        params=dict(trial.params),
        distributions=dict(trial.distributions),
        intermediate_values={} if state == TrialState.FAIL or goal.several else _steps(trial, goal.metric),
        user_attrs={f"nestor.{name}": getattr(trial, name) for name in _KEPT},
        system_attrs=dict(trial.marks),
        constraints=goal.constraints(trial) or None,
    )


def _steps(trial: Trial, metric: Metric) -> dict[int, float]:
    """The score of each inner fold, by its place; of a part of a fit its mean, by the share in thousandths. A study of
    several objectives has none: which of two configurations is ahead is not to be said."""
    if trial.share < 1 and trial.scores:
        return {round(1000 * trial.share): metric.gain(sum(trial.scores) / len(trial.scores))}
    return {i: metric.gain(s) for i, s in enumerate(trial.scores)}


def thawed(stored: optuna.trial.FrozenTrial) -> Trial:
    """The trial that `frozen` stored."""
    kept = {name: stored.user_attrs[f"nestor.{name}"] for name in _KEPT}
    kept |= {name: tuple(kept[name]) for name in ("scores", "rounds")}
    return Trial(params=stored.params, distributions=stored.distributions, **kept)
