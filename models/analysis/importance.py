"""Which hyperparameters a family's score depended on, and which two together, over all folds and runs of its search.

Two measures: fANOVA (Hutter, Hoos & Leyton-Brown 2014, ICML), the share of what scores vary by over the whole space,
and PED-ANOVA (Watanabe, Bansal & Hutter 2023, IJCAI; with conditions: arXiv:2601.20800), what tells the best tenth of
trials from all of them. They answer different questions and need not agree."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import create_trial

from models.analysis.fanova import LeafBoxes, compute_shares, list_trees
from models.outcome import Interval
from models.splitting.split import ALL
from models.tuning.space import to_place
from models.tuning.trial import Trial

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

FEWEST = 10
"""Fewer complete trials than this say nothing of importance."""
_TREES = 64
_BAGS = 12
"""Bootstrap samples for the intervals."""
_BAG_TREES = 16
_HELD_OUT = 5
"""Parts of the configurations of which each in turn is foretold from the others."""
_TOP = 0.1
"""Share of trials that PED-ANOVA takes for the best ones, but never under `_TOP_TRIALS` of them."""
_TOP_TRIALS = 5


@dataclass(frozen=True, eq=False)
class TrialTable:
    """The trials of one family as arrays, from all its studies (folds, perhaps of several runs)."""

    space: Mapping[str, BaseDistribution]
    """Every hyperparameter that was ever asked for and had a choice, over the widest range it ever had."""
    params: tuple[Mapping[str, Any], ...]
    places: np.ndarray
    """Trials by hyperparameters: where in [0, 1] of its range, on the range's own scale; NaN where not asked for."""
    gain: np.ndarray
    """By how much each was better than its study's first trial, the default, on the inner folds that both have;
    levelled between studies."""
    study: np.ndarray
    number: np.ndarray
    """Which trial of its study each is."""
    complete: np.ndarray
    """False: stopped after some inner folds."""
    parts: int = 0
    """Parts of trials, which are left out: what they scored is no match for what a whole fit scores."""
    steps: int = 0
    """Steps of schedules, left out likewise."""
    over_all: frozenset[int] = frozenset()
    """The studies of a refit: over all work rows, which the folds' studies share."""

    @property
    def studies(self) -> int:
        """How many there are."""
        return len(np.unique(self.study))

    def take(self, rows: np.ndarray) -> TrialTable:
        """Some of the trials, perhaps some twice. `rows`: places (n,) of trials."""
        return replace(
            self, params=tuple(self.params[k] for k in rows), places=self.places[rows], gain=self.gain[rows],
            study=self.study[rows], number=self.number[rows], complete=self.complete[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class HyperparameterImportance:
    """How much one hyperparameter mattered; all shares with 95 % intervals."""

    name: str
    trials: int
    """In how many trials it was asked for; fANOVA's shares are of these."""
    alone: Interval | None = None
    """fANOVA: its share of what scores vary by, whatever the others are; None: too few trials."""
    whole: Interval | None = None
    """The same with all that it does together with one other."""
    best: Interval | None = None
    """PED-ANOVA: its part in what tells the best tenth from all trials; the parts sum to 1. Where it is not always
    asked for, by how often it is among the best and among all."""


@dataclass(frozen=True)
class Importance:
    """What mattered in a family's search."""

    trials: int
    complete: int
    studies: int
    explained: float = 0.0
    """Share of the gains' variance that a forest foretells of configurations that it was not fitted on: near 0, its
    shares say little."""
    hyperparameters: tuple[HyperparameterImportance, ...] = ()
    """What matters most first; what not every trial has, by its share times its trials."""
    pairs: tuple[tuple[str, str, Interval], ...] = ()
    """What two do together beyond what each does alone, the largest share first."""
    lack: str = ""
    """Why nothing can be said; empty where it can."""
    left_out: str = ""
    """How many trials do not count and why, in a sentence; empty where all do."""


# --- Trials as arrays ------------------------------------------------------------------------------------------------


def gather_trials(studies: Mapping[str, Sequence[Trial]], greater_is_better: bool) -> TrialTable:
    """The trials that have a score and were given whole fits, from all studies of one family, by `FOLD` or `RUN/FOLD`.

    A trial that was stopped early counts with the inner folds that it has: without these the worst configurations would
    be missing. Gains are cut at Tukey's outer fence below, so that one that diverged is not the whole variance, and
    levelled: a study whose default had bad luck would else hold all the best trials."""
    sign = 1.0 if greater_is_better else -1.0
    rows = [
        (index, trial, sign * (np.mean(trial.scores) - np.mean(first.scores[: len(trial.scores)])))
        for index, trials in enumerate(studies.values())
        if (first := next((t for t in trials if t.inner is not None and math.isfinite(t.inner)), None)) is not None
        for trial in trials
        if _is_whole_fit(trial) and len(trial.scores) <= len(first.scores)
    ]
    space = _join_spaces([trial for _, trial, _ in rows])
    rows = [row for row in rows if all(_is_alike(space.get(n, d), d) for n, d in row[1].distributions.items())]
    coordinates = [
        [to_place(d, t.params[n]) if n in t.params else math.nan for n, d in space.items()] for _, t, _ in rows
    ]
    places = np.array(coordinates, dtype=float).reshape(len(rows), len(space))
    study = np.array([index for index, _, _ in rows], dtype=int)
    gain = _fence_gains(np.array([gain for _, _, gain in rows], dtype=float))
    return TrialTable(
        space,
        tuple(trial.params for _, trial, _ in rows),
        places,
        _level_studies(places, gain, study),
        study,
        np.array([trial.number for _, trial, _ in rows], dtype=int),
        np.array([trial.state == "complete" for _, trial, _ in rows], dtype=bool),
        *(
            sum(kind(t) and t.score is not None for ts in studies.values() for t in ts)
            for kind in (_is_partial, _is_schedule_step)
        ),
        over_all=frozenset(index for index, name in enumerate(studies) if name.rpartition("/")[2] == ALL),
    )


def _is_whole_fit(trial: Trial) -> bool:
    """Whether its scores are those of whole fits with these params; a part of one, or of a schedule, is no match."""
    return trial.stoppable and trial.score is not None


def _is_partial(trial: Trial) -> bool:
    return trial.share < 1


def _is_schedule_step(trial: Trial) -> bool:
    return trial.share >= 1 and not trial.stoppable


def _fence_gains(gain: np.ndarray) -> np.ndarray:
    if not len(gain):
        return gain
    low, high = np.quantile(gain, (0.25, 0.75))
    return np.maximum(gain, low - 3 * (high - low))


def _level_studies(places: np.ndarray, gain: np.ndarray, study: np.ndarray) -> np.ndarray:
    """The gains less what sets each study apart from the others: the median of what a forest over all leaves open."""
    if len(gain) < FEWEST or len(np.unique(study)) < 2 or not places.shape[1]:
        return gain
    residuals = gain - _make_forest(_TREES, 0).fit(places, gain).oob_prediction_
    medians = {number: np.nanmedian(residuals[study == number]) for number in np.unique(study)}
    shift = np.nan_to_num([medians[number] for number in study])
    return gain - shift + shift.mean()


def _join_spaces(trials: Sequence[Trial]) -> dict[str, BaseDistribution]:
    space: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            space[name] = _join_ranges(space[name], distribution) if name in space else distribution
    return {name: distribution for name, distribution in space.items() if not distribution.single()}


def _join_ranges(distribution: Any, other: Any) -> Any:
    """A range over both; the first where they are of different kinds."""
    if distribution == other or not _is_alike(distribution, other):
        return distribution
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution(list(dict.fromkeys((*distribution.choices, *other.choices))))
    step: Any = (
        distribution.step
        if distribution.step == other.step
        else 1
        if isinstance(distribution, IntDistribution)
        else None
    )
    return type(distribution)(
        min(distribution.low, other.low), max(distribution.high, other.high), log=distribution.log, step=step
    )


def _is_alike(distribution: Any, other: Any) -> bool:
    """Whether both are choices, or numbers of one kind on one scale; a family may be changed between two runs."""
    return type(distribution) is type(other) and getattr(distribution, "log", None) == getattr(other, "log", None)


def mark_trials_with(table: TrialTable, names: Sequence[str]) -> np.ndarray:
    """The trials in which all of these hyperparameters were asked for, as a mask (trials,)."""
    columns = [list(table.space).index(name) for name in names]
    return np.asarray(~np.isnan(table.places[:, columns]).any(axis=1))


# --- How much each matters -------------------------------------------------------------------------------------------


def measure_importance(table: TrialTable, seed: int = 0) -> Importance:
    """What mattered; the same for the same trials and seed.

    Intervals: by how much the same differs between 12 bootstrap samples of whole studies (of trials, where there are
    under 3 studies), with a smaller forest for each. A refit's study has the rows of the others, so it counts but is
    not drawn beside them. What the trees' own chance adds to that is left in."""
    count = int(table.complete.sum())
    importance = Importance(len(table.gain), count, table.studies, left_out=_describe_left_out(table))
    if count < FEWEST:
        sentence = f"{count} complete trials are too few to tell what mattered: {FEWEST} are needed."
        return replace(importance, lack=f"{sentence} {importance.left_out}".strip())
    if np.ptp(table.gain) <= 0 or not table.space:
        return replace(
            importance, lack="All trials scored the same." if table.space else "There was nothing to choose."
        )
    bags = [table.take(rows) for rows in _draw_samples(table, np.random.default_rng(seed))]
    best = _measure_ped_anova(table, bags)
    hyperparameters: list[HyperparameterImportance] = []
    pairs: list[tuple[str, str, Interval]] = []
    share: float | None = None
    for columns, positions, rows in _list_conditions(table):
        if table.complete[rows].sum() < FEWEST:
            hyperparameters += [HyperparameterImportance(columns[k], int(rows.sum())) for k in positions]
            continue
        forest = fit_gain_forest(table, columns, rows, seed)
        square, samples = _average_shares(list_trees(forest)), _compute_sample_shares(bags, columns, seed)
        share = _measure_explained(table, columns, rows, seed) if share is None else share
        hyperparameters += [
            HyperparameterImportance(
                columns[k], int(rows.sum()), _make_interval(square[k, k], samples[:, k, k]),
                _make_interval(square[k].sum(), samples[:, k].sum(axis=1)), best[columns[k]],
            )
            for k in positions
        ]  # fmt: skip
        pairs += [
            (columns[i], columns[k], _make_interval(square[i, k], samples[:, i, k]))
            for i, k in combinations(range(len(columns)), 2)
            if i in positions or k in positions
        ]
    return replace(
        importance,
        explained=max(0.0, share or 0.0),
        hyperparameters=tuple(sorted(hyperparameters, key=lambda h: -(h.whole.value * h.trials if h.whole else -1.0))),
        pairs=tuple(sorted(pairs, key=lambda p: -p[2].value)),
    )


def _describe_left_out(table: TrialTable) -> str:
    kinds = ((table.parts, "partial trial"), (table.steps, "schedule step"))
    trials = " and ".join(f"{count:,} {kind}{'s' * (count > 1)}" for count, kind in kinds if count)
    return f"{trials} are not counted: their scores can't be compared with those of whole fits." if trials else ""


def _list_conditions(table: TrialTable) -> Iterator[tuple[list[str], list[int], np.ndarray]]:
    """For each set of trials that some hyperparameters have to themselves: all that are asked for in every one of
    these, unless it is always the same there, which of them are those, and the trials; first what every trial has."""
    presence, names = ~np.isnan(table.places), list(table.space)
    for rows in sorted({tuple(column) for column in presence.T}, key=lambda r: (-sum(r), r)):
        trials = np.array(rows)
        indices = [k for k in range(len(names)) if presence[trials, k].all()]
        columns = [k for k in indices if tuple(presence[:, k]) == rows or np.ptp(table.places[trials, k]) > 0]
        positions = [number for number, k in enumerate(columns) if tuple(presence[:, k]) == rows]
        yield [names[k] for k in columns], positions, trials


def fit_gain_forest(table: TrialTable, columns: Sequence[str], rows: np.ndarray, seed: int, count: int = _TREES) -> Any:
    """A forest that foretells the gains of these trials from these hyperparameters' places. `rows` is a mask
    (trials,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a trial that is in every tree's sample has no score out of it
        return _make_forest(count, seed).fit(_take_places(table, columns, rows), table.gain[rows])


def _take_places(table: TrialTable, columns: Sequence[str], rows: np.ndarray) -> np.ndarray:
    """The places of these hyperparameters in these trials."""
    names = list(table.space)
    return table.places[rows][:, [names.index(c) for c in columns]]


def _measure_explained(table: TrialTable, columns: Sequence[str], rows: np.ndarray, seed: int) -> float:
    """The share of the gains' variance that a forest foretells of configurations that it has not seen. Folds may have
    tried the same ones, as with a grid, so equal ones are held out together."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    X, gain = _take_places(table, columns, rows), table.gain[rows]
    groups = np.unique(X, axis=0, return_inverse=True)[1].ravel()
    parts = min(_HELD_OUT, groups.max() + 1)
    if parts < 2 or np.ptp(gain) <= 0:
        return 0.0
    predictions = cross_val_predict(_make_forest(_BAG_TREES, seed), X, gain, groups=groups, cv=GroupKFold(parts))
    return float(1 - np.sum((gain - predictions) ** 2) / np.sum((gain - gain.mean()) ** 2))


def _make_forest(count: int, seed: int) -> RandomForestRegressor:
    """Leaves of three trials: with single ones it learns the scores' noise, which looks like all acting together."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(
        count, min_samples_leaf=3, max_leaf_nodes=64, random_state=seed, oob_score=count == _TREES, n_jobs=1
    )


def _draw_samples(table: TrialTable, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of whole studies drawn with replacement, those of refits aside where there are others; of trials, where
    there are too few studies."""
    numbers = [int(study) for study in np.unique(table.study)]
    studies = [study for study in numbers if study not in table.over_all] or numbers
    for _ in range(_BAGS):
        if len(studies) < 3:
            yield rng.integers(len(table.gain), size=len(table.gain))
        else:
            sample = rng.choice(studies, len(studies))
            yield np.concatenate([np.flatnonzero(table.study == study) for study in sample])


def _compute_sample_shares(bags: Sequence[TrialTable], columns: Sequence[str], seed: int) -> np.ndarray:
    """The shares in each sample that has enough trials with these hyperparameters."""
    shares = []
    for number, bag in enumerate(bags):
        rows = mark_trials_with(bag, columns)
        if rows.sum() >= FEWEST and np.ptp(bag.gain[rows]) > 0:
            shares.append(_average_shares(list_trees(fit_gain_forest(bag, columns, rows, seed + number, _BAG_TREES))))
    return np.array(shares).reshape(-1, len(columns), len(columns))


def _average_shares(forest: Sequence[LeafBoxes]) -> np.ndarray:
    """The shares of all trees that say more than one thing."""
    shares = [compute_shares(tree) for tree in forest if tree.variance > 0]
    return np.mean(shares, axis=0) if shares else np.zeros((forest[0].low.shape[1],) * 2)


def _make_interval(value: float, samples: np.ndarray) -> Interval:
    """The share with what it is in the samples as its error; the whole range where there are no samples."""
    error = float(np.std(samples, ddof=1)) if len(samples) > 1 else math.inf
    value = float(min(1.0, max(0.0, value)))
    return Interval(value, max(0.0, value - 1.96 * error), min(1.0, value + 1.96 * error))


def _measure_ped_anova(table: TrialTable, bags: Sequence[TrialTable]) -> dict[str, Interval]:
    """Optuna's PED-ANOVA of the trials."""
    samples = [_compute_ped_parts(bag) for bag in bags]
    return {
        name: _make_interval(part, np.array([sample[name] for sample in samples]))
        for name, part in _compute_ped_parts(table).items()
    }


def _compute_ped_parts(table: TrialTable) -> dict[str, float]:
    """What tells the best from all trials by hyperparameter, summing to 1 unless nothing does."""
    share = min(0.5, max(_TOP, _TOP_TRIALS / len(table.gain)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of conditions with one trial: they count for nothing
        parts = PedAnovaImportanceEvaluator(target_quantile=share).evaluate(_to_optuna_study(table))
    total = sum(parts.values())
    return {name: float(parts.get(name, 0.0) / total) if total > 0 else 0.0 for name in table.space}


def _to_optuna_study(table: TrialTable) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            create_trial(value=float(gain), params=params, distributions={n: table.space[n] for n in params})
            for gain, settings in zip(table.gain, table.params, strict=True)
            if (params := {n: v for n, v in settings.items() if n in table.space})
        ]
    )
    return study
