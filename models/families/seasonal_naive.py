"""The value one season ago: what a forecast must beat."""

from __future__ import annotations

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from models.fitting.family import Family, FittedModel, Needs, Shape


def _suggest_configuration(trial, shape):
    return {}


def _fit(config, part, seed, threads):
    season = part.season
    # Rows before the first season is over have the mean.
    column = ColumnTransformer([("season", SimpleImputer(keep_empty_features=True), [season])])
    line = LinearRegression()
    model = make_pipeline(column, line).fit(part.X, part.y)
    line.coef_, line.intercept_ = np.ones(1), 0.0
    return FittedModel(model)


def _explain_unsuited(shape: Shape) -> str:
    return "" if shape.season else "it needs a forecast: --time and --horizon"


FAMILY = Family(
    name="seasonal_naive",
    suits="nothing: it is the mark that every forecast must pass",
    cost=0.0001,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={},
    space=_suggest_configuration,
    fit=_fit,
    tasks=("regression",),
    priority=1,
    tunable=False,
    weights=False,
    unsuited=_explain_unsuited,
    source="Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed. (2021), section 5.2",
)
