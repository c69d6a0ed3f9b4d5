"""Ladders of shares: many configurations are given little, and the better ones of a rung again with more.

A rung is not waited for until it is full, as successive halving does (Jamieson & Talwalkar 2016, AISTATS): who is among
the best third of those told so far goes on, as in ASHA (Li et al. 2020, MLSys). So every batch is full, and a search
may be ended at any time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from models.tuning.fidelity import ETA, list_shares
from models.tuning.strategy import BATCH, Proposal, View
from models.tuning.trial import Trial


@dataclass(frozen=True)
class Ladder:
    """What began on one rung, and how far it came."""

    shares: tuple[float, ...]
    """Of the rungs, the least first; the last is 1."""
    trials: tuple[Trial, ...]
    """Told trials that began on the first rung, and what came of them."""

    @property
    def spent(self) -> float:
        """How many whole configurations it has cost."""
        return math.fsum(t.share for t in self.trials)

    def list_survivors(self, ahead: Callable[[Trial], tuple[float, ...]]) -> list[Proposal]:
        """Who goes on: the best third of each rung but the last, as far as they did not yet, from the top rung down.
        `ahead` is larger for the better of two."""
        share_of = {t.number: t.share for t in self.trials}
        parents = {t.parent for t in self.trials if t.share > share_of.get(t.parent or 0, 1.0)}
        proposals = [
            Proposal(t.params, share=next_share, parent=t.number)
            for share, next_share in reversed(list(pairwise(self.shares)))
            for t in _take_best_third([t for t in self.trials if t.share == share], ahead)
        ]
        return [proposal for proposal in proposals if proposal.parent not in parents]


def _take_best_third(rung: Sequence[Trial], ahead: Callable[[Trial], tuple[float, ...]]) -> list[Trial]:
    """The best of the rung, the best first; one that failed counts, but is never among them."""
    ranked = sorted((t for t in rung if t.score is not None), key=ahead, reverse=True)
    return ranked[: len(rung) // ETA]


def list_rungs(view: View) -> tuple[float, ...]:
    """The shares of the rungs, the least first; no more of them than half of the configurations that there is room for.
    One on its way to the top costs as much as a whole one on each rung, and batches of four go on beside it."""
    shares = list_shares(view.family, view.shape, view.inner)
    limit = len(shares) if view.room is None else max(1, math.floor(view.room / 2))
    return shares[-limit:]


def climb_ladders(view: View, several: bool) -> list[Proposal]:
    """The next batch: who goes on, and for the other places new configurations on the first rung. With `several` there
    is a ladder from every rung on, as in Hyperband (Li et al. 2018, JMLR 18:185), and the one that has cost least so
    far is given the next new configuration."""
    ladders = _build_ladders(view, several)
    going = [(ladder, p) for ladder in ladders for p in ladder.list_survivors(view.ahead)]
    batch = sorted(going, key=lambda pair: -pair[1].share)[:BATCH]
    while len(batch) < BATCH:
        spent = [ladder.spent + math.fsum(p.share for owner, p in batch if owner is ladder) for ladder in ladders]
        cheapest = ladders[spent.index(min(spent))]
        batch.append((cheapest, Proposal(share=cheapest.shares[0])))
    return [proposal for _, proposal in batch]


def _build_ladders(view: View, several: bool) -> list[Ladder]:
    """One ladder of all rungs, or one from each rung on, each with what began on its first rung and what came of that.
    The default belongs to none."""
    shares, tried = list_rungs(view), view.told[1:]
    began: dict[int, float] = {}
    for trial in tried:
        began[trial.number] = trial.share if trial.parent is None else began[trial.parent]
    tops = [shares[n:] for n in range(len(shares))] if several else [shares]
    return [Ladder(top, tuple(t for t in tried if began[t.number] == top[0])) for top in tops]


def find_richest_rung(view: View, least: int) -> list[Trial]:
    """The trials with a score at the largest share that has at least so many; none where no share has. Of whole trials
    those that were stopped after some inner folds come along, and do not count."""
    for share in reversed(list_rungs(view)):
        rung = [t for t in view.told if t.share == share and t.score is not None]
        if sum(t.share < 1 or t.state == "complete" for t in rung) >= least:
            return rung
    return []
