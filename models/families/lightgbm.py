"""Gradient boosting by leaf-wise histogram trees (Ke et al. 2017, NeurIPS)."""

from __future__ import annotations

from functools import partial
from typing import Any

import lightgbm
from lightgbm import Dataset, LGBMClassifier, LGBMRegressor

from models.fitting.boosters import BinnedBooster
from models.fitting.family import Family, FittedModel, Needs, choose_patience, limit_rounds, refuse_monotone_quantile

_MOST_ROUNDS = 1500

_BINS = {"max_bin": 255, "feature_pre_filter": False, "force_col_wise": True, "verbosity": -1}
"""What belongs to the binned rows, the same in every fit of a study. Without the filter they serve any leaf size."""


def _suggest_configuration(trial, shape):
    config = {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 255, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 2, 100, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
        "subsample": trial.suggest_float("subsample", 0.6, 1.0),
        "reg_alpha": trial.suggest_float("reg_alpha", 1e-5, 5.0, log=True),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-5, 10.0, log=True),
        "extra_trees": trial.suggest_categorical("extra_trees", [False, True]),
    }
    return config


def _choose_objective(part) -> dict[str, Any]:
    shape = part.shape
    if shape.task != "regression":
        return {"objective": "multiclass" if part.y.max() > 1 else "binary"}
    # Leaves that are set to a median or a quantile after the tree is grown break its order: LightGBM refuses both.
    if shape.loss == "squared" or part.monotone:
        return {"objective": "regression"}
    return {"objective": "quantile", "alpha": shape.level} if shape.loss == "quantile" else {"objective": "l1"}


def _build_settings(config, part, seed, threads) -> dict[str, Any]:
    """Names that both of the library's interfaces know."""
    constraints = {"monotone_constraints": list(part.monotone)} if any(part.monotone) else {}
    defaults = {**_BINS, "subsample_freq": 1, "n_jobs": threads, "random_state": seed, "deterministic": True}
    return {**defaults, **constraints, **_choose_objective(part), **config}


def _bin_rows(part, settings) -> tuple[Dataset, Dataset]:
    """The training rows in bins of their own, and the rows to stop on in the same bins; made once for a part."""
    if "lightgbm" not in part.kept:
        options = {
            "categorical_feature": list(part.categories),
            "params": {name: settings[name] for name in (*_BINS, "random_state", "n_jobs")},
        }
        train = Dataset(part.X, part.y, weight=part.weight, **options).construct()
        X, y, weight = part.stop
        part.kept["lightgbm"] = train, Dataset(X, y, weight=weight, reference=train, **options).construct()
    return part.kept["lightgbm"]


def _fit(config, part, seed, threads):
    parameters = {name: value for name, value in config.items() if name != "rounds"}
    rounds, settings = config.get("rounds"), _build_settings(parameters, part, seed, threads)
    if rounds is None and part.stop is not None:
        return _fit_with_stopping(part, settings)
    limit = limit_rounds(part.share, _MOST_ROUNDS, settings["learning_rate"])
    return FittedModel(_grow_model(settings, rounds or limit, part), rounds)


def _grow_model(settings, rounds, part, booster=None):
    """The library's own model of so many rounds, after those of the booster."""
    model = (LGBMRegressor if part.shape.task == "regression" else LGBMClassifier)(n_estimators=rounds, **settings)
    with_categories: dict[str, Any] = {"categorical_feature": list(part.categories)} if part.categories else {}
    return model.fit(part.X, part.y, sample_weight=part.weight, init_model=booster, **with_categories)


def _train_steps(config, part, seed, threads, booster):
    parameters = {name: value for name, value in config.items() if name != "rounds"}
    # Drawn anew: else every step would sample the rows and columns of the one before.
    count = booster.current_iteration() if booster is not None else 0
    settings = _build_settings(parameters, part, (seed + count) % 2**31, threads)
    model = _grow_model(settings, config["rounds"], part, booster)
    # Made again of its text, as it would keep what it went on from, whose trees are among its own.
    model._Booster = lightgbm.Booster(model_str=model.booster_.model_to_string())
    return FittedModel(model, None, model.booster_)


def _fit_with_stopping(part, settings) -> FittedModel:
    train, stop = _bin_rows(part, settings)
    classes = {"num_class": int(part.y.max()) + 1} if settings["objective"] == "multiclass" else {}
    trees: list[int] = []
    stopper = lightgbm.early_stopping(choose_patience(settings["learning_rate"]), verbose=False)
    limit = limit_rounds(part.share, _MOST_ROUNDS, settings["learning_rate"])
    booster = lightgbm.train(
        {**settings, **classes}, train, limit, valid_sets=[stop],
        callbacks=[lambda env: trees.append(env.model.current_iteration()), stopper],
    )  # fmt: skip
    rounds = max(1, booster.best_iteration or limit)
    # A round that finds no split adds no tree: the best round's number may be larger than that of its trees.
    model = BinnedBooster(partial(booster.predict, num_iteration=max(1, trees[rounds - 1])))
    return FittedModel(model, rounds, whole=len(trees) < limit)


FAMILY = Family(
    name="lightgbm",
    suits="tables of any size with numbers and categories; the one to try first",
    cost=2.0,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={
        "learning_rate": 0.1,
        "num_leaves": 31,
        "min_child_samples": 20,
        "colsample_bytree": 0.9,
        "subsample": 0.9,
        "reg_alpha": 1e-5,
        "reg_lambda": 1e-5,
        "extra_trees": False,
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
        "num_leaves",
        "min_child_samples",
        "colsample_bytree",
        "subsample",
        "reg_alpha",
        "reg_lambda",
        "extra_trees",
    ),
    logs=True,
    monotone=True,
    threads=True,
    unsuited=refuse_monotone_quantile,
    trusted=(
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
    ),
    source="TabArena's LightGBM space (Erickson et al. 2025, arXiv:2506.16791), learning rate from 0.02 up for short "
    "budgets; extra_trees after AutoGluon's LightGBMXT",
)
