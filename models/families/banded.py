"""Logistic and linear regression with a penalty of its own for each group of columns: banded ridge (Nunez-Elizalde,
Huth & Gallant 2019, NeuroImage 197:482), and elastic net alike."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge

from models.fitting.column_groups import (
    assign_groups,
    count_groups,
    find_column_order,
    fit_linear_model,
    make_group_scaler,
    repeat_by_group,
)
from models.fitting.family import Family, FittedModel, Needs
from models.fitting.hypergradient import differentiate_by_penalties, refine_solution
from models.fitting.ranges import has_user_range

_L1_CELLS = 2_000_000
_SPARSE, _SMOOTH = 1 / 100, 1 / 1000
"""Of a strength, for each row of a regression: what an elastic net, and what an L2 penalty takes."""


def _suggest_configuration(trial, shape):
    config = {
        "strengths": [trial.suggest_float(f"strength_{g}", 1e-4, 1e3, log=True) for g in range(count_groups(shape))],
        "columns": max(1, shape.columns),
    }
    affordable = shape.rows * shape.columns * max(1, shape.classes) <= _L1_CELLS or has_user_range(
        trial, "penalty", "l1_ratio"
    )
    if affordable and trial.suggest_categorical("penalty", ["l2", "elasticnet"]) == "elasticnet":
        config["l1_ratio"] = trial.suggest_float("l1_ratio", 0.05, 1.0)
    return config


def _assign_strengths(config, part):
    """The group of each column of X, and every group's strength."""
    strengths = np.array(config["strengths"])
    return assign_groups(part, config["columns"], len(strengths)), strengths


def _fit(config, part, seed, threads):
    group, strengths = _assign_strengths(config, part)
    # A column divided by the root of its strength bears that strength under a penalty of 1.
    bands = make_group_scaler(group, strengths**-0.5)
    return FittedModel(fit_linear_model([("bands", bands)], _make_model(config, part, seed), part))


def _make_model(config, part, seed):
    l1 = config.get("l1_ratio")
    if part.shape.task == "regression":
        if l1 is not None:
            return ElasticNet(alpha=_SPARSE, l1_ratio=l1, max_iter=1000, tol=1e-4)
        return Ridge(alpha=len(part.y) * _SMOOTH, random_state=seed)
    if l1 is not None:
        return LogisticRegression(l1_ratio=l1, solver="saga", max_iter=200, tol=1e-3, random_state=seed)
    return LogisticRegression(max_iter=500)


def _compute_hypergradient(config, part, model, judge, seed):
    group, strengths = _assign_strengths(config, part)
    roots, l1 = np.sqrt(strengths[group]), config.get("l1_ratio", 0.0)
    size, unit = _compute_penalty(config, part)
    ridge, lasso = size * (1 - l1) * roots**2, size * l1 * unit * roots
    coef = _reorder_coefficients(model, roots)
    by_ridge, by_lasso = differentiate_by_penalties(
        refine_solution(part, coef, model["model"].intercept_, ridge, lasso), judge
    )
    # By a column's own strength: the ridge is as large, the lasso as large as its root.
    slopes = (by_ridge * ridge + by_lasso * lasso / 2) / roots**2
    gradient = {f"strength_{g}": slopes[group == g].sum() for g in range(len(strengths))}
    if l1:
        gradient["l1_ratio"] = size * (by_lasso @ (unit * roots) - by_ridge @ roots**2)
    return gradient


def _reorder_coefficients(model, roots):
    """The coefficients by the columns of X, which the bands have in another order and on another scale."""
    coef = np.empty_like(np.atleast_2d(model["model"].coef_))
    coef[:, find_column_order(model["bands"])] = model["model"].coef_
    return coef / roots


def _compute_penalty(config, part):
    """The whole penalty at strength 1 against a sum over rows of the loss, and what L1 counts coefficients in."""
    if part.shape.task != "regression":
        return 1.0, 1.0
    if "l1_ratio" not in config:
        return len(part.y) * _SMOOTH, 1.0
    mass = len(part.y) if part.weight is None else part.weight.sum()
    return mass * _SPARSE, float(part.y.std()) or 1.0


FAMILY = Family(
    name="banded",
    suits="columns of different kinds whose effects add up, where some kinds tell much more than others",
    cost=0.5,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default=repeat_by_group("strength", 1.0) | {"penalty": "l2", "log_target": True},
    space=_suggest_configuration,
    fit=_fit,
    hypergradient=_compute_hypergradient,
    many=True,
    priority=1,
    logs=True,
    most_cells=2e7,
    source="strengths from 1e-4 to 1e3 as those of scikit-learn's LogisticRegressionCV, one for each group after "
    "Nunez-Elizalde et al. 2019; at most 20",
)
