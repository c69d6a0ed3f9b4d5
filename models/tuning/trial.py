"""One configuration and what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.fitting.schedule import count_rounds


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
        return self.seconds * count_rounds(self.config) / steps[-1][0] if steps else self.seconds

    @property
    def refit_config(self) -> dict[str, Any]:
        """The configuration for more rows: the inner folds' mean best rounds, and no early stopping."""
        mean = {"rounds": max(1, round(sum(self.rounds) / len(self.rounds)))} if self.rounds else {}
        return {**self.config, **mean}
