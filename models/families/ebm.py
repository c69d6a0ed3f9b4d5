"""Explainable boosting: a sum of curves, one for each column, and of maps for pairs (Lou et al. 2013, KDD)."""

from __future__ import annotations

from models.fitting.family import Family, FittedModel, Needs

_FIXED = {
    "max_bins": 256,
    "max_interaction_bins": 32,
    "outer_bags": 2,
    "early_stopping_rounds": 50,
    "n_jobs": 1,
}
"""A quarter of the library's bins cost a third of its time, for the same scores on the tables tried. Folds bag the
model already. More jobs are more processes, which are not ours to start."""


def _suggest_configuration(trial, shape):
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "interactions": trial.suggest_categorical("interactions", ["0x", "0.5x", "1x", "2x", "4x"]),
        "smoothing_rounds": trial.suggest_int("smoothing_rounds", 0, 500),
        "interaction_smoothing_rounds": trial.suggest_int("interaction_smoothing_rounds", 0, 100),
        "max_leaves": trial.suggest_int("max_leaves", 2, 3),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 2, 20, log=True),
    }


def _fit(config, part, seed, threads):
    from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor

    types = ["nominal" if c in part.categories else "continuous" for c in range(part.X.shape[1])]
    model = (ExplainableBoostingRegressor if part.shape.task == "regression" else ExplainableBoostingClassifier)(
        feature_types=types,
        monotone_constraints=list(part.monotone) if any(part.monotone) else None,
        random_state=seed,
        **_FIXED,
        **config,
    )
    return FittedModel(model.fit(part.X, part.y, sample_weight=part.weight))


def _explain_unsuited(shape):
    return "with so many classes it is slow, and nobody can read it" if shape.classes > 10 else ""


FAMILY = Family(
    name="ebm",
    suits="those who must read the model and want more than a tree: small and middling tables",
    cost=30.0,
    needs=Needs(categories="codes", missing=True, scaled=False),
    default={
        "learning_rate": 0.1,
        "interactions": "1x",
        "smoothing_rounds": 50,
        "interaction_smoothing_rounds": 25,
        "max_leaves": 2,
        "min_samples_leaf": 4,
        "log_target": False,
    },
    space=_suggest_configuration,
    fit=_fit,
    logs=True,
    monotone=True,
    unsuited=_explain_unsuited,
    most_cells=2e6,
    package="interpret",
    extra="interpret",
    trusted=(
        "interpret.glassbox._ebm._ebm.ExplainableBoostingClassifier",
        "interpret.glassbox._ebm._ebm.ExplainableBoostingRegressor",
    ),
    source="its authors' hyperparameters in order of importance (interpret.ml) and TabArena's EBM space (Erickson et "
    "al. 2025, arXiv:2506.16791), learning rate from 0.02 up for short budgets",
)
