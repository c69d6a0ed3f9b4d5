"""From outer scores to what is published: estimate with interval, optimism, agreement, BBC-CV, chance.

All take predictions as they are; nothing here fits or chooses a model.

Bootstraps draw keys (rows, groups or blocks of time) within folds and apply the metric's own definition over folds.
An outer score varies for two reasons: which rows judged (the bootstrap) and which rows trained (the spread over
folds, whose training parts overlap: Nadeau & Bengio 2003, Machine Learning 52:239). Each alone is too short where the
other rules, so the standard error is the larger. Bates, Hastie & Tibshirani 2023 (JASA) say why the naive one is too
short. Of a metric between two bounds the interval is made on the logit scale: near a bound the error is much larger on
the other side (benchmarks/intervals.py measures what that gains).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import expit, logit, stdtrit

from models.metrics.metric import Fold3, Metric, select_rows
from models.outcome import Basis, Interval, Unit

Z95 = 1.959963984540054
_DRAWS = 20_000_000
"""Rows drawn in one bootstrap: many replicates of small tables, fewer of large ones."""
_CELLS = 2_000_000
"""Rows times replicates held at once."""


def estimate_score(
    metric: Metric, folds: Sequence[Fold3], keys: Sequence[np.ndarray], trained: Sequence[float], seed: int
) -> Interval:
    """The score over folds with its 95 % interval; `keys` (a key for each row) and `trained` (training rows) are per
    fold. InputError where there are row weights and the metric takes none."""
    value = metric.score_folds(folds)
    errors = [compute_standard_error(metric, folds, keys, seed), compute_spread_error(metric, folds, trained)]
    error = max((e for e in errors if not math.isnan(e)), default=math.nan)
    return make_interval(metric, value, error, count_basis(metric, folds, keys))


def estimate_test_score(metric: Metric, fold: Fold3, keys: np.ndarray, seed: int) -> Interval:
    """The score of one fixed model on the sealed rows with its 95 % interval. `keys`: a key for each row. InputError
    where there are row weights and the metric takes none."""
    error = compute_standard_error(metric, [fold], [keys], seed)
    return make_interval(metric, metric.score_folds([fold]), error, count_basis(metric, [fold], [keys]))


def count_basis(metric: Metric, folds: Sequence[Fold3], keys: Sequence[np.ndarray]) -> Basis:
    """What a score of these folds rests on. `keys`: for each fold a key for each row."""
    targets = np.concatenate([target for target, _, _ in folds])
    codes = targets if targets.ndim == 1 else targets[:, 0]
    smallest = np.bincount(codes.astype(np.int64), minlength=len(metric.classes)).min() if metric.classes else None
    units = sum(len(np.unique(part)) for part in keys)
    return Basis(len(codes), None if smallest is None else int(smallest), units)


def compute_standard_error(metric: Metric, folds: Sequence[Fold3], keys: Sequence[np.ndarray], seed: int) -> float:
    """The bootstrap's standard error, models held fixed; NaN where it can't be had. `keys`: for each fold a key for
    each row. InputError where there are row weights and the metric takes none."""
    return compute_deviation(
        np.concatenate(
            [metric.resample(folds, counts) for counts in draw_counts(keys, count_replicates(metric, keys), seed)]
        )
    )


def compute_spread_error(metric: Metric, folds: Sequence[Fold3], trained: Sequence[float]) -> float:
    """sqrt((1/K + n_B/n_A) s²): Nadeau and Bengio's correction for training parts that overlap; NaN for one fold."""
    scores = np.array([metric.score(*fold) for fold in folds])
    scores = scores[~np.isnan(scores)]
    if len(scores) < 2:
        return math.nan
    ratio = sum(len(fold[0]) for fold in folds) / max(1, sum(trained))
    return math.sqrt((1 / len(scores) + ratio) * scores.var(ddof=1))


def keep_defined_interval(interval: Interval, unit: Unit = "row") -> Interval | None:
    """The interval, with what a key stood for; None where its value is undefined, so that nothing is told of it."""
    if not math.isfinite(interval.value):
        return None
    return interval if interval.basis is None else replace(interval, basis=replace(interval.basis, unit=unit))


def measure_optimism(metric: Metric, inner: Sequence[float], outer: Sequence[float]) -> float | None:
    """How much the inner scores of what was picked flattered, averaged over folds; positive = flattered."""
    gains = [metric.gain(i) - metric.gain(o) for i, o in zip(inner, outer, strict=True)]
    gains = [gain for gain in gains if math.isfinite(gain)]
    return sum(gains) / len(gains) if gains else None


def measure_agreement(
    metric: Metric,
    outer: Sequence[Fold3],
    sealed: Sequence[Fold3],
    outer_keys: Sequence[np.ndarray],
    sealed_keys: np.ndarray,
    seed: int,
) -> float | None:
    """z of the K fold models' outer score against the same K models on the sealed rows; positive = flattered.

    Both standard errors are bootstraps with the models held fixed (Bayle, Bayle, Janson & Mackey 2020, NeurIPS). The K
    models meet the same sealed rows, so each replicate draws those once for all K. `outer_keys` holds for each fold a
    key for each row, `sealed_keys` a key for each sealed row. InputError where there are row weights and the metric
    takes none.
    """
    gap = metric.gain(metric.score_folds(outer)) - metric.gain(metric.score_folds(sealed))
    outer_error = compute_standard_error(metric, outer, outer_keys, seed)
    samples = draw_counts([sealed_keys], count_replicates(metric, [sealed_keys] * len(sealed)), seed + 1)
    sealed_error = compute_deviation(
        np.concatenate([metric.resample(sealed, counts * len(sealed)) for counts in samples])
    )
    error = math.hypot(outer_error, sealed_error)
    return gap / error if error > 0 and math.isfinite(gap / error) else None


def estimate_by_bbc(
    metric: Metric,
    target: np.ndarray,
    predictions: Sequence[np.ndarray],
    keys: np.ndarray,
    folds: Sequence[np.ndarray],
    seed: int,
    weight: np.ndarray | None = None,
    choose: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Interval:
    """BBC-CV: the out-of-fold score of the best of several configurations, without the flattery of the choice.

    Each replicate chooses the configuration by the keys drawn and scores it by the keys left out (Tsamardinos,
    Greasidou & Borboudakis 2018, Machine Learning 107:1895); value and interval are mean and percentiles of these.
    `predictions` holds one array per configuration, (rows,) or (rows, classes), `folds` the positions that each fold
    judged. `choose` picks a row of gains (configuration, replicate) for each column, where that is not the largest.
    `target`, `keys` and `weight` are (rows,). InputError where there are row weights and the metric takes none.
    """
    by_fold = [keys[rows] for rows in folds]
    selections, tests = [], []
    configurations = [[select_rows((target, prediction, weight), rows) for rows in folds] for prediction in predictions]
    for counts in draw_counts(by_fold, count_replicates(metric, by_fold, len(predictions)), seed):
        complements = [(part == 0).astype(float) for part in counts]
        selections.append(np.stack([metric.resample(configuration, counts) for configuration in configurations]))
        tests.append(np.stack([metric.resample(configuration, complements) for configuration in configurations]))
    gains = np.concatenate(selections, axis=1) * (1 if metric.greater_is_better else -1)
    values = np.where(np.isnan(gains), -np.inf, gains)
    best = values.argmax(axis=0) if choose is None else choose(values)
    scores = np.take_along_axis(np.concatenate(tests, axis=1), best[None], axis=0)[0]
    scores = scores[np.isfinite(scores)]
    if len(scores) < 2:
        return Interval(math.nan)
    basis, mean = count_basis(metric, configurations[0], by_fold), float(scores.mean())
    low, high = map(float, np.quantile(scores, [0.025, 0.975]))
    if low == high:
        return make_interval(metric, mean, 0.0, basis)
    return Interval(mean, max(metric.low, low), min(metric.high, high), basis)


def score_best_constant(metric: Metric, target: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The score of the best constant prediction: what a model must beat. `target` (of classes codes) and `weight` are
    (rows,). InputError where there are row weights and the metric takes none."""
    if metric.needs == "value":
        guesses = [np.full(len(target), value) for value in _list_constants(metric, target.astype(float), weight)]
    elif metric.needs == "label":
        guesses = [np.full(len(target), code) for code in range(len(metric.classes))]
    else:
        prior = np.bincount(target, weights=weight, minlength=len(metric.classes))
        guesses = [np.tile(prior / prior.sum(), (len(target), 1))]
    scores = [metric.score(target, guess, weight) for guess in guesses]
    return max((s for s in scores if not math.isnan(s)), key=metric.gain, default=math.nan)


def _list_constants(metric: Metric, target: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The constants that the usual losses are least for: means of the values and of their logs, and quantiles."""
    quantile = np.quantile(target, [metric.level], weights=weight, method="inverted_cdf")
    means = [np.average(target, weights=weight)]
    if target.min() > -1:
        means.append(np.expm1(np.average(np.log1p(target), weights=weight)))
    return np.concatenate([means, quantile, np.quantile(target, np.linspace(0, 1, 101))])


def make_time_blocks(time: np.ndarray) -> np.ndarray:
    """A code for each row, of about sqrt(n) blocks of neighbours in time: the keys of a time plan's bootstrap.

    Neighbours are alike, so single rows would promise more than there is (Künsch 1989, Annals of Statistics 17:1217).
    `time` is (rows,), in any unit and order.
    """
    size = max(1, math.isqrt(len(time)))
    codes = np.empty(len(time), np.int64)
    codes[np.argsort(time, kind="stable")] = np.arange(len(time)) // size
    return codes


# --- Bootstrap draws -------------------------------------------------------------------------------------------------


def make_interval(metric: Metric, value: float, error: float, basis: Basis | None = None) -> Interval:
    """The value with its 95 % interval; alone where there is no error.

    Of a metric between two bounds it is the one on the logit scale (by the delta method), and of a value on a bound,
    which no bootstrap ever leaves, the exact one for so many hits in a row (Clopper & Pearson 1934, Biometrika 26:404;
    "rule of three"). Others are straight and cut at the bound that they may have."""
    if not math.isfinite(value) or not math.isfinite(error):
        return Interval(value, basis=basis)
    width, share = metric.high - metric.low, _to_share(metric, value)
    if 0 < share < 1:
        spread = _compute_quantile(metric, basis) * error / (width * share * (1 - share))
        low, high = (metric.low + width * float(expit(logit(share) + side * spread)) for side in (-1, 1))
        return Interval(value, low, high, basis)
    half = Z95 * error
    if metric.bounded and not error and basis is not None:
        half = width * (1 - 0.025 ** (1 / max(1, _count_observations(metric, basis))))
    return Interval(value, max(metric.low, value - half), min(metric.high, value + half), basis)


def recover_error(metric: Metric, interval: Interval) -> float | None:
    """The standard error that `around` made the interval of; None where there was none."""
    if interval.low is None or interval.high is None:
        return None
    share = _to_share(metric, interval.value)
    if 0 < share < 1:
        distances = [abs(logit(_to_share(metric, end)) - logit(share)) for end in (interval.low, interval.high)]
        return (
            float(min(distances))
            / _compute_quantile(metric, interval.basis)
            * (metric.high - metric.low)
            * share
            * (1 - share)
        )
    return max(interval.high - interval.value, interval.value - interval.low) / Z95


def _compute_quantile(metric: Metric, basis: Basis | None) -> float:
    """How many of the bootstrap's standard errors 95 % are: by Student's t, since of few rows the error is hardly
    known; and a bootstrap's error is that of n in place of n - 1."""
    if basis is None:
        return Z95
    count = max(2, _count_observations(metric, basis))
    return float(stdtrit(count - 1, 0.975)) * math.sqrt(count / (count - 1))


def _count_observations(metric: Metric, basis: Basis) -> int:
    """How many observations the metric rests on: all of them for a mean, else those of the smallest class."""
    return basis.units if metric.kind == "mean" else basis.fewest


def _to_share(metric: Metric, value: float) -> float:
    """Where the value lies between the metric's two bounds, 0 to 1; NaN where it has not both."""
    return (value - metric.low) / (metric.high - metric.low) if metric.bounded else math.nan


def compute_deviation(values: np.ndarray) -> float:
    """The standard deviation of those replicates (B,) that are defined; NaN for fewer than two."""
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def count_replicates(metric: Metric, keys: Sequence[np.ndarray], models: int = 1) -> int:
    """1000 where they are cheap; 200 still give a standard error to 5 %. `keys`: for each fold a key for each row."""
    rows = max(1, sum(len(part) for part in keys) * models)
    least, most = (50, 200) if metric.dear else (100 if models > 1 else 200, 1000)
    return min(most, max(least, _DRAWS * (10 if models > 1 else 1) // rows))


def draw_counts(keys: Sequence[np.ndarray], count: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Chunks of counts per fold (replicate, row): how often each row's key was drawn among the keys of its fold."""
    generator = np.random.Generator(np.random.PCG64(seed))
    codes = [pd.factorize(part)[0] for part in keys]
    step = max(1, _CELLS // max(1, sum(len(part) for part in keys)))
    for start in range(0, count, step):
        size = min(step, count - start)
        yield [_draw_fold_counts(part, int(part.max(initial=-1)) + 1, size, generator) for part in codes]


def _draw_fold_counts(codes: np.ndarray, distinct: int, size: int, generator: np.random.Generator) -> np.ndarray:
    picks = generator.integers(0, max(1, distinct), size=(size, distinct), dtype=np.int64)
    picks += np.arange(size)[:, None] * distinct
    counts = np.bincount(picks.ravel(), minlength=size * distinct).reshape(size, distinct).astype(float)
    return counts if distinct == len(codes) else counts[:, codes]
