"""Effects of levels and their latent factors: a factorization machine (Rendle 2010, ICDM) over sparse 0/1 columns.

Every level of every category and key has an effect, drawn to zero by how few rows it has: in a table of users, items
and ratings these are the biases of Koren, Bell & Volinsky 2009 (IEEE Computer 42:30). With a rank each level has a
vector too, and two levels of one row add the product of theirs: what this user makes of this kind of item. Where rows
come in groups that are never on both sides, such as new users, each group has an effect while the others are fitted,
and none in the model: an item that strict users rated is no worse for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from models.fitting.family import Family, FittedModel, Needs, Shape

_SWEEPS = 4
"""Times that each column's vectors are fitted while the others' stand; more fit the training rows only."""


def _suggest_configuration(trial, shape):
    config = {"damping": trial.suggest_float("damping", 0.3, 100.0, log=True)}
    if shape.task == "regression" and (rank := trial.suggest_categorical("rank", [0, 4, 8, 16])):
        config |= {"rank": rank, "factor_damping": trial.suggest_float("factor_damping", 5.0, 100.0, log=True)}
    return config


def _fit(config, part, seed, threads):
    others = [i for i in range(part.X.shape[1]) if i not in part.categories]
    columns = ColumnTransformer(
        [("levels", OneHotEncoder(handle_unknown="ignore"), list(part.categories)), ("others", "passthrough", others)],
        sparse_threshold=1.0,
    )
    matrix: Any = sparse.csr_matrix(columns.fit_transform(part.X))
    design: Any = matrix if part.group is None else sparse.hstack([matrix, _encode_groups(part.group)], format="csr")
    if part.shape.task != "regression":
        model = LogisticRegression(C=1 / config["damping"], max_iter=300).fit(design, part.y, sample_weight=part.weight)
        return FittedModel(make_pipeline(columns, _drop_columns(model, matrix.shape[1])))
    effects: Any = Ridge(config["damping"], solver="sparse_cg", tol=1e-3).fit(design, part.y, sample_weight=part.weight)
    residual = part.y - effects.predict(design)
    effects = _drop_columns(effects, matrix.shape[1])
    if not config.get("rank") or len(part.categories) < 2:
        return FittedModel(make_pipeline(columns, effects))
    ends = np.cumsum([len(levels) for levels in columns.named_transformers_["levels"].categories_])
    blocks = [matrix[:, end - size : end] for end, size in zip(ends, np.diff(ends, prepend=0), strict=True)]
    vectors = _fit_vectors(blocks, residual, part.weight, config, seed)
    return FittedModel(make_pipeline(columns, *_build_machine(np.vstack(vectors), effects)))


def _encode_groups(group: np.ndarray) -> Any:
    codes = np.unique(group, return_inverse=True)[1]
    return sparse.csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), codes)))


def _drop_columns(model: Any, columns: int) -> Any:
    """The model of the first columns alone: what the others add is 0."""
    model.coef_, model.n_features_in_ = model.coef_[..., :columns], columns
    return model


def _fit_vectors(blocks: Sequence[Any], residual: np.ndarray, weight, config, seed: int) -> list[np.ndarray]:
    """A vector for each level of each column, by alternating least squares (Rendle et al. 2011, SIGIR): while the
    others stand, what a column's vectors add is linear in them."""
    rank, generator = config["rank"], np.random.default_rng(seed)
    vectors = [generator.normal(0, 0.1, (block.shape[1], rank)) for block in blocks]
    for _ in range(_SWEEPS):
        for k, block in enumerate(blocks):
            products = [b @ v for j, (b, v) in enumerate(zip(blocks, vectors, strict=True)) if j != k]
            total = np.sum(products, axis=0)
            interactions = (
                (total**2).sum(axis=1) - np.sum([(product**2).sum(axis=1) for product in products], axis=0)
            ) / 2
            line = Ridge(config["factor_damping"], solver="sparse_cg", fit_intercept=False, tol=1e-3)
            line.fit(_multiply_block(block, total), residual - interactions, sample_weight=weight)
            vectors[k] = line.coef_.reshape(block.shape[1], rank)
    return vectors


def _multiply_block(block: Any, total: np.ndarray) -> sparse.csr_matrix:
    """Each row's 1 in the block, in the columns of its level's vector, times the row's `total`."""
    rank, rows = total.shape[1], np.repeat(np.arange(len(total)), np.diff(block.indptr))
    places = (block.indices[:, None] * rank + np.arange(rank)).ravel()
    return sparse.csr_matrix((total[rows].ravel(), places, block.indptr * rank), (len(total), block.shape[1] * rank))


def _build_machine(vectors: np.ndarray, effects: Any) -> tuple[FeatureUnion, Ridge]:
    """Steps of scikit-learn that add the products of all pairs: half of what the square of a row's sum of vectors has
    over its vectors' squares, and these are effects of levels."""
    levels, rank = vectors.shape
    sums: Any = TruncatedSVD(rank)  # a sum of vectors is what it calls a projection
    sums.components_ = np.zeros((rank, effects.n_features_in_))
    sums.components_[:, :levels] = vectors.T
    sums.n_features_in_ = effects.n_features_in_
    squares = make_pipeline(sums, FunctionTransformer(np.square))
    effects.coef_[:levels] -= (vectors**2).sum(axis=1) / 2
    effects.coef_ = np.append(effects.coef_, np.full(rank, 0.5))
    effects.n_features_in_ += rank
    return FeatureUnion([("effects", "passthrough"), ("squares", squares)]), effects


def _explain_unsuited(shape: Shape) -> str:
    return "" if shape.many >= 2 else "it needs two columns of many levels, such as users and items"


FAMILY = Family(
    name="factors",
    suits="users and items: tables with two or more columns of many levels",
    cost=1.5,
    needs=Needs(categories="levels", missing=False, scaled=True),
    default={"damping": 4.0, "rank": 8, "factor_damping": 25.0},
    space=_suggest_configuration,
    fit=_fit,
    fidelity="folds",  # some of the rows leave most levels next to none
    priority=1,
    unsuited=_explain_unsuited,
    most_cells=2e8,
    source="damping after Koren, Bell & Volinsky 2009 (their 10 and 25 rows); ranks and their damping tried on "
    "MovieLens (docs/columns.md)",
)
