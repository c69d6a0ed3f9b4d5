"""Nearest neighbours (Cover & Hart 1967, IEEE Transactions on Information Theory 13:21)."""

from __future__ import annotations

from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from models.fitting.family import Family, FittedModel, Needs


def _suggest_configuration(trial, shape):
    return {
        "n_neighbors": trial.suggest_int("n_neighbors", 1, 100, log=True),
        "weights": trial.suggest_categorical("weights", ["uniform", "distance"]),
        "p": trial.suggest_categorical("p", [1, 2]),
        "scaling": trial.suggest_categorical("scaling", ["spread", "ranks"]),
    }


def _fit(config, part, seed, threads):
    settings = dict(config)
    ranks = settings.pop("scaling") == "ranks"
    settings["n_neighbors"] = min(settings["n_neighbors"], len(part.y))
    neighbors = KNeighborsRegressor if part.shape.task == "regression" else KNeighborsClassifier
    # Trees of neighbours are types that skops does not know, and bring little where rows are few.
    model = neighbors(algorithm="brute", n_jobs=threads, **settings)
    scaled = QuantileTransformer(n_quantiles=min(1000, len(part.y)), random_state=seed)
    return FittedModel((make_pipeline(scaled, model) if ranks else model).fit(part.X, part.y))


FAMILY = Family(
    name="knn",
    suits="small tables of few numbers, where rows alike have targets alike",
    cost=5.0,  # what it costs is to predict
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default={
        "n_neighbors": 15,
        "weights": "distance",
        "p": 2,
        "scaling": "spread",
        "selected": 1.0,
        "log_target": False,
    },
    space=_suggest_configuration,
    fit=_fit,
    fidelity="folds",  # how many neighbours are best depends on how many rows there are
    selects=True,
    logs=True,
    weights=False,
    priority=3,
    threads=True,
    most_cells=6e5,
    source="neighbours, weights and metric after TabArena's KNN (Erickson et al. 2025, arXiv:2506.16791)",
)
