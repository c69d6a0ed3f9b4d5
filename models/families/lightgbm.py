"""Gradient boosting by leaf-wise histogram trees (Ke et al. 2017, NeurIPS)."""

from __future__ import annotations

from typing import Any

from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping

from models.families import Family, Fitted, Needs, patience

_MOST_ROUNDS = 1500


def _space(trial, shape):
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


def _fit(config, part, seed, threads):
    settings = dict(config)
    rounds = settings.pop("rounds", None)
    model = (LGBMRegressor if part.shape.task == "regression" else LGBMClassifier)(
        n_estimators=rounds or _MOST_ROUNDS,
        subsample_freq=1,
        n_jobs=threads,
        random_state=seed,
        deterministic=True,
        force_col_wise=True,
        verbosity=-1,
        **settings,
    )
    with_categories: dict[str, Any] = {"categorical_feature": list(part.categories)} if part.categories else {}
    if rounds or part.stop is None:
        return Fitted(model.fit(part.X, part.y, sample_weight=part.weight, **with_categories), rounds)
    X, y, weight = part.stop
    model.fit(
        part.X,
        part.y,
        sample_weight=part.weight,
        eval_set=[(X, y)],
        eval_sample_weight=None if weight is None else [weight],
        callbacks=[early_stopping(patience(settings["learning_rate"]), verbose=False)],
        **with_categories,
    )
    return Fitted(model, max(1, model.best_iteration_ or _MOST_ROUNDS))


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
    },
    space=_space,
    fit=_fit,
    priority=1,
    stops_early=True,
    threads=True,
    trusted=(
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
    ),
    source="TabArena's LightGBM space (Erickson et al. 2025, arXiv:2506.16791), learning rate from 0.02 up for short "
    "budgets; extra_trees after AutoGluon's LightGBMXT",
)
