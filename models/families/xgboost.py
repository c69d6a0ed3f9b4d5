"""Gradient boosting by depth-wise histogram trees (Chen & Guestrin 2016, KDD)."""

from __future__ import annotations

from functools import partial
from typing import Any

import xgboost
from xgboost import QuantileDMatrix, XGBClassifier, XGBRegressor

from models.fitting.boosters import BinnedBooster
from models.fitting.family import Family, FittedModel, Needs, choose_patience, limit_rounds, refuse_monotone_quantile

_MOST_ROUNDS = 1500


def _suggest_configuration(trial, shape):
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 10),
        "min_child_weight": trial.suggest_float("min_child_weight", 1e-3, 10.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.6, 1.0),
        "colsample_bylevel": trial.suggest_float("colsample_bylevel", 0.4, 1.0),
        "reg_alpha": trial.suggest_float("reg_alpha", 1e-5, 5.0, log=True),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 10.0, log=True),
    }


def _list_feature_types(part) -> dict[str, Any]:
    """Tells XGBoost which columns hold category codes: `c`, the others `q`."""
    if not part.categories:
        return {}
    kinds = ["q"] * part.X.shape[1]
    for column in part.categories:
        kinds[column] = "c"
    return {"enable_categorical": True, "feature_types": kinds}


def _choose_objective(part) -> dict[str, Any]:
    shape = part.shape
    if shape.task != "regression":
        return {"objective": "multi:softprob" if part.y.max() > 1 else "binary:logistic"}
    # Leaves that are set to a median or a quantile after the tree is grown break its order.
    if shape.loss == "squared" or part.monotone:
        return {"objective": "reg:squarederror"}
    if shape.loss == "quantile":
        return {"objective": "reg:quantileerror", "quantile_alpha": shape.level}
    return {"objective": "reg:absoluteerror"}


def _build_settings(config, part, seed, threads) -> dict[str, Any]:
    """Names that both of the library's interfaces know."""
    constraints = {"monotone_constraints": tuple(part.monotone)} if any(part.monotone) else {}
    defaults = {"tree_method": "hist", "max_bin": 256, "n_jobs": threads, "random_state": seed, "verbosity": 0}
    return {**defaults, **constraints, **_choose_objective(part), **config}


def _bin_rows(part, settings) -> tuple[QuantileDMatrix, QuantileDMatrix]:
    """The training rows in bins of their own, and the rows to stop on in the same bins; made once for a part."""
    if "xgboost" not in part.kept:
        options = {"max_bin": settings["max_bin"], "nthread": settings["n_jobs"], **_list_feature_types(part)}
        train = QuantileDMatrix(part.X, part.y, weight=part.weight, **options)
        X, y, weight = part.stop
        part.kept["xgboost"] = train, QuantileDMatrix(X, y, weight=weight, ref=train, **options)
    return part.kept["xgboost"]


def _fit(config, part, seed, threads):
    parameters = {name: value for name, value in config.items() if name != "rounds"}
    rounds, settings = config.get("rounds"), _build_settings(parameters, part, seed, threads)
    if rounds is None and part.stop is not None:
        return _fit_with_stopping(part, settings)
    limit = limit_rounds(part.share, _MOST_ROUNDS, settings["learning_rate"])
    return FittedModel(_grow_model(settings, rounds or limit, part), rounds)


def _grow_model(settings, rounds, part, booster=None):
    """The library's own model of so many rounds, after those of the booster."""
    model = (XGBRegressor if part.shape.task == "regression" else XGBClassifier)(
        n_estimators=rounds, **_list_feature_types(part), **settings
    )
    return model.fit(part.X, part.y, sample_weight=part.weight, verbose=False, xgb_model=booster)


def _train_steps(config, part, seed, threads, booster):
    parameters = {name: value for name, value in config.items() if name != "rounds"}
    # Drawn anew in every step and by round: a booster in memory goes on drawing where it stopped, one that comes from
    # a file can't.
    extras = {"seed_per_iteration": True} if booster is not None else {}
    count = booster.num_boosted_rounds() if booster is not None else 0
    settings = _build_settings(parameters, part, (seed + count) % 2**31, threads)
    model = _grow_model({**settings, **extras}, config["rounds"], part, booster)
    return FittedModel(model, None, model.get_booster())


def _fit_with_stopping(part, settings) -> FittedModel:
    train, stop = _bin_rows(part, settings)
    classes = {"num_class": int(part.y.max()) + 1} if settings["objective"].startswith("multi") else {}
    patience = choose_patience(settings["learning_rate"])
    limit = limit_rounds(part.share, _MOST_ROUNDS, settings["learning_rate"])
    booster = xgboost.train(
        {**settings, **classes}, train, limit, evals=[(stop, "stop")], early_stopping_rounds=patience,
        verbose_eval=False,
    )  # fmt: skip
    rounds = int(booster.best_iteration) + 1
    model = BinnedBooster(partial(booster.inplace_predict, iteration_range=(0, rounds)))
    return FittedModel(model, rounds, whole=booster.num_boosted_rounds() < limit)


FAMILY = Family(
    name="xgboost",
    suits="tables of any size with numbers and categories; a second opinion beside lightgbm",
    cost=3.0,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={
        "learning_rate": 0.1,
        "max_depth": 6,
        "min_child_weight": 1.0,
        "subsample": 0.9,
        "colsample_bylevel": 0.9,
        "reg_alpha": 1e-5,
        "reg_lambda": 1.0,
        "log_target": False,
    },
    space=_suggest_configuration,
    fit=_fit,
    losses=("squared", "absolute", "quantile"),
    fidelity="rounds",
    most_rounds=_MOST_ROUNDS,
    priority=1,
    stops_early=True,
    steps=_train_steps,
    explores=(
        "learning_rate",
        "max_depth",
        "min_child_weight",
        "subsample",
        "colsample_bylevel",
        "reg_alpha",
        "reg_lambda",
    ),
    logs=True,
    monotone=True,
    threads=True,
    unsuited=refuse_monotone_quantile,
    trusted=("xgboost.core.Booster", "xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor"),
    source="TabArena's XGBoost space (Erickson et al. 2025, arXiv:2506.16791), learning rate from 0.02 up for short "
    "budgets",
)
