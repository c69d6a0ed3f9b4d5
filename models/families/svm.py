"""Machines on a kernel: support vectors (Cortes & Vapnik 1995, Machine Learning 20:273), or logistic and ridge
regression on Nystroem's features of the kernel (Williams & Seeger 2001, NeurIPS), which also suit more rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from sklearn.svm import SVC, SVR

from models.fitting.family import Family, FittedModel, Needs, limit_rows

_MARGIN_ROWS = 3_000
"""Above so many rows support vectors cost more than they bring: their time grows with the rows' square."""

_MOST_ROWS = 200_000

_FEATURE_CELLS = 2e7
"""Rows times features of the kernel: 160 MB."""

_EXACT: dict[str, Any] = {"polynomial": "poly", "rbf": "rbf"}
"""What support vectors call these kernels."""


def _suggest_configuration(trial, shape):
    config = {
        "kernel": trial.suggest_categorical("kernel", ["polynomial", "rbf", "laplacian"]),
        "gamma": trial.suggest_float("gamma", 0.03, 3.0, log=True),
        "C": trial.suggest_float("C", 0.03, 1e3, log=True),
        "components": trial.suggest_int("components", 100, 1000, log=True),
    }
    if config["kernel"] == "polynomial":
        config["degree"] = trial.suggest_int("degree", 2, 3)
    if shape.rows <= _MARGIN_ROWS and config["kernel"] != "laplacian":
        config["machine"] = trial.suggest_categorical("machine", ["smooth", "margin"])
    return config


def _fit(config, part, seed, threads):
    spread = float(part.X.std()) or 1.0
    distance = spread if config["kernel"] == "laplacian" else spread**2
    kernel = {"gamma": config["gamma"] / (part.X.shape[1] * distance)}
    if config["kernel"] == "polynomial":
        kernel |= {"degree": config["degree"], "coef0": 1}
    if part.shape.task == "regression":
        return FittedModel(_fit_regressor(config, kernel, part, seed))
    rarest = int(np.unique(part.y, return_counts=True)[1].min())
    if config.get("machine") == "margin" and rarest >= 3:
        # SVC's own probabilities are to go from scikit-learn; this is what its notes put in their place.
        machine = SVC(kernel=_EXACT[config["kernel"]], C=config["C"], max_iter=100_000, random_state=seed, **kernel)
        model = CalibratedClassifierCV(machine, ensemble=False, cv=3)  # pyright: ignore[reportArgumentType]
        return FittedModel(model.fit(part.X, part.y, sample_weight=part.weight))
    head = LogisticRegression(C=config["C"], max_iter=100)
    model = make_pipeline(_make_features(config, kernel, part, seed), head)
    return FittedModel(model.fit(part.X, part.y, logisticregression__sample_weight=part.weight))


def _fit_regressor(config, kernel, part, seed):
    """Fitted on targets from 0 to 1; what it predicts stays between them, as cubes soon leave every bound."""
    if config.get("machine") == "margin":
        spread = float(part.y.std() / (np.ptp(part.y) or 1.0))
        machine = SVR(
            kernel=_EXACT[config["kernel"]], C=config["C"] * spread, epsilon=0.1 * spread, max_iter=100_000, **kernel
        )
        weight = {"sample_weight": part.weight}
    else:
        machine = make_pipeline(_make_features(config, kernel, part, seed), Ridge(alpha=1 / config["C"]))
        weight = {"ridge__sample_weight": part.weight}
    ends = QuantileTransformer(n_quantiles=2, subsample=None)  # pyright: ignore[reportArgumentType]
    return TransformedTargetRegressor(machine, transformer=ends, check_inverse=False).fit(part.X, part.y, **weight)


def _make_features(config, kernel, part, seed):
    limit = max(100, int(_FEATURE_CELLS / len(part.y)))
    count = min(config["components"], limit, len(part.y))
    return Nystroem(config["kernel"], n_components=count, random_state=seed, **kernel)


FAMILY = Family(
    name="svm",
    suits="small and middling tables with smooth effects that depend on each other",
    cost=4.0,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default={
        "kernel": "polynomial",
        "gamma": 0.3,
        "C": 10.0,
        "components": 300,
        "degree": 3,
        "machine": "smooth",
        "selected": 1.0,
        "log_target": True,
    },
    space=_suggest_configuration,
    fit=_fit,
    selects=True,
    logs=True,
    unsuited=limit_rows(_MOST_ROWS),
    most_cells=5e6,
    source="C and gamma on log scales around 1 and 1 / (columns x variance) after Hsu, Chang & Lin 2003 (A practical "
    "guide to support vector classification) and scikit-learn's gamma='scale'; degrees after auto-sklearn's",
)
