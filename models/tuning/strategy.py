"""What a search strategy is, and all that it may know.

A strategy plans the next proposals from what was told, and names an Optuna sampler for what a proposal leaves open.
Both are made afresh for each batch from a `View`, so what is proposed depends on the told trials and a seed alone, and
never on when or where they ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from models.fitting.family import Family, Shape
from models.metrics.metric import Metric
from models.tuning.goal import Goal
from models.tuning.trial import Trial

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


BATCH = 4
"""Configurations asked together. The default stands alone before the first batch, as the mark for stopping early."""


STEPS = 3
"""Values of a number in a grid where the user named no count."""


MOST_TRIALS = 400
"""Configurations of one study when the clock decides."""


@dataclass(frozen=True)
class Proposal:
    """What to try next: a whole configuration, a part of one that the sampler completes, or nothing fixed at all."""

    params: Mapping[str, Any] = field(default_factory=dict)
    """Hyperparameters that are fixed, by name; the sampler draws the others."""
    share: float = 1.0
    """Fidelity in (0, 1]: the share of rows, rounds or inner folds, whichever the family declares. Under 1 the trial
    ends as pruned: it can't be chosen, and the strategy may propose it again with more."""
    parent: int | None = None
    """The number of the trial that it comes of, for who looks at the run."""
    goes_on: bool = False
    """Whether training goes on where the parent's ended, with these params from there on."""
    rounds: int | None = None
    """Trains so many rounds, after the parent's where it goes on from it: one more step of a schedule. The trial is a
    whole configuration, of the schedule so far. None: a fit as ever."""
    gradient: bool = False
    """Whether the inner loss is to be differentiated by the hyperparameters for which the family can do that."""


@dataclass(frozen=True, eq=False)
class View:
    """All that a strategy may know: what was told, and the space. No data; of clock and folds what was fixed before the
    search."""

    family: Family
    """With the space and the default that the user's ranges leave."""
    shape: Shape
    metric: Metric
    told: Sequence[Trial]
    """In order of their numbers; the first is the default."""
    seed: int
    """Of this batch."""
    study_seed: int
    """The same for all batches of the study."""
    directions: tuple[Literal["maximize", "minimize"], ...] = ("maximize",)
    """One for each objective; a single one is to be maximized whatever the metric."""
    limited: bool = False
    """Whether trials carry constraints (latency, size, memory)."""
    expected: int | None = None
    """How many configurations were asked for; None where the clock decides."""
    affords: float | None = None
    """About how many the time is enough for, as it was judged before the search began; None where that is not known."""
    inner: int | None = None
    """Inner folds of the study; None where there is no plan yet."""
    configurations: Sequence[Mapping[str, Any]] = ()
    """What the user listed for this family."""
    steps: Mapping[str, int] = field(default_factory=dict)
    """Values of a hyperparameter in a grid, by name; `""` holds for all others."""
    goal: Goal | None = None
    """What is best, where that is more than the metric."""

    @property
    def room(self) -> float | None:
        """How many configurations there will be, at least about; None where nobody knows."""
        about = None if self.affords is None else min(self.affords, MOST_TRIALS)
        return about if self.expected is None else self.expected

    def ahead(self, trial: Trial) -> tuple[float, ...]:
        """Larger for the better of two trials with a score, parts of trials too: over the limits by less, then the
        better mean score, then the earlier one."""
        excess = self.goal.measure_excess(trial) if self.goal else 0.0
        return -excess, self.metric.gain(trial.score or 0.0), -trial.number


def leave_to_sampler(view: View) -> Sequence[Proposal]:
    """A whole batch that is left to the sampler."""
    return (Proposal(),) * BATCH


def make_random_sampler(view: View) -> BaseSampler:
    """The sampler that draws what proposals leave open evenly over the space: Optuna's RandomSampler."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=view.seed)


def _accept_all(view: View) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """What the rest of Nestor may know about a strategy."""

    name: str
    suits: str
    """One sentence: when to use it."""
    cost: str
    """A few words: what it costs beside the fits, and from how many trials on it pays."""
    sampler: Callable[[View], BaseSampler]
    """A fresh sampler for a batch: completes what proposals leave open. Seeded by `view.seed`, it finds all it knows in
    the study's told trials."""
    source: str
    plan: Callable[[View], Sequence[Proposal]] = leave_to_sampler
    """The next batch: `BATCH` proposals, fewer only where they are the last ones, none where there is no more. Batches
    of one size are what a resumed search can take up."""
    unsuited: Callable[[View], str] = _accept_all
    """Why it can't search this family's space, in words with what would; empty where it can. Asked before any fit."""
    size: Callable[[View], float] | None = None
    """How many configurations it will try beside the default, where that is fixed before it begins."""
    reads: tuple[Literal["configurations", "steps"], ...] = ()
    """What it reads of what the user set for a family, beside its space."""
    gradient: bool = False
    """Whether it wants the gradient of every configuration, the default and those to begin with among them."""
    several: bool = False
    """Whether it searches for several objectives at once."""
    stopped: bool = True
    """Whether its sampler knows what to make of a trial that was stopped after some inner folds. To one that does not
    it is shown as complete, with the mean of those folds: it was worse than the worst fold of the best."""
    remembers: bool = False
    """Whether it begins with what earlier runs of the model found, as a warm start: the estimate then may flatter."""
    chooses: Callable[[View], tuple[str, str]] | None = None
    """For a strategy that leaves the search to another: that one's name, and why it."""
    package: str = ""
    """The module that must be there beyond the base install."""
    extra: str = ""
    """The extra of `pyproject.toml` that brings it."""

    @property
    def available(self) -> bool:
        """Whether the package that it needs is there."""
        return not self.package or find_spec(self.package) is not None

    @property
    def install(self) -> str:
        """What to type where its package is not there."""
        return f"uv sync --extra {self.extra}" if self.extra else "uv sync"


def find_reachable(trials: Sequence[Trial]) -> set[int]:
    """The trials that the next batch may go on from: those of the last batch, and those that these went on from."""
    batch = trials[-BATCH:]
    return {t.number for t in batch} | {t.parent for t in batch if t.goes_on and t.parent is not None}
