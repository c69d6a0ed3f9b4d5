"""Linear discriminant analysis with a shrunken covariance (Friedman 1989, Journal of the American Statistical
Association 84:165)."""

from __future__ import annotations

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from models.fitting.family import Family, FittedModel, Needs


def _suggest_configuration(trial, shape):
    return {"shrinkage": trial.suggest_float("shrinkage", 1e-4, 1.0, log=True)}


def _fit(config, part, seed, threads):
    return FittedModel(LinearDiscriminantAnalysis(solver="lsqr", **config).fit(part.X, part.y))


FAMILY = Family(
    name="lda",
    suits="classes that lie apart in many related numbers; a first mark that costs next to nothing",
    cost=0.2,
    needs=Needs(categories="onehot", missing=False, scaled=True),
    default={"shrinkage": 0.02, "selected": 1.0},
    space=_suggest_configuration,
    fit=_fit,
    tasks=("binary", "multiclass"),
    priority=3,
    selects=True,
    weights=False,
    most_cells=1e8,
    source="shrinkage from next to none to a covariance without correlations, as in Friedman 1989",
)
