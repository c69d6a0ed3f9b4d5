"""The inner loop: which configurations one family tries on one fold's training rows, and when one is stopped.

`Study` knows no data, no clock and no processes: it proposes configurations, is told what came of them, and says which
is best. What it proposes is a function of (seed, family, told trials), so a run with a count of trials repeats
to the last digit however its fits were scheduled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import optuna

from models.data.hashes import derive_seed
from models.fitting.fit import suggest_configuration
from models.fitting.schedule import extend_schedule
from models.metrics.metric import Metric
from models.search import require_strategy
from models.tuning.goal import Goal
from models.tuning.optuna_trials import to_optuna
from models.tuning.space import list_distributions
from models.tuning.strategy import BATCH, Proposal, Strategy, View
from models.tuning.trial import Trial


def is_hopeless(scores: Sequence[float], best: Trial | None, metric: Metric) -> bool:
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
        self._view = replace(view, study_seed=derive_seed(self.seed, self.family.name))
        self.strategy = require_strategy(search) if isinstance(search, str) else search
        self.why = ""
        """Why this strategy, where another one chose it."""
        while self.strategy.chooses is not None:
            name, self.why = self.strategy.chooses(self._view)
            self.strategy = require_strategy(name)
        self.told: list[Trial] = []
        self._study: optuna.Study

    @property
    def best(self) -> Trial | None:
        """The best told trial; None where none keeps the limits."""
        return self.goal.pick_best(self.told)

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
            return self._ask_strategy(
                [Proposal(self.family.default, gradient=self.strategy.gradient)], self._make_batch()
            )
        if not self.family.tunable or self.settled:
            return []
        view = self._make_batch()
        proposals = list(self.strategy.plan(view))
        if len(self.told) == 1:
            pairs = zip(proposals, self.initial, strict=False)
            begin = {"share": 1.0, "parent": None, "goes_on": False}
            proposals[: len(self.initial)] = [replace(proposal, params=params, **begin) for proposal, params in pairs]
        return self._ask_strategy(_limit_batch(proposals[:BATCH], most), view)

    @cached_property
    def settled(self) -> bool:
        """Whether the user fixed every choice that there was, so that the default is the only configuration."""
        return all(distribution.single() for distribution in list_distributions(self.family, self._view.shape).values())

    def _make_batch(self) -> View:
        batch = (len(self.told) + BATCH - 1) // BATCH
        # The same in all folds: what is drawn at random is drawn alike, so that folds share its fits.
        return replace(self._view, told=tuple(self.told), seed=derive_seed(self.seed, self.family.name, batch))

    def _ask_strategy(self, proposals: Sequence[Proposal], view: View) -> list[Trial]:
        # Made anew from what was told: a resumed search can know no more and no less than one that went on.
        self._study = optuna.create_study(directions=view.directions, sampler=self.strategy.sampler(view))
        trials = self.told if self.strategy.stopped else [_as_complete(trial) for trial in self.told]
        self._study.add_trials([to_optuna(trial, self.goal) for trial in trials])
        for proposal in proposals:
            self._study.enqueue_trial(dict(proposal.params))
        return [self._name_trials(proposal, view) for proposal in proposals]

    def _name_trials(self, proposal: Proposal, view: View) -> Trial:
        trial = self._study.ask()
        config = self._compose(proposal, suggest_configuration(self.family, trial, view.shape))
        marks = self._study.get_trials(deepcopy=False)[trial.number].system_attrs
        return Trial(
            trial.number, trial.params, config, share=proposal.share, parent=proposal.parent, goes_on=proposal.goes_on,
            gradient={} if proposal.gradient else None, distributions=trial.distributions,
            marks={name: mark for name, mark in marks.items() if name != "fixed_params"},
        )  # fmt: skip

    def _compose(self, proposal: Proposal, config: dict[str, Any]) -> dict[str, Any]:
        """The configuration with the schedule of those that it goes on from and its own step, where it is one."""
        if proposal.rounds is None:
            return config
        parent_config = next((t.config for t in self.told if proposal.goes_on and t.number == proposal.parent), None)
        return extend_schedule(self.family, config, proposal.rounds, parent_config)

    def tell(self, batch: Sequence[Trial]) -> None:
        """Takes the finished trials of the batch asked last, in order of their numbers."""
        self.told += sorted(batch, key=lambda t: t.number)

    def recall(self, trials: Sequence[Trial]) -> None:
        """Takes trials told in an earlier attempt, as if they had been asked and told here."""
        self.told += trials


def _limit_batch(proposals: Sequence[Proposal], most: float) -> list[Proposal]:
    """The first of them that together are no more than so many configurations."""
    sums = accumulate(proposal.share for proposal in proposals)
    return [proposal for proposal, spent in zip(proposals, sums, strict=True) if spent <= most + 1e-9]


def _as_complete(trial: Trial) -> Trial:
    """A stopped trial as if the folds it had were all."""
    return replace(trial, state="complete") if trial.state == "pruned" and trial.share == 1 else trial
