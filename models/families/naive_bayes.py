"""Naive Bayes: columns count as independent within a class (Hand & Yu 2001, Int. Statistical Review 69:385)."""

from __future__ import annotations

from sklearn.naive_bayes import GaussianNB

from models.fitting.family import Family, FittedModel, Needs


def _suggest_configuration(trial, shape):
    return {"var_smoothing": trial.suggest_float("var_smoothing", 1e-9, 10.0, log=True)}


def _fit(config, part, seed, threads):
    return FittedModel(GaussianNB(**config).fit(part.X, part.y, sample_weight=part.weight))


FAMILY = Family(
    name="naive_bayes",
    suits="a first mark that costs nothing, and very wide tables with few rows",
    cost=0.05,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default={"var_smoothing": 0.02, "selected": 1.0},
    space=_suggest_configuration,
    fit=_fit,
    tasks=("binary", "multiclass"),
    priority=3,
    selects=True,
    most_cells=2e8,
    source="var_smoothing from scikit-learn's default to ten times the largest variance, where all classes look alike",
)
