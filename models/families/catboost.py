"""Gradient boosting by symmetric trees and target statistics of categories (Prokhorenkova et al. 2018, NeurIPS)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from models.fitting.family import Family, FittedModel, Needs, choose_patience, limit_rounds

_MOST_ROUNDS = 1000


def _suggest_configuration(trial, shape):
    config = {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "depth": trial.suggest_int("depth", 4, 8),
        "l2_leaf_reg": trial.suggest_float("l2_leaf_reg", 1e-4, 5.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.7, 1.0),
        "colsample_bylevel": trial.suggest_float("colsample_bylevel", 0.85, 1.0),
        "one_hot_max_size": trial.suggest_int("one_hot_max_size", 2, 32, log=True),
        "max_ctr_complexity": trial.suggest_int("max_ctr_complexity", 1, 3),
    }
    if shape.task != "regression":
        config["leaf_estimation_iterations"] = trial.suggest_int("leaf_estimation_iterations", 1, 10, log=True)
    if not shape.monotone:  # only symmetric trees can be held monotone
        config["grow_policy"] = trial.suggest_categorical("grow_policy", ["SymmetricTree", "Depthwise"])
    return config


def _choose_loss(part) -> str:
    shape = part.shape
    if shape.task != "regression":
        return "MultiClass" if part.y.max() > 1 else "Logloss"
    return {"squared": "RMSE", "absolute": "MAE", "quantile": f"Quantile:alpha={shape.level}"}[shape.loss]


def _make_code_encoder(part) -> ColumnTransformer:
    """Category codes first and as integers, in a frame: CatBoost takes no category from an array of floats."""
    options: dict[str, Any] = {"unknown_value": -1, "encoded_missing_value": -1, "dtype": np.int64}
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", **options)
    columns = ColumnTransformer(
        [("codes", codes, list(part.categories))], remainder="passthrough", verbose_feature_names_out=False
    )
    return columns.set_output(transform="pandas")


def _make_model(config, part, seed, threads, rounds):
    """The library's own model, before its fit."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    settings: dict[str, Any] = {"leaf_estimation_iterations": 1, **config}
    settings.pop("rounds", None)
    if any(part.monotone):
        others = [c for c in range(part.X.shape[1]) if c not in part.categories]
        settings["monotone_constraints"] = f"({','.join(str(part.monotone[c]) for c in (*part.categories, *others))})"
    # What depends on the number of rounds where it is not given: leaf estimation, above, and max_ctr_complexity.
    return (CatBoostRegressor if part.shape.task == "regression" else CatBoostClassifier)(
        iterations=rounds,
        loss_function=_choose_loss(part),
        # Tuple and text, since scikit-learn clones no model that hands out copies of its lists.
        cat_features=tuple(range(len(part.categories))) or None,
        boosting_type="Plain",
        bootstrap_type="Bernoulli",
        random_seed=seed,
        thread_count=threads,
        allow_writing_files=False,
        logging_level="Silent",
        **settings,
    )


def _encode_rows(part) -> tuple[ColumnTransformer | None, Any]:
    """What makes categories codes, None where there are none, and the rows as CatBoost takes them."""
    columns = _make_code_encoder(part) if part.categories else None
    return columns, part.X if columns is None else columns.fit_transform(part.X)


def _to_pipeline(columns, model):
    return model if columns is None else Pipeline([("columns", columns), ("model", model)])


def _fit(config, part, seed, threads):
    from catboost import Pool

    rounds = config.get("rounds")
    limit = limit_rounds(part.share, _MOST_ROUNDS, config["learning_rate"])
    model: Any = _make_model(config, part, seed, threads, rounds or limit)
    columns, X = _encode_rows(part)
    if rounds is None and part.stop is not None:
        Xs, ys, weight = part.stop
        Xs = Xs if columns is None else columns.transform(Xs)
        pool = Pool(Xs, ys, cat_features=list(range(len(part.categories))), weight=weight)
        patience = choose_patience(config["learning_rate"])
        model.fit(
            X, part.y, sample_weight=part.weight, eval_set=pool, early_stopping_rounds=patience, use_best_model=True
        )
        rounds = int(model.tree_count_)
    else:
        model.fit(X, part.y, sample_weight=part.weight)
    return FittedModel(_to_pipeline(columns, model), rounds)


def _train_steps(config, part, seed, threads, booster):
    count = booster.tree_count_ if booster is not None else 0
    # Drawn anew: else every step would sample the rows and columns of the one before. Without shrinkage, which it uses
    # under monotone constraints and can't go on with.
    settings = {**config, "model_shrink_rate": 0.0}
    model: Any = _make_model(settings, part, (seed + count) % 2**31, threads, config["rounds"])
    columns, X = _encode_rows(part)
    model.fit(X, part.y, sample_weight=part.weight, init_model=booster)
    # A copy knows its trees alone, as one that comes from a file does; the model itself would go on with the state of
    # its training, its draws among it.
    return FittedModel(_to_pipeline(columns, model), None, model.copy())


FAMILY = Family(
    name="catboost",
    suits="tables with categories, small and middling; good as it comes",
    cost=12.0,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={
        "learning_rate": 0.08,
        "depth": 6,
        "l2_leaf_reg": 3.0,
        "subsample": 0.8,
        "colsample_bylevel": 1.0,
        "one_hot_max_size": 10,
        "max_ctr_complexity": 1,
        "leaf_estimation_iterations": 3,
        "grow_policy": "SymmetricTree",
        "log_target": False,
    },
    space=_suggest_configuration,
    fit=_fit,
    losses=("squared", "absolute", "quantile"),
    fidelity="rounds",
    most_rounds=_MOST_ROUNDS,
    stops_early=True,
    steps=_train_steps,
    explores=("learning_rate", "depth", "l2_leaf_reg", "subsample", "colsample_bylevel"),
    logs=True,
    monotone=True,
    priority=1,
    threads=True,
    most_cells=5e7,
    package="catboost",
    extra="catboost",
    trusted=("catboost.core.CatBoostClassifier", "catboost.core.CatBoostRegressor"),
    source="TabArena's CatBoost space (Erickson et al. 2025, arXiv:2506.16791), learning rate from 0.02 up for short "
    "budgets",
)
