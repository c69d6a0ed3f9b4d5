"""TabM: one perceptron that holds 32 which share most of their weights, and predicts their mean (Gorishniy, Kotelnikov
and Babenko 2024, arXiv:2410.24210), by pytabkit.

The library trains only beside rows that judge its epochs, and can't be told an epoch to end at. So this family holds
back a share of whatever rows it gets, the last ones where there is an order of time, and does not stop early in
Nestor's sense. Of groups it knows nothing: those rows may have siblings in training, which only makes it stop later.
skops can't hold it."""
# pyright: reportMissingImports=false
# It is an extra: types are checked where it may be missing.

from __future__ import annotations

import numpy as np

from models.fitting.family import Family, FittedModel, Needs

_HELD = 0.15
"""Share of rows that judge the epochs."""
_MOST_EPOCHS, _PATIENCE = 200, 16


def _suggest_configuration(trial, shape):
    config = {
        "lr": trial.suggest_float("lr", 1e-4, 3e-3, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 0.1, log=True),
        "n_blocks": trial.suggest_int("n_blocks", 1, 4),
        "d_block": trial.suggest_int("d_block", 64, 1024, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "num_emb_type": trial.suggest_categorical("num_emb_type", ["pwl", "none"]),
    }
    if config["num_emb_type"] == "pwl":
        config["d_embedding"] = trial.suggest_int("d_embedding", 8, 32, step=4)
        config["num_emb_n_bins"] = trial.suggest_int("num_emb_n_bins", 2, 128)
    return config


def _fit(config, part, seed, threads):
    from pytabkit import TabM_D_Classifier, TabM_D_Regressor

    regression = part.shape.task == "regression"
    model = (TabM_D_Regressor if regression else TabM_D_Classifier)(
        random_state=seed,
        n_threads=threads,
        arch_type="tabm-mini",
        batch_size="auto",
        n_epochs=_MOST_EPOCHS,
        patience=_PATIENCE,
        val_metric_name="rmse" if regression else "cross_entropy",
        **config,
    )
    kinds = [column in part.categories for column in range(part.X.shape[1])]
    model.fit(part.X, part.y, val_idxs=_choose_validation_rows(part, seed), cat_indicator=kinds)
    return FittedModel(_move_to_cpu(model))


def _choose_validation_rows(part, seed: int) -> np.ndarray:
    """The rows that judge: the last ones in time, else drawn so that each class keeps one in training."""
    count = len(part.y)
    size = max(1, round(_HELD * count))
    if part.shape.time:
        return np.arange(count - size, count)
    order = np.random.default_rng(seed).permutation(count)
    if part.shape.task != "regression":
        first = np.unique(part.y[order], return_index=True)[1]
        order = np.delete(order, first)
    return np.sort(order[:size])


def _move_to_cpu(model):
    """The model where whoever loads it can use it; the library moves only RealMLP."""
    import torch

    for interface in model.alg_interface_.sub_split_interfaces:
        interface.model_.to("cpu")
        interface.device_ = torch.device("cpu")
    return model


FAMILY = Family(
    name="tabm",
    suits="numbers and categories up to some hundred thousand rows, where hours or a GPU are there",
    cost=2000.0,
    needs=Needs(categories="codes", missing=False, scaled=False),
    default={
        "lr": 2e-3,
        "weight_decay": 1e-5,
        "n_blocks": 2,
        "d_block": 256,
        "dropout": 0.1,
        "num_emb_type": "pwl",
        "d_embedding": 16,
        "num_emb_n_bins": 48,
    },
    space=_suggest_configuration,
    fit=_fit,
    priority=3,
    weights=False,
    threads=True,
    gpu=True,
    package="pytabkit",
    extra="neural",
    safe=False,
    source="Gorishniy et al. 2024, their space of TabM-mini with piecewise linear embeddings; half as wide by default",
)
