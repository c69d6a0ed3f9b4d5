"""A metric as one frozen value: name, direction, bounds, what it scores, and the one way it is taken over folds.

Every number comes from the same place: a metric is a function of row weights (`_score_replicates`), and a score is that
function at the rows' own weights, a bootstrap replicate the same function at weights times counts. So estimate and
interval can't drift apart, and sorting is done once for all replicates.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from sklearn.metrics import get_scorer, get_scorer_names

from models.data.table import Loss, Task
from models.errors import InputError, join_names, make_unknown_error
from models.metrics.costs import Costs, Priced, build_cost_matrix
from models.metrics.formulas import LOSSES, RANKS, TABLES, average_known, count_confusions, divide_safely, pinball_loss
from models.text.safe import shorten

Fold3 = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Target, prediction, row weights of one fold's judged rows."""


def select_rows(fold: Fold3, rows: np.ndarray) -> Fold3:
    """These of a fold's rows, as places (n,) or as a mask (rows,)."""
    target, prediction, weight = fold
    return target[rows], prediction[rows], None if weight is None else weight[rows]


PINBALL, COST = "pinball", "cost"
_PINBALL = re.compile(r"(?:mean[ _-])?pinball(?:[ _-]loss)?(?::(.*))?")

_CELLS = 4_000_000
"""Replicates times rows held at once: 32 MB for each intermediate array."""


# --- The metric ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    """What a run is judged by. Plain values only: it pickles, and equal metrics are equal."""

    name: str
    """As shown: `rmse`, not `neg_root_mean_squared_error`."""
    greater_is_better: bool
    needs: Literal["probability", "label", "value"]
    kind: Literal["mean", "root_mean", "fold"]
    """A mean over rows or its square root is pooled over folds; anything else is taken per fold and averaged."""
    low: float
    high: float
    source: str
    """scikit-learn's scorer name, or `module:attribute`."""
    task: Task
    classes: tuple[Any, ...] = ()
    level: float = 0.5
    """Which quantile the metric asks for."""
    costs: Costs = ()
    """What each decision costs: a row for each actual class, a column for each predicted one."""

    @property
    def loss(self) -> Loss:
        """What a regression has to fit so that this metric is best."""
        if self.source == PINBALL:
            return "absolute" if self.level == 0.5 else "quantile"
        return "absolute" if self.source in ("neg_mean_absolute_error", "neg_median_absolute_error") else "squared"

    @property
    def dear(self) -> bool:
        """Whether a replicate costs a call of its own: such a metric gets fewer of them."""
        return self.source not in (PINBALL, COST) and not any(self.source in table for table in (LOSSES, TABLES, RANKS))

    @property
    def bounded(self) -> bool:
        """Whether it lies between two bounds: then its intervals are made on the logit scale."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def decide(self, odds: np.ndarray) -> np.ndarray:
        """The class of each row, as a code, from probabilities (rows, classes): the likeliest, or where decisions have
        costs the one of least expected cost (Elkan 2001, IJCAI)."""
        return (odds @ np.array(self.costs)).argmin(axis=1) if self.costs else odds.argmax(axis=1)

    def score_tables(self, tables: np.ndarray, whole: bool = False) -> np.ndarray:
        """A metric of labels (B,) for confusion matrices (B, true class, predicted class); `whole`: of counted rows.
        InputError where rows are weighted and the metric takes no weights."""
        if self.source in TABLES:
            return TABLES[self.source](tables)
        if self.kind == "mean":
            gains = np.array(self.costs) if self.costs else np.eye(tables.shape[1])
            return divide_safely((tables * gains).sum(axis=(1, 2)), tables.sum(axis=(1, 2)), np.nan)
        # Only which pairs occur and how heavy they are matters, so a call costs the same at any number of rows.
        target, prediction = np.divmod(np.arange(tables[0].size), tables.shape[1])
        return np.array([_call_or_nan(self, target, prediction, row, whole) for row in tables.reshape(len(tables), -1)])

    def score(self, target: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
        """The metric in its own sense; NaN where it is undefined or a prediction is not finite. `target` and `weight`
        are (rows,), `prediction` is (rows,) or (rows, classes). InputError where there are row weights and the metric
        takes none."""
        return self.score_folds([(target, prediction, weight)])

    def score_folds(self, folds: Sequence[Fold3]) -> float:
        """The metric over folds: the one definition that estimate, test score and intervals share."""
        return float(self.resample(folds, [np.ones((1, len(target))) for target, _, _ in folds])[0])

    def gain(self, value: float) -> float:
        """The value turned so that greater is better."""
        return value if self.greater_is_better else -value

    def is_better(self, a: float, b: float) -> bool:
        """Whether a is better than b; NaN is worse than any value."""
        return self.gain(a) > self.gain(b) or (math.isnan(b) and not math.isnan(a))

    def resample(self, folds: Sequence[Fold3], counts: Sequence[np.ndarray]) -> np.ndarray:
        """The metric (B,) when row i of fold k counts `counts[k][b, i]` times. InputError where there are row weights
        and the metric takes none."""
        sized = [(_cast_fold(self, fold), count) for fold, count in zip(folds, counts, strict=True) if len(fold[0])]
        replicates = len(counts[0]) if len(counts) else 1
        if not sized or not all(np.isfinite(prediction).all() for (_, prediction, _), _ in sized):
            return np.full(replicates, np.nan)
        parts = [_sum_fold(self, fold, count) for fold, count in sized]
        if self.kind == "fold":
            values = np.stack([value for value, _ in parts], axis=1)
            return average_known(values, np.ones_like(values))
        mean = divide_safely(sum(value for value, _ in parts), sum(mass for _, mass in parts), np.nan)  # type: ignore[arg-type]
        return np.sqrt(mean) if self.kind == "root_mean" else mean


def _cast_fold(metric: Metric, fold: Fold3) -> Fold3:
    """Codes and probabilities, codes and codes, or values and values."""
    target, prediction, weight = fold
    if metric.needs == "value":
        return np.asarray(target, float), np.asarray(prediction, float).reshape(len(target)), weight
    prediction = np.asarray(prediction)
    if metric.needs == "label":
        prediction = metric.decide(prediction) if prediction.ndim == 2 else prediction.astype(np.int64)
    else:
        prediction = prediction.astype(float, copy=False)
    return np.asarray(target).astype(np.int64, copy=False), prediction, weight


def _sum_fold(metric: Metric, fold: Fold3, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of a mean in one fold; for a fold metric its value and ones."""
    target, prediction, weight = fold
    if metric.kind != "fold":
        with np.errstate(divide="ignore", invalid="ignore"):
            losses = compute_row_losses(metric, target, prediction)
        weights = np.ones(len(target)) if weight is None else np.asarray(weight, float)
        numerator, denominator = (counts @ np.stack([losses * weights, weights], axis=1)).T
        return numerator, denominator
    values = [_score_replicates(metric, target, prediction, weight, part) for part in _chunk_counts(counts)]
    return np.concatenate(values), np.ones(len(counts))


def compute_row_losses(metric: Metric, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """What each row adds to a metric that is a mean over rows, (rows,). `target` is (rows,), `prediction` (rows,) or
    (rows, classes)."""
    if metric.source == PINBALL:
        return pinball_loss(target, prediction, metric.level)
    if metric.source == COST:
        return np.array(metric.costs)[target, prediction]
    return LOSSES[metric.source](target, prediction)


def _chunk_counts(counts: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _CELLS // max(1, counts.shape[1]))
    return (counts[start : start + step] for start in range(0, len(counts), step))


def _score_replicates(
    metric: Metric, target: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None, counts: np.ndarray
) -> np.ndarray:
    """A fold metric (B,) at the rows' weights times counts."""
    weights = np.asarray(counts, float) if weight is None else counts * np.asarray(weight, float)
    if metric.source in RANKS:
        return RANKS[metric.source](target, prediction, weights)
    if metric.needs == "label":
        return metric.score_tables(count_confusions(target, prediction, weights, len(metric.classes)), weight is None)
    # A function without sample_weight takes repeated rows, which stand for counts but not for weights.
    return np.array([_call_or_nan(metric, target, prediction, row, weight is None) for row in weights])


# --- Metrics by scorer: whatever has no formula above ----------------------------------------------------------------


@lru_cache(maxsize=64)
def _resolve_function(source: str) -> tuple[Callable[..., float], dict[str, Any], bool, Any]:
    """The metric function behind a scorer's name or import path, its arguments, whether greater is better, and the
    response it wants (None for a plain function)."""
    scorer = _import_metric(source) if ":" in source else get_scorer(source)
    if hasattr(scorer, "_score_func"):
        kwargs = {k: v for k, v in scorer._kwargs.items() if not (k == "pos_label" and v is None)}
        return scorer._score_func, kwargs, scorer._sign > 0, getattr(scorer, "_response_method", "predict")
    name = getattr(scorer, "__name__", "")
    # scikit-learn's own convention for function names.
    return scorer, {}, not name.endswith(("_loss", "_error", "_deviance", "_ratio")), None


def _import_metric(source: str) -> Any:
    module, _, attribute = source.partition(":")
    try:
        function = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"The metric {shorten(source, 60)!r} can't be imported: {shorten(error, 120)}.") from error
    if not callable(function):
        raise InputError(f"The metric {shorten(source, 60)!r} is no scorer and no function of (y_true, y_pred).")
    return function


@lru_cache(maxsize=64)
def _list_parameters(source: str) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(_resolve_function(source)[0]).parameters)
    except (TypeError, ValueError):
        return frozenset()


def _call_or_nan(metric: Metric, target: np.ndarray, prediction: np.ndarray, weights: np.ndarray, whole: bool) -> float:
    """The function's value, or NaN where it refuses, as many do in a fold that holds one class."""
    try:
        return _call_function(metric, target, prediction, weights, whole)
    except ValueError:
        return math.nan


def _call_function(
    metric: Metric, target: np.ndarray, prediction: np.ndarray, weights: np.ndarray, whole: bool
) -> float:
    function, kwargs, _, _ = _resolve_function(metric.source)
    kwargs = dict(kwargs)
    mask = weights > 0
    target, prediction, weights = target[mask], prediction[mask], weights[mask]
    if not len(target):
        return math.nan
    if "sample_weight" not in _list_parameters(metric.source):
        if not whole:
            raise InputError(f"The metric {metric.name!r} takes no row weights; choose another or leave out `weight`.")
        times = np.rint(weights).astype(int)
        target, prediction = np.repeat(target, times), np.repeat(prediction, times, axis=0)
    elif not (weights == 1).all():
        kwargs["sample_weight"] = weights
    return float(function(*_to_function_inputs(metric, target, prediction, kwargs), **kwargs))


def _to_function_inputs(
    metric: Metric, target: np.ndarray, prediction: np.ndarray, kwargs: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Target and prediction as the function knows them: a user's own function gets the labels' own form."""
    if metric.needs == "value":
        return target, prediction
    imported = ":" in metric.source
    labels = np.array(metric.classes) if imported else np.arange(len(metric.classes))
    if imported and len(labels) == 2 and "pos_label" in _list_parameters(metric.source):
        kwargs.setdefault("pos_label", metric.classes[1])
    if metric.needs == "label":
        return labels[target], labels[prediction]
    if "labels" in _list_parameters(metric.source):
        kwargs.setdefault("labels", labels)
    binary = prediction.shape[1] == 2 and (not imported or _resolve_function(metric.source)[3] is not None)
    return labels[target], prediction[:, 1] if binary else prediction


# --- Names -----------------------------------------------------------------------------------------------------------

_DEFAULT: Mapping[Task, str] = {
    "binary": "roc_auc",
    "multiclass": "neg_log_loss",
    "regression": "neg_root_mean_squared_error",
}
_REGRESSION = frozenset(
    [
        "r2",
        "explained_variance",
        "d2_absolute_error_score",
        "neg_max_error",
        "neg_median_absolute_error",
        "neg_mean_absolute_error",
        "neg_mean_squared_error",
        "neg_root_mean_squared_error",
        "neg_mean_absolute_percentage_error",
        "neg_mean_squared_log_error",
        "neg_root_mean_squared_log_error",
        "neg_mean_poisson_deviance",
        "neg_mean_gamma_deviance",
    ]
)
_BINARY = frozenset(
    [
        "roc_auc",
        "f1",
        "precision",
        "recall",
        "jaccard",
        "positive_likelihood_ratio",
        "neg_negative_likelihood_ratio",
    ]
)
_MULTICLASS = frozenset(
    [
        "roc_auc_ovr",
        "roc_auc_ovr_weighted",
        "roc_auc_ovo",
        "roc_auc_ovo_weighted",
        "top_k_accuracy",
    ]
)
_CLASSES = frozenset(
    [
        "accuracy",
        "balanced_accuracy",
        "average_precision",
        "matthews_corrcoef",
        "neg_log_loss",
        "neg_brier_score",
        "d2_log_loss_score",
        "d2_brier_score",
    ]
) | frozenset(name for name in TABLES if name.endswith(("_macro", "_micro", "_weighted")))
_SHORT: Mapping[str, str] = {
    "rmse": "neg_root_mean_squared_error",
    "mse": "neg_mean_squared_error",
    "mae": "neg_mean_absolute_error",
    "mape": "neg_mean_absolute_percentage_error",
    "rmsle": "neg_root_mean_squared_log_error",
    "msle": "neg_mean_squared_log_error",
    "poisson_deviance": "neg_mean_poisson_deviance",
    "gamma_deviance": "neg_mean_gamma_deviance",
    "log_loss": "neg_log_loss",
    "logloss": "neg_log_loss",
    "cross_entropy": "neg_log_loss",
    "brier": "neg_brier_score",
    "auc": "roc_auc",
    "ap": "average_precision",
    "pr_auc": "average_precision",
    "mcc": "matthews_corrcoef",
}
_SHOWN: Mapping[str, str] = {full: short for short, full in reversed(_SHORT.items()) if full.startswith("neg_")}
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "r2": (-math.inf, 1.0),
    "explained_variance": (-math.inf, 1.0),
    "matthews_corrcoef": (-1.0, 1.0),
    "positive_likelihood_ratio": (0.0, math.inf),
    "d2_absolute_error_score": (-math.inf, 1.0),
    "d2_log_loss_score": (-math.inf, 1.0),
    "d2_brier_score": (-math.inf, 1.0),
}


def list_metric_names(task: Task) -> tuple[str, ...]:
    """The names, as shown, of every scikit-learn scorer that fits the task."""
    fits = {"regression": _REGRESSION, "binary": _BINARY | _CLASSES, "multiclass": _MULTICLASS | _CLASSES}[task]
    return tuple(sorted(_to_shown_name(name) for name in fits & set(get_scorer_names())))


def make_metric(name: str | None, task: Task, classes: Sequence[Any], costs: Priced | None = None) -> Metric:
    """The metric of that name for the task; for None `cost` where there are costs, else the task's default."""
    source = (COST if costs else _DEFAULT[task]) if name is None else name.strip()
    if source.lower() == COST or costs:
        return _make_cost_metric(source, task, tuple(classes), costs)
    if (quantile := _PINBALL.fullmatch(source.lower())) and not _is_importable(source):
        return _make_pinball_metric(quantile[1], task)
    if ":" in source:
        return _make_imported_metric(source, task, tuple(classes))
    full = _find_scorer_name(source)
    if full is None:
        raise make_unknown_error("metric", source, _list_known_names(task))
    if _to_shown_name(full) not in list_metric_names(task):
        raise InputError(
            f"The metric {_to_shown_name(full)!r} does not fit a {task} target. Those that do: "
            f"{join_names(_list_known_names(task), 60)}."
        )
    return _make_scorer_metric(full, task, tuple(classes))


def _list_known_names(task: Task) -> tuple[str, ...]:
    return (*list_metric_names(task), "pinball:0.9" if task == "regression" else COST)


def _to_shown_name(full: str) -> str:
    return _SHOWN.get(full, full.removeprefix("neg_"))


def _find_scorer_name(name: str) -> str | None:
    """scikit-learn's scorer name for a name, a short form or a metric function's name."""
    key = name.lower().replace("-", "_").replace(" ", "_")
    known = set(get_scorer_names())
    for form in (key, key.removesuffix("_score"), key.removesuffix("_loss"), key.removesuffix("_score_loss")):
        for full in (form, _SHORT.get(form), f"neg_{form}", f"neg_{form}_score"):
            if full in known:
                return full
    return None


def _make_scorer_metric(full: str, task: Task, classes: tuple[Any, ...]) -> Metric:
    greater, response = _resolve_function(full)[2:]
    high = 1.0 if greater else math.inf
    if full == "neg_brier_score":
        high = 1.0 if len(classes) == 2 else 2.0
    return Metric(
        name=_to_shown_name(full),
        greater_is_better=greater,
        needs="value" if task == "regression" else "label" if response == "predict" else "probability",
        kind="root_mean" if full.startswith("neg_root") else "mean" if full in LOSSES else "fold",
        low=_BOUNDS.get(full, (0.0, high))[0],
        high=_BOUNDS.get(full, (0.0, high))[1],
        source=full,
        task=task,
        classes=classes,
    )


def _make_pinball_metric(level: str | None, task: Task) -> Metric:
    """The loss that the quantile of this level is least for (Koenker & Bassett 1978, Econometrica 46:33)."""
    if task != "regression":
        raise InputError(
            f"The metric 'pinball' does not fit a {task} target. Those that do: "
            f"{join_names(_list_known_names(task), 60)}."
        )
    try:
        share = 0.5 if level is None else float(level)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise InputError(
            f"The metric pinball wants a level between 0 and 1, such as pinball:0.9, not {shorten(level)!r}."
        )
    return Metric(f"{PINBALL}:{share:g}", False, "value", "mean", 0.0, math.inf, PINBALL, task, level=share)


def _is_importable(source: str) -> bool:
    """Whether the name is `module:attribute` of a module that is there and happens to be called as a metric is."""
    module, _, attribute = source.partition(":")
    return attribute.isidentifier() and find_spec(module) is not None


def _make_cost_metric(source: str, task: Task, classes: tuple[Any, ...], costs: Priced | None) -> Metric:
    if task == "regression":
        raise InputError("Costs are those of right and wrong labels: they do not fit a regression target.")
    if source.lower() != COST:
        raise InputError(f"With costs the metric is cost, not {shorten(source)!r}: leave out one of the two.")
    if not costs:
        raise InputError("The metric cost wants costs, such as --cost yes:no=5 (a yes that is taken for a no costs 5).")
    table = build_cost_matrix(costs, classes)
    low, high = min(map(min, table)), max(map(max, table))
    return Metric(COST, False, "label", "mean", low, high, COST, task, classes, costs=table)


def _make_imported_metric(source: str, task: Task, classes: tuple[Any, ...]) -> Metric:
    """The metric of an import path, tried once on a few rows so that a wrong one stops before any fit."""
    _, _, greater, response = _resolve_function(source)
    needs = "value" if task == "regression" else "label" if response in ("predict", None) else "probability"
    metric = Metric(source, greater, needs, "fold", -math.inf, math.inf, source, task, classes)
    codes = np.repeat(np.arange(max(2, len(classes))), 3)
    target = codes + 1.0 if needs == "value" else codes
    prediction = target * 1.1 if needs == "value" else np.eye(max(2, len(classes)))[codes] * 0.9 + 0.05
    try:
        if needs == "label":
            prediction = prediction.argmax(axis=1)
        _call_function(metric, target, prediction, np.ones(len(codes)), True)
    except Exception as error:
        raise InputError(
            f"The metric {shorten(source, 60)!r} fails on a {task} target (it must be a scorer of make_scorer or a "
            f"function of y_true, y_pred): {type(error).__name__}: {shorten(error, 160)}."
        ) from error
    return metric
