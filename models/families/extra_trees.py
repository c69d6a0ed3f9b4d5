"""Bagged trees that split at random (Geurts, Ernst & Wehenkel 2006, Machine Learning 63:3)."""

from __future__ import annotations

from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from models.fitting.family import Family, Needs
from models.fitting.forests import fit_forest


def _suggest_configuration(trial, shape):
    config = {
        "max_features": trial.suggest_float("max_features", 0.1, 1.0),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 20, log=True),
        "min_samples_split": trial.suggest_int("min_samples_split", 2, 32, log=True),
    }
    if shape.task != "regression":
        config["criterion"] = trial.suggest_categorical("criterion", ["gini", "entropy"])
    return config


def _fit(config, part, seed, threads):
    forest = ExtraTreesRegressor if part.shape.task == "regression" else ExtraTreesClassifier
    return fit_forest(forest, config, part, seed, threads)


FAMILY = Family(
    name="extra_trees",
    suits="small and middling tables of numbers with smooth effects; unlike the others in an ensemble",
    cost=5.5,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={
        "max_features": 0.5,
        "min_samples_leaf": 1,
        "min_samples_split": 2,
        "criterion": "gini",
        "log_target": False,
    },
    space=_suggest_configuration,
    fit=_fit,
    logs=True,
    monotone=True,
    threads=True,
    most_cells=2e7,
    trusted=("sklearn.tree._tree.Tree",),
    source="TabArena's extra trees (Erickson et al. 2025, arXiv:2506.16791): max_features and min_samples_split",
)
