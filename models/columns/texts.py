"""Free text: TF-IDF of its n-grams, and its main components (latent semantic analysis, Deerwester et al. 1990)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from models.columns.given import Part, PreparationInputs, finish_encoder, make_level_imputers, walk_steps

LONG = 8
"""From so many words on average, words tell more than characters do."""

FEW, MOST = 20, 100
"""Components; of words one for every 30 rows, between the two."""

LOOKED_AT = 2_000
"""Rows in which words are counted before they are trusted to be there."""

WORDS = {"ngram_range": (1, 2), "min_df": 5, "max_features": 5_000, "sublinear_tf": True, "dtype": np.float32}
"""Words and pairs of them that stand in five rows or more; the counts' logarithm."""


def make_parts(inputs: PreparationInputs) -> Iterator[Part]:
    """For each column of text that holds any."""
    for column in inputs.list_columns("text"):
        text = inputs.features[column].dropna()
        if text.str.strip().any():
            place = list(inputs.features.columns).index(column)
            count = int(np.clip(len(inputs.features) // 30, FEW, MOST))
            if _shares_words(text, count):
                yield f"text_{place}", finish_encoder(_make_word_encoder(count, inputs.seed), inputs.needs), [column]
            else:
                yield f"text_{place}", finish_encoder(_make_character_encoder(inputs.seed), inputs.needs), column


def simplify_vocabulary(transformer: Any) -> None:
    """Makes the terms' places plain numbers, in whatever is fitted in there: each of scikit-learn's numpy numbers would
    be a file of its own in what skops writes, and writing takes the square of their count."""
    for step in walk_steps(transformer):
        if isinstance(step, TfidfVectorizer) and hasattr(step, "vocabulary_"):
            step.vocabulary_ = {term: int(place) for term, place in step.vocabulary_.items()}


def _shares_words(text: pd.Series, count: int) -> bool:
    """Whether the rows share words enough for so many components."""
    sample = text.head(LOOKED_AT)
    if sample.str.count(r"\w+").mean() < LONG:
        return False
    try:
        return len(TfidfVectorizer(**WORDS).fit(sample).vocabulary_) > 2 * count
    except ValueError:  # there is none
        return False


def _make_word_encoder(count: int, seed: int) -> Any:
    return make_pipeline(
        *make_level_imputers(),
        FunctionTransformer(np.ravel),
        TfidfVectorizer(**WORDS),
        TruncatedSVD(count, random_state=seed),
    )


def _make_character_encoder(seed: int) -> Any:
    """Groups of three and four characters, which forgive what is misspelt or inflected (skrub's default)."""
    from skrub import StringEncoder

    return StringEncoder(n_components=FEW, random_state=seed)
