"""Kernel machines with a length scale of its own for each group of columns ("automatic relevance determination":
MacKay 1994; Neal 1996): logistic and ridge regression on Nystroem's features of an RBF kernel (Williams & Seeger 2001,
NeurIPS). A long length says that the group hardly matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel

from models.fitting.column_groups import (
    assign_groups,
    count_groups,
    find_column_order,
    fit_linear_model,
    make_group_scaler,
    repeat_by_group,
)
from models.fitting.family import Family, FittedModel, Needs, limit_rows
from models.fitting.hypergradient import differentiate_by_features, refine_solution

_FEATURES = 300
"""Rows of the training part that the kernel compares with."""

_MOST_ROWS = 60_000
"""Times the features: 150 MB, of which derivatives take some at once."""

_GAMMA = 0.5
"""Makes the lengths those of exp(-distance**2 / 2)."""


def _suggest_configuration(trial, shape):
    return {
        "lengths": [trial.suggest_float(f"length_{g}", 0.1, 30.0, log=True) for g in range(count_groups(shape))],
        "strength": trial.suggest_float("strength", 1e-4, 1e2, log=True),
        "columns": max(1, shape.columns),
    }


def _fit(config, part, seed, threads):
    lengths = np.array(config["lengths"])
    # In lengths that grow with the root of the columns, as distances do: 1 then means the same for every table.
    scale = 1 / (lengths * np.sqrt(part.X.shape[1]))
    bands = make_group_scaler(assign_groups(part, config["columns"], len(lengths)), scale)
    features = Nystroem(gamma=_GAMMA, n_components=min(_FEATURES, len(part.y)), random_state=seed)
    regression = part.shape.task == "regression"
    head = Ridge(alpha=config["strength"]) if regression else LogisticRegression(C=1 / config["strength"], max_iter=300)
    return FittedModel(fit_linear_model([("bands", bands), ("features", features)], head, part))


def _compute_hypergradient(config, part, model, judge, seed):
    """By way of the kernel's own weights, the features' through its root: that root need not be differentiated."""
    bands, features, head = model["bands"], model["features"], model["model"]
    rows, judge_rows, landmarks = bands.transform(part.X), bands.transform(judge.X), features.components_
    training, validation = (replace(data, X=features.transform(X)) for data, X in ((part, rows), (judge, judge_rows)))
    width = training.X.shape[1]
    solution = refine_solution(
        training, head.coef_, head.intercept_, np.full(width, config["strength"]), np.zeros(width)
    )
    by_judged, by_rows, pull = differentiate_by_features(solution, validation)
    root, coef = features.normalization_, solution.beta[:, :-1]
    landmark_pull = -config["strength"] * (pull @ root).T @ (coef @ root)
    slopes = np.zeros(part.X.shape[1])
    for X, weights in ((judge_rows, by_judged @ root), (rows, by_rows @ root), (landmarks, landmark_pull)):
        slopes[find_column_order(bands)] += _sum_distances(
            rbf_kernel(X, landmarks, gamma=_GAMMA) * weights, X, landmarks
        )
    group = assign_groups(part, config["columns"], len(config["lengths"]))
    gradient = {f"length_{g}": slopes[group == g].sum() / length for g, length in enumerate(config["lengths"])}
    return gradient | {"strength": -(pull * coef).sum()}


def _sum_distances(weights, X, Z):
    """(columns,): the squared distances of rows of X from rows of Z, each times what pulls at that pair, added up."""
    return weights.sum(axis=1) @ X**2 + weights.sum(axis=0) @ Z**2 - 2 * (X * (weights @ Z)).sum(axis=0)


FAMILY = Family(
    name="kernel",
    suits="small tables of numbers with smooth effects, some columns of which tell much more than others",
    cost=1.0,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default=repeat_by_group("length", 1.0) | {"strength": 0.1, "log_target": True},
    space=_suggest_configuration,
    fit=_fit,
    hypergradient=_compute_hypergradient,
    many=True,
    priority=1,
    logs=True,
    unsuited=limit_rows(_MOST_ROWS),
    most_cells=5e6,
    source="lengths from a tenth to thirty times the root of the columns, around scikit-learn's gamma='scale'; "
    "strength as C of svm's",
)
