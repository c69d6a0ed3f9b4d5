"""Logistic and linear regression with an L2, L1 or elastic-net penalty; for the median and for quantiles too."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge

from models.fitting.family import Family, FittedModel, Needs
from models.fitting.hypergradient import differentiate_by_penalties, refine_solution
from models.fitting.ranges import has_user_range

_L1_CELLS = 1_000_000
_STEPS = 40
_SPARSE, _SMOOTH = 1 / 100, 1 / 1000
"""Of a strength, for each row of a regression: what an elastic net, and what an L2 penalty takes."""
_NEAR = 1e-3
"""Residuals below this share of the target's spread count as this large."""


def _suggest_configuration(trial, shape):
    config = {"strength": trial.suggest_float("strength", 1e-4, 1e3, log=True)}
    # The solvers that can do L1 take ten times as long: on larger tables that buys more elsewhere.
    times = max(1, shape.classes) if shape.loss == "squared" else _STEPS
    affordable = shape.rows * shape.columns * times <= _L1_CELLS or has_user_range(trial, "penalty", "l1_ratio")
    if affordable and trial.suggest_categorical("penalty", ["l2", "elasticnet"]) == "elasticnet":
        config["l1_ratio"] = trial.suggest_float("l1_ratio", 0.05, 1.0)
    return config


def _fit(config, part, seed, threads):
    if part.shape.task == "regression":
        return FittedModel(_fit_regression(config, part, seed))
    return FittedModel(_make_classifier(config, seed).fit(part.X, part.y, sample_weight=part.weight))


def _make_classifier(config, seed):
    inverse = 1.0 / config["strength"]
    if "l1_ratio" in config:
        return LogisticRegression(
            C=inverse, l1_ratio=config["l1_ratio"], solver="saga", max_iter=100, tol=1e-2, random_state=seed
        )
    return LogisticRegression(C=inverse, max_iter=300)


def _fit_regression(config, part, seed):
    """Fitted on the target in units of its spread, so that a strength means the same whatever the target counts."""
    spread, rows = float(part.y.std()) or 1.0, len(part.y)
    if "l1_ratio" in config:
        alpha = config["strength"] * _SPARSE
        model = ElasticNet(alpha=alpha, l1_ratio=config["l1_ratio"], max_iter=500, tol=1e-3)
    else:
        model = Ridge(alpha=config["strength"] * rows * _SMOOTH, random_state=seed)
    if part.shape.loss == "squared":
        model.fit(part.X, part.y / spread, sample_weight=part.weight)
    else:
        _fit_quantile(model, part, spread)
    model.coef_, model.intercept_ = model.coef_ * spread, model.intercept_ * spread
    return model


def _fit_quantile(model, part, spread):
    """Fits the quantile by least squares over and over, each time with rows weighted by one over their residual.

    Hunter & Lange 2000, Journal of Computational and Graphical Statistics 9:60. Ends where `QuantileRegressor`'s linear
    program does, takes row weights, and costs forty least squares however many rows there are."""
    y, tilt = part.y / spread, 2 * part.shape.level - 1
    residual = y - np.quantile(y, part.shape.level)
    for _ in range(_STEPS):
        distances = _NEAR + np.abs(residual)
        model.fit(part.X, y + tilt * distances, sample_weight=(1 if part.weight is None else part.weight) / distances)
        residual = y - model.predict(part.X)


def _compute_hypergradient(config, part, model, judge, seed):
    size, unit = _compute_penalty(config, part)
    l1 = config.get("l1_ratio", 0.0)
    ridge, lasso = size * (1 - l1), size * l1 * unit
    columns = np.ones(part.X.shape[1])
    solution = refine_solution(part, model.coef_, model.intercept_, ridge * columns, lasso * columns)
    by_ridge, by_lasso = (slopes.sum() for slopes in differentiate_by_penalties(solution, judge))
    by_strength = (by_ridge * ridge + by_lasso * lasso) / config["strength"]
    return {"strength": by_strength} | ({"l1_ratio": size * (by_lasso * unit - by_ridge)} if l1 else {})


def _compute_penalty(config, part):
    """The whole penalty against a sum over rows of the loss, and what L1 counts coefficients in."""
    if part.shape.task != "regression":
        return config["strength"], 1.0
    if "l1_ratio" not in config:
        return config["strength"] * len(part.y) * _SMOOTH, 1.0
    # ElasticNet takes the mean over rows of half the squared error, whatever the weights sum to.
    mass = len(part.y) if part.weight is None else part.weight.sum()
    return config["strength"] * mass * _SPARSE, float(part.y.std()) or 1.0


FAMILY = Family(
    name="linear",
    suits="small or wide tables, and those whose effects add up",
    cost=0.3,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default={"strength": 1.0, "penalty": "l2", "selected": 1.0, "log_target": True},
    space=_suggest_configuration,
    fit=_fit,
    hypergradient=_compute_hypergradient,
    losses=("squared", "absolute", "quantile"),
    priority=1,
    selects=True,
    logs=True,
    most_cells=2e8,
    source="penalty and its range after AutoGluon's LR and scikit-learn's LogisticRegressionCV (C from 1e-4 to 1e4)",
)
