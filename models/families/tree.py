"""One decision tree that fits on a page (CART: Breiman, Friedman, Olshen & Stone 1984)."""

from __future__ import annotations

from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from models.fitting.family import Family, FittedModel, Needs


def _suggest_configuration(trial, shape):
    config = {
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 3, 64, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 60, log=True),
        "ccp_alpha": trial.suggest_float("ccp_alpha", 1e-6, 1e-2, log=True),
    }
    if shape.task != "regression":
        config["criterion"] = trial.suggest_categorical("criterion", ["gini", "entropy"])
    return config


def _fit(config, part, seed, threads):
    shape, constraints = part.shape, list(part.monotone) if any(part.monotone) else None
    if shape.task != "regression":
        model = DecisionTreeClassifier(random_state=seed, monotonic_cst=constraints, **config)
        return FittedModel(model.fit(part.X, part.y, sample_weight=part.weight))
    settings = dict(config)
    if shape.loss == "absolute":
        settings["criterion"] = "absolute_error"
    # What a leaf must gain is a share of the target's spread, whatever the target counts.
    settings["ccp_alpha"] *= float(part.y.std() if shape.loss == "absolute" else part.y.var())
    model = DecisionTreeRegressor(random_state=seed, monotonic_cst=constraints, **settings)
    return FittedModel(model.fit(part.X, part.y, sample_weight=part.weight))


FAMILY = Family(
    name="tree",
    suits="those who must read the model: at most 64 leaves, each a rule",
    cost=0.25,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={"max_leaf_nodes": 16, "min_samples_leaf": 7, "ccp_alpha": 1e-4, "criterion": "gini", "log_target": False},
    space=_suggest_configuration,
    fit=_fit,
    losses=("squared", "absolute"),
    priority=3,
    logs=True,
    monotone=True,
    trusted=("sklearn.tree._tree.Tree",),
    source="leaf size from 1 to 60 and cost-complexity after Probst, Boulesteix & Bischl 2019 (JMLR 20:53, rpart); the "
    "number of leaves so that a person can read them",
)
