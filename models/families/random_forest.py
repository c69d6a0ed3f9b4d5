"""Bagged deep trees (Breiman 2001, Machine Learning 45:5)."""

from __future__ import annotations

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from models.fitting.family import Family, Needs
from models.fitting.forests import fit_forest


def _suggest_configuration(trial, shape):
    config = {
        "max_features": trial.suggest_float("max_features", 0.05, 1.0, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 40, log=True),
        "max_samples": trial.suggest_float("max_samples", 0.5, 1.0),
    }
    if shape.task != "regression":
        config["criterion"] = trial.suggest_categorical("criterion", ["gini", "entropy"])
    return config


def _fit(config, part, seed, threads):
    forest = RandomForestRegressor if part.shape.task == "regression" else RandomForestClassifier
    return fit_forest(forest, config, part, seed, threads)


FAMILY = Family(
    name="random_forest",
    suits="small and middling tables of any kind; hard to get wrong",
    cost=9.0,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={"max_features": 0.3, "min_samples_leaf": 1, "max_samples": 1.0, "criterion": "gini", "log_target": False},
    space=_suggest_configuration,
    fit=_fit,
    logs=True,
    monotone=True,
    threads=True,
    most_cells=2e7,
    trusted=("sklearn.tree._tree.Tree",),
    source="Probst, Wright & Boulesteix 2019, WIREs 9:e1301: max_features and leaf size matter, the number of trees "
    "does not; ranges after TabArena's random forest",
)
