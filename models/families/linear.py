"""Logistic and linear regression with L2 or elastic-net penalty."""

from __future__ import annotations

from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge

from models.families import Family, Fitted, Needs

_L1_CELLS = 300_000


def _space(trial, shape):
    config = {"strength": trial.suggest_float("strength", 1e-4, 1e2, log=True)}
    # The solvers that can do L1 take a hundred times as long: on larger tables that buys more elsewhere.
    affordable = shape.rows * shape.columns * max(1, shape.classes) <= _L1_CELLS
    if affordable and trial.suggest_categorical("penalty", ["l2", "elasticnet"]) == "elasticnet":
        config["l1_ratio"] = trial.suggest_float("l1_ratio", 0.05, 1.0)
    return config


def _classifier(config, seed):
    inverse = 1.0 / config["strength"]
    if "l1_ratio" in config:
        return LogisticRegression(
            C=inverse, l1_ratio=config["l1_ratio"], solver="saga", max_iter=100, tol=1e-2, random_state=seed
        )
    return LogisticRegression(C=inverse, max_iter=300)


def _regressor(config, seed, rows):
    if "l1_ratio" in config:
        return ElasticNet(alpha=config["strength"] / 10, l1_ratio=config["l1_ratio"], max_iter=500, tol=1e-3)
    return Ridge(alpha=config["strength"] * rows / 1000, random_state=seed)


def _fit(config, part, seed, threads):
    regression = part.shape.task == "regression"
    model = _regressor(config, seed, len(part.y)) if regression else _classifier(config, seed)
    return Fitted(model.fit(part.X, part.y, sample_weight=part.weight))


FAMILY = Family(
    name="linear",
    suits="small or wide tables, and those whose effects add up",
    cost=0.3,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default={"strength": 1.0, "penalty": "l2"},
    space=_space,
    fit=_fit,
    priority=1,
    most_cells=2e8,
    source="penalty and its range after AutoGluon's LR and scikit-learn's LogisticRegressionCV (C from 1e-4 to 1e4)",
)
