"""The prior, or the mean, median or quantile that the metric asks for: what every other family must beat."""

from __future__ import annotations

from sklearn.dummy import DummyClassifier, DummyRegressor

from models.fitting.family import Family, FittedModel, Needs


def _suggest_configuration(trial, shape):
    return {}


def _fit(config, part, seed, threads):
    model = _make_regressor(part.shape) if part.shape.task == "regression" else DummyClassifier(strategy="prior")
    return FittedModel(model.fit(part.X, part.y, sample_weight=part.weight))


def _make_regressor(shape):
    if shape.loss == "squared":
        return DummyRegressor(strategy="mean")
    return DummyRegressor(strategy="quantile", quantile=shape.level)


FAMILY = Family(
    name="constant",
    suits="nothing: it is the mark that every other family must pass",
    cost=0.0001,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={},
    space=_suggest_configuration,
    fit=_fit,
    losses=("squared", "absolute", "quantile"),
    priority=1,
    tunable=False,
    source="scikit-learn's DummyClassifier and DummyRegressor",
)
