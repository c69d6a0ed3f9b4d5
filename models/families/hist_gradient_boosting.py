"""Scikit-learn's gradient boosting by histogram trees, after LightGBM (Ke et al. 2017, NeurIPS)."""

from __future__ import annotations

import copy
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from models.fitting.family import Family, FittedModel, Needs, choose_patience, limit_rounds, refuse_monotone_quantile

_MOST_ROUNDS = 1000


def _suggest_configuration(trial, shape):
    return {
        # Of several classes each round has a tree for each, and skops writes every tree as a file of its own.
        "learning_rate": trial.suggest_float("learning_rate", 0.02 if shape.classes <= 2 else 0.05, 0.3, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 4, 255, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 2, 100, log=True),
        "max_features": trial.suggest_float("max_features", 0.3, 1.0),
        "l2_regularization": trial.suggest_float("l2_regularization", 1e-5, 10.0, log=True),
    }


def _choose_loss(part) -> dict[str, Any]:
    shape = part.shape
    # Leaves that are set to a median or a quantile after the tree is grown break its order.
    if shape.task != "regression" or shape.loss == "squared" or part.monotone:
        return {}
    return {"loss": "quantile", "quantile": shape.level} if shape.loss == "quantile" else {"loss": "absolute_error"}


def _fit(config, part, seed, threads):
    options: dict[str, Any] = {**_choose_loss(part), **config}
    rounds = options.pop("rounds", None)
    stopping = rounds is None and part.stop is not None
    limit = rounds or limit_rounds(part.share, _MOST_ROUNDS, options["learning_rate"])
    settings: dict[str, Any] = {
        "early_stopping": stopping,
        "categorical_features": list(part.categories) or None,
        "monotonic_cst": list(part.monotone) if any(part.monotone) else None,
    }
    model = (HistGradientBoostingRegressor if part.shape.task == "regression" else HistGradientBoostingClassifier)(
        max_iter=limit,
        n_iter_no_change=choose_patience(options["learning_rate"]),
        random_state=seed,
        **settings,
        **options,
    )
    validation: dict[str, Any] = {}
    if stopping:
        assert part.stop is not None
        X, y, weight = part.stop
        validation = {"X_val": X, "y_val": y, "sample_weight_val": weight}
    with threadpool_limits(threads, user_api="openmp"):
        model.fit(part.X, part.y, sample_weight=part.weight, **validation)
    _share_empty_arrays(model)
    if not stopping:
        return FittedModel(model, rounds)
    whole = model.n_iter_ < limit
    return FittedModel(model, _cut_rounds(model), whole=whole)


def _share_empty_arrays(model) -> None:
    """Lets trees without categories hold the same empty arrays: a version's file has one file for each array."""
    empty: dict[tuple[Any, ...], Any] = {}
    for tree in (tree for trees in model._predictors for tree in trees):
        for name in ("binned_left_cat_bitsets", "raw_left_cat_bitsets"):
            array = getattr(tree, name)
            if array.size == 0:
                setattr(tree, name, empty.setdefault((array.shape, array.dtype), array))


def _train_steps(config, part, seed, threads, model):
    if model is None:
        booster = _fit(config, part, seed, threads).model
        return FittedModel(booster, None, booster)
    settings = {name: value for name, value in config.items() if name != "rounds"}
    model = copy.deepcopy(model).set_params(**settings, max_iter=model.n_iter_ + config["rounds"], warm_start=True)
    with threadpool_limits(threads, user_api="openmp"):
        model.fit(part.X, part.y, sample_weight=part.weight)
    model.set_params(warm_start=False)
    return FittedModel(model, None, model)


def _cut_rounds(model) -> int:
    """The rounds at which the stopping rows were told best; the later ones are taken off the model.

    Scikit-learn stops as others do, but keeps the rounds in which it waited for a gain."""
    best = max(1, int(model.validation_score_.argmax()))
    del model._predictors[best:]
    return best


FAMILY = Family(
    name="hist_gradient_boosting",
    suits="tables that lightgbm suits, where a consumer may have scikit-learn alone",
    cost=3.5,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={
        "learning_rate": 0.1,
        "max_leaf_nodes": 31,
        "min_samples_leaf": 20,
        "max_features": 0.9,
        "l2_regularization": 1e-5,
        "log_target": False,
    },
    space=_suggest_configuration,
    fit=_fit,
    losses=("squared", "absolute", "quantile"),
    fidelity="rounds",
    most_rounds=_MOST_ROUNDS,
    # A tree for each class and round, each an object of Python: fitting, writing and loading take many times what
    # LightGBM's take.
    most_classes=10,
    priority=3,
    stops_early=True,
    steps=_train_steps,
    explores=("learning_rate", "max_leaf_nodes", "min_samples_leaf", "max_features", "l2_regularization"),
    logs=True,
    monotone=True,
    threads=True,
    unsuited=refuse_monotone_quantile,
    trusted=(
        "functools.partial",  # around `check_array`, in the step that takes category codes apart; skops asks for both
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.utils.validation.check_array",
    ),
    source="the same ranges as TabArena's LightGBM (Erickson et al. 2025, arXiv:2506.16791), which it is made after",
)
