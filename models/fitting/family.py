"""What a family is to the rest of Nestor: what it asks of columns, the table's shape, the rows that it is fitted on,
and what comes of a fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.data.table import Loss, Task

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class Needs:
    """What a family asks of the columns; families with equal needs share one preparation."""

    categories: Literal["codes", "onehot", "levels"]
    """`codes`: categories come as small integers; `onehot`: as 0/1 columns; both where levels are few, else as the
    target's means. `levels`: as integers however many there are."""
    missing: bool
    """Whether NaN may stay."""
    scaled: bool
    """Whether numbers should have mean 0 and variance 1."""


@dataclass(frozen=True)
class Shape:
    """The table's shape and the task: all that a search space or the plan may depend on."""

    rows: int
    """Rows of one training part."""
    columns: int
    task: Task
    classes: int = 0
    """Number of classes; 0 in regression."""
    loss: Loss = "squared"
    """What the metric asks of a regression: the mean (squared), the median (absolute) or a quantile."""
    level: float = 0.5
    """Which quantile."""
    grid: tuple[int, ...] = ()
    """How the columns lie on a signal `(64,)` or a picture `(8, 8)`, row by row; empty: they do not."""
    time: bool = False
    """Whether rows come in order of time."""
    season: bool = False
    """Whether one column is the target one season ago."""
    monotone: bool = False
    """Whether the prediction is held to rise, or to fall, with some column."""
    skewed: bool = False
    """Whether the target is nowhere negative and has a long tail."""
    many: int = 0
    """Columns of categories or keys with so many levels that they are not coded one by one."""
    past: int = 0
    """Columns that hold the target at earlier times."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Prepared training rows, and those cut from them to stop early on."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    shape: Shape
    categories: tuple[int, ...] = ()
    """Columns of X that hold category codes."""
    stop: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None
    """X, y and weight of the rows for early stopping; None in refits."""
    monotone: tuple[int, ...] = ()
    """For each column of X 1 (the prediction may only rise with it), -1 (only fall) or 0; empty: nothing is asked."""
    season: int | None = None
    """The column of X that holds the target one season ago."""
    past: tuple[int, ...] = ()
    """The columns of X that hold the target at earlier times, the latest first."""
    group: np.ndarray | None = None
    """Which group each row is of, where no group is ever on both sides: rows to come are of none of these, so what is
    theirs alone is to be told from what the columns say."""
    origins: tuple[int, ...] = ()
    """For each column of X the place of the table's column that it comes of; empty: nobody knows."""
    share: float = 1.0
    """Fidelity: under 1 a family that counts in rounds gives a fit this share of those that it would have."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What `fit` made of these rows and other configurations can use again, such as a binned dataset. Lives as long as
    the worker process keeps the part; a part with other columns or another target has one of its own."""


@dataclass(frozen=True)
class FittedModel:
    """A fitted library object, and how many rounds it found best where it stops early."""

    model: Any
    rounds: int | None = None
    whole: bool = field(default=False, kw_only=True)
    """Whether it stopped by itself before its share of rounds was over: with more it would be the same."""
    checkpoint: Any = None
    """After `steps`: what the next step goes on from; after a schedule: the `Checkpoint` of its end."""


def _accept_all(shape: Shape) -> str:
    return ""


def _lack_nothing() -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Everything the rest of Nestor may know about a family."""

    name: str
    suits: str
    """One sentence: for which tables it is a good choice."""
    cost: float
    """Cost of a default fit in core-seconds per million cells, on one core of a 2024 server; an order of magnitude."""
    needs: Needs
    default: Mapping[str, Any]
    """Parameters of trial 0; must lie in the space. With `selects` and `logs` theirs are among them."""
    space: Callable[[BaseTrial, Shape], dict[str, Any]]
    """Names a configuration: asks the trial for each parameter and returns what `fit` takes."""
    fit: Callable[[Mapping[str, Any], TrainingData, int, int], FittedModel]
    """`fit(config, part, seed, threads)`; with `config["rounds"]` set, exactly so many rounds and no early stopping."""
    source: str
    """Where the ranges come from."""
    tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")
    losses: tuple[Loss, ...] = ("squared",)
    """Losses that it can fit in regression. A metric that asks for a quantile leaves out who can't fit one; one that
    asks for the median does not."""
    ranges: Mapping[str, Any] = field(default_factory=dict)
    """Ranges that the user put in place of the space's own, by hyperparameter."""
    fidelity: Literal["rounds", "rows", "folds"] = "rows"
    """What a part of a fit on one inner fold is: so many of its rounds, or so many of the rows. `folds`: neither tells
    of the whole fit, so there are only fewer inner folds."""
    most_rounds: int = 0
    """With `rounds`: how many a whole fit has at most."""
    steps: Callable[[Mapping[str, Any], TrainingData, int, int, Any], FittedModel] | None = None
    """`steps(config, part, seed, threads, checkpoint)`: trains `config["rounds"]` rounds more from where one of its
    checkpoints ended (None: from nothing), and leaves that one as it was; so a schedule of hyperparameters can be
    fitted. None: it does not train step by step."""
    explores: tuple[str, ...] = ()
    """With `steps`: the hyperparameters that may change between two steps."""
    hypergradient: Callable[[Mapping[str, Any], TrainingData, Any, TrainingData, int], Mapping[str, float]] | None = (
        None
    )
    """`hypergradient(config, part, model, judge, seed)`: derivative of the mean loss on the validation rows `judge`
    (log loss, or squared error) by the value of each hyperparameter that allows one, for the model that `fit` made of
    the configuration and the part. None: there is none."""
    many: bool = False
    """Whether it has so many hyperparameters that only searches with gradients find good ones in time: others try it
    only where it is named."""
    architecture: tuple[str, ...] = ()
    """The hyperparameters that make up a network's architecture; empty: it has none."""
    priority: Literal[1, 2, 3] = 2
    """Where time is short those of 3 go first, then those of 2, whatever they cost."""
    stops_early: bool = False
    tunable: bool = True
    """False: there is only the default."""
    selects: bool = False
    """Whether columns that tell nothing harm it: then the share that it keeps, `selected`, is a hyperparameter."""
    logs: bool = False
    """Whether a long tail of the target harms it: then fitting the logarithm, `log_target`, is a hyperparameter."""
    weights: bool = True
    """Whether row weights count in its fits."""
    monotone: bool = False
    """Whether it can be held to predictions that only rise, or only fall, with a column."""
    threads: bool = False
    """Whether one fit can use several threads."""
    gpu: bool = False
    """Whether it takes a GPU where there is one; it then repeats to some digits only."""
    unsuited: Callable[[Shape], str] = _accept_all
    """Why it can't be tried on tables of this shape, in words; empty where it can."""
    most_cells: float = float("inf")
    """Above so many cells in a training part it is not tried."""
    most_classes: float = float("inf")
    """With more classes it is only tried where it is named."""
    package: str = ""
    """The module that must be there beyond the base install."""
    extra: str = ""
    """The extra of `pyproject.toml` that brings it."""
    missing: Callable[[], str] = _lack_nothing
    """What else it lacks on this machine, such as weights, and how to give it, in a sentence; empty: nothing."""
    trusted: tuple[str, ...] = ()
    """Types beyond scikit-learn's plain ones that skops must be allowed to load."""
    safe: bool = True
    """False: skops can't hold its models, so a version with one is pickled, marked and never promoted by itself."""

    @property
    def installed(self) -> bool:
        """Whether the package that it needs is there."""
        return not self.package or find_spec(self.package) is not None

    @property
    def available(self) -> bool:
        """Whether it can be fitted on this machine."""
        return not self.lack

    @property
    def lack(self) -> str:
        """What it lacks on this machine, in words; empty where it can be fitted."""
        return self.missing() if self.installed else f"the package {self.package} is missing: {self.install}"

    @property
    def install(self) -> str:
        """What to type where its package is not there."""
        return f"uv sync --extra {self.extra}"


def limit_rows(rows: int) -> Callable[[Shape], str]:
    """The `unsuited` of a family that takes no more rows than these."""
    return lambda shape: f"it takes at most {rows:,} rows, and there are {shape.rows:,}" if shape.rows > rows else ""


def refuse_monotone_quantile(shape: Shape) -> str:
    """The `unsuited` of a family that fits quantiles, and holds columns monotone, but not both."""
    conflict = shape.monotone and shape.loss == "quantile"
    return "it can't keep to monotone columns where it fits a quantile" if conflict else ""


def choose_patience(learning_rate: float) -> int:
    """Rounds without a gain after which a booster stops: slow learning needs more before "no better" means anything."""
    return int(min(75, max(15, 1.5 / learning_rate)))


_STEPS = 30.0
"""Rounds times learning rate of a long boosting: nine of ten on real tables found their best rounds before."""


def limit_rounds(share: float, most: int, learning_rate: float) -> int:
    """Rounds that a booster may take at this share of a whole fit, which may take `most`.

    How far boosting has come is about rounds times learning rate (Friedman 2001, Annals of Statistics 29:1189). So slow
    learners are given more rounds, as they take more in a whole fit; counted in rounds they would never look good."""
    return most if share >= 1 else max(1, math.ceil(share * min(most, _STEPS / learning_rate)))
