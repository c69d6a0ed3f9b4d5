"""Gradient boosting by depth-wise histogram trees (Chen & Guestrin 2016, KDD)."""

from __future__ import annotations

from xgboost import XGBClassifier, XGBRegressor

from models.families import Family, Fitted, Needs, patience

_MOST_ROUNDS = 1500


def _space(trial, shape):
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 10),
        "min_child_weight": trial.suggest_float("min_child_weight", 1e-3, 10.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.6, 1.0),
        "colsample_bylevel": trial.suggest_float("colsample_bylevel", 0.4, 1.0),
        "reg_alpha": trial.suggest_float("reg_alpha", 1e-5, 5.0, log=True),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 10.0, log=True),
    }


def _types(part):
    """Tells XGBoost which columns hold category codes: `c`, the others `q`."""
    if not part.categories:
        return {}
    kinds = ["q"] * part.X.shape[1]
    for column in part.categories:
        kinds[column] = "c"
    return {"enable_categorical": True, "feature_types": kinds}


def _fit(config, part, seed, threads):
    settings = dict(config)
    rounds = settings.pop("rounds", None)
    stopping = rounds is None and part.stop is not None
    model = (XGBRegressor if part.shape.task == "regression" else XGBClassifier)(
        n_estimators=rounds or _MOST_ROUNDS,
        tree_method="hist",
        n_jobs=threads,
        random_state=seed,
        verbosity=0,
        early_stopping_rounds=patience(settings["learning_rate"]) if stopping else None,
        **_types(part),
        **settings,
    )
    if not stopping:
        return Fitted(model.fit(part.X, part.y, sample_weight=part.weight, verbose=False), rounds)
    assert part.stop is not None
    X, y, weight = part.stop
    model.fit(
        part.X,
        part.y,
        sample_weight=part.weight,
        eval_set=[(X, y)],
        sample_weight_eval_set=None if weight is None else [weight],
        verbose=False,
    )
    return Fitted(model, int(model.best_iteration) + 1)


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
    },
    space=_space,
    fit=_fit,
    priority=1,
    stops_early=True,
    threads=True,
    trusted=("xgboost.core.Booster", "xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor"),
    source="TabArena's XGBoost space (Erickson et al. 2025, arXiv:2506.16791), learning rate from 0.02 up for short "
    "budgets",
)
