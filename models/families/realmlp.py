"""RealMLP: a perceptron with the tricks that make one good on tables (Holzmüller, Grinsztajn & Steinwart 2024, NeurIPS,
arXiv:2407.04491), by their library pytabkit.

Its own preprocessing (robust scaling with a smooth clip, embeddings of numbers and of categories) is inside the model.
With rows for early stopping it takes the epoch that is best on them; with `rounds` it ends there, on the same schedule.
skops can't hold it."""
# pyright: reportMissingImports=false
# It is an extra: types are checked where it may be missing.

from __future__ import annotations

from math import ceil

import numpy as np

from models.fitting.family import Family, FittedModel, Needs

_HIDDEN = {"wide": [256] * 3, "deep": [64] * 5, "shallow": [512]}
_NONE = np.zeros((1, 0), int)
"""No rows to judge epochs by."""


def _suggest_configuration(trial, shape):
    config = {
        "n_epochs": trial.suggest_int("n_epochs", 32, 256, log=True),
        "lr": trial.suggest_float("lr", 2e-2, 0.3, log=True),
        "hidden_sizes": _HIDDEN[trial.suggest_categorical("hidden", list(_HIDDEN))],
        "act": trial.suggest_categorical("act", ["selu", "mish", "relu"]),
        "p_drop": trial.suggest_float("p_drop", 0.0, 0.3),
        "wd": trial.suggest_categorical("wd", [0.02, 0.0]),
        "num_emb_type": trial.suggest_categorical("num_emb_type", ["pbld", "plr", "pl", "none"]),
        "plr_sigma": trial.suggest_float("plr_sigma", 0.05, 0.5, log=True),
        "add_front_scale": trial.suggest_categorical("add_front_scale", [True, False]),
    }
    if shape.task != "regression":
        config["ls_eps"] = trial.suggest_categorical("ls_eps", [0.0, 0.1])
    return config


def _fit(config, part, seed, threads):
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    settings = dict(config)
    rounds, metric = settings.pop("rounds", None), "cross_entropy"
    if part.shape.task == "regression":
        metric = "rmse"
    else:
        settings["use_ls"] = settings["ls_eps"] > 0
    if rounds:
        settings |= {"stop_epoch": rounds, "n_epochs": max(rounds, settings["n_epochs"])}
    else:
        settings["n_epochs"] = ceil(part.share * settings["n_epochs"])
    model = (RealMLP_TD_Regressor if part.shape.task == "regression" else RealMLP_TD_Classifier)(
        random_state=seed, n_threads=threads, val_metric_name=metric, **settings
    )
    kinds = [column in part.categories for column in range(part.X.shape[1])]
    if rounds or part.stop is None:
        model.fit(part.X, part.y, val_idxs=_NONE, cat_indicator=kinds)
    else:
        X, y, _ = part.stop
        model.fit(part.X, part.y, X_val=X, y_val=y, cat_indicator=kinds)
        rounds = max(1, model.fit_params_["stop_epoch"][metric])
    model.to("cpu")  # whoever loads it may have no GPU
    return FittedModel(model, rounds)


FAMILY = Family(
    name="realmlp",
    suits="numbers and categories up to some hundred thousand rows, where hours or a GPU are there",
    cost=2000.0,
    needs=Needs(categories="codes", missing=False, scaled=False),
    default={
        "n_epochs": 256,
        "lr": 0.04,
        "hidden": "wide",
        "act": "selu",
        "p_drop": 0.15,
        "wd": 0.02,
        "num_emb_type": "pbld",
        "plr_sigma": 0.1,
        "add_front_scale": True,
        "ls_eps": 0.0,
    },
    space=_suggest_configuration,
    fit=_fit,
    fidelity="rounds",
    most_rounds=256,
    priority=3,
    stops_early=True,
    weights=False,
    threads=True,
    gpu=True,
    package="pytabkit",
    extra="neural",
    safe=False,
    source="Holzmüller et al. 2024, their space of RealMLP; epochs from 32 up, dropout between their values; label "
    "smoothing off by default, as the library advises for probabilities",
)
