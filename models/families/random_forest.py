"""Bagged deep trees (Breiman 2001, Machine Learning 45:5)."""

from __future__ import annotations

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from models.families import Family, Fitted, Needs

# Enough for the vote to settle, few enough that a bag of five stays small.
_TREES = 100


def _space(trial, shape):
    config = {
        "max_features": trial.suggest_float("max_features", 0.05, 1.0, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 40, log=True),
        "max_samples": trial.suggest_float("max_samples", 0.5, 1.0),
    }
    if shape.task != "regression":
        config["criterion"] = trial.suggest_categorical("criterion", ["gini", "entropy"])
    return config


def _fit(config, part, seed, threads):
    # A forest grown to single rows of a large table weighs hundreds of megabytes in a bag and gains nothing.
    smallest = max(1, part.shape.rows // 1_500)
    settings = {**config, "min_samples_leaf": max(smallest, config["min_samples_leaf"])}
    forest = RandomForestRegressor if part.shape.task == "regression" else RandomForestClassifier
    held = list(part.monotone) if any(part.monotone) else None
    model = forest(n_estimators=_TREES, n_jobs=threads, random_state=seed, monotonic_cst=held, **settings)
    model.fit(part.X, part.y, sample_weight=part.weight)
    # The forest adds votes up in the order its threads finish: one thread repeats to the last digit.
    return Fitted(model.set_params(n_jobs=1))


FAMILY = Family(
    name="random_forest",
    suits="small and middling tables of any kind; hard to get wrong",
    cost=9.0,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={"max_features": 0.3, "min_samples_leaf": 1, "max_samples": 1.0, "criterion": "gini"},
    space=_space,
    fit=_fit,
    monotone=True,
    threads=True,
    most_cells=2e7,
    trusted=("sklearn.tree._tree.Tree",),
    source="Probst, Wright & Boulesteix 2019, WIREs 9:e1301: max_features and leaf size matter, the number of trees "
    "does not; ranges after TabArena's random forest",
)
